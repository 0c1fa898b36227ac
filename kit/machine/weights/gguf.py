"""The name in a GGUF file: ``general.name`` in the metadata at its beginning.

The file may be anyone's: a bounded piece of it is read, and every length is checked.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from kit.core.text import clean

MAGIC = b"GGUF"
_READ = 1 << 20
_SHOWN = 80
_MOST = 1000  # keys before the name; writers put it among the first ten
_KEY = b"general.name"
_STRING, _ARRAY = 8, 9
# Type of a value → its size in bytes, if fixed.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_WORD = re.compile(r"[a-z][a-z0-9]{2,}")


def own_name(path: Path) -> str:
    """The name in the file; empty if it has none, or is no GGUF file."""
    try:
        with path.open("rb") as file:
            data = file.read(_READ)
    except OSError:
        return ""
    if data[:4] != MAGIC:
        return ""
    try:
        return clean(_name(data).decode("utf-8", "replace")).strip()[:_SHOWN]
    except (struct.error, LookupError):
        return ""


def fits(name: str, *names: str) -> bool:
    """Whether the spec's name of the model has a word of ``name``; true without any word."""
    words = _WORD.findall(name.lower())
    joined = re.sub(r"[^a-z0-9]", "", " ".join(names).lower())
    return not words or any(word in joined for word in words)


def _name(data: bytes) -> bytes:
    """The value of ``general.name``; raises LookupError or struct.error if it is not in there."""
    _, _, count = struct.unpack_from("<IQQ", data, 4)
    at = 24
    for _ in range(min(count, _MOST)):
        key, at = _text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        if key == _KEY and kind == _STRING:
            return _text(data, at + 4)[0]
        at = _after(data, at + 4, kind)
    raise LookupError("no name")


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise LookupError("it goes on beyond what was read")
    return data[at + 8 : end], end


def _after(data: bytes, at: int, kind: int) -> int:
    """The end of the value of this kind at ``at``."""
    if kind == _STRING:
        return _text(data, at)[1]
    if kind != _ARRAY:
        return at + _SIZES[kind]
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner != _STRING:
        return at + _SIZES[inner] * int(count)
    for _ in range(min(count, len(data))):
        at = _text(data, at)[1]
    return at
