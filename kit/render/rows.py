"""`kit ls`: a line a run, from the rows of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kit.catalogue import Row
from kit.render.console import Cell, Mark, count, fitted, plain, put, stderr, stdout

SHORT = 12
# A run's state → its mark, here and in the UI.
MARKS = {"complete": "ok", "failed": "fail", "aborted": "warn", "running": "running"}
MARKS |= {"unsealed": "warn", "broken": "fail"}
# From this width on everything has a column of its own.
WIDE = 110
_NUMBERS = ("J/token", "tokens/s")
_NO_RUNS = "no runs yet: `kit init` writes a spec, `kit run` runs it, `make demo` does it all"


def runs(rows: Sequence[Row]) -> None:
    """`kit ls` on stdout; how many there are on stderr."""
    console = stdout()
    if rows:
        put(console, _wide(rows, console) if console.width >= WIDE else _narrow(rows, console))
    put(stderr(), plain(count(len(rows), "run") if rows else _NO_RUNS, "quiet"))


def _wide(rows: Sequence[Row], console: Console) -> Table:
    headings = ("status", "run", "spec", "started (UTC)", "runtime", "J/token", "tokens/s", "")
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        middle = (row.name, row.started, row.runtime, row.energy, row.throughput)
        lines.append((*_front(row), *map(plain, middle), plain(row.note, "quiet")))
    return fitted(console.width, headings, lines, elastic=7, right=_NUMBERS)


def _narrow(rows: Sequence[Row], console: Console) -> Table:
    """Without the runtime and the year; what there is to note goes below the spec's name."""
    headings = ("status", "run", "spec", "started", "J/token", "tokens/s")
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        about = plain(row.name)
        if row.note:
            about.append("\n" if row.name else "").append_text(plain(row.note, "quiet"))
        numbers = (row.started[5:], row.energy, row.throughput)
        lines.append((*_front(row), about, *map(plain, numbers)))
    return fitted(console.width, headings, lines, elastic=2, right=_NUMBERS)


def _front(row: Row) -> tuple[Mark, Text]:
    mark = Mark(MARKS.get(row.status, "fail"), str(plain(row.status)))
    return mark, plain(row.run[:SHORT], "name")
