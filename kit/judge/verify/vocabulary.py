"""A tokenizer.json's vocabulary: which bytes each token id is. Nothing of the file is executed.

It spells ids out as text, and says how few tokens can make a text. It does not cut a text itself:
that needs the tokenizer's library, and another cut of the same text is seldom the server's mistake.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.text import clean

MOST_BYTES = 64 << 20
_LONGEST = 64  # bytes of a token that are looked for in a text
_SPACE = "\u2581"  # how SentencePiece writes a space
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """Bytes by token id."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = pieces
        self._known = {piece for piece in pieces.values() if 0 < len(piece) <= _LONGEST}
        self._longest = max(map(len, self._known), default=0)

    def spelled(self, ids: Iterable[int]) -> str | None:
        """The text of token ids; None if one of them is not in the vocabulary."""
        pieces = [self._pieces.get(one) for one in ids]
        if any(piece is None for piece in pieces):
            return None
        return b"".join(piece for piece in pieces if piece).decode("utf-8", "replace")

    def fewest(self, text: str) -> int:
        """The fewest tokens that make ``text``, by any cut; 0 where no tokens do.

        Half a character at its ends counts for nothing, and a space in front of it may be missing:
        SentencePiece writes one there.
        """
        data = text.strip("\ufffd").encode()
        found = (self._cut(data), self._cut(b" " + data))
        return int(min(filter(math.isfinite, found), default=0))

    def _cut(self, data: bytes) -> float:
        best = [0, *[math.inf] * len(data)]
        for end in range(1, len(data) + 1):
            for begin in range(max(0, end - self._longest), end):
                if best[begin] + 1 < best[end] and data[begin:end] in self._known:
                    best[end] = best[begin] + 1
        return best[-1]


def read(path: Path) -> tuple[str, Vocabulary]:
    """SHA-256 and vocabulary of a tokenizer.json.

    Raises:
        UsageError: it cannot be read, is no tokenizer.json, or of a kind that kit does not know.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        document = jsonio.parse(data, "it", any_integer=True)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except jsonio.JsonRefused as error:
        raise _refused(path, error.what) from error
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict):
        raise _refused(path, "has no model")
    spell = _bytes_of_level if _has_kind(document.get("decoder"), "ByteLevel") else _bytes_of_piece
    pieces = {i: spell(token) for token, i in _tokens(path, model.get("vocab"))}
    added = document.get("added_tokens")
    for entry in added if isinstance(added, list) else ():
        token, number = map(entry.get, ("content", "id")) if isinstance(entry, dict) else (0, 0)
        if isinstance(token, str) and type(number) is int:
            pieces[number] = token.encode("utf-8", "replace")
    return jsonio.digest(data), Vocabulary(pieces)


def _tokens(path: Path, vocab: Any) -> Iterable[tuple[str, int]]:
    """Token and id: a vocabulary is an object, or in Unigram a list of token and score."""
    if isinstance(vocab, dict):
        pairs = list(vocab.items())
    elif isinstance(vocab, list) and all(isinstance(one, list) and one for one in vocab):
        pairs = [(one[0], number) for number, one in enumerate(vocab)]
    else:
        raise _refused(path, "has no vocabulary that kit knows")
    if not pairs or not all(isinstance(t, str) and type(i) is int for t, i in pairs):
        raise _refused(path, "has no vocabulary that kit knows")
    return pairs


def _has_kind(decoder: Any, kind: str) -> bool:
    inner = decoder.get("decoders") if isinstance(decoder, dict) else None
    if isinstance(inner, list):
        return any(_has_kind(one, kind) for one in inner)
    return isinstance(decoder, dict) and decoder.get("type") == kind


def _letters() -> dict[str, int]:
    """The letters by which byte-level tokenizers write bytes: printable ones are themselves."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {**{chr(b): b for b in own}, **{chr(256 + n): b for n, b in enumerate(others)}}


_LETTERS = _letters()


def _bytes_of_level(token: str) -> bytes:
    known = all(letter in _LETTERS for letter in token)
    return (
        bytes(_LETTERS[letter] for letter in token) if known else token.encode("utf-8", "replace")
    )


def _bytes_of_piece(token: str) -> bytes:
    if byte := _BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace(_SPACE, " ").encode("utf-8", "replace")


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{clean(str(path))} {why}", "name the model's tokenizer.json, of the same revision"
    )
