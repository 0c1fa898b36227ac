"""What a PNG file says of itself, without unpacking its pixels.

Format: https://www.w3.org/TR/png-3/ (signature, then chunks: length, type, data, CRC).
"""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_SIDES = struct.Struct(">II")
_LONGEST_SIDE = 1 << 16


def sides(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a whole PNG file: every chunk sound, nothing after the last.

    Raises:
        ValueError: it is none.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("it does not begin as a PNG file")
    place, kind, found = len(_SIGNATURE), b"", (0, 0)
    while kind != b"IEND":
        if len(data) < place + 12:
            raise ValueError("it ends before its last chunk")
        length, kind = _HEAD.unpack_from(data, place)
        end = place + 8 + length
        if len(data) < end + 4:
            raise ValueError("it ends before its last chunk")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError("a chunk of it is damaged")
        if place == len(_SIGNATURE):
            if kind != b"IHDR" or length != 13:
                raise ValueError("its first chunk does not tell its sides")
            found = _SIDES.unpack_from(data, place + 8)
        place = end + 4
    if place != len(data):
        raise ValueError("there are more bytes after its end")
    if not all(0 < side <= _LONGEST_SIDE for side in found):
        raise ValueError(f"its sides are {found[0]} and {found[1]} pixels")
    return found
