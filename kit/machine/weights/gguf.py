"""What a GGUF file says of itself: the metadata at its beginning.

The file may be anyone's: a bounded piece of it is read, and every length is checked. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from kit.core.text import clean

MAGIC = b"GGUF"
_READ = 1 << 20
_SHOWN = 80
_MOST = 1000  # keys that are looked at; writers put a model's few before its tokenizer's
_KEY = "general.name"
_STRING, _ARRAY = 8, 9
_ENTRIES = 1024  # of an array that is read, one a layer
# Type of a value → its size in bytes, if fixed.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# Types that are whole numbers → their format in `struct`.
_INTEGERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
Value = str | int
_WORD = re.compile(r"[a-z][a-z0-9]{2,}")


def own_name(path: Path) -> str:
    """The name in the file; empty if it has none, or is no GGUF file."""
    name = next((value for key, value in _facts(path) if key == _KEY), "")
    return _line(name) if isinstance(name, str) else ""


def is_gguf(path: Path) -> bool:
    """Whether the file begins as a GGUF file does."""
    return _head(path, len(MAGIC)) == MAGIC


def metadata(path: Path) -> dict[str, Value]:
    """Texts and whole numbers by key, as far as they lie in the file's first MiB.

    Of an array of numbers (one a layer) the largest is given. Texts are cleaned and cut. What
    cannot be read is left out; of a file that is no GGUF file that is everything.
    """
    return {k: _line(v) if isinstance(v, str) else v for k, v in _facts(path)}


def licence(facts: Mapping[str, Value]) -> str:
    """The licence in a file's `metadata`; its own name where that is "other", empty without one."""
    stated = facts.get("general.license", "")
    named = facts.get("general.license.name", stated) if stated == "other" else stated
    return named if isinstance(named, str) else ""


def fits(name: str, *names: str) -> bool:
    """Whether the spec's name of the model has a word of ``name``; true without any word."""
    words = _WORD.findall(name.lower())
    joined = re.sub(r"[^a-z0-9]", "", " ".join(names).lower())
    return not words or any(word in joined for word in words)


def _line(text: str) -> str:
    return clean(text).strip()[:_SHOWN]


def _head(path: Path, size: int = _READ) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _facts(path: Path) -> Iterator[tuple[str, Value]]:
    """Key and value of each text and number, up to what cannot be read."""
    data = _head(path)
    if data[:4] != MAGIC:
        return
    try:
        yield from _pairs(data)
    except (struct.error, LookupError):
        return


def _pairs(data: bytes) -> Iterator[tuple[str, Value]]:
    """Raises LookupError or struct.error where the data ends or is no metadata."""
    _, _, count = struct.unpack_from("<IQQ", data, 4)
    at = 24
    for _ in range(min(count, _MOST)):
        key, at = _text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        end = _after(data, at + 4, kind)
        value = _value(data, at + 4, kind)
        if value is not None:
            yield key.decode("utf-8", "replace"), value
        at = end


def _value(data: bytes, at: int, kind: int) -> Value | None:
    """The value at ``at``; None for kinds that are not read."""
    if kind == _STRING:
        return _text(data, at)[0].decode("utf-8", "replace")
    if kind in _INTEGERS:
        return int(struct.unpack_from(f"<{_INTEGERS[kind]}", data, at)[0])
    if kind != _ARRAY:
        return None
    inner, count = struct.unpack_from("<IQ", data, at)
    if inner not in _INTEGERS or not 0 < count <= _ENTRIES:
        return None
    return int(max(struct.unpack_from(f"<{count}{_INTEGERS[inner]}", data, at + 12)))


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
        return _within(data, at + _SIZES[kind])
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner != _STRING:
        return _within(data, at + _SIZES[inner] * int(count))
    for _ in range(min(count, len(data))):
        at = _text(data, at)[1]
    return at


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise LookupError("it goes on beyond what was read")
    return end
