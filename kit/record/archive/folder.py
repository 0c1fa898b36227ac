"""A run in a folder: only regular files, opened step by step without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kit.core.errors import UsageError
from kit.record.archive import strays
from kit.record.archive.rules import (
    MAX_BYTES,
    MAX_MEMBERS,
    PIECE,
    ArchiveSource,
    Remark,
    refuse,
    refuse_name,
    refuse_twins,
)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe made after the scan must not block the reader forever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class FolderSource(ArchiveSource):
    """The files below a folder.

    Raises:
        ArchiveRefused: a file's kind, name, number or size breaks a rule.
        OSError: the folder cannot be read.
    """

    kind = "folder"

    def __init__(self, path: Path) -> None:
        self._path = path.resolve(strict=True)
        self.top = self._path.name
        self._sizes: dict[str, int] = {}
        self._strays: list[str] = []
        self._linked: list[str] = []
        self._folders = 0
        with _opened(os.open(self._path, _DIRECTORY)) as fd:
            self._scan(fd, "")
        refuse_twins(self._sizes)
        if sum(self._sizes.values()) > MAX_BYTES:
            raise refuse("TOO_LARGE", "all files together")
        self.remarks = self._remarks()

    def _remarks(self) -> tuple[Remark, ...]:
        remarks = []
        if self._strays:
            names = strays.listed(sorted(self._strays))
            remarks.append(Remark("STRAY_FILES", f"set aside: {names}"))
        if self._linked:
            linked = f"{len(self._linked)} files have a second name elsewhere"
            backup = "(a hard-linked backup?): whoever writes there changes this run"
            remarks.append(Remark("HARD_LINK", f"{linked} {backup}"))
        return tuple(remarks)

    def names(self) -> list[str]:
        return sorted(self._sizes)

    def size(self, name: str) -> int:
        if name not in self._sizes:
            raise refuse("MISSING_FILE", ascii(name))
        return self._sizes[name]

    def pieces(self, name: str) -> Iterator[bytes]:
        left = self.size(name)
        with self._opened(name) as file:
            while data := file.read(PIECE):
                left -= len(data)
                if left < 0:
                    raise refuse("TOO_LARGE", f"{name}: it has grown")
                yield data

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        if self.size(name) > limit:
            raise refuse("TOO_LARGE", name)
        return b"".join(self.pieces(name))

    def close(self) -> None:
        """Do nothing: a folder is open only while it is read."""

    def _opened(self, name: str) -> BinaryIO:
        *folders, last = name.split("/")
        fd = os.open(self._path, _DIRECTORY)
        for folder in folders:
            with _opened(fd) as parent:
                fd = _open(folder, _DIRECTORY, parent, name)
        with _opened(fd) as parent:
            return _open_regular(last, parent, name)

    def _scan(self, fd: int, prefix: str) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                self._take(entry, fd, prefix + entry.name)

    def _take(self, entry: os.DirEntry[str], fd: int, name: str) -> None:
        facts = entry.stat(follow_symlinks=False)
        if _is_stray(entry.name, facts):
            self._strays.append(name)
        elif stat.S_ISDIR(facts.st_mode):
            refuse_name(name)
            self._folders += 1
            with _opened(os.open(entry.name, _DIRECTORY, dir_fd=fd)) as inner:
                self._scan(inner, name + "/")
        else:
            refuse_name(name)
            _refuse_kind(facts, name)
            self._sizes[name] = facts.st_size
            self._linked += [name] if facts.st_nlink > 1 else []
        if max(len(self._sizes), len(self._strays), self._folders) > MAX_MEMBERS:
            raise refuse("TOO_MANY_MEMBERS", ascii(name))


@contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _is_stray(name: str, facts: os.stat_result) -> bool:
    """Whether a folder or regular file is a leftover of systems and tools."""
    if stat.S_ISDIR(facts.st_mode):
        return bool(strays.folder_of(name))
    return stat.S_ISREG(facts.st_mode) and bool(strays.file_of(name))


def _refuse_kind(facts: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise refuse("NOT_A_FILE", name)


def _open(part: str, flags: int, parent: int, name: str) -> int:
    """Open one step of ``name``; refuse it if its kind changed since the scan."""
    try:
        return os.open(part, flags, dir_fd=parent)
    except PermissionError as error:
        raise UsageError(f"{name} may not be read", "check who may read the run") from error
    except OSError as error:
        raise refuse("NOT_A_FILE", f"{name}: {error.strerror}") from error


def _open_regular(last: str, parent: int, name: str) -> BinaryIO:
    fd = _open(last, _FILE, parent, name)
    try:
        _refuse_kind(os.fstat(fd), name)
    except BaseException:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")
