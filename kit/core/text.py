"""Text from outside: a person's file decoded, and what is printed made safe.

Safe means no control characters, no escapes, no bidi tricks.
"""

from __future__ import annotations

import codecs
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


def utf8(data: bytes) -> bytes:
    """A person's own file as UTF-8 without a byte order mark.

    Windows' editors write one before UTF-8, and its PowerShell writes UTF-16, which has one. What
    is neither comes back as it is. Files of an archive may have no mark: `kit.core.jsonio.parse`.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError:
            return data
    return data.removeprefix(codecs.BOM_UTF8)


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without terminal escapes, control, bidi, zero-width and unassigned characters.

    Markup such as ``[bold]`` stays: it is text, and only the command line, which draws, knows how
    to escape it.

    Args:
        lines: keep line feeds and tabs; otherwise they become spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_safe(char, lines) for char in _ESCAPES.sub("", text))


def _safe(char: str, lines: bool) -> str:
    if char in _KEPT:
        return char if lines else " "
    return "" if unicodedata.category(char) in _UNSAFE else char
