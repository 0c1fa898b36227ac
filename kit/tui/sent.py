"""What the terminal shows already: of an update only the cells that differ are sent.

Textual sends every widget again that was drawn again, after a layout whole panels, and each piece
of text with all of its colours. Over a slow link that is what a person waits for, so the cells that
were sent are kept, and each update is held against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.control import Control
from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip

_NEAR = 8  # equal columns between two changes are sent too: to move the cursor takes as much
_FORE = {str(n) for n in (*range(30, 39), *range(90, 98))}
_BACK = {str(n) for n in (*range(40, 49), *range(100, 108))}
_LINES = {"4", "7", "9", "21", "53"}  # underlined, reversed, struck and so on: seen without text
_LONG = {"5": 3, "2": 5}  # numbers that a colour of 256, or of red, green and blue takes


class Look(NamedTuple):
    """How a column looks, as numbers of the terminal's SGR sequence; ``link`` is a hyperlink."""

    held: str = ""  # bold, underlined and so on
    fore: str = ""
    back: str = ""
    link: str = ""


# A column: its character and its look. The second column of a wide character is empty.
Cell = tuple[str, Look]
Piece = tuple[int, int, Strip]  # column, line, what is to stand there
Part = tuple[int, int, list[Cell]]  # column, line, cells that differ
_PLAIN = Look()
_UNSENT: Cell = ("\0", _PLAIN)


class Sent:
    """The cells of the terminal, as they were sent."""

    def __init__(self) -> None:
        self._size = Size()
        self._lines: list[list[Cell]] = []

    def forget(self) -> None:
        """Send everything again: another program has written on the terminal."""
        self._size = Size()

    def changes(self, pieces: Iterable[Piece], size: Size, system: ColorSystem | None) -> str:
        """What to send, so that a terminal of ``size`` shows ``pieces``."""
        if size != self._size:
            self._size = size
            self._lines = [[_UNSENT] * size.width for _ in range(size.height)]
        # Until a new size is laid out, pieces lie where they were: perhaps beyond the edge.
        parts = [
            part
            for x, y, strip in pieces
            if 0 <= y < size.height and 0 <= x < size.width
            for part in self._piece(x, y, strip, size.width, system)
        ]
        return _sequence(parts)

    def _piece(
        self, x: int, y: int, strip: Strip, width: int, system: ColorSystem | None
    ) -> Iterator[Part]:
        cells = list(_cells(strip, system))
        if len(cells) == strip.cell_length:
            yield from self._line(x, y, cells[: width - x])
            return
        # A character that joins one before it, in another segment: who knows how wide it is shown.
        known = self._lines[y]
        known[x : x + strip.cell_length] = [_UNSENT] * (min(x + strip.cell_length, width) - x)
        yield x, y, list(_cells(strip.crop(0, width - x), system))

    def _line(self, x: int, y: int, new: list[Cell]) -> Iterator[Part]:
        line = self._lines[y]
        old = line[x : x + len(new)]
        if old == new:
            return
        line[x : x + len(new)] = new
        for first, last in _changed(old, new):
            yield x + first, y, new[first:last]


# --- cells --------------------------------------------------------------------------------------


def _cells(strip: Strip, system: ColorSystem | None) -> Iterator[Cell]:
    for segment in strip:
        look = _look(segment, system or ColorSystem.TRUECOLOR)
        if segment.text.isascii():
            blank = (" ", _of_blank(look))
            yield from (blank if char == " " else (char, look) for char in segment.text)
        else:
            yield from _columns(segment.text, look)


def _look(segment: Segment, system: ColorSystem) -> Look:
    style = segment.style
    if style is None:
        return _PLAIN
    look = _parts(Strip.render_ansi(style, system))
    return look._replace(link=style.link) if style.link else look


@lru_cache(4096)
def _of_blank(look: Look) -> Look:
    """What is seen of a look where no character is: its ground, or all of it if it draws lines."""
    return (
        look if look.link or not _LINES.isdisjoint(look.held.split(";")) else Look(back=look.back)
    )


@lru_cache(4096)
def _parts(sequence: str) -> Look:
    """The parts of an SGR sequence: ``1;38;2;255;0;0`` is bold, and red before no ground."""
    held, fore, back = [], "", ""
    numbers = sequence.split(";")
    while numbers:
        first = numbers[0]
        long = _LONG.get(numbers[1], 1) if first in ("38", "48") and len(numbers) > 1 else 1
        part, numbers = ";".join(numbers[:long]), numbers[long:]
        if first in _FORE:
            fore = part
        elif first in _BACK:
            back = part
        elif first not in ("", "39", "49"):
            held.append(part)
    return Look(";".join(held), fore, back)


def _columns(text: str, look: Look) -> Iterator[Cell]:
    """A column each: a character that takes none stands with the one before it."""
    shown = ""
    for char in text:
        if shown and cell_len(char):
            yield from _wide(shown, look)
            shown = ""
        shown += char
    yield from _wide(shown, look)


def _wide(char: str, look: Look) -> Iterator[Cell]:
    yield char, look
    yield from [("", look)] * (cell_len(char) - 1)


# --- what differs -------------------------------------------------------------------------------


def _changed(old: list[Cell], new: list[Cell]) -> Iterator[tuple[int, int]]:
    """Begins and ends of the parts that differ; no wide character is cut."""
    first = last = -1
    for n, (was, now) in enumerate(zip(old, new, strict=True)):
        if was == now:
            continue
        if first >= 0 and n - last > _NEAR:
            yield first, _whole(new, last)
            first = -1
        if first < 0:
            first = n - 1 if not now[0] and n else n
        last = n + 1
    if first >= 0:
        yield first, _whole(new, last)


def _whole(cells: list[Cell], end: int) -> int:
    """``end``, or one column more where it would cut a wide character."""
    return end + 1 if end < len(cells) and not cells[end][0] else end


def _sequence(parts: Iterable[Part]) -> str:
    """All parts, with what changes of the look from one cell to the next."""
    sequences, before = [], _PLAIN
    for x, y, cells in parts:
        sequences.append(Control.move_to(x, y).segment.text)
        for look, alike in groupby(cells, key=lambda cell: cell[1]):
            text = "".join(char for char, _ in alike)
            now = _on_blanks(before, look) if not text.strip(" ") else look
            if change := _change(before, now):
                sequences.append(f"\x1b[{change}m")
            sequences.append(f"\x1b]8;;{now.link}\x1b\\{text}\x1b]8;;\x1b\\" if now.link else text)
            before = now
    return "".join([*sequences, "\x1b[0m" if before[:3] != _PLAIN[:3] else ""])


@lru_cache(4096)
def _on_blanks(before: Look, look: Look) -> Look:
    """The look in which blanks are sent: ``before`` on their ground, unless that would be seen."""
    is_unseen = look == Look(back=look.back) and _of_blank(before) == Look(back=before.back)
    return before._replace(back=look.back) if is_unseen else look


@lru_cache(4096)
def _change(before: Look, after: Look) -> str:
    """The numbers that make one look of another."""
    if before[:3] == after[:3]:
        return ""
    if before.held != after.held:
        return ";".join(["0", *filter(None, after[:3])])
    fore = (after.fore or "39") if before.fore != after.fore else ""
    back = (after.back or "49") if before.back != after.back else ""
    return ";".join(filter(None, (fore, back)))
