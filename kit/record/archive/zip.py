"""A run in a single file: a zip archive read strictly, by its own parser.

A forged zip archive can show different contents to different readers. So the layout must be the
plain one: local headers from byte 0 without a gap, each equal to its entry in the central
directory, then the directory, then its end, then nothing. What other packers add within that
layout (entries of folders, sizes that follow a member, a system's leftover files, more or no top
folders) is ignored and reported.
Format: APPNOTE.TXT 6.3.10, section 4.3.7; the directory is `kit.record.archive.directory`'s.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kit.record.archive import strays
from kit.record.archive.directory import (
    DEFLATED,
    STORED,
    Member,
    entries_of,
    find_directory,
    read_at,
)
from kit.record.archive.layout import STREAMED, placed
from kit.record.archive.rules import (
    MANIFEST,
    MAX_BYTES,
    MAX_RATIO,
    PIECE,
    RATIO_FREE_BYTES,
    ArchiveSource,
    Remark,
    refuse,
    refuse_name,
    refuse_segments,
    refuse_twins,
)

# "31e3… (1)", "my runs": a folder above the run is called what people and browsers like.
_ABOVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+,-]*")
_FLAG_ENCRYPTED, _FLAG_STRONG, _FLAG_UTF8, _FLAG_LEVEL = 0x1, 0x40, 0x800, 0x6


class ZipSource(ArchiveSource):
    """The members of a zip archive below its one top folder.

    Raises:
        ArchiveRefused: the archive is malformed, ambiguous, hostile or too large.
        OSError: the file cannot be read.
    """

    kind = "zip"

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self._members, self.top, self.remarks = self._open()
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

    def _open(self) -> tuple[dict[str, Member], str, tuple[Remark, ...]]:
        file = self._file
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise refuse("NOT_A_FILE", "the archive itself")
        directory = find_directory(file)
        entries = entries_of(file, directory)
        refuse_twins(e.name.removesuffix("/") for e in entries)
        for entry in entries:
            _refuse_member(entry)
        if sum(e.size for e in entries) > MAX_BYTES:
            raise refuse("TOO_LARGE", "all members together")
        everything = placed(file, entries, directory.offset)
        members = [m for m in everything if not (m.is_folder or strays.of_path(m.name))]
        top = _top_folder(everything, [m.name for m in members])
        skip = len(top) + 1 if top else 0
        name = top.rpartition("/")[2]
        return {m.name[skip:]: m for m in members}, name, _remarks(everything, top)


def _refuse_member(member: Member) -> None:
    if member.flags & (_FLAG_ENCRYPTED | _FLAG_STRONG):
        raise refuse("ZIP_ENCRYPTED", ascii(member.name))
    if member.flags & ~(_FLAG_UTF8 | _FLAG_LEVEL | STREAMED):
        raise refuse("ZIP_FEATURE", f"{member.name!a}: flags {member.flags:#x}")
    if member.method not in (STORED, DEFLATED):
        raise refuse("ZIP_METHOD", f"{member.name!a}: {member.method}")
    if member.method == STORED and member.size != member.packed:
        raise refuse("ZIP_HEADERS_DIFFER", f"{member.name!a}: stored size")
    if member.size > max(RATIO_FREE_BYTES, MAX_RATIO * member.packed):
        raise refuse("BOMB", ascii(member.name))


def _top_folder(entries: list[Member], names: list[str]) -> str:
    """The folder of all members: that of the manifest; empty without one."""
    top = _of_manifest(names)
    folders = [e.name.removesuffix("/") for e in entries if e.is_folder]
    real = [name for name in folders if not strays.of_path(name)]
    for name in [*names, *real]:
        _refuse_parts(name, top)
    if not all(not top or name.startswith(f"{top}/") for name in names):
        raise refuse("TOP_FOLDER", _no_top(names))
    for name in names:
        refuse_name(name[len(top) + 1 :] if top else name)
    return top


def _of_manifest(names: list[str]) -> str:
    """The folder of the topmost manifest; without one the first name's first folder."""
    folders = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == MANIFEST]
    tops = [[part for part in top.split("/") if part] for top in folders]
    least = min(map(len, tops), default=0)
    nearest = {"/".join(top) for top in tops if len(top) == least}
    nearest = nearest or {name.partition("/")[0] for name in names}
    if len(nearest) != 1:
        raise refuse("TOP_FOLDER", _no_top(names))
    return nearest.pop()


def _refuse_parts(name: str, top: str) -> None:
    """Raise for an unsafe part of a name; folders above the run may have freer names."""
    above, inside = (top, name[len(top) + 1 :]) if name.startswith(f"{top}/") else ("", name)
    if top and f"{top}/".startswith(f"{name}/"):
        above, inside = name, ""
    if inside:
        refuse_segments(inside)
    if above and not all(_ABOVE.fullmatch(part) for part in above.split("/")):
        refuse_segments(above)


def _no_top(names: list[str]) -> str:
    manifests = sum(name.rpartition("/")[2] == MANIFEST for name in names)
    if manifests > 1:
        return f"{manifests} runs; unpack it and name one of them"
    if not names:
        return "no file at all"
    if all(name.lower().endswith(".zip") for name in names):
        return "a zip archive in a zip archive; unpack the outer one and name the inner one"
    return "no manifest in one of them"


def _remarks(entries: list[Member], top: str) -> tuple[Remark, ...]:
    leftovers = sorted(e.name for e in entries if strays.of_path(e.name.removesuffix("/")))
    ways = {
        "entries of folders": any(e.is_folder for e in entries),
        "sizes that follow their member": any(e.flags & STREAMED for e in entries),
        "no folder on top": not top,
        "several folders on top": "/" in top,
    }
    traces = ", ".join(trace for trace, is_there in ways.items() if is_there)
    remarks = []
    if leftovers:
        remarks.append(Remark("STRAY_FILES", f"set aside: {strays.listed(leftovers)}"))
    if traces:
        remarks.append(Remark("ZIP_REPACKED", f"another tool packed it: {traces}"))
    return tuple(remarks)


def _unpacked(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member's bytes in pieces of at most 1 MiB, whatever the packed bytes expand to."""
    if member.method == STORED:
        yield from _packed(file, member)
        return
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = _packed(file, member)
    try:
        while not engine.eof:
            data = engine.unconsumed_tail or next(packed, b"")
            piece = engine.decompress(data, PIECE)
            if not data and not piece:
                raise refuse("ZIP_CORRUPT", f"{member.name}: it ends early")
            yield piece
    except zlib.error as error:
        raise refuse("ZIP_CORRUPT", member.name) from error
    if engine.unused_data or next(packed, b""):
        raise refuse("ZIP_CORRUPT", f"{member.name}: bytes after its end")


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The member's packed bytes; other reads of the file may happen in between."""
    end = member.data_at + member.packed
    for at in range(member.data_at, end, PIECE):
        yield read_at(file, at, min(PIECE, end - at))
