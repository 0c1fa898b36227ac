"""`kit ls`: a line for each run, from the rows of the list of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from kit.core.text import clean
from kit.energy.names import ENERGY_PER, SCOPES
from kit.show.render.console import Badge, count, plain, put, put_text, stderr, stdout
from kit.show.render.listing import Column, listing
from kit.show.rounding import four
from kit.show.runlist import Row

SHORT = 12
# A run's state → its badge, here and in the UI.
BADGES = {"complete": "ok", "failed": "fail", "aborted": "warn", "running": "running"}
BADGES |= {"waiting": "running", "unsealed": "warn", "refused": "fail", "broken": "fail"}
# From this width on everything has its own column.
WIDE = 128
_ENERGY, _RATE = ENERGY_PER["output_token"].short, "tokens/s"
# A text and its style.
Styled = tuple[str, str]
_NO_RUNS = "no runs yet: `kit init` writes a spec, `kit run` runs it, `make demo` does it all"


def runs(rows: Sequence[Row]) -> None:
    """Print the list on stdout, and the number of runs on stderr."""
    console = stdout()
    if rows:
        form = _wide if console.width >= WIDE else _narrow
        put_text(console, form(rows, console))
    put(stderr(), plain(count(len(rows), "run") if rows else _NO_RUNS, "quiet"))


def _wide(rows: Sequence[Row], console: Console) -> str:
    badges = [_badge(row) for row in rows]
    is_ascii = console.options.ascii_only
    columns = (
        _styled("status", [(badge.words(is_ascii=is_ascii), badge.style) for badge in badges]),
        Column("run", [row.run[:SHORT] for row in rows], "name"),
        Column("spec", [clean(row.name) for row in rows]),
        Column("started (UTC)", [clean(row.started) for row in rows]),
        Column("runtime", [clean(row.runtime) for row in rows]),
        Column("conc.", [amount(row.concurrency) for row in rows], at_right=True),
        Column("batch", [amount(row.batch) for row in rows], at_right=True),
        Column(_ENERGY, [clean(_energy(row)) for row in rows], at_right=True),
        Column(_RATE, [clean(row.throughput) for row in rows], at_right=True),
        Column("", [clean(row.checked) for row in rows], [_checked_style(row) for row in rows]),
        Column("", [clean(row.words) for row in rows], "quiet"),
    )
    return listing(console, columns, elastic=len(columns) - 1)


def _narrow(rows: Sequence[Row], console: Console) -> str:
    """The narrow form: without runtime and year; verdict below the run, note below the spec."""
    is_ascii = console.options.ascii_only
    lines = [line for row in rows for line in _lines(row, is_ascii)]
    states, hashes, names, starts, energies, rates = zip(*lines, strict=True)
    columns = (
        _styled("status", states),
        _styled("run", hashes),
        _styled("spec", names),
        Column("started", starts),
        Column(_ENERGY, energies, at_right=True),
        Column(_RATE, rates, at_right=True),
    )
    return listing(console, columns, elastic=2)


def _styled(heading: str, cells: Sequence[Styled]) -> Column:
    return Column(heading, [text for text, _ in cells], [style for _, style in cells])


def _lines(row: Row, is_ascii: bool) -> Iterator[tuple[Styled, Styled, Styled, str, str, str]]:
    """One or two lines of the narrow form."""
    badge, name, words = _badge(row), clean(row.name), (clean(row.words), "quiet")
    state, run = (badge.words(is_ascii=is_ascii), badge.style), (row.run[:SHORT], "name")
    numbers = clean(row.started[5:]), clean(_energy(row)), clean(row.throughput)
    yield state, run, (name, "") if name else words, *numbers
    if row.checked or (name and words[0]):
        checked = clean(row.checked.partition(":")[0]), _checked_style(row)
        yield ("", ""), checked, words if name else ("", ""), "", "", ""


def _energy(row: Row) -> str:
    """Joules per output token, or per image with their unit, which is not the column's."""
    if row.joules_image is None:
        return row.energy
    joules = f"{four(row.joules_image)} {ENERGY_PER['image'].short}"
    if row.scope == "estimate":
        return f"{joules} est."
    return f"{joules} {SCOPES[row.scope].short}"


def amount(number: int | None) -> str:
    """A number of requests; a dash without one."""
    return "–" if number is None else str(number)


def _checked_style(row: Row) -> str:
    """The style of the last verdict on the run's files."""
    styles = {"verified": "good", "intact": "", "unchecked": "quiet", "": ""}
    return styles.get(row.checked, "bad")


def _badge(row: Row) -> Badge:
    return Badge(BADGES.get(row.status, "fail"), clean(row.status))
