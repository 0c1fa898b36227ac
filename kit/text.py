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
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    """``text`` without terminal escapes, control, bidi, zero-width and unassigned characters.

    Newline and tab stay. Markup such as ``[bold]`` stays as it is: it is text, and only the
    command line, which draws, knows how to escape it.
    """
    plain = _ESCAPES.sub("", text)
    return "".join(
        c for c in plain if c in _KEPT or unicodedata.category(c) not in _UNSAFE_CATEGORIES
    )


def one_line(text: str, limit: int = 500) -> str:
    """`clean` on a single line of at most ``limit`` characters."""
    joined = " ".join(clean(text).split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"
