"""A listing of many lines, laid out for a console.

It is laid out here, because a table of rich takes milliseconds a line: a store has thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import COLOR_SYSTEMS, Console

_GAP, _LEAST = 2, 8
Paint = Callable[[str, str], str]


class Column(NamedTuple):
    """A column: a text a line, without what a terminal would obey (`kit.core.text.clean`).

    Attributes:
        styles: the style of each text, or one for all of them.
        at_right: whether it is aligned to the right, as numbers are.
    """

    heading: str
    texts: Sequence[str]
    styles: Sequence[str] | str = ""
    at_right: bool = False


def listing(console: Console, columns: Sequence[Column], elastic: int) -> str:
    """The columns side by side below their headings, as text for ``console``.

    Args:
        elastic: the column that is cut with an ellipsis if they are too wide; then the widest.
    """
    widths = [_widest((one.heading, *one.texts)) for one in columns]
    _narrow(widths, console.width, elastic)
    paint = _painter(console)
    drawn = [_drawn(one, width, paint) for one, width in zip(columns, widths, strict=True)]
    return "".join(f"{(' ' * _GAP).join(line).rstrip()}\n" for line in zip(*drawn, strict=True))


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


def _drawn(column: Column, width: int, paint: Paint | None) -> list[str]:
    """Heading and texts of a column, each ``width`` columns wide."""
    texts = _sized((column.heading, *column.texts), width, column.at_right)
    if paint is None:
        return texts
    styles = column.styles
    every = [styles] * len(column.texts) if isinstance(styles, str) else styles
    return [paint(text, style) for text, style in zip(texts, ("name", *every), strict=True)]


def _sized(texts: Sequence[str], width: int, at_right: bool) -> list[str]:
    """The texts in ``width`` columns each; a text that is wider ends in an ellipsis."""
    cut = [text if _width(text) <= width else _cut(text, width) for text in texts]
    if "".join(cut).isascii():
        return [text.rjust(width) for text in cut] if at_right else [t.ljust(width) for t in cut]
    blanks = [" " * (width - _width(text)) for text in cut]
    pairs = zip(cut, blanks, strict=True)
    return [blank + text if at_right else text + blank for text, blank in pairs]


def _cut(text: str, width: int) -> str:
    return set_cell_size(text, width - 1) + "…"


def _widest(texts: Sequence[str]) -> int:
    """The columns of the widest; most columns of a listing are ASCII, whose length is its width."""
    return max(map(len if "".join(texts).isascii() else _width, texts))


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _painter(console: Console) -> Paint | None:
    """How a text is written to ``console`` in a style; None if it shows no colours."""
    if not console.color_system:
        return None
    system, is_plain = COLOR_SYSTEMS[console.color_system], console.no_color
    around: dict[str, tuple[str, str]] = {}

    def paint(text: str, name: str) -> str:
        if name not in around:
            style = console.get_style(name or "none")
            style = style.without_color if is_plain else style
            before, _, after = style.render("\0", color_system=system).partition("\0")
            around[name] = before, after
        words = text.strip(" ")
        if not words:
            return text
        start, (before, after) = text.index(words), around[name]
        return f"{text[:start]}{before}{words}{after}{text[start + len(words) :]}"

    return paint
