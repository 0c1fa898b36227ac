"""`kit ls`: a line for each run, from the rows of the list of runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from kit.energy.names import ENERGY_PER
from kit.show.render.console import (
    Badge,
    Cell,
    count,
    fitted,
    inert,
    plain,
    put,
    put_text,
    stderr,
    stdout,
)
from kit.show.runlist import Row

SHORT = 12
# A run's state → its badge, here and in the UI.
BADGES = {"complete": "ok", "failed": "fail", "aborted": "warn", "running": "running"}
BADGES |= {"waiting": "running", "unsealed": "warn", "refused": "fail", "broken": "fail"}
# From this width on everything has its own column.
WIDE = 128
_NUMBERS = (ENERGY_PER["output_token"].short, "tokens/s")
# Clients, and the most requests in flight at once.
_LOAD = ("conc.", "batch")
_RIGHT = (*_LOAD, *_NUMBERS)
_NO_RUNS = "no runs yet: `kit init` writes a spec, `kit run` runs it, `make demo` does it all"


def runs(rows: Sequence[Row]) -> None:
    """Print the list on stdout, and the number of runs on stderr."""
    console = stdout()
    if rows:
        form = _wide if console.width >= WIDE else _narrow
        put_text(console, form(rows, console))
    put(stderr(), plain(count(len(rows), "run") if rows else _NO_RUNS, "quiet"))


def _wide(rows: Sequence[Row], console: Console) -> str:
    headings = ("status", "run", "spec", "started (UTC)", "runtime", *_LOAD, *_NUMBERS, "", "")
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        load = (amount(row.concurrency), amount(row.batch))
        middle = (row.name, row.started, row.runtime, *load, row.energy, row.throughput)
        cells = (checked_of(row), plain(row.words, "quiet"))
        lines.append((*_front(row), *map(inert, middle), *cells))
    return fitted(console, headings, lines, elastic=len(headings) - 1, right=_RIGHT)


def _narrow(rows: Sequence[Row], console: Console) -> str:
    """The narrow form: without runtime and year; verdict below the run, note below the spec."""
    headings = ("status", "run", "spec", "started", *_NUMBERS)
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        about = plain(row.name)
        if row.words:
            about.append("\n" if row.name else "").append_text(plain(row.words, "quiet"))
        numbers = (row.started[5:], row.energy, row.throughput)
        badge, run = _front(row)
        if row.checked:
            run.append("\n").append_text(checked_of(row, short=True))
        lines.append((badge, run, about, *map(inert, numbers)))
    return fitted(console, headings, lines, elastic=headings.index("spec"), right=_NUMBERS)


def amount(number: int | None) -> str:
    """A number of requests; a dash without one."""
    return "–" if number is None else str(number)


def checked_of(row: Row, *, short: bool = False) -> Text:
    """The last verdict on the run's files; ``short``: without the code of what failed."""
    styles = {"verified": "good", "intact": "", "unchecked": "quiet", "": ""}
    word = row.checked.partition(":")[0] if short else row.checked
    return plain(word, styles.get(word, "bad"))


def _front(row: Row) -> tuple[Badge, Text]:
    badge = Badge(BADGES.get(row.status, "fail"), str(plain(row.status)))
    return badge, plain(row.run[:SHORT], "name")
