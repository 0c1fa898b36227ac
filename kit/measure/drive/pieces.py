"""The pieces of an answer's chunks: its tokens and its text, storable in an archive. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kit.core.jsonio import is_number

_DEEPEST = 12


class Piece(NamedTuple):
    """One chunk's addition to one choice: time, choice, and text (``""``: a token without text)."""

    time_ns: int
    choice: int
    text: str


def tokens_of(pieces: list[Piece], counted: int | None) -> list[Piece]:
    """The pieces that hold tokens.

    A piece without text is a token (half a letter, an invisible character) up to the server's own
    count. Beyond that, empty pieces only kept the connection open.
    """
    if counted is None or len(pieces) <= counted:
        return pieces
    return [piece for piece in pieces if piece.text]


def text_of(pieces: list[Piece]) -> str:
    """The answer's text; several choices one after the other, however their chunks mixed."""
    ordered = sorted(pieces, key=lambda piece: piece.choice)
    return whole_letters("".join(piece.text for piece in ordered))


def whole_letters(text: str) -> str:
    """``text`` with halves of letters (UTF-16 surrogates) joined; a lone half becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable(value: Any, depth: int = 0) -> Any:
    """``value`` for an archive: values that are too deep, too large or not finite become null."""
    if isinstance(value, str):
        return whole_letters(value)
    if isinstance(value, int | float):
        return value if is_number(value) else None
    if not isinstance(value, Mapping | list):
        return value
    if depth >= _DEEPEST:
        return None
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    return {whole_letters(str(key)): storable(item, depth + 1) for key, item in value.items()}
