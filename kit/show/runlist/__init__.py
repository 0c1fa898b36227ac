"""The list of runs of a store: a row for each run in any state, newest first by its sealed start.

A row is only for display: it is read from the run's documents within bounds, nothing is hashed,
and an unreadable run is a row with the reason. It shows the last kept verdict on the run's present
files (`kit.store.verdicts`), else ``unchecked``. Rows of sealed runs are kept in
``runs/.index.json`` with the facts of the files they were read from (`kit.show.runlist.index`), so
that a store of ten thousand runs opens at once the second time. The file may be deleted; one that
kit did not write is ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.core.errors import KitError
from kit.machine import queue
from kit.record.events import FILE as EVENTS
from kit.show.runlist.index import INDEX, Entries, keep, load
from kit.show.runlist.listing import as_list
from kit.show.runlist.order import STATES, Column, is_falling, ordered
from kit.show.runlist.reading import MANIFEST, facts, is_unchanged, taken
from kit.show.runlist.runrow import (
    MALFORMED,
    Row,
    bare,
    bounded,
    document,
    minute,
    of,
    read,
    row,
    text,
)
from kit.store import notes, refusals, verdicts
from kit.store.store import Store

__all__ = (
    "INDEX",
    "STATES",
    "Column",
    "Row",
    "as_list",
    "batches",
    "count",
    "in_flight",
    "is_falling",
    "ordered",
    "read",
    "row",
    "rows",
    "stamp",
)

FIRST, BATCH = 60, 500
# A store with fewer runs is read at once, and needs no index.
WORTH_AN_INDEX = 64
_LINE = 64 << 10
_ORDER = ("running", "waiting", "unsealed")
_HASH = 64


def rows(store: Store, column: Column = "started", *, reverse: bool = False) -> list[Row]:
    """Every run of the store by a column (`ordered`), else runs in flight first, then the newest.

    A folder without a manifest is a row, too.
    """
    every = (row for batch in batches(store) for row in batch)
    return ordered(every, column, reverse=reverse)


def batches(store: Store) -> Iterator[list[Row]]:
    """`rows` in pieces: runs in flight, a screenful of sealed runs, then many at a time.

    Sealed runs come by the time of their files: their start is known once they are read.
    Rows that were read are kept in the index even if the caller stops early.
    """
    yield in_flight(store)
    sealed, bares = _sealed(store)
    index = load(store) if len(sealed) >= WORTH_AN_INDEX else {}
    judged, noted = verdicts.load(store), notes.of_list(store)
    entries: Entries = {}
    fresh = 0
    try:
        for piece in _pieces(list(sealed)):
            for name in piece:
                entry, run = index.get(name), f"{store.root}/{name}"
                if not (
                    entry and entry[1].run == name and is_unchanged(run, entry[0], sealed[name])
                ):
                    entry = taken(run, name)
                    fresh += 1
                entries[name] = entry
            yield [
                _noted(_checked(store, entries[name][1], judged), noted.get(name)) for name in piece
            ]
        if bares:
            yield bares
    finally:
        if len(sealed) >= WORTH_AN_INDEX and (fresh or len(index) > len(sealed)):
            keep(store, {n: k for n, k in (index | entries).items() if n in sealed})


def _checked(store: Store, row: Row, judged: Mapping[str, verdicts.StoredVerdict]) -> Row:
    known = row.run in judged
    word = verdicts.of(store.root / row.run, judged) if known else verdicts.UNCHECKED
    return row if row.checked == word else replace(row, checked=word)


def _noted(row: Row, note: notes.Note | None) -> Row:
    return row if note is None else replace(row, tags=note.tags, remark=text(note.text))


def stamp(store: Store) -> tuple[int, int, int]:
    """Numbers that change when a run is sealed or deleted, a verdict kept, or a note written."""
    return count(store), verdicts.stamp(store), notes.stamp(store)


def count(store: Store) -> int:
    """The number of sealed runs, by their names: cheap enough to call every other second."""
    try:
        with os.scandir(store.root) as entries:
            return sum(len(entry.name) == _HASH for entry in entries)
    except OSError:
        return 0


def _pieces(sealed: list[str]) -> Iterator[list[str]]:
    yield sealed[:FIRST]
    for start in range(FIRST, len(sealed), BATCH):
        yield sealed[start : start + BATCH]


def _sealed(store: Store) -> tuple[dict[str, tuple[int, int, int, int]], list[Row]]:
    """Sealed runs by their manifest's time, newest first, with its facts; folders without one."""
    known, bares = {}, []
    for name in store.folders():
        manifest = facts(f"{store.root}/{name}/{MANIFEST}")
        if manifest is None:
            bares.append(bare(store.root / name))
        elif jsonio.is_sha256(name):
            known[name] = manifest
    return {name: known[name] for name in sorted(known, key=lambda n: (-known[n][0], n))}, bares


def in_flight(store: Store) -> list[Row]:
    """Runs in progress or waiting, crashed runs, and refused runs."""
    try:
        ids = store.ids()
    except OSError:  # one was sealed meanwhile
        ids = []
    rows = [_unsealed(store, id_) for id_ in ids]
    gone = [_refused(refusal) for refusal in refusals.refusals(store) if not refusal.asked_for]
    return [*sorted(rows, key=lambda row: _ORDER.index(row.status)), *gone]


def _unsealed(store: Store, id_: str) -> Row:
    alive = store.is_alive(id_)
    spec, begun = _in_flight_documents(store.inflight / id_)
    wait = queue.waiting(id_) if alive and not begun else None
    note = str(wait) if wait else f"kit attach {id_}" if alive else "kit recover"
    return Row(
        ("waiting" if wait else "running") if alive else "unsealed",
        id_,
        name=text(spec.get("name", "")),
        started=minute(begun),
        begun=text(begun),
        runtime=text(of(spec, "runtime", "name")),
        note=note,
    )


def _refused(refusal: refusals.Refusal) -> Row:
    """The row of a run that could not begin; `kit attach` shows the whole reason."""
    return Row(
        "refused",
        text(refusal.id),
        name=text(refusal.name),
        started=minute(refusal.utc),
        begun=text(refusal.utc),
        note=text(refusal.message),
    )


def _in_flight_documents(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The documents of a run so far: its spec, and when it was registered."""
    spec: Any = {}
    begun = ""
    with contextlib.suppress(KitError, OSError, *MALFORMED):
        spec = document(folder.with_name(f"{folder.name}.scratch") / "order.json")["spec"]
    with contextlib.suppress(KitError, OSError):
        spec = document(folder / "spec.json")
    with contextlib.suppress(KitError, OSError, *MALFORMED):
        first = bounded(folder / EVENTS, _LINE, is_complete=False).splitlines()[0]
        begun = str(jsonio.parse(first)["data"]["utc"])
    return (spec if isinstance(spec, dict) else {}), begun
