"""How to distinguish the lines of a plot: by colour, or without colour by character."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from kit.show.render.console import plain

FINE = "hd"  # plotext's marker of half blocks: the finest, the same for every line
# In the order of the lines; no two look alike in any font.
MARKERS = "*o+x#%@&ABCDEFGHIJ"


def marker(n: int, colours: int) -> str:
    """The marker of the ``n``-th line: its own character if it has no colour of its own.

    Args:
        colours: how many lines have their own colour; 0 on a terminal without colours.
    """
    return FINE if n < colours else MARKERS[n % len(MARKERS)]


def drawn(colour: str) -> str:
    """What plotext calls a colour of Rich: ``blue+`` for ``bright_blue``."""
    known = {"yellow": "orange", "bright_black": "gray"}
    bright = colour.removeprefix("bright_")
    return known.get(colour) or (f"{bright}+" if bright != colour else colour)


def sign(n: int, swatch: str, colours: int) -> str:
    """The ``n``-th line's sign in a legend: its own character, or a ``swatch`` of its colour."""
    glyph = marker(n, colours)
    return swatch if glyph == FINE else glyph * len(swatch)


def folded(parts: Sequence[Text], width: int) -> Text | None:
    """The first of ``parts`` that fit in one line, and the number of the rest: ``… +3``.

    None if not even the first fits.
    """
    for shown in range(len(parts), 0, -1):
        left = len(parts) - shown
        line = Text("  ").join([*parts[:shown], *([plain(f"+{left}", "quiet")] if left else [])])
        if line.cell_len <= width:
            return line
    return None
