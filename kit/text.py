"""Text from outside, made safe to print: no control characters, no escapes, no bidi tricks."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, screen
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # two-character escapes
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI as one C1 byte
)
_KEPT = frozenset("\n\t")
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without terminal escapes, control, bidi, zero-width and unassigned characters.

    Markup such as ``[bold]`` stays: it is text, and only the command line, which draws, knows how
    to escape it.

    Args:
        lines: keep line feeds and tabs; otherwise they become spaces.
    """
    return "".join(_safe(char, lines) for char in _ESCAPES.sub("", text))


def _safe(char: str, lines: bool) -> str:
    if char in _KEPT:
        return char if lines else " "
    return "" if unicodedata.category(char) in _UNSAFE else char
