"""The catalogue of a store: a row a run, newest first, whatever state the run is in.

A row is for looking at, never for believing: it is read from the run's documents within bounds,
nothing is verified, and what cannot be read is a row with its reason. Rows of sealed runs are kept
in ``runs/.index.json`` by the manifest's time and size, so that a store of ten thousand runs opens
at once the second time; that file may be deleted, and one that kit did not write is ignored.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kit import __version__, jsonio
from kit.errors import KitError
from kit.events import FILE as EVENTS
from kit.model import Record
from kit.report.rounding import four
from kit.store import Store

INDEX = ".index.json"
# The scope that stands for a run in one line: the first that has a value.
SCOPES = ("gpu", "wall", "cpu", "estimate")
FIRST, BATCH = 60, 500
# Fewer runs than these are read faster than a person blinks: their store stays free of an index.
WORTH_AN_INDEX = 64
_SMALL = 16 << 20
_MAX_INDEX = 128 << 20
_LINE = 64 << 10
_HASH = 64
_MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError)


@dataclass(frozen=True)
class Row:
    """A run in one line: ``status`` is complete, failed, aborted, running, unsealed or broken.

    Attributes:
        run: the run's hash, or its id while it is in flight.
        started: ``2026-11-21 05:12``, in UTC.
        energy: joules per output token with their scope, in words; ``joules`` is the number.
        half_width: half of the 95% interval of ``joules``, in percent of it.
        throughput: output tokens per second, in words; ``tokens_per_s`` is the number.
        note: why a run is broken or failed, what it replays, or what to do about it.
        replay_of: the hash of the run that this one replays.
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
    half_width: float | None = None
    tokens_per_s: float | None = None

    @property
    def in_flight(self) -> bool:
        """Whether the run has not been sealed."""
        return self.status in ("running", "unsealed")


class _Index(Record, frozen=True):
    """What `.index.json` holds: rows of sealed runs, with their manifest's mtime and size."""

    kit: str
    rows: dict[str, tuple[int, int, Row]]


def rows(store: Store) -> list[Row]:
    """Every run of the store, those in flight first, then sealed ones, newest first."""
    return [row for batch in batches(store) for row in batch]


def batches(store: Store) -> Iterator[list[Row]]:
    """`rows` in pieces: runs in flight, a screenful of sealed runs, then many at a time.

    What was read is kept in the index also where the caller stops before the end.
    """
    yield in_flight(store)
    sealed = _sealed(store)
    known = _load(store) if len(sealed) >= WORTH_AN_INDEX else {}
    found: dict[str, tuple[int, int, Row]] = {}
    fresh = 0
    try:
        for piece in _pieces(sealed):
            for path, when, size in piece:
                kept = known.get(path.name)
                if kept is None or kept[:2] != (when, size):
                    kept = (when, size, read(path))
                    fresh += 1
                found[path.name] = kept
            yield [found[path.name][2] for path, _, _ in piece]
    finally:
        if len(sealed) >= WORTH_AN_INDEX and (fresh or len(known) > len(sealed)):
            here = {path.name for path, _, _ in sealed}
            _keep(store, {n: k for n, k in (known | found).items() if n in here})


def count(store: Store) -> int:
    """How many sealed runs there are, by names alone: cheap enough to ask every other second."""
    try:
        with os.scandir(store.root) as entries:
            return sum(len(entry.name) == _HASH for entry in entries)
    except OSError:
        return 0


def _pieces(sealed: list[tuple[Path, int, int]]) -> Iterator[list[tuple[Path, int, int]]]:
    yield sealed[:FIRST]
    for start in range(FIRST, len(sealed), BATCH):
        yield sealed[start : start + BATCH]


def _sealed(store: Store) -> list[tuple[Path, int, int]]:
    """Sealed runs with their manifest's mtime (ns) and size, newest first."""
    found = []
    for path in store.runs():
        with contextlib.suppress(OSError):
            facts = (path / "manifest.json").lstat()
            found.append((path, facts.st_mtime_ns, facts.st_size))
    return sorted(found, key=lambda run: (-run[1], run[0].name))


# --- one row ---------------------------------------------------------------------------------


def in_flight(store: Store) -> list[Row]:
    """Runs that are going on, then those that a crash left behind."""
    try:
        ids = store.ids()
    except OSError:  # one was sealed while they were counted
        ids = []
    found = [_unsealed(store, id_) for id_ in ids]
    return sorted(found, key=lambda row: row.status)


def _unsealed(store: Store, id_: str) -> Row:
    alive = store.is_alive(id_)
    spec, begun = _in_flight_documents(store.inflight / id_)
    return Row(
        "running" if alive else "unsealed",
        id_,
        name=_text(spec.get("name", "")),
        started=_minute(begun),
        runtime=_text(_of(spec, "runtime", "name")),
        note=f"kit attach {id_}" if alive else "kit recover",
    )


