"""The rows of the list of runs: filter, order and counts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rich.text import Text

from kit.show.render.console import plain
from kit.show.render.rows import BADGES
from kit.show.runlist import Row
from kit.tui.screen import badge

SORTS = ("started ▼", "name ▲", "J/token ▲", "tokens/s ▼", "status ▲")
_APART = ("running", "waiting", "unsealed", "refused", "broken")
_STATES = (*_APART, "failed", "aborted", "complete")
_LAST = float("inf")


def fitting(rows: Iterable[Row], wanted: str) -> list[Row]:
    """Rows with each word of ``wanted`` in one of their columns, ignoring case."""
    words = wanted.casefold().split()
    return [row for row in rows if all(word in _all_of(row) for word in words)]


def _all_of(row: Row) -> str:
    shown = (row.status, row.run, row.name, row.started, row.runtime, row.gpu, row.energy)
    return "\n".join((*shown, row.throughput, row.checked, row.note)).casefold()


def in_order(rows: list[Row], sort: str) -> list[Row]:
    """Rows in the order of ``sort``; sorted by time, runs in flight come first."""
    by_time = sorted(rows, key=lambda row: (row.in_flight, row.started, row.run), reverse=True)
    keys: dict[str, Callable[[Row], tuple[Any, ...]]] = {
        "name ▲": lambda row: (not row.name, row.name.casefold()),
        "J/token ▲": lambda row: (_LAST if row.joules is None else row.joules,),
        "tokens/s ▼": lambda row: (_LAST if row.tokens_per_s is None else -row.tokens_per_s,),
        "status ▲": lambda row: (_rank(row.status),),
    }
    return sorted(by_time, key=keys[sort]) if sort in keys else by_time


def _rank(status: str) -> int:
    return _STATES.index(status) if status in _STATES else len(_STATES)


def counted(rows: Iterable[Row], *, done: bool) -> Text:
    """``3 sealed · 1 running · 1 unsealed``."""
    counts = Counter(row.status if row.status in _APART else "sealed" for row in rows)
    parts = [plain(f"{counts['sealed']:,} sealed")]
    parts += [badge(BADGES[s], f"{counts[s]} {s}") for s in _APART if counts[s]]
    if not done:
        parts.append(plain("reading …", "quiet"))
    return Text(" · ").join(parts)
