"""The central directory of a zip archive, parsed strictly: ambiguous ones are refused.

Format: APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import BinaryIO, NamedTuple

from kit.record.archive.rules import MAX_MEMBERS, refuse

STORED, DEFLATED = 0, 8
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_ID = 0x0001
# Extra fields that kit reads (zip64) or that only carry times and owners, with the most bytes of
# each, so that nothing can hide in one: NTFS times, extended timestamp, old and new Unix owner,
# and Java's empty mark.
_KNOWN_EXTRAS = {
    _ZIP64_ID: 28,
    0x000A: 32,
    0x5455: 28,
    0x5855: 12,
    0x7855: 4,
    0x7875: 28,
    0xCAFE: 0,
}
_MAX_DIRECTORY = 16 << 20
_HEAD = 512
_PACKED = "it is another kind of archive; unpack it and name the run's folder"
# How other files begin that people may have instead of a zip archive.
_OTHER_KINDS = (
    (b"PK\x03\x04", "it ends early; the download was cut short, get it again"),
    (b"version https://git-lfs", "it is a pointer of Git LFS; `git lfs pull` gets the file"),
    (b"<", "it is a web page, perhaps to sign in; download the file itself"),
    (b"{", "it is a JSON document; name the folder of the run or its .kit.zip"),
    *((begin, _PACKED) for begin in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")),
    (b"\x28\xb5\x2f\xfd", _PACKED),
)
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF


class Member(NamedTuple):
    """One entry of the central directory, checked against its local header."""

    name: str
    method: int
    flags: int
    time: int
    date: int
    crc: int
    packed: int
    size: int
    offset: int
    data_at: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether this is an empty entry for a folder."""
        return self.name.endswith("/") and not (self.size or self.crc) and self.packed <= 2


