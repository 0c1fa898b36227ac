"""The order of the list of runs: by start, or by any column. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from kit.show.runlist.runrow import Row

Column = Literal[
    "started",
    "name",
    "energy",
    "error",
    "throughput",
    "concurrency",
    "batch",
    "status",
    "runtime",
    "gpu",
    "checked",
    "run",
    "note",
]
STATES = (
    "running",
    "waiting",
    "unsealed",
    "refused",
    "broken",
    "failed",
    "aborted",
    "complete",
)
# Of these the largest is first, as one looks for it; of energy the least.
_FALLING = frozenset({"throughput", "concurrency", "batch"})
_VALUES: dict[Column, Callable[[Row], Any]] = {
    "name": lambda row: row.name.casefold() or None,
    "energy": lambda row: row.joules,
    "error": lambda row: row.se_percent,
    "throughput": lambda row: row.tokens_per_s,
    "concurrency": lambda row: row.concurrency,
    "batch": lambda row: row.batch,
    "status": lambda row: _place(row.status),
    "runtime": lambda row: row.runtime.casefold() or None,
    "gpu": lambda row: row.gpu.casefold() or None,
    "checked": lambda row: row.checked or None,
    "run": lambda row: row.run,
    "note": lambda row: row.words.casefold() or None,
}


def ordered(rows: Iterable[Row], column: Column = "started", *, reverse: bool = False) -> list[Row]:
    """Rows by a column. Those without a value come last either way; equal ones newest first.

    By start, runs in flight come first, then sealed ones, newest first, and last those whose start
    cannot be read. The start is the one that was sealed, and not a file's time.
    """
    newest = sorted(rows, key=_newness, reverse=True)
    if column == "started":
        return newest[::-1] if reverse else newest
    value = _VALUES[column]
    known = [row for row in newest if value(row) is not None]
    known.sort(key=value, reverse=(column in _FALLING) != reverse)
    return [*known, *(row for row in newest if value(row) is None)]


def is_falling(column: Column, *, reverse: bool = False) -> bool:
    """Whether the largest, or the newest, comes first."""
    return (column in _FALLING or column == "started") != reverse


def _newness(row: Row) -> tuple[bool, int, str, str]:
    """Runs in flight by their state, those that run first; then all by their start."""
    return row.in_flight, -_place(row.status) if row.in_flight else 0, row.begun, row.run


def _place(status: str) -> int:
    return STATES.index(status) if status in STATES else len(STATES)
