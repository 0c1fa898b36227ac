"""The queue of this machine: one run measures at a time, in the order in which they came.

Two runs at once would measure each other, whoever started them and whichever store they write. So
every engine takes a numbered ticket in one folder of the machine, and begins once no lower number
is held. A ticket is a file that its engine keeps locked (flock): the kernel lets go of the lock
when the engine ends, however it ends, and a ticket that nobody holds counts for nothing.

Waiting is a look at that folder twice a second: it must not disturb the run that is measured.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kit import jsonio
from kit.errors import Blocked, Interrupted
from kit.text import clean

FOLDER_VARIABLE = "KIT_QUEUE"  # for machines that share what they measure, and for tests
_NAME = "kit-queue"
_SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 sticky folders that every user can write
_LOOK_S = 0.5
_LOCK_S = 30.0
_DIGITS = 8
_OURS = re.compile(r"\d{8}|\.[0-9a-f]{1,32}-\d+")
_MOST_BYTES = 4096
_STICKY_FOR_ALL = stat.S_ISVTX | stat.S_IWOTH


class MachineBusy(Blocked):
    """Another run is going on, and this one was not to wait, or not for so long."""


class Place(NamedTuple):
    """A run in the queue: its id, when its turn came (Unix time, s), and whose it is (uid).

    For a run that waits, ``since`` is when it joined.
    """

    run: str
    since: float
    user: int


class Wait(NamedTuple):
    """What a run waits for: the run that is going on, and how many runs come before it in all."""

    position: int
    going_on: Place

    def __str__(self) -> str:
        return f"waiting for {named(self.going_on)}, position {self.position}"


class Waited(NamedTuple):
    """How long a run waited (s), and for which runs."""

    seconds: float
    runs: tuple[str, ...]


def named(place: Place) -> str:
    """``run 1f2e3d4c (started 2026-11-26 16:28 UTC)``, with its user where it is another's."""
    began = datetime.datetime.fromtimestamp(place.since, datetime.UTC)
    whose = "" if place.user == os.getuid() else f" by user {place.user}"
    return f"run {place.run} (started {began:%Y-%m-%d %H:%M} UTC{whose})"


def places() -> list[Place]:
    """The runs in the queue, the one that is going on first."""
    return [place for _, place in _held(_folder())]


def waiting(run: str) -> Wait | None:
    """What ``run`` waits for; None where its turn has come, or where it is in no queue."""
    found = places()
    position = next((n for n, place in enumerate(found) if place.run == run), 0)
    return Wait(position, found[0]) if position else None


class Ticket:
    """A place in the queue, made by `ticket`."""

    def __init__(self, folder: Path, number: int, handle: int) -> None:
        self._folder, self._number, self._handle = folder, number, handle

    def wait(self, cancelled: Callable[[], bool], limit_s: float | None = None) -> Waited | None:
        """Wait for the turn; returns how long that took, None where nobody was ahead.

        Args:
            cancelled: true once the person asked to stop.
            limit_s: how long to wait at most, s; None for as long as it takes.

        Raises:
            Interrupted: cancelled.
            MachineBusy: ``limit_s`` passed.
        """
        begun = time.monotonic()
        first = ahead = self._ahead()
        while ahead:
            if cancelled():
                raise Interrupted("stopped while it waited for another run", "nothing was run")
            if limit_s is not None and time.monotonic() - begun >= limit_s:
                raise _busy(ahead, limit_s)
            time.sleep(_LOOK_S if limit_s is None else min(_LOOK_S, limit_s))
            ahead = self._ahead()
        os.utime(self._handle)
        return Waited(time.monotonic() - begun, tuple(p.run for p in first)) if first else None

    def _ahead(self) -> list[Place]:
        return [place for number, place in _held(self._folder) if number < self._number]


@contextmanager
def ticket(run: str) -> Iterator[Ticket]:
    """A place at the end of the queue for the run with the id ``run``, given up at the end.

    Raises:
        Blocked: the queue's folder cannot be used.
    """
    folder = _folder()
    try:
        number, handle = _take(folder, run)
    except OSError as error:
        raise Blocked(
            f"the queue of runs in {folder} cannot be joined: {error.strerror}",
            f"remove that folder, or name another one in {FOLDER_VARIABLE}",
        ) from error
    try:
        yield Ticket(folder, number, handle)
    finally:
        with suppress(OSError):
            _path(folder, number).unlink()
        os.close(handle)


def _busy(ahead: list[Place], limit_s: float) -> MachineBusy:
    others = f" and {len(ahead) - 1} more in the queue" if len(ahead) > 1 else ""
    waited = f"; waited {limit_s:g} s for it" if limit_s else ""
    return MachineBusy(
        f"another run is going on on this machine: {named(ahead[0])}{others}{waited}",
        "leave --no-wait and --wait-s out to queue behind it",
    )


# --- tickets --------------------------------------------------------------------------------


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:0{_DIGITS}d}"


def _take(folder: Path, run: str) -> tuple[int, int]:
    """The next number and the locked file behind it; who takes one holds the folder's lock."""
    with _locked(folder):
        _clear(folder)
        number = max((n for n, _ in _tickets(folder)), default=0) + 1
        # Locked before it has its name: nobody ever sees a ticket that is not held.
        unnamed = folder / f".{run}-{os.getpid()}"
        handle = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(handle, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, jsonio.canonical({"run": run}))
        unnamed.rename(_path(folder, number))
    return number, handle


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock of the folder itself, for the instant in which a ticket is taken."""
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
    return [(int(n), folder / n) for n in names if n.isdecimal() and len(n) == _DIGITS]


def _held(folder: Path) -> list[tuple[int, Place]]:
    """The tickets that somebody holds, in order."""
    return [(n, place) for n, path in _tickets(folder) if (place := _holder(path))]


def _holder(path: Path) -> Place | None:
    """Who holds a ticket; None where nobody does, or where it is no ticket."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or not _is_locked(handle):
            return None
        run = _run_of(os.pread(handle, _MOST_BYTES, 0))
        return Place(run, facts.st_mtime, facts.st_uid)
    finally:
        os.close(handle)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _run_of(data: bytes) -> str:
    """The id in a ticket, which any user of this machine may have written."""
    with suppress(jsonio.JsonRefused, KeyError, TypeError):
        said: Any = jsonio.parse(data, "a ticket")
        return clean(str(said["run"]))[:16]
    return "of an unknown kit"


def _clear(folder: Path) -> None:
    """Remove what nobody holds, as far as it is this user's; the folder's lock is held."""
    for path in list(folder.iterdir()):
        if _OURS.fullmatch(path.name) and _holder(path) is None:
            with suppress(OSError):
                path.unlink()


# --- where ----------------------------------------------------------------------------------


def _folder() -> Path:
    """The queue's folder: one that every user of this machine comes to, else this user's own."""
    asked = os.environ.get(FOLDER_VARIABLE)
    if asked:
        return _made(Path(asked))
    for base in _SHARED:
        if _is_for_all(base) and _is_for_all(found := _made(base / _NAME)):
            return found
    return _made(Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}")


def _made(folder: Path) -> Path:
    """``folder``, made where it is not there; whether it can be used shows when it is."""
    if not folder.exists():
        mask = os.umask(0)  # without it the folder would be another user's alone for an instant
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