class Directory(NamedTuple):
    """The place of the central directory, and its number of entries."""

    offset: int
    size: int
    entries: int
    ends: int


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes from ``offset``; raises `ArchiveRefused` if there are fewer."""
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise refuse("NOT_A_ZIP", "it ends early")
    return data


def find_directory(file: BinaryIO) -> Directory:
    """The directory that the end record names.

    The record must be exactly at the end of the file, so that it is unambiguous.

    Raises:
        ArchiveRefused: the file is no such archive; the message says what it seems to be.
    """
    total = file.seek(0, os.SEEK_END)
    if total < _END.size:
        raise refuse("NOT_A_ZIP", _other_kind(file, total))
    at = total - _END.size
    fields = _END.unpack(read_at(file, at, _END.size))
    if fields[0] != b"PK\x05\x06":
        raise refuse(*_no_end(file, total))
    _, disk, disk_cd, on_this_disk, count, size, offset, comment = fields
    if disk or disk_cd or on_this_disk != count or comment:
        raise refuse("ZIP_FEATURE", "several disks, or a comment")
    directory = Directory(offset, size, count, at)
    if _FULL32 in (size, offset) or count == _FULL16:
        directory = _directory64(file, at)
        _refuse_contradiction((size, offset, count), directory)
    elif _is_locator(file, at - _LOCATOR.size):
        raise refuse("ZIP_HEADERS_DIFFER", "a zip64 locator that nothing asks for")
    if directory.entries > MAX_MEMBERS:
        raise refuse("TOO_MANY_MEMBERS", str(directory.entries))
    if directory.size > _MAX_DIRECTORY:
        raise refuse("TOO_LARGE", "the central directory")
    if directory.offset + directory.size != directory.ends:
        raise refuse("ZIP_SURROUNDED", "around the central directory")
    return directory


def _no_end(file: BinaryIO, total: int) -> tuple[str, str]:
    window = min(total, 1 << 17)
    if b"PK\x05\x06" in read_at(file, total - window, window):
        return "ZIP_SURROUNDED", "after the end"
    return "NOT_A_ZIP", _other_kind(file, total)


def _other_kind(file: BinaryIO, total: int) -> str:
    """What kind of file this is instead of a zip archive, with a remedy."""
    if not total:
        return "it is empty; download or copy it again"
    head = read_at(file, 0, min(total, _HEAD)).lstrip()
    kind = next((remedy for begin, remedy in _OTHER_KINDS if head.startswith(begin)), None)
    if b"ustar" in head[257:265]:
        kind = _PACKED
    return kind or "it has no end record"


def _refuse_contradiction(end_record: tuple[int, int, int], wide: Directory) -> None:
    """Refuse a short end record that contradicts the zip64 record.

    Some readers use one and some the other: they would see different archives.
    """
    for short, full, value in zip(
        end_record, (_FULL32, _FULL32, _FULL16), (wide.size, wide.offset, wide.entries), strict=True
    ):
        if short not in (full, value):
            raise refuse("ZIP_HEADERS_DIFFER", "its end record and its zip64 record")


def _is_locator(file: BinaryIO, at: int) -> bool:
    return at >= 0 and read_at(file, at, 4) == b"PK\x06\x07"


def _directory64(file: BinaryIO, end_at: int) -> Directory:
    at = end_at - _LOCATOR.size
    if at < _END64.size:
        raise refuse("NOT_A_ZIP", "it has no zip64 record")
    signature, disk, offset64, disks = _LOCATOR.unpack(read_at(file, at, _LOCATOR.size))
    if signature != b"PK\x06\x07" or disk or disks != 1 or offset64 != at - _END64.size:
        raise refuse("ZIP_FEATURE", "its zip64 locator")
    fields = _END64.unpack(read_at(file, offset64, _END64.size))
    signature, length, _, _, disk, disk_cd, on_this_disk, count, size, offset = fields
    if signature != b"PK\x06\x06" or length != _END64.size - 12 or disk or disk_cd:
        raise refuse("ZIP_FEATURE", "its zip64 record")
    if on_this_disk != count:
        raise refuse("ZIP_FEATURE", "several disks")
    return Directory(offset, size, count, offset64)


def entries_of(file: BinaryIO, directory: Directory) -> list[Member]:
    """Every entry, in order; together they fill the directory exactly."""
    data = read_at(file, directory.offset, directory.size)
    members: list[Member] = []
    at = 0
    for _ in range(directory.entries):
        if at + _ENTRY.size > len(data):
            raise refuse("NOT_A_ZIP", "its directory ends early")
        entry, at = _entry(data, at)
        members.append(entry)
    if at != len(data):
        raise refuse("ZIP_SURROUNDED", "in the central directory")
    return members


def _entry(data: bytes, at: int) -> tuple[Member, int]:
    fields = _ENTRY.unpack_from(data, at)
    signature, made_by, _, flags, method, time, date, crc, packed, size = fields[:10]
    name_n, extra_n, comment_n, disk, _, attributes, offset = fields[10:]
    if signature != b"PK\x01\x02":
        raise refuse("NOT_A_ZIP", "its directory is malformed")
    if disk or comment_n:
        raise refuse("ZIP_FEATURE", "a member on another disk, or with a comment")
    at += _ENTRY.size
    name = _name(data[at : at + name_n])
    extra = extras_of(data[at + name_n : at + name_n + extra_n], name)
    size, packed, offset = widened((size, packed, offset), extra, name)
    member = Member(name, method, flags, time, date, crc, packed, size, offset)
    _refuse_mode(made_by, attributes, member)
    return member, at + name_n + extra_n


def _name(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise refuse("NAME_UNSAFE", ascii(raw)) from error


def extras_of(data: bytes, name: str) -> dict[int, bytes]:
    """Extra fields by their kind: known kinds only, each once."""
    extras: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise refuse("ZIP_FEATURE", f"{name!a}: extra field")
        kind, size = struct.unpack_from("<2H", data, at)
        is_allowed = kind not in extras and size <= _KNOWN_EXTRAS.get(kind, -1)
        if not is_allowed or at + 4 + size > len(data):
            raise refuse("ZIP_FEATURE", f"{name!a}: extra field {kind:#06x}")
        extras[kind] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return extras


def widened(values: tuple[int, ...], extra: dict[int, bytes], name: str) -> list[int]:
    """Values of 32 bits; those that refer to zip64 are taken from there, in order."""
    wanted = sum(value == _FULL32 for value in values)
    field = extra.get(_ZIP64_ID, b"")
    if not wanted and field == struct.pack(f"<{len(values)}Q", *values):
        return list(values)  # stated twice, consistently
    if len(field) != 8 * wanted:
        raise refuse("ZIP_HEADERS_DIFFER", f"{name!a}: zip64 sizes")
    wide = iter(struct.unpack(f"<{wanted}Q", field))
    return [next(wide) if value == _FULL32 else value for value in values]


def _refuse_mode(made_by: int, attributes: int, member: Member) -> None:
    kind = stat.S_IFMT(attributes >> 16)
    unix = made_by >> 8 == 3 or kind
    fine = (0, stat.S_IFDIR) if member.is_folder else (0, stat.S_IFREG)
    is_dos_folder = attributes & 0x10
    if (unix and kind not in fine) or (is_dos_folder and not member.is_folder):
        raise refuse("NOT_A_FILE", ascii(member.name))
