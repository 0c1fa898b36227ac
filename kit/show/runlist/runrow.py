"""One row of the list of runs, from a run's documents, read within bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.core import jsonio, regular
from kit.core.errors import KitError
from kit.energy.names import SCOPES
from kit.energy.results.document import Metric
from kit.energy.results.form import part
from kit.energy.results.older import readable
from kit.record.manifest import RECOMPUTED, REPLAY, parent
from kit.show.mean import mean
from kit.show.rounding import four
from kit.show.runlist.batch import counted, of_closed_loop

SMALL = 16 << 20
MALFORMED = (LookupError, TypeError, AttributeError, ValueError, OverflowError)


@dataclass(frozen=True)
class Row:
    """A run in one line: ``status`` is complete, failed, aborted or broken; without an archive
    running, waiting, unsealed or refused.

    Attributes:
        run: the run's hash, or its id while it is in flight.
        started: ``2026-11-21 05:12``, in UTC; ``begun`` is the whole time stamp.
        energy: joules per output token with their scope, as text; ``joules`` is the number, and
            ``scope`` its scope's name.
        stated: the same with its uncertainties, as in every face (`kit.show.mean`).
        se_percent: standard error of ``joules`` over launches, in percent; None for one launch.
        throughput: output tokens per second, as text; ``tokens_per_s`` is the number.
        per_image: joules per image with their uncertainties, of a run of images; ``joules_image``
            is the number, and ``scope`` its scope's name.
        note: why a run is broken or failed, what it replays, or what to do about it.
        replay_of: the hash of the run that this one replays.
        checked: the last verdict on its present files: verified, intact (as sealed; no number was
            computed again), ``failed: CODE`` or unchecked; empty in flight.
        concurrency: clients of a closed loop; of constant arrivals the runtime's slots.
        batch: the most requests in flight at once (`kit.show.runlist.batch`).
        tags, remark: what a person noted of it (`kit.store.notes`).
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
    per_image: str = ""
    joules_image: float | None = None
    se_percent: float | None = None
    tokens_per_s: float | None = None
    checked: str = ""
    begun: str = ""
    scope: str = ""
    concurrency: int | None = None
    batch: int | None = None
    tags: tuple[str, ...] = ()
    remark: str = ""

    @property
    def words(self) -> str:
        """Tags, the person's note and kit's own in one line: ``#warm second · replay of …``."""
        own = " ".join((*(f"#{tag}" for tag in self.tags), self.remark)).strip()
        return " · ".join(filter(None, (own, self.note)))

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
    found = row(path.name, documents["manifest"], documents["spec"], documents["results"], env)
    return found if found.batch is not None else replace(found, batch=counted(path))


def bare(path: Path) -> Row:
    """The row of a folder of the store that holds no manifest."""
    was = "its manifest.json is missing: restore it, or `kit verify` says what is left"
    other = "no run: it holds no manifest.json; move it out of the store"
    return Row("broken", path.name, note=was if jsonio.is_sha256(path.name) else other)


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
    named = {"formulas": results.get("formulas"), "metrics": results.get("metrics", {})}
    metrics = readable(named)["metrics"]
    throughput = _metric(metrics, "output_throughput")
    original, older = parent(manifest, REPLAY), parent(manifest, RECOMPUTED)
    why = f"replay of {original[:8]}" if original else text(manifest.get("reason", ""))
    energy, stated, joules, se_percent, scope = _energy(metrics, "output_token")
    _, per_image, joules_image, _, of_image = _energy(metrics, "image")
    begun = text(manifest.get("clock", {}).get("utc", ""))
    clients = of(spec, "arrivals", "concurrency")
    rate = throughput.value if throughput else None
    return Row(
        status=text(manifest.get("status", "broken")),
        run=run,
        name=text(spec.get("name", "")),
        started=minute(begun),
        runtime=text(spec.get("runtime", {}).get("name", "")),
        energy=energy,
        throughput="–" if rate is None else four(rate),
        note=why or (f"recomputed from {older[:8]}" if older else ""),
        gpu=_gpu(env),
        replay_of=original,
        joules=joules,
        stated=stated,
        per_image=per_image,
        joules_image=joules_image,
        se_percent=se_percent,
        tokens_per_s=rate,
        begun=begun,
        scope=scope or of_image,
        concurrency=clients if isinstance(clients, int) else None,
        batch=of_closed_loop(spec, results),
    )


def _energy(
    metrics: Mapping[str, Any], per: str
) -> tuple[str, str, float | None, float | None, str]:
    """Energy by a kind of work of the first scope that has it: short, with uncertainties, as a
    number, its standard error in percent, and the scope."""
    for scope, called in SCOPES.items():
        metric = _metric(metrics, f"{scope}_energy_per_{per}")
        if metric is None or metric.value is None:
            continue
        joules, se = metric.value, metric.se
        share = 100 * se / abs(joules) if se is not None and joules else None
        if scope == "estimate":  # the mean itself says that it is one launch
            return f"{four(joules)} est.", mean(metric), joules, share, scope
        words = f"{four(joules)} {called.short}", f"{called.short} {mean(metric)}"
        return *words, joules, share, scope
    return "–", "", None, None, ""


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
