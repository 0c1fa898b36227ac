"""A run in a single file: a zip archive read strictly, by its own parser.

Two readers that disagree on one zip archive are how a forged archive shows different contents to
different people. So the layout must be the plain one: local headers from byte 0 without a gap,
each equal to its entry in the central directory, then the directory, then its end, then nothing.
Format: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from kit.archive.rules import (
    MAX_BYTES,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_FREE_BYTES,
    refuse,
    refuse_name,
    refuse_twins,
)

STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_ID = 0x0001
# Extra fields that only carry times and owners: zip64, extended timestamp, Unix owner.
_KNOWN_EXTRAS = frozenset({_ZIP64_ID, 0x5455, 0x7875})
_MAX_DIRECTORY = 16 << 20
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF
_FLAG_ENCRYPTED, _FLAG_STRONG, _FLAG_UTF8, _FLAG_LEVEL = 0x1, 0x40, 0x800, 0x6
_CHUNK = 1 << 20


class Member(NamedTuple):
    """One entry of the central directory, checked against its local header."""

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    data_at: int = 0


class Directory(NamedTuple):
    """Where the central directory lies and how many entries it has."""

    offset: int
    size: int
    entries: int
    ends: int


class ZipSource:
    """The members of a zip archive below its one top folder.

    Raises:
        ArchiveRefused: the archive is malformed, ambiguous, hostile or too large.
        OSError: the file cannot be read.
    """

    kind = "zip"

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self._members, self.top = self._open()
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return sorted(self._members)

    def size(self, name: str) -> int:
        return self._member(name).size

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        member = self._member(name)
        if member.size > limit:
            raise refuse("TOO_LARGE", name)
        self._file.seek(member.data_at)
        data = _unpack(self._file, member)
        if zlib.crc32(data) != member.crc:
            raise refuse("ZIP_CORRUPT", f"{name}: checksum")
        return data

    def close(self) -> None:
        self._file.close()

    def _member(self, name: str) -> Member:
        if name not in self._members:
            raise refuse("MISSING_FILE", ascii(name))
        return self._members[name]

    def _open(self) -> tuple[dict[str, Member], str]:
        file = self._file
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise refuse("NOT_A_FILE", "the archive itself")
        directory = _find_directory(file)
        entries = _entries(_read_at(file, directory.offset, directory.size), directory.entries)
        refuse_twins(e.name for e in entries)
        for entry in entries:
            _refuse_member(entry)
        if sum(e.size for e in entries) > MAX_BYTES:
            raise refuse("TOO_LARGE", "all members together")
        top = _top_folder(entries)
        placed = _placed(file, entries, directory.offset)
        return {m.name.removeprefix(top + "/"): m for m in placed}, top


# --- the directory --------------------------------------------------------------------------


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise refuse("NOT_A_ZIP", "it ends early")
    return data


def _find_directory(file: BinaryIO) -> Directory:
    """The end record: exactly at the end of the file, so that there is one reading only."""
    total = file.seek(0, os.SEEK_END)
    if total < _END.size:
        raise refuse("NOT_A_ZIP", "it is too short")
    at = total - _END.size
    fields = _END.unpack(_read_at(file, at, _END.size))
    if fields[0] != b"PK\x05\x06":
        raise refuse(*_why_no_end(file, total))
    _, disk, disk_cd, here, count, size, offset, comment = fields
    if disk or disk_cd or here != count or comment:
        raise refuse("ZIP_FEATURE", "several disks, or a comment")
    found = Directory(offset, size, count, at)
    if _FULL32 in (size, offset) or count == _FULL16:
        found = _directory64(file, at)
    if found.entries > MAX_MEMBERS:
        raise refuse("TOO_MANY_MEMBERS", str(found.entries))
    if found.size > _MAX_DIRECTORY:
        raise refuse("TOO_LARGE", "the central directory")
    if found.offset + found.size != found.ends:
        raise refuse("ZIP_SURROUNDED", "around the central directory")
    return found


def _why_no_end(file: BinaryIO, total: int) -> tuple[str, str]:
    window = min(total, 1 << 17)
    if b"PK\x05\x06" in _read_at(file, total - window, window):
        return "ZIP_SURROUNDED", "after the end"
    return "NOT_A_ZIP", "it has no end record"


def _directory64(file: BinaryIO, end_at: int) -> Directory:
    at = end_at - _LOCATOR.size
    if at < _END64.size:
        raise refuse("NOT_A_ZIP", "it has no zip64 record")
    signature, disk, offset64, disks = _LOCATOR.unpack(_read_at(file, at, _LOCATOR.size))
    if signature != b"PK\x06\x07" or disk or disks != 1 or offset64 != at - _END64.size:
        raise refuse("ZIP_FEATURE", "its zip64 locator")
    fields = _END64.unpack(_read_at(file, offset64, _END64.size))
    signature, length, _, _, disk, disk_cd, here, count, size, offset = fields
    if signature != b"PK\x06\x06" or length != _END64.size - 12 or disk or disk_cd:
        raise refuse("ZIP_FEATURE", "its zip64 record")
    if here != count:
        raise refuse("ZIP_FEATURE", "several disks")
    return Directory(offset, size, count, offset64)


def _entries(data: bytes, count: int) -> list[Member]:
    found: list[Member] = []
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data):
            raise refuse("NOT_A_ZIP", "its directory ends early")
        entry, at = _entry(data, at)
        found.append(entry)
    if at != len(data):
        raise refuse("ZIP_SURROUNDED", "in the central directory")
    return found


def _entry(data: bytes, at: int) -> tuple[Member, int]:
    fields = _ENTRY.unpack_from(data, at)
    signature, made_by, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_n, extra_n, comment_n, disk, _, attributes, offset = fields[10:]
    if signature != b"PK\x01\x02":
        raise refuse("NOT_A_ZIP", "its directory is malformed")
    if disk or comment_n:
        raise refuse("ZIP_FEATURE", "a member on another disk, or with a comment")
    at += _ENTRY.size
    name = _name(data[at : at + name_n])
    extra = _extras(data[at + name_n : at + name_n + extra_n], name)
    size, packed, offset = _widened((size, packed, offset), extra, name)
    _refuse_mode(made_by, attributes, name)
    return Member(name, method, flags, crc, packed, size, offset), at + name_n + extra_n


def _name(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise refuse("NAME_UNSAFE", ascii(raw)) from error


def _extras(data: bytes, name: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise refuse("ZIP_FEATURE", f"{name!a}: extra field")
        kind, size = struct.unpack_from("<2H", data, at)
        if kind not in _KNOWN_EXTRAS or kind in found or at + 4 + size > len(data):
            raise refuse("ZIP_FEATURE", f"{name!a}: extra field {kind:#06x}")
        found[kind] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _widened(values: tuple[int, ...], extra: dict[int, bytes], name: str) -> list[int]:
    """Values of 32 bits, with those that say "see zip64" taken from there, in order."""
    wanted = sum(value == _FULL32 for value in values)
    field = extra.get(_ZIP64_ID, b"")
    if not wanted and field == struct.pack(f"<{len(values)}Q", *values):
        return list(values)  # said twice, and the same
    if len(field) != 8 * wanted:
        raise refuse("ZIP_HEADERS_DIFFER", f"{name!a}: zip64 sizes")
    wide = iter(struct.unpack(f"<{wanted}Q", field))
    return [next(wide) if value == _FULL32 else value for value in values]


def _refuse_mode(made_by: int, attributes: int, name: str) -> None:
    mode = attributes >> 16
    unix = made_by >> 8 == 3 or stat.S_IFMT(mode)
    if unix and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise refuse("NOT_A_FILE", ascii(name))
    if attributes & 0x10:  # the MS-DOS directory bit
        raise refuse("NOT_A_FILE", ascii(name))


def _refuse_member(member: Member) -> None:
    if member.flags & (_FLAG_ENCRYPTED | _FLAG_STRONG):
        raise refuse("ZIP_ENCRYPTED", ascii(member.name))
    if member.flags & ~(_FLAG_UTF8 | _FLAG_LEVEL):
        raise refuse("ZIP_FEATURE", f"{member.name!a}: flags {member.flags:#x}")
    if member.method not in (STORED, DEFLATED):
        raise refuse("ZIP_METHOD", f"{member.name!a}: {member.method}")
    if member.method == STORED and member.size != member.packed:
        raise refuse("ZIP_HEADERS_DIFFER", f"{member.name!a}: stored size")
    if member.size > max(RATIO_FREE_BYTES, MAX_RATIO * member.packed):
        raise refuse("BOMB", ascii(member.name))


def _top_folder(members: list[Member]) -> str:
    for member in members:
        refuse_name(member.name.partition("/")[2] or member.name)
        refuse_name(member.name.partition("/")[0])
    tops = {m.name.partition("/")[0] for m in members}
    if len(tops) != 1 or any("/" not in m.name for m in members):
        raise refuse("TOP_FOLDER", f"{len(tops)} of them")
    return tops.pop()


# --- the members ----------------------------------------------------------------------------


def _placed(file: BinaryIO, members: list[Member], directory_at: int) -> list[Member]:
    """Members with where their data begins; together they fill the file up to the directory."""
    found: list[Member] = []
    expected = 0
    for member in sorted(members, key=lambda m: m.offset):
        if member.offset != expected:
            code = "ZIP_OVERLAP" if member.offset < expected else "ZIP_SURROUNDED"
            raise refuse(code, ascii(member.name))
        data_at = _local_data_at(file, member)
        expected = data_at + member.packed
        found.append(member._replace(data_at=data_at))
    if expected != directory_at:
        code = "ZIP_OVERLAP" if expected > directory_at else "ZIP_SURROUNDED"
        raise refuse(code, "before the central directory")
    return found


def _local_data_at(file: BinaryIO, member: Member) -> int:
    head = _LOCAL.unpack(_read_at(file, member.offset, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_n, extra_n = head
    tail = _read_at(file, member.offset + _LOCAL.size, name_n + extra_n)
    name = ascii(member.name)
    if signature != b"PK\x03\x04" or tail[:name_n] != member.name.encode("ascii"):
        raise refuse("ZIP_HEADERS_DIFFER", f"{name}: name")
    extra = _extras(tail[name_n:], member.name)
    size, packed = _widened((size, packed), extra, member.name)
    told = (flags, method, crc, packed, size)
    if told != (member.flags, member.method, member.crc, member.packed, member.size):
        raise refuse("ZIP_HEADERS_DIFFER", name)
    return int(member.offset + _LOCAL.size + name_n + extra_n)


def _unpack(file: BinaryIO, member: Member) -> bytes:
    """The member's bytes; unpacking stops one byte past the declared size."""
    if member.method == STORED:
        return _read_at(file, member.data_at, member.size)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    room, left = member.size + 1, member.packed
    try:
        while left and room and not engine.eof:
            packed = file.read(min(_CHUNK, left))
            if not packed:
                break
            left -= len(packed)
            parts.append(engine.decompress(packed, room))
            room -= len(parts[-1])
    except zlib.error as error:
        raise refuse("ZIP_CORRUPT", ascii(member.name)) from error
    if room == 0:
        raise refuse("BOMB", f"{member.name!a}: more than it declares")
    if room != 1 or not engine.eof or left or engine.unused_data:
        raise refuse("ZIP_CORRUPT", ascii(member.name))
    return b"".join(parts)
