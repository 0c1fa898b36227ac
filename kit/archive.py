"""Reading a run safely, from a folder or a single file: nothing is extracted, nothing is run.

An archive from elsewhere is hostile until shown otherwise. What breaks a rule here is refused
with a named code before a byte of it is believed (level L0 of `kit verify`).
"""

from __future__ import annotations

import os
import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from kit.errors import ArchiveRefused, UsageError

SUFFIX = ".kit.zip"
MANIFEST = "manifest.json"
MAX_MEMBERS = 10_000
MAX_BYTES = 8 << 30
MAX_RATIO = 100
MAX_MANIFEST = 8 << 20
MAX_DEPTH = 5
# Below this a high ratio is harmless: a few kilobytes of zeros are no bomb.
RATIO_FREE_BYTES = 1 << 20
SEAL_SUFFIXES = (".sshsig", ".tsr", ".sigstore.json")

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STORED, _DEFLATED = 0, 8


class Source(Protocol):
    """A run to be read: ``names`` are its files, with ``/``, without the top folder."""

    kind: str

    def names(self) -> list[str]:
        """Every file, sorted."""
        ...

    def size(self, name: str) -> int:
        """A file's declared size in bytes."""
        ...

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """A file's bytes; refuses one that is longer than ``limit`` or than it declared."""
        ...

    def close(self) -> None: ...


def open_source(path: Path) -> Source:
    """Open a run: a folder (sealed or in flight) or a ``.kit.zip``.

    Raises:
        UsageError: there is no such run.
        ArchiveRefused: it breaks a rule of safe reading.
    """
    if path.is_symlink():
        raise ArchiveRefused("LINK", "the run's path is a symbolic link", "name what it points to")
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise UsageError(f"there is no run at {path}", "`kit ls` lists the runs")


def check_name(name: str) -> None:
    """Refuse a member name that could escape, hide or collide; ``name`` uses ``/``."""
    segments = name.split("/")
    if len(segments) > MAX_DEPTH:
        raise ArchiveRefused("NAME_TOO_DEEP", f"{name[:80]!r} lies too deep")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise ArchiveRefused("NAME_UNSAFE", f"{name[:80]!r} is not a safe file name")


def check_twins(names: list[str]) -> None:
    """Refuse names that some file systems would take for one another."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            code = "DUPLICATE" if seen[folded] == name else "NAME_TWINS"
            raise ArchiveRefused(code, f"{name[:80]!r} is there twice")
        seen[folded] = name


class FolderSource:
    """A folder: regular files only, opened without following links."""

    kind = "folder"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes = dict(sorted(self._walk(root, "")))
        if len(self._sizes) > MAX_MEMBERS:
            raise ArchiveRefused("TOO_MANY", f"more than {MAX_MEMBERS} files")
        check_twins(list(self._sizes))

    def names(self) -> list[str]:
        return list(self._sizes)

    def size(self, name: str) -> int:
        return self._sizes[name]

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        if name not in self._sizes:
            raise ArchiveRefused("MISSING", f"{name} is missing")
        with self._open(name) as file:
            data = file.read(min(limit, MAX_BYTES) + 1)
        if len(data) > limit:
            raise ArchiveRefused("TOO_LARGE", f"{name} is larger than {limit} bytes")
        return data

    def close(self) -> None:
        """A folder holds nothing open."""

    def _open(self, name: str) -> BinaryIO:
        """Open segment by segment, so that no folder on the way may be a link either."""
        *folders, last = name.split("/")
        here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                inner = os.open(folder, flags, dir_fd=here)
                os.close(here)
                here = inner
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
        except OSError as error:
            raise ArchiveRefused("LINK", f"{name} cannot be opened safely: {error}") from error
        finally:
            os.close(here)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise ArchiveRefused("NOT_A_FILE", f"{name} is not a regular file")
        return os.fdopen(file, "rb")

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
        for entry in os.scandir(folder):
            name = prefix + entry.name
            check_name(name)
            if entry.is_symlink():
                raise ArchiveRefused("LINK", f"{name} is a symbolic link")
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), name + "/")
                continue
            facts = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(facts.st_mode):
                raise ArchiveRefused("NOT_A_FILE", f"{name} is not a regular file")
            if facts.st_nlink > 1:
                raise ArchiveRefused("LINK", f"{name} has several hard links")
            yield name, facts.st_size


class Member(NamedTuple):
    """One entry of a zip's central directory, as far as kit trusts it."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int
    flags: int


