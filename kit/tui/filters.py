"""ASCII for terminals that cannot show more: one filter over everything that is drawn."""

from __future__ import annotations

import codecs
import os
import sys
from functools import lru_cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_GLYPHS = {
    "─━╸╺╭╮╰╯═▔▁": "-",
    "│┃║▏▕▎▊": "|",
    "┌┐└┘├┤┬┴┼╔╗╚╝": "+",
    "✔": "+",
    "✘×": "x",
    "●•": "*",
    "○°": "o",
    "–—·": "-",
    "…": ".",
    "±≈": "~",
    "→▶›↻": ">",
    "←◀": "<",
    "↑▲△": "^",
    "↓▼": "v",
    "␣": "_",
    "µ": "u",
    "²": "2",
}
_ONE_FOR_ONE = str.maketrans({char: plain for chars, plain in _GLYPHS.items() for char in chars})
_LOWER_HALF = "▁▂▃"


@lru_cache(8192)
def to_ascii(text: str) -> str:
    """``text`` in ASCII, with the same number of columns."""
    if text.isascii():
        return text
    return "".join(_one(c) for c in text.translate(_ONE_FOR_ONE))


def _one(char: str) -> str:
    from rich.cells import cell_len

    if char.isascii():
        return char
    if char in _LOWER_HALF:
        return "_"
    if "▀" <= char <= "▟" or "⠀" <= char <= "⣿" or "🬀" <= char <= "🯊":
        return "#" if char not in "⠀" else " "
    return "?" * cell_len(char)


class AsciiFilter(LineFilter):
    """Replaces characters beyond ASCII, column for column."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


def wants_ascii() -> bool:
    """Whether the terminal's encoding, or KIT_ASCII, requires ASCII."""
    if os.environ.get("KIT_ASCII", "") not in ("", "0"):
        return True
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
    try:
        return not codecs.lookup(encoding).name.startswith("utf")
    except LookupError:
        return True
