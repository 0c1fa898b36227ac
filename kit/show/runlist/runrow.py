"""One row of the list of runs, from a run's documents, read within bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core import jsonio, regular
from kit.core.errors import KitError
from kit.energy.names import SCOPES
from kit.energy.results.document import Metric
from kit.energy.results.form import part
from kit.energy.results.older import readable
from kit.record.manifest import RECOMPUTED, REPLAY, parent
from kit.show.report.mean import mean
from kit.show.report.rounding import four

SMALL = 16 << 20
MALFORMED = (LookupError, TypeError, AttributeError, ValueError, OverflowError)


@dataclass(frozen=True)
class Row:
    """A run in one line: ``status`` is complete, failed, aborted or broken; without an archive
    running, waiting, unsealed or refused.

    Attributes:
        run: the run's hash, or its id while it is in flight.
        started: ``2026-11-21 05:12``, in UTC.
        energy: joules per output token with their scope, as text; ``joules`` is the number.
        stated: the same with its uncertainties, as in every face (`kit.show.report.mean`).
        se_percent: standard error of ``joules`` over launches, in percent; None for one launch.
        throughput: output tokens per second, as text; ``tokens_per_s`` is the number.
        note: why a run is broken or failed, what it replays, or what to do about it.
        replay_of: the hash of the run that this one replays.
        checked: the last verdict on its present files: verified, intact (as sealed; no number was
            computed again), ``failed: CODE`` or unchecked; empty in flight.
    """

    status: str
    run: str
    name: str = ""
    started: str = ""
    runtime: str = ""
    energy: str = ""
    throughput: str = ""
    note: str = ""
    gpu: str = ""
    replay_of: str = ""
    joules: float | None = None
    stated: str = ""
    se_percent: float | None = None
    tokens_per_s: float | None = None
    checked: str = ""

    @property
    def in_flight(self) -> bool:
        """Whether the run has not been sealed."""
        return self.status in ("running", "waiting", "unsealed", "refused")


def read(path: Path) -> Row:
    """The row of the sealed run in the folder ``path``; one that cannot be read is ``broken``."""
    try:
        documents = {n: document(path / f"{n}.json") for n in ("manifest", "spec", "results")}
    except KitError as error:
        return Row("broken", path.name, note=error.message)
    except OSError as error:
        missing = Path(str(error.filename)).name
        return Row("broken", path.name, note=f"{missing}: {error.strerror}")
    env: Any = {}
    with contextlib.suppress(KitError, OSError):
        env = document(path / "env" / "start.json")
    return row(path.name, documents["manifest"], documents["spec"], documents["results"], env)


def row(
    run: str,
    manifest: Mapping[str, Any],
    spec: Mapping[str, Any],
    results: Mapping[str, Any],
    env: Any = None,
) -> Row:
    """The row of a sealed run from its parsed documents; a malformed one is ``broken``."""
    try:
        return _row(run, manifest, spec, results, env)
    except MALFORMED:
        return Row("broken", run, note="its documents do not have the form that kit writes")


def _row(
    run: str,
    manifest: Mapping[str, Any],
    spec: Mapping[str, Any],
    results: Mapping[str, Any],
    env: Any,
) -> Row:
    metrics = readable(results).get("metrics", {})
    throughput = _metric(metrics, "output_throughput")
    original, older = parent(manifest, REPLAY), parent(manifest, RECOMPUTED)
    why = f"replay of {original[:8]}" if original else text(manifest.get("reason", ""))
    energy, stated, joules, se_percent = _energy(metrics)
    rate = throughput.value if throughput else None
    return Row(
        status=text(manifest.get("status", "broken")),
        run=run,
        name=text(spec.get("name", "")),
        started=minute(str(manifest.get("clock", {}).get("utc", ""))),
        runtime=text(spec.get("runtime", {}).get("name", "")),
        energy=energy,
        throughput="–" if rate is None else four(rate),
        note=why or (f"recomputed from {older[:8]}" if older else ""),
        gpu=_gpu(env),
        replay_of=original,
        joules=joules,
        stated=stated,
        se_percent=se_percent,
        tokens_per_s=rate,
    )


def _energy(
    metrics: Mapping[str, Any],
) -> tuple[str, str, float | None, float | None]:
    """Energy per output token of the first scope that has it: short, with uncertainties, as a
    number, and its standard error in percent."""
    for scope, called in SCOPES.items():
        metric = _metric(metrics, f"{scope}_energy_per_output_token")
        if metric is None or metric.value is None:
            continue
        joules, se = metric.value, metric.se
        share = 100 * se / abs(joules) if se is not None and joules else None
        if scope == "estimate":  # the mean itself says that it is one launch
            return f"{four(joules)} est.", mean(metric), joules, share
        words = f"{four(joules)} {called.short}", f"{called.short} {mean(metric)}"
        return *words, joules, share
    return "–", "", None, None


def _gpu(env: Any) -> str:
    """``H200``, ``4×H200``: the machine's cards, without the maker's name."""
    cards = of(env, "gpus")
    if not isinstance(cards, dict):
        return ""
    names = [text(c["name"]) for c in cards.values() if isinstance(c, dict) and "name" in c]
    if not names:
        return ""
    short = names[0].removeprefix("NVIDIA ")
    return short if len(names) == 1 else f"{len(names)}×{short}"


def of(value: Any, *path: str) -> Any:
    """The value at ``path`` of a document; an empty string without one."""
    for key in path:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return value


def text(value: Any) -> str:
    """A string of an archive, cut to the length of a line."""
    return str(value)[:400]


def minute(utc: str) -> str:
    """``2026-11-21 05:12`` of a time stamp."""
    return utc[:16].replace("T", " ")


def _metric(metrics: Mapping[str, Any], name: str) -> Metric | None:
    metric = metrics.get(name)
    return None if metric is None else part(metric, Metric)


def document(path: Path) -> Any:
    """A JSON document of a run; raises `KitError` or `OSError`."""
    return jsonio.parse(bounded(path, SMALL), path.name)


def bounded(path: Path, limit: int, *, is_complete: bool = True) -> bytes:
    """A regular file of at most ``limit`` bytes, or its beginning; links are not followed."""
    return regular.content(path, limit) if is_complete else regular.beginning(path, limit)