class ZipSource:
    """A single-file run. Central and local headers must tell the same story, without gaps."""

    kind = "zip"

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            members, begin = _central_directory(self._file)
            self._data = _laid_out(self._file, members, begin)
        except (struct.error, UnicodeDecodeError) as error:
            self._file.close()
            raise ArchiveRefused("ZIP_MALFORMED", "the zip file is malformed") from error
        except ArchiveRefused:
            self._file.close()
            raise
        self._members = {name: m for m in members if (name := _inner(m.name))}
        self.top = members[0].name.split("/")[0] if members else ""

    def names(self) -> list[str]:
        return sorted(self._members)

    def size(self, name: str) -> int:
        return self._members[name].size

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise ArchiveRefused("MISSING", f"{name} is missing")
        if member.size > limit:
            raise ArchiveRefused("TOO_LARGE", f"{name} is larger than {limit} bytes")
        self._file.seek(self._data[member.name])
        packed = self._file.read(member.packed)
        data = packed if member.method == _STORED else _inflate(packed, member)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise ArchiveRefused("ZIP_CRC", f"{name} does not match its own checksum")
        return data

    def close(self) -> None:
        self._file.close()


def _inner(name: str) -> str:
    """The name below the one top folder; empty for the folder itself."""
    return name.partition("/")[2]


def _inflate(packed: bytes, member: Member) -> bytes:
    """Inflate to no more than one byte past the declared size."""
    engine = zlib.decompressobj(-15)
    try:
        data = engine.decompress(packed, member.size + 1)
    except zlib.error as error:
        raise ArchiveRefused("ZIP_MALFORMED", f"{member.name} cannot be inflated") from error
    if len(data) > member.size or not engine.eof or engine.unused_data:
        raise ArchiveRefused("BOMB", f"{member.name} is not as long as it says")
    return data


# --- zip structure, read by hand because zipfile forgives too much ----------------------------

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_32 = 0xFFFFFFFF
_16 = 0xFFFF


