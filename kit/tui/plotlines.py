"""How the lines of a plot are told apart: by colour, and without colour by what draws them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

FINE = "hd"  # plotext's marker of half blocks: the finest, the same for every line
# In the order of the lines; no two look alike in any font.
MARKERS = "*o+x#%@&ABCDEFGHIJ"


def marker(n: int, colours: int) -> str:
    """What draws the ``n``-th line: a character of its own from where ``colours`` do not tell.

    Args:
        colours: how many lines have a colour of their own; 0 on a terminal without any.
    """
    return FINE if n < colours else MARKERS[n % len(MARKERS)]


def sign(n: int, swatch: str, colours: int) -> str:
    """The ``n``-th line's sign in a legend: its own character, or a ``swatch`` of its colour."""
    found = marker(n, colours)
    return swatch if found == FINE else found * len(swatch)


def folded(parts: Sequence[Text], width: int) -> Text | None:
    """The first of ``parts`` that fit in one line, and how many are left over: ``… +3``.

    None where not even the first fits.
    """
    for shown in range(len(parts), 0, -1):
        left = len(parts) - shown
        line = Text("  ").join([*parts[:shown], *([Text(f"+{left}", "quiet")] if left else [])])
        if line.cell_len <= width:
            return line
    return None
