"""A run in a single file: a zip archive read strictly, by its own parser.

Two readers that disagree on one zip archive are how a forged archive shows different contents to
different people. So the layout must be the plain one: local headers from byte 0 without a gap,
each equal to its entry in the central directory, then the directory, then its end, then nothing.
Format: APPNOTE.TXT 6.3.10, section 4.3.7; the directory is `kit.archive.directory`'s.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kit.archive.directory import (
    DEFLATED,
    STORED,
    Member,
    entries_of,
    extras_of,
    find_directory,
    read_at,
    widened,
)
from kit.archive.rules import (
    MAX_BYTES,
    MAX_RATIO,
    PIECE,
    RATIO_FREE_BYTES,
    refuse,
    refuse_name,
    refuse_twins,
)

_LOCAL = struct.Struct("<4s5H3L2H")
_FLAG_ENCRYPTED, _FLAG_STRONG, _FLAG_UTF8, _FLAG_LEVEL = 0x1, 0x40, 0x800, 0x6


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

    def pieces(self, name: str) -> Iterator[bytes]:
        member = self._member(name)
        crc, left = 0, member.size
        for data in _unpacked(self._file, member):
            left -= len(data)
            if left < 0:
                raise refuse("BOMB", f"{name}: more than it declares")
            crc = zlib.crc32(data, crc)
            yield data
        if left or crc != member.crc:
            raise refuse("ZIP_CORRUPT", f"{name}: size or checksum")

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        if self.size(name) > limit:
            raise refuse("TOO_LARGE", name)
        return b"".join(self.pieces(name))

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
        directory = find_directory(file)
        entries = entries_of(file, directory)
        refuse_twins(e.name for e in entries)
        for entry in entries:
            _refuse_member(entry)
        if sum(e.size for e in entries) > MAX_BYTES:
            raise refuse("TOO_LARGE", "all members together")
        top = _top_folder(entries)
        placed = _placed(file, entries, directory.offset)
        return {m.name.removeprefix(top + "/"): m for m in placed}, top


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
    head = _LOCAL.unpack(read_at(file, member.offset, _LOCAL.size))
    signature, _, flags, method, time, date, crc, packed, size, name_n, extra_n = head
    tail = read_at(file, member.offset + _LOCAL.size, name_n + extra_n)
    name = ascii(member.name)
    if signature != b"PK\x03\x04" or tail[:name_n] != member.name.encode("ascii"):
        raise refuse("ZIP_HEADERS_DIFFER", f"{name}: name")
    extra = extras_of(tail[name_n:], member.name)
    size, packed = widened((size, packed), extra, member.name)
    if (method, flags, time, date, crc, packed, size) != member[1:8]:
        raise refuse("ZIP_HEADERS_DIFFER", name)
    return int(member.offset + _LOCAL.size + name_n + extra_n)


def _unpacked(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member's bytes in pieces of at most 1 MiB, however far its packed bytes would go."""
    if member.method == STORED:
        yield from _packed(file, member)
        return
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = _packed(file, member)
    try:
        while not engine.eof:
            data = engine.unconsumed_tail or next(packed, b"")
            found = engine.decompress(data, PIECE)
            if not data and not found:
                raise refuse("ZIP_CORRUPT", f"{member.name}: it ends early")
            yield found
    except zlib.error as error:
        raise refuse("ZIP_CORRUPT", member.name) from error
    if engine.unused_data or next(packed, b""):
        raise refuse("ZIP_CORRUPT", f"{member.name}: bytes after its end")


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member's packed bytes; the file may be read elsewhere meanwhile."""
    end = member.data_at + member.packed
    for at in range(member.data_at, end, PIECE):
        yield read_at(file, at, min(PIECE, end - at))
