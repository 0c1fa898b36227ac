"""The layout of a zip archive: local headers agree with the directory, without gaps.

Format: APPNOTE.TXT 6.3.10, sections 4.3.7 and 4.3.9.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from kit.record.archive.directory import DEFLATED, Member, extras_of, read_at, widened
from kit.record.archive.rules import refuse

# The flag of a member that was packed into a stream: checksum and sizes follow its bytes.
STREAMED = 0x8
_LOCAL = struct.Struct("<4s5H3L2H")
_BEHIND, _BEHIND64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")


def placed(file: BinaryIO, members: list[Member], directory_at: int) -> list[Member]:
    """Members with the begin of their data; together they fill the file up to the directory.

    Raises:
        ArchiveRefused: bytes that belong to no member or to two, or headers that contradict.
    """
    members_placed: list[Member] = []
    expected = 0
    for member in sorted(members, key=lambda m: m.offset):
        if member.offset != expected:
            code = "ZIP_OVERLAP" if member.offset < expected else "ZIP_SURROUNDED"
            raise refuse(code, ascii(member.name))
        data_at, expected = _extent(file, member)
        members_placed.append(member._replace(data_at=data_at))
    if expected != directory_at:
        code = "ZIP_OVERLAP" if expected > directory_at else "ZIP_SURROUNDED"
        raise refuse(code, "before the central directory")
    return members_placed


def _extent(file: BinaryIO, member: Member) -> tuple[int, int]:
    """The begin of a member's data, and the end of the member."""
    head = _LOCAL.unpack(read_at(file, member.offset, _LOCAL.size))
    signature, _, flags, method, time, date, crc, packed, size, name_n, extra_n = head
    tail = read_at(file, member.offset + _LOCAL.size, name_n + extra_n)
    name = ascii(member.name)
    if signature != b"PK\x03\x04" or tail[:name_n] != member.name.encode("ascii"):
        raise refuse("ZIP_HEADERS_DIFFER", f"{name}: name")
    extra = extras_of(tail[name_n:], member.name)
    is_wide = 0xFFFFFFFF in (size, packed)
    size, packed = widened((size, packed), extra, member.name)
    if flags & STREAMED:  # values that the packer did not know yet are zero there
        crc, packed, size = crc or member.crc, packed or member.packed, size or member.size
    if (method, flags, time, date, crc, packed, size) != member[1:8]:
        raise refuse("ZIP_HEADERS_DIFFER", name)
    data_at = int(member.offset + _LOCAL.size + name_n + extra_n)
    end = data_at + member.packed
    return data_at, end + (_behind(file, member, end, is_wide) if flags & STREAMED else 0)


def _behind(file: BinaryIO, member: Member, at: int, is_wide: bool) -> int:
    """The size of the record after a streamed member; it must agree with the directory."""
    form = _BEHIND64 if is_wide else _BEHIND
    expected = (b"PK\x07\x08", member.crc, member.packed, member.size)
    # Stored bytes do not mark their end, so that a reader of the stream would have to guess it.
    if member.method != DEFLATED or form.unpack(read_at(file, at, form.size)) != expected:
        raise refuse("ZIP_FEATURE", f"{member.name!a}: streamed, without its sizes behind it")
    return form.size