def _in_flight_documents(folder: Path) -> tuple[Mapping[str, Any], str]:
    """What is known of a run so far: its spec, and when it was registered."""
    spec: Any = {}
    begun = ""
    with contextlib.suppress(KitError, OSError):
        spec = _document(folder / "spec.json")
    with contextlib.suppress(KitError, OSError, *_MALFORMED):
        first = _bytes(folder / EVENTS, _LINE, whole=False).splitlines()[0]
        begun = str(jsonio.parse(first)["data"]["utc"])
    return (spec if isinstance(spec, dict) else {}), begun


def read(path: Path) -> Row:
    """The row of the sealed run in the folder ``path``; one that cannot be read is ``broken``."""
    try:
        found = {n: _document(path / f"{n}.json") for n in ("manifest", "spec", "results")}
    except KitError as error:
        return Row("broken", path.name, note=error.message)
    except OSError as error:
        missing = Path(str(error.filename)).name
        return Row("broken", path.name, note=f"{missing}: {error.strerror}")
    env: Any = {}
    with contextlib.suppress(KitError, OSError):
        env = _document(path / "env" / "start.json")
    return row(path.name, found["manifest"], found["spec"], found["results"], env)


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
    except _MALFORMED:
        return Row("broken", run, note="its documents do not have the form that kit writes")


def _row(
    run: str,
    manifest: Mapping[str, Any],
    spec: Mapping[str, Any],
    results: Mapping[str, Any],
    env: Any,
) -> Row:
    metrics = results.get("metrics", {})
    parents = manifest.get("parents") or [{}]
    original = _text(parents[0].get("run_hash", ""))
    energy, joules, half_width = _energy(metrics)
    rate = _number(metrics.get("output_throughput", {}), "value")
    return Row(
        status=_text(manifest.get("status", "broken")),
        run=run,
        name=_text(spec.get("name", "")),
        started=_minute(str(manifest.get("clock", {}).get("utc", ""))),
        runtime=_text(spec.get("runtime", {}).get("name", "")),
        energy=energy,
        throughput="–" if rate is None else four(rate),
        note=f"replay of {original[:8]}" if original else _text(manifest.get("reason", "")),
        gpu=_gpu(env),
        replay_of=original,
        joules=joules,
        half_width=half_width,
        tokens_per_s=rate,
    )


def _energy(metrics: Mapping[str, Any]) -> tuple[str, float | None, float | None]:
    """Energy per output token: in words, as a number, and half its 95% interval in percent."""
    for scope in SCOPES:
        metric = metrics.get(f"{scope}_energy_per_output_token", {})
        joules = _number(metric, "value")
        if joules is None:
            continue
        ends = metric.get("ci95")
        half = 50 * (ends[1] - ends[0]) / joules if ends and joules else None
        return f"{four(joules)} {'est.' if scope == 'estimate' else scope}", joules, half
    return "–", None, None


def _gpu(env: Any) -> str:
    """``H200``, ``4×H200``: the cards that were there, without their maker's name."""
    cards = _of(env, "gpus")
    if not isinstance(cards, dict):
        return ""
    names = [_text(c["name"]) for c in cards.values() if isinstance(c, dict) and "name" in c]
    if not names:
        return ""
    short = names[0].removeprefix("NVIDIA ")
    return short if len(names) == 1 else f"{len(names)}×{short}"


def _of(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return value


def _text(value: Any) -> str:
    """A string of an archive, cut to what a line can hold."""
    return str(value)[:400]


def _minute(utc: str) -> str:
    return utc[:16].replace("T", " ")


def _number(metric: Mapping[str, Any], key: str) -> float | None:
    found = metric.get(key)
    return float(found) if isinstance(found, int | float) else None


# --- reading within bounds -------------------------------------------------------------------


def _document(path: Path) -> Any:
    return jsonio.parse(_bytes(path, _SMALL), path.name)


def _bytes(path: Path, limit: int, *, whole: bool = True) -> bytes:
    """A regular file of at most ``limit`` bytes, or its beginning; links are not followed."""
    # O_NONBLOCK: a pipe in place of a file must not make the reader wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise KitError(f"{path.name} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit and whole:
        raise KitError(f"{path.name} is larger than {limit >> 20} MiB")
    return data[:limit]


# --- the index -------------------------------------------------------------------------------


def _load(store: Store) -> dict[str, tuple[int, int, Row]]:
    """What the index knows; nothing where it is missing, damaged, or another kit's."""
    try:
        found = msgspec.json.decode(_bytes(store.root / INDEX, _MAX_INDEX), type=_Index)
    except (OSError, KitError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found.rows if found.kit == __version__ else {}


def _keep(store: Store, known: dict[str, tuple[int, int, Row]]) -> None:
    """Write the index in one step; a store that cannot be written does without."""
    data = msgspec.json.encode(_Index(kit=__version__, rows=known))
    name = ""
    try:
        handle, name = tempfile.mkstemp(prefix=INDEX, dir=store.root)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(store.root / INDEX)
    except OSError:
        with contextlib.suppress(OSError):
            if name:
                Path(name).unlink()
