"""What a PNG file says of itself, without unpacking its pixels.

Format: https://www.w3.org/TR/png-3/ (signature, then chunks: length, type, data, CRC).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from kit.core.limits import LONGEST_SIDE

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_SIDES = struct.Struct(">II")
_HEAD_BYTES = 13


def sides(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a whole PNG file: every chunk sound, one head, pixels, and
    nothing in or after the last chunk.

    Raises:
        ValueError: it is none.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("it does not begin as a PNG file")
    chunks = list(_chunks(data))
    heads = [number for number, (kind, _, _) in enumerate(chunks) if kind == b"IHDR"]
    if heads != [0] or chunks[0][2] != _HEAD_BYTES:
        raise ValueError("its first chunk, and that alone, must give its sides")
    if not any(kind == b"IDAT" and length for kind, _, length in chunks):
        raise ValueError("it has no pixels")
    _, end, length = chunks[-1]
    if length or end + 4 != len(data):
        raise ValueError("there are more bytes after its end")
    width, height = _SIDES.unpack_from(data, chunks[0][1])
    if not all(0 < side <= LONGEST_SIDE for side in (width, height)):
        raise ValueError(f"its sides are {width} and {height} pixels")
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place of the content and its length of every chunk, up to the first ``IEND``."""
    place, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if len(data) < place + 12:
            raise ValueError("it ends before its last chunk")
        length, kind = _HEAD.unpack_from(data, place)
        end = place + 8 + length
        if len(data) < end + 4:
            raise ValueError("it ends before its last chunk")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError("a chunk of it is damaged")
        yield kind, place + 8, length
        place = end + 4
