"""The queue of this machine: one run measures at a time, in order of arrival.

Two runs at once would measure each other, whoever started them and whatever their store. So every
runner takes a numbered ticket in one folder of the machine, and begins when no lower number is
held. A ticket is a file that its runner keeps locked (flock): the kernel releases the lock however
the runner ends, and a ticket without a lock does not count.

A ticket may be deleted: cleaners of temporary folders delete old files, and some ignore locks. So a
runner touches its ticket now and then, checks several times a second whether it is still there
(`Ticket.keep`), and restores it; a waiting run checks twice before it begins. A ticket says whether
its run is being measured: as long as there is such a ticket no other run begins, even with a lower
number.

A waiting run reads the folder twice a second, so as not to disturb the run that is measured.
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
    """Another run is in progress, and this one may not wait, or not any longer."""


class Wait(NamedTuple):
    """What a run waits for: the run in progress, and the total number of runs before it."""

    position: int
    going_on: Place

    def __str__(self) -> str:
        return f"waiting for {label(self.going_on)}, position {self.position}"


class Waited(NamedTuple):
    """How long a run waited (s), and for which runs."""

    seconds: float
    runs: tuple[str, ...]


def label(place: Place) -> str:
    """``run 1f2e3d4c (started 2026-11-26 16:28 UTC)``, with the user if it is another one's."""
    began = datetime.datetime.fromtimestamp(place.since, datetime.UTC)
    owner = "" if place.user == os.getuid() else f" by user {place.user}"
    return f"run {place.run} (started {began:%Y-%m-%d %H:%M} UTC{owner})"


def places() -> list[Place]:
    """The runs in the queue, the one in progress first."""
    return [place for _, place in tickets.held(tickets.queue_folder())]


def waiting(run: str) -> Wait | None:
    """What ``run`` waits for; None if its turn has come, or if it is in no queue."""
    queue = places()
    position = next((n for n, place in enumerate(queue) if place.run == run), 0)
    return Wait(position, queue[0]) if position else None


class Ticket:
    """A place in the queue, made by `ticket`. ``waited`` is its total wait."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder, self._run, self._measuring = folder, run, False
        self._handle, self._since = -1, time.time()
        self.waited: Waited | None = None
        with tickets.locked(folder):
            tickets.clear(folder)
            self._number = tickets.following(folder)
            self._put()

    def wait(self, cancelled: Callable[[], bool], limit_s: float | None = None) -> Waited | None:
        """Wait for the turn; returns how long that took, None if no run was ahead.

        Args:
            cancelled: returns true after the person asked to stop.
            limit_s: the longest wait, s; None: no limit.

        Raises:
            Interrupted: cancelled.
            MachineBusy: ``limit_s`` passed.
            Blocked: the ticket is gone and cannot be put back.
        """
        begun = time.monotonic()
        first = ahead = self._ahead()
        while ahead:
            if cancelled():
                raise Interrupted(
                    "stopped while it waited for another run",
                    "nothing was run: start it again when you like",
                )
            if limit_s is not None and time.monotonic() - begun >= limit_s:
                raise _busy(ahead, limit_s)
            time.sleep(_LOOK_S if limit_s is None else min(_LOOK_S, limit_s))
            ahead = self._ahead()
            if not ahead:  # a deleted ticket is restored a moment later
                time.sleep(_LOOK_S)
                ahead = self._ahead()
        if not first:
            return None
        waited = Waited(time.monotonic() - begun, tuple(p.run for p in first))
        earlier = self.waited or Waited(0, ())
        self.waited = Waited(earlier.seconds + waited.seconds, earlier.runs + waited.runs)
        return waited

    def begin(self, cancelled: Callable[[], bool], limit_s: float | None = None) -> None:
        """Mark this run as the one that is measured; waits again if another one began first.

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
        """Keep the place: restore the ticket if it was deleted or replaced.

        Raises:
            RunFailed: this run is measured, and another one has begun meanwhile, or the ticket
                cannot be restored.
            Blocked: the ticket of a run that has not begun cannot be restored.
        """
        if self._is_in_place():
            if time.monotonic() - self._touched > _TOUCH_S:
                self._touch()
            return
        fails = RunFailed if self._measuring else Blocked
        with _joining(self._folder, fails), tickets.locked(tickets.made(self._folder)):
            self._put()
            others = self._before()
        if self._measuring and others:
            raise RunFailed(
                f"this run's place in the queue was deleted, and {label(others[0])} began: "
                "both were measured at once",
                f"keep what cleans temporary files away from {self._folder}, or name another "
                f"folder in {FOLDER_VARIABLE}; then run it again",
            )

    def leave(self) -> None:
        """Leave the queue; a ticket of another run in this place stays."""
        if self._is_in_place():
            with suppress(OSError):
                tickets.path_of(self._folder, self._number).unlink()
        os.close(self._handle)

    def _ahead(self) -> list[Place]:
        self.keep()
        return self._before()

    def _before(self) -> list[Place]:
        """The other runs that are measured; for a run that is not, also those before it."""
        return [
            place
            for number, place in tickets.held(self._folder)
            if number != self._number
            and (place.measuring or (number < self._number and not self._measuring))
        ]

    def _is_in_place(self) -> bool:
        """Whether this same ticket is still in its place."""
        try:
            facts = tickets.path_of(self._folder, self._number).lstat()
            return os.path.samestat(facts, os.fstat(self._handle))
        except OSError:
            return False

    def _put(self) -> None:
        """Restore the ticket in its place, or at the end if another one has the place.

        The caller holds the folder's lock.
        """
        number = self._number
        if not self._is_in_place() and os.path.lexists(tickets.path_of(self._folder, number)):
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
    """A place at the end of the queue for the run with the id ``run``; left at the context's end.

    Raises:
        Blocked: the queue's folder cannot be used.
    """
    folder = tickets.queue_folder()
    with _joining(folder):
        own = Ticket(folder, run)
    try:
        yield own
    finally:
        own.leave()


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
        f"another run is in progress on this machine: {label(ahead[0])}{others}{waited}",
        "leave --no-wait and --wait-s out to queue behind it",
    )
