"""A layer as a tree in memory, with contents in a spool file, and its canonical tar.

Its files may come from hostile packages. Names are checked, links stay links, and nothing is
unpacked onto the host: contents are kept in a spool file without a name. The tar depends on the
tree alone: entries sorted by name, no entry for the root, one fixed time, owner 0:0 without names,
no set-uid or set-gid bit.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from kit.core.errors import ImageUnavailable

MAX_BYTES = 24 << 30
MAX_ENTRIES = 300_000
MODE_BITS = 0o1777
PIECE = 1 << 20
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]|[\ud800-\udfff]")


class Entry(NamedTuple):
    """One name in a tree: a folder, a link or a file.

    A folder has neither ``target`` nor ``at``, a link has a ``target``. A file's content of
    ``size`` bytes begins at ``at`` in the spool; two files of one ``at`` are hard links.
    """

    mode: int
    target: str | None = None
    at: int | None = None
    size: int = 0


class Tree:
    """Entries by relative path, without a leading or final slash."""

    def __init__(self, spool: IO[bytes]) -> None:
        self.spool = spool
        self.entries: dict[str, Entry] = {}

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._put(path, Entry(mode & MODE_BITS))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link; its target is inside the container."""
        if not target or len(target) > 4095 or "\0" in target:
            raise unsafe(path)
        self._put(path, Entry(0o777, target=target))

    def file(self, path: str, content: IO[bytes], mode: int = 0o644) -> None:
        """Add a file; ``content`` is copied to the spool up to its end."""
        at = self.spool.seek(0, io.SEEK_END)
        size = copy(content, self.spool, MAX_BYTES - at)
        self.spooled(path, at, size, mode)

    def data(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.file(path, io.BytesIO(content), mode)

    def spooled(self, path: str, at: int, size: int, mode: int) -> None:
        """Add a file whose content is already in the spool."""
        self._put(path, Entry(mode & 0o777, at=at, size=size))

    def same(self, path: str, other: str) -> None:
        """Add a hard link to the file ``other`` of this tree."""
        entry = self.entries.get(other)
        if entry is None or entry.at is None:
            raise unsafe(path)
        self._put(path, entry)

    def read(self, path: str) -> bytes:
        """A file's content; empty if there is no such file."""
        entry = self.entries.get(path)
        if entry is None or entry.at is None:
            return b""
        self.spool.seek(entry.at)
        return self.spool.read(entry.size)

    def _put(self, path: str, entry: Entry) -> None:
        """Add an entry and the folders above it; two packages may share a folder, but no file."""
        self._above(path)
        old = self.entries.get(path)
        if old is not None and (_is_folder(old) != _is_folder(entry)):
            raise ImageUnavailable(f"two packages disagree on {path!a}", "lock the recipe again")
        self.entries[path] = entry
        if len(self.entries) > MAX_ENTRIES:
            raise ImageUnavailable(f"a layer of more than {MAX_ENTRIES:,} files", "lock it again")

    def _above(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent:
            folder = self.entries.setdefault(parent, Entry(0o755))
            if not _is_folder(folder):
                raise ImageUnavailable(f"{path!a} lies below what is no folder", "lock it again")
            parent = parent.rpartition("/")[0]


def clean(name: str) -> str:
    """A name from a package as a path in the tree; empty for the root.

    Raises:
        ImageUnavailable: it could leave the tree, or is no plain name.
    """
    segments = [part for part in name.split("/") if part not in ("", ".")]
    bad = ".." in segments or any(len(part.encode(errors="replace")) > 255 for part in segments)
    if bad or len(name) > 1024 or _UNSAFE.search(name):
        raise unsafe(name)
    return "/".join(segments)


def unsafe(name: str) -> ImageUnavailable:
    return ImageUnavailable(
        f"a package holds an unsafe name: {name[:100]!a}", "lock the recipe again"
    )


def copy(source: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy to the end; returns the bytes copied.

    Raises:
        ImageUnavailable: there are more than ``limit``.
    """
    size = 0
    while piece := source.read(PIECE):
        size += len(piece)
        if size > limit:
            raise ImageUnavailable(
                f"the parts of an image unpack to more than {MAX_BYTES >> 30} GiB",
                "no package of a kit recipe does that: lock the recipe again",
            )
        target.write(piece)
    return size


class Layer(NamedTuple):
    """A layer's tar on disk; ``diff_id`` is ``sha256:…`` of it, ``size`` its bytes."""

    path: Path
    diff_id: str
    size: int


def write(tree: Tree, target: Path, epoch: int) -> Layer:
    """Write the tree as a tar, the same bytes for the same tree everywhere."""
    with target.open("wb") as file:
        hashing = _Hashing(file)
        with tarfile.open(
            fileobj=hashing, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
        ) as tar:
            for member, content in _members(tree, epoch):
                tar.addfile(member, content)
    return Layer(target, f"sha256:{hashing.digest.hexdigest()}", hashing.tell())


def _members(tree: Tree, epoch: int) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Each entry for tarfile; of two hard links the first by name holds the content."""
    first: dict[int, str] = {}
    for path, entry in sorted(tree.entries.items()):
        member = tarfile.TarInfo(path)
        member.mode, member.mtime = entry.mode, epoch
        if entry.target is not None:
            member.type, member.linkname = tarfile.SYMTYPE, entry.target
        elif entry.at is None:
            member.type = tarfile.DIRTYPE
        elif entry.size and entry.at in first:
            member.type, member.linkname = tarfile.LNKTYPE, first[entry.at]
        else:
            if (
                entry.size
            ):  # the next content in the spool begins at the same place as an empty file
                first[entry.at] = path
            member.size = entry.size
            tree.spool.seek(entry.at)
            yield member, tree.spool
            continue
        yield member, None


def _is_folder(entry: Entry) -> bool:
    return entry.at is None and entry.target is None


class _Hashing(io.RawIOBase):
    """A writable file that hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self._size += len(data)
        return self._file.write(data)