def _central_directory(file: BinaryIO) -> tuple[list[Member], int]:
    """Every member and where the directory begins; the file must end with it and nothing else."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _END.size))
    tail = file.read()
    if len(tail) < _END.size or tail[:4] != b"PK\5\6":
        code = "ZIP_TRAILING" if b"PK\5\6" in _last(file, length) else "ZIP_MALFORMED"
        raise ArchiveRefused(code, "the file does not end as a zip file must")
    _, disk, start_disk, here, count, size, begin, comment = _END.unpack(tail)
    end = length - _END.size
    if _32 in (size, begin) or count == _16:
        count, size, begin, end = _zip64(file, end)
        here = count
    if disk or start_disk or comment or here != count:
        raise ArchiveRefused("ZIP_TRAILING", "the zip file has a comment or several parts")
    if count > MAX_MEMBERS:
        raise ArchiveRefused("TOO_MANY", f"more than {MAX_MEMBERS} members")
    if begin + size != end:
        raise ArchiveRefused("ZIP_PREFIXED", "bytes stand before or between the zip's parts")
    file.seek(begin)
    return list(_entries(file.read(size), count)), begin


def _last(file: BinaryIO, length: int) -> bytes:
    file.seek(max(0, length - (1 << 16)))
    return file.read()


def _zip64(file: BinaryIO, end: int) -> tuple[int, int, int, int]:
    file.seek(end - _END64_LOCATOR.size)
    magic, _, where, _ = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
    file.seek(where)
    fields = _END64.unpack(file.read(_END64.size))
    if magic != b"PK\6\7" or fields[0] != b"PK\6\6":
        raise ArchiveRefused("ZIP_MALFORMED", "the zip file's 64-bit directory is malformed")
    if where + _END64.size != end - _END64_LOCATOR.size:
        raise ArchiveRefused("ZIP_TRAILING", "bytes stand inside the zip's directory")
    return fields[7], fields[8], fields[9], where


def _entries(data: bytes, count: int) -> Iterator[Member]:
    at = 0
    total = 0
    for _ in range(count):
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\1\2":
            raise ArchiveRefused("ZIP_MALFORMED", "the zip file's directory is malformed")
        flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
        named, extra, comment, attributes, offset = *fields[10:13], fields[15], fields[16]
        at += _CENTRAL.size
        name = data[at : at + named].decode("utf-8")
        wide = data[at + named : at + named + extra]
        packed, size, offset = _wide(wide, packed, size, offset)
        at += named + extra + comment
        member = Member(name, method, crc, packed, size, offset, attributes, flags)
        _check_member(member)
        total += size
        if total > MAX_BYTES:
            raise ArchiveRefused("BOMB", "the archive unpacks to more than 8 GiB")
        yield member
    if at != len(data):
        raise ArchiveRefused("ZIP_TRAILING", "the zip's directory holds more than its members")


def _wide(extra: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset, from the Zip64 field where they do not fit."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    found = [wide.pop(0) if v == _32 and wide else v for v in (size, packed, offset)]
    return found[1], found[0], found[2]


def _check_member(member: Member) -> None:
    top, _, inner = member.name.partition("/")
    if not top or not inner:
        raise ArchiveRefused("NAME_UNSAFE", f"{member.name[:80]!r} lies outside the top folder")
    check_name(top)
    check_name(inner)
    if member.flags & 0x1 or member.flags & 0x2040:
        raise ArchiveRefused("ENCRYPTED", f"{member.name} is encrypted")
    if member.method not in (_STORED, _DEFLATED):
        raise ArchiveRefused("ZIP_METHOD", f"{member.name} is packed in an unknown way")
    kind = stat.S_IFMT(member.attributes >> 16)
    if kind not in (0, stat.S_IFREG):
        raise ArchiveRefused("LINK", f"{member.name} is not a regular file")
    if member.size > RATIO_FREE_BYTES and member.size > MAX_RATIO * max(member.packed, 1):
        raise ArchiveRefused("BOMB", f"{member.name} would unpack to over {MAX_RATIO} times")


def _laid_out(file: BinaryIO, members: list[Member], begin: int) -> dict[str, int]:
    """Where each member's bytes begin; local headers must agree and leave no gap or overlap."""
    check_twins([m.name for m in members])
    if len({m.name.split("/")[0] for m in members}) > 1:
        raise ArchiveRefused("NAME_UNSAFE", "the archive has more than one top folder")
    places: dict[str, int] = {}
    at = 0
    for member in sorted(members, key=lambda m: m.offset):
        if member.offset != at:
            code = "ZIP_PREFIXED" if at == 0 else "ZIP_OVERLAP"
            raise ArchiveRefused(code, f"{member.name} does not follow the member before it")
        places[member.name], at = _local(file, member)
    if at != begin:
        raise ArchiveRefused("ZIP_TRAILING", "bytes stand between the members and the directory")
    return places


def _local(file: BinaryIO, member: Member) -> tuple[int, int]:
    file.seek(member.offset)
    fields = _LOCAL.unpack(file.read(_LOCAL.size))
    named, extra = fields[9], fields[10]
    name = file.read(named).decode("utf-8")
    packed, size, _ = _wide(file.read(extra), fields[7], fields[8], 0)
    told = (fields[0], fields[2], fields[3], fields[6], packed, size, name)
    seen = (b"PK\3\4", member.flags, member.method, member.crc, member.packed, member.size)
    if told != (*seen, member.name):
        raise ArchiveRefused("ZIP_HEADERS", f"{member.name}: local and central header differ")
    data = member.offset + _LOCAL.size + named + extra
    return data, data + member.packed
