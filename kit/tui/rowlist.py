"""The rows of the list of runs: filter, order and counts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from rich.text import Text

from kit.energy.names import ENERGY_PER
from kit.show.render.console import plain
from kit.show.render.rows import BADGES
from kit.show.runlist import Column, Row, is_falling
from kit.tui.screen import badge

# The columns to sort by, in the order in which the key goes round, and their names.
_NAMES = {"energy": ENERGY_PER["output_token"].short, "throughput": "tokens/s", "error": "±SE"}
SORTS: dict[Column, str] = {column: _NAMES.get(column, column) for column in get_args(Column)}
_APART = ("running", "waiting", "unsealed", "refused", "broken")


def fitting(rows: Iterable[Row], wanted: str) -> list[Row]:
    """Rows with each word of ``wanted`` in one of their columns, ignoring case."""
    words = wanted.casefold().split()
    return [row for row in rows if all(word in _all_of(row) for word in words)]


def _all_of(row: Row) -> str:
    shown = (row.status, row.run, row.name, row.started, row.runtime, row.gpu, row.energy)
    return "\n".join((*shown, row.throughput, row.checked, row.words)).casefold()


def in_words(column: Column, *, reverse: bool = False) -> str:
    """``J/token ▲``: a column, and whether the least or the largest comes first."""
    return f"{SORTS[column]} {'▼' if is_falling(column, reverse=reverse) else '▲'}"


def counted(rows: Iterable[Row], *, done: bool) -> Text:
    """``3 sealed · 1 running · 1 unsealed``."""
    counts = Counter(row.status if row.status in _APART else "sealed" for row in rows)
    parts = [plain(f"{counts['sealed']:,} sealed")]
    parts += [badge(BADGES[s], f"{counts[s]} {s}") for s in _APART if counts[s]]
    if not done:
        parts.append(plain("reading …", "quiet"))
    return Text(" · ").join(parts)
