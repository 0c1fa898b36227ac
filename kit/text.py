"""Text from outside made harmless to print: no escapes, no controls, no direction tricks."""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_KEPT = {"\n", "\t"}
_FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without terminal escapes, control, format and bidirectional characters.

    Args:
        lines: keep line feeds and tabs; otherwise they become spaces.
    """
    kept = []
    for char in _ANSI.sub("", text):
        if char in _KEPT:
            kept.append(char if lines else " ")
        elif unicodedata.category(char) not in _FORBIDDEN:
            kept.append(char)
    return "".join(kept)
