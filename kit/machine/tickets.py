"""The files of this machine's queue (`kit.machine.queue`): numbered, and locked by their holder.

Each is a small JSON document named by its number, in one folder of all users. Files in that folder
may be anybody's, and are parsed with care.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kit.core import jsonio
from kit.core.text import clean

FOLDER_VARIABLE = "KIT_QUEUE"  # for machines with a shared power meter, and for tests
_NAME = "kit-queue"
_SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 sticky folders that every user can write
_LOCK_S = 30.0
_DIGITS = 8
_NUMBER = re.compile(r"[0-9]{8}")
_OURS = re.compile(r"[0-9]{8}|\.[0-9a-f]{1,32}-\d+")
_MOST_BYTES = 4096
_LAST_S = 2**32 - 1  # the latest Unix time of a ticket: the year 2106
_STICKY_FOR_ALL = stat.S_ISVTX | stat.S_IWOTH


class Place(NamedTuple):
    """A run in the queue: its id, when its turn came (Unix time, s), and its user (uid).

    For a waiting run ``since`` is when it joined. ``measuring``: it has begun, and no other may
    begin before it ends.
    """

    run: str
    since: float
    user: int
    measuring: bool = False


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:0{_DIGITS}d}"


def following(folder: Path) -> int:
    """The first free number after all held tickets, skipping files that nobody holds.

    Raises:
        OSError: no number is free.
    """
    number = max((n for n, _ in held(folder)), default=0) + 1
    while os.path.lexists(path_of(folder, number)):
        number += 1
    if number >= 10**_DIGITS:
        raise OSError(errno.ENOSPC, "its last number is taken")
    return number


def write(folder: Path, number: int, place: Place) -> int:
    """Write a locked ticket to its place; returns its file handle."""
    # Locked before it gets its name, so that every visible ticket is held.
    unnamed = folder / f".{place.run}-{os.getpid()}"
    content = {"measuring": place.measuring, "run": place.run, "since": int(place.since)}
    handle = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(handle, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, jsonio.canonical(content))
        unnamed.rename(path_of(folder, number))
    except OSError:
        os.close(handle)
        with suppress(OSError):
            unnamed.unlink()
        raise
    return handle


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for the moment in which a ticket is taken."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    end = time.monotonic() + _LOCK_S
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _tickets(folder: Path) -> list[tuple[int, Path]]:
    """Every numbered file, held or not, in order."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    return [(int(n), folder / n) for n in names if _NUMBER.fullmatch(n)]


def held(folder: Path) -> list[tuple[int, Place]]:
    """The held tickets: the run that is measured, then the others in order."""
    tickets = [(n, place) for n, path in _tickets(folder) if (place := _holder(path))]
    return sorted(tickets, key=lambda held: not held[1].measuring)


def _holder(path: Path) -> Place | None:
    """The run that holds a ticket; None if it is not held, or no ticket."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or not _is_locked(handle):
            return None
        return _place_of(os.pread(handle, _MOST_BYTES, 0), facts)
    finally:
        os.close(handle)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _place_of(data: bytes, facts: os.stat_result) -> Place:
    """The content of a ticket, which any user of this machine may have written."""
    document: Any = {}
    with suppress(jsonio.JsonRefused):
        document = jsonio.parse(data, "a ticket", any_integer=True)
    document = document if isinstance(document, dict) else {}
    run, since = document.get("run", ""), document.get("since")
    if not isinstance(since, int):  # of an older kit, which kept it as the file's time
        since = facts.st_mtime
    return Place(
        run=clean(str(run))[:16] or "of an unknown kit",
        since=min(max(since, 0), _LAST_S),
        user=facts.st_uid,
        measuring=document.get("measuring") is True,
    )


def clear(folder: Path) -> None:
    """Remove this user's tickets that nobody holds; the caller holds the folder's lock."""
    for path in list(folder.iterdir()):
        if _OURS.fullmatch(path.name) and _holder(path) is None:
            with suppress(OSError):
                path.unlink()


# --- where ----------------------------------------------------------------------------------


def queue_folder() -> Path:
    """The queue's folder: one that all users of this machine share, else this user's own."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return made(Path(chosen))
    for base in _SHARED:
        if _is_for_all(base) and _is_for_all(folder := made(base / _NAME)):
            return folder
    return made(Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}")


def made(folder: Path) -> Path:
    """``folder``, made if necessary; its first use shows whether it can be used."""
    mask = os.umask(0)  # without it the folder would be private to another user for a moment
    try:
        with suppress(OSError):
            folder.mkdir(mode=0o1777)
    finally:
        os.umask(mask)
    return folder


def _is_for_all(folder: Path) -> bool:
    """Whether every user may make files in a folder, and remove only their own."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and mode & _STICKY_FOR_ALL == _STICKY_FOR_ALL
