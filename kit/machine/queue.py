"""The queue of this machine: one run measures at a time, in the order in which they came.

Two runs at once would measure each other, whoever started them and whichever store they write. So
every runner takes a numbered ticket in one folder of the machine, and begins once no lower number
is held. A ticket is a file that its runner keeps locked (flock): the kernel lets go of the lock
when the runner ends, however it ends, and a ticket that nobody holds counts for nothing.

A ticket may vanish all the same: what cleans temporary folders deletes old files, and some of it
asks for no lock. So a ticket is touched now and then, and its runner looks several times a second
whether it is still there (`Ticket.keep`), and puts it back; who waits looks twice before it goes
on. Which run is being measured stands in its ticket: whoever finds another one there does not
begin, even with the lower number.

Waiting is a look at that folder twice a second: it must not disturb the run that is measured.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kit.core.errors import Blocked, Interrupted, KitError, RunFailed
from kit.machine import tickets
from kit.machine.tickets import FOLDER_VARIABLE, Place

_LOOK_S = 0.5
_TOUCH_S = 600.0  # far below the age (days) at which anything deletes a file for being old


class MachineBusy(Blocked):
    """Another run is going on, and this one was not to wait, or not for so long."""


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
    return [place for _, place in tickets.held(tickets.queue_folder())]


def waiting(run: str) -> Wait | None:
    """What ``run`` waits for; None where its turn has come, or where it is in no queue."""
    found = places()
    position = next((n for n, place in enumerate(found) if place.run == run), 0)
    return Wait(position, found[0]) if position else None


class Ticket:
    """A place in the queue, made by `ticket`. ``waited`` is how long it had to wait in all."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder, self._run, self._measuring = folder, run, False
        self._handle, self._since = -1, time.time()
        self.waited: Waited | None = None
        with tickets.locked(folder):
            tickets.clear(folder)
            self._number = tickets.following(folder)
            self._put()

    def wait(self, cancelled: Callable[[], bool], limit_s: float | None = None) -> Waited | None:
        """Wait for the turn; returns how long that took, None where nobody was ahead.

        Args:
            cancelled: true once the person asked to stop.
            limit_s: how long to wait at most, s; None for as long as it takes.

        Raises:
            Interrupted: cancelled.
            MachineBusy: ``limit_s`` passed.
            Blocked: the ticket is gone and cannot be put back.
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
            if not ahead:  # a ticket that was deleted is back a moment later
                time.sleep(_LOOK_S)
                ahead = self._ahead()
        if not first:
            return None
        waited = Waited(time.monotonic() - begun, tuple(p.run for p in first))
        earlier = self.waited or Waited(0, ())
        self.waited = Waited(earlier.seconds + waited.seconds, earlier.runs + waited.runs)
        return waited

    def begin(self, cancelled: Callable[[], bool], limit_s: float | None = None) -> None:
        """Have this run measured from now on, and no other; waits again where one came between.

        Args, raises: as `wait`.
        """
        while not self._measuring:
            self.wait(cancelled, limit_s)
            with _joining(self._folder), tickets.locked(self._folder):
                self._measuring = not self._before()
                if self._measuring:
                    self._since = time.time()
                    self._put()

    def keep(self) -> None:
        """Hold the place: put the ticket back where it has been deleted, or another stands there.

        Raises:
            RunFailed: this run is measured, and another one has begun meanwhile, or the ticket
                cannot be put back.
            Blocked: the ticket of a run that has not begun cannot be put back.
        """
        if self._stands():
            if time.monotonic() - self._touched > _TOUCH_S:
                self._touch()
            return
        fails = RunFailed if self._measuring else Blocked
        with _joining(self._folder, fails), tickets.locked(tickets.made(self._folder)):
            self._put()
            others = self._before()
        if self._measuring and others:
            raise RunFailed(
                f"this run's place in the queue was deleted, and {named(others[0])} began: "
                "both were measured at once",
                f"keep what cleans temporary files away from {self._folder}, or name another "
                f"folder in {FOLDER_VARIABLE}; then run it again",
            )

    def leave(self) -> None:
        """Give the place up; a ticket of another run that stands there stays."""
        if self._stands():
            with suppress(OSError):
                tickets.path_of(self._folder, self._number).unlink()
        os.close(self._handle)

    def _ahead(self) -> list[Place]:
        self.keep()
        return self._before()

    def _before(self) -> list[Place]:
        """The other runs that are measured; for a run that is not, also those that came first."""
        return [
            place
            for number, place in tickets.held(self._folder)
            if number != self._number
            and (place.measuring or (number < self._number and not self._measuring))
        ]

    def _stands(self) -> bool:
        """Whether this very ticket is still in its place."""
        try:
            there = tickets.path_of(self._folder, self._number).lstat()
            return os.path.samestat(there, os.fstat(self._handle))
        except OSError:
            return False

    def _put(self) -> None:
        """Put a ticket in the place, or at the end where another stands there.

        The folder's lock is held.
        """
        number = self._number
        if not self._stands() and os.path.lexists(tickets.path_of(self._folder, number)):
            number = tickets.following(self._folder)
        place = Place(self._run, self._since, os.getuid(), self._measuring)
        handle = tickets.write(self._folder, number, place)
        if self._handle >= 0:
            os.close(self._handle)
        self._number, self._handle, self._touched = number, handle, time.monotonic()

    def _touch(self) -> None:
        self._touched = time.monotonic()
        with suppress(OSError):
            os.utime(self._handle)


@contextmanager
def ticket(run: str) -> Iterator[Ticket]:
    """A place at the end of the queue for the run with the id ``run``, given up at the end.

    Raises:
        Blocked: the queue's folder cannot be used.
    """
    folder = tickets.queue_folder()
    with _joining(folder):
        found = Ticket(folder, run)
    try:
        yield found
    finally:
        found.leave()


@contextmanager
def _joining(folder: Path, fails: type[KitError] = Blocked) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise fails(
            f"the queue of runs in {folder} cannot be joined: {error.strerror}",
            f"remove that folder, or name another one in {FOLDER_VARIABLE}",
        ) from error


def _busy(ahead: list[Place], limit_s: float) -> MachineBusy:
    others = f" and {len(ahead) - 1} more in the queue" if len(ahead) > 1 else ""
    waited = f"; waited {limit_s:g} s for it" if limit_s else ""
    return MachineBusy(
        f"another run is going on on this machine: {named(ahead[0])}{others}{waited}",
        "leave --no-wait and --wait-s out to queue behind it",
    )
