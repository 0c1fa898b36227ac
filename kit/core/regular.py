"""Opening regular files only: no link is followed, and no pipe or device makes the reader wait."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kit.core.errors import UsageError

# O_NONBLOCK: opening a pipe in place of a file must not wait for somebody at its other end.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def descriptor(path: Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """A file descriptor of the regular file at ``path``.

    Raises:
        UsageError: a link, folder, pipe, socket or device lies there.
        OSError: nothing is there, or it may not be opened.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise _not_regular(path)
    handle = os.open(path, flags | _SAFE, mode)
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # exchanged since it was looked at
        os.close(handle)
        raise _not_regular(path)
    return handle


def beginning(path: Path, limit: int) -> bytes:
    """At most ``limit`` bytes from the beginning; raises as `descriptor` does."""
    with os.fdopen(descriptor(path), "rb") as file:
        return file.read(limit)


def content(path: Path, limit: int) -> bytes:
    """All bytes.

    Raises:
        UsageError: it is no regular file, or has more than ``limit`` bytes.
        OSError: nothing is there, or it may not be read.
    """
    data = beginning(path, limit + 1)
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit >> 20} MiB", "move it away")
    return data


def _not_regular(path: Path) -> UsageError:
    return UsageError(f"{path} is not a regular file", "move it away")
