"""Read a .deb without dpkg: control fields, and files into a tree; its scripts are not run.

The bytes have the locked hash, and the lock may be a stranger's: sizes are limited, names are
checked, and every fault is one `ImageUnavailable`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from kit.core.errors import ImageUnavailable, KitError
from kit.machine.images.tree import MAX_BYTES, Tree, clean, copy

MERGED = ("bin", "sbin", "lib", "lib64")  # folders that are links into /usr
_LEFT_OUT = re.compile(
    r"usr/share/(man|locale|info|lintian)/|usr/share/doc/(?![^/]+/copyright$)|var/(cache|log)/."
)
_MAX_READ = 4 << 20  # tarfile asks for no more at once, unless a header lies
_HEADER = re.compile(rb"(.{16})([0-9 ]{12})([0-9 ]{6})([0-9 ]{6})([0-7 ]{8})([0-9 ]{10})`\n", re.S)
_FIELD = re.compile(r"^([A-Za-z0-9-]+): *(.*)$", re.MULTILINE)


def control(path: Path) -> str:
    """The package's control paragraph, as text without final line breaks."""
    with _reading(path), path.open("rb") as file, io.BytesIO() as spool:
        _unpack(file, b"control.tar", spool, 16 << 20)
        with tarfile.open(fileobj=_Part(spool, 0), mode="r:") as tar:
            for member in _members(tar):
                if member.name in ("./control", "control") and member.isreg():
                    content = tar.extractfile(member)
                    assert content is not None, "a regular member has content"
                    return content.read(1 << 20).decode("utf-8").strip("\n")
    raise ImageUnavailable(f"{path.name} is no Debian package", "lock the recipe again")


def fields(paragraph: str) -> dict[str, str]:
    """The fields of a control paragraph, continuation lines left out."""
    return dict(_FIELD.findall(paragraph))


def add(path: Path, tree: Tree) -> None:
    """Put the package's files into ``tree``, below /usr where Debian's folders are merged."""
    with _reading(path), path.open("rb") as file:
        start = tree.spool.seek(0, io.SEEK_END)
        _unpack(file, b"data.tar", tree.spool, MAX_BYTES - start)
        with tarfile.open(fileobj=_Part(tree.spool, start), mode="r:") as tar:
            for member in _members(tar):
                _add_member(member, tree, start)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar. A negative size would send tarfile back, into an endless loop."""
    for member in tar:
        if member.size < 0:
            raise ValueError("a size below zero")
        yield member


def _add_member(member: tarfile.TarInfo, tree: Tree, start: int) -> None:
    path = merged(clean(member.name))
    if not path or path in MERGED or _LEFT_OUT.match(path + "/" * member.isdir()):
        return
    if member.isdir():
        tree.folder(path, member.mode)
    elif member.issym():
        tree.link(path, member.linkname)
    elif member.islnk():
        tree.same(path, merged(clean(member.linkname)))
    elif member.isreg() and member.sparse is None:
        tree.spooled(path, start + member.offset_data, member.size, member.mode)
    else:
        raise ImageUnavailable(f"a package holds a device: {path!a}", "lock the recipe again")


def merged(path: str) -> str:
    """``bin/sh`` → ``usr/bin/sh``: the path below /usr, where Debian merged the folder.

    The top folder itself, which a package may ship as a link, is left as it is.
    """
    top, slash, _ = path.partition("/")
    return f"usr/{path}" if top in MERGED and slash else path


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn every exception of a broken package into one error."""
    try:
        yield
    except KitError:
        raise
    except Exception as error:  # exceptions of tarfile, lzma and gzip on a file that is no package
        raise ImageUnavailable(
            f"the package {path.name} is damaged: {error!a:.200}", "lock the recipe again"
        ) from error


def _unpack(file: IO[bytes], wanted: bytes, spool: IO[bytes], limit: int) -> None:
    """Append the unpacked ``wanted`` member (``data.tar`` in any packing) to ``spool``."""
    if file.read(8) != b"!<arch>\n":
        raise ValueError("no ar archive")
    while header := file.read(60):
        match = _HEADER.fullmatch(header)
        if match is None:
            raise ValueError("a broken ar header")
        name, size = match[1].rstrip(b" /"), int(match[6])
        if name.startswith(wanted):
            copy(_opened(name.removeprefix(wanted), _Part(file, file.tell(), size)), spool, limit)
            return
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"no {wanted.decode()} inside")


def _opened(packing: bytes, part: IO[bytes]) -> IO[bytes]:
    if packing == b".xz":
        return lzma.LZMAFile(part, format=lzma.FORMAT_XZ)
    if packing == b".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=part, mode="rb"))
    if packing == b"":
        return part
    raise ValueError(f"packed as {packing!r}")


class _Part(io.RawIOBase, IO[bytes]):
    """A part of a file from ``start`` that returns at most `_MAX_READ` bytes at once.

    tarfile reads a header's data in one piece of the size that the header claims.
    """

    def __init__(self, file: IO[bytes], start: int, size: int | None = None) -> None:
        self._file, self._start, self._at = file, start, 0
        self._size = file.seek(0, io.SEEK_END) - start if size is None else size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = self._size - self._at if size < 0 else min(size, self._size - self._at)
        if wanted > _MAX_READ:
            raise ValueError("a header that claims megabytes")
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, wanted))
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(min(len(buffer), _MAX_READ))
        buffer[: len(data)] = data
        return len(data)
