"""Phases in the journal, and the heartbeat that watches a run.

One launch is ``idle → startup → warmup → loaded_idle → measured → loaded_idle → shutdown →
idle``. The boundaries are events, never timers; cutting samples into phases happens afterwards.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.core.errors import DiskFull, DriverFailed, Interrupted, KitError, RunFailed, SamplerFailed
from kit.measure.sample import SamplerProcess
from kit.record.events import Clock, Journal
from kit.run import marks

ANCHOR_EVERY_S = 10.0
LIVE_EVERY_S = 0.5
DISK_EVERY_S = 5.0
PLACE_EVERY_S = 0.2  # shorter than the time in which a waiting run checks twice
TICK_S = 0.05
DISK_FLOOR_BYTES = 32 << 20
RESERVE_BYTES = 8 << 20


@contextmanager
def phase(journal: Journal, launch: int, name: str, part: str | None = None) -> Iterator[None]:
    """Journal the begin and the end of a phase, also if an error ends it."""
    journal.add("phase.begin", launch=launch, phase=name, part=part)
    try:
        yield
    finally:
        journal.add("phase.end", launch=launch, phase=name, part=part)


class Watch:
    """The runner's heartbeat: called often, it detects what must end the run.

    Args:
        samplers: running samplers by meter name; one that ends unasked ends the run.
        cancelled: returns true after the person asked to stop.
        limit_s: longest duration of the whole run, seconds.
        folder: the run's folder; a nearly full disk ends the run while there is still space
            to seal it.
        left: the folder of the faces' marks, see `kit.run.marks`.
        keep: holds the run's place in the machine's queue, see `kit.machine.queue.Ticket.keep`.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        samplers: Sequence[SamplerProcess],
        cancelled: Callable[[], bool],
        limit_s: float,
        folder: Path,
        left: Path | None = None,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal, self._clock, self._samplers = journal, clock, samplers
        self._cancelled, self._limit_s, self._folder = cancelled, limit_s, folder
        self._left, self._keep = left, keep
        self._due = {"anchor": 0.0, "live": 0.0, "disk": 0.0, "marks": 0.0, "place": 0.0}
        self._live: dict[str, Any] = {}
        self._state: dict[str, dict[str, Any]] = {}
        self._ended: Callable[[], KitError | None] = lambda: None

    def set_container(self, ended: Callable[[], KitError | None] | None) -> None:
        """Watch a container from now on; None for no container.

        ``ended`` returns the error once the container is gone.
        """
        self._ended = ended or (lambda: None)

    def tick(self) -> bool:
        """`check` as a callback for "cancelled?": raises, or returns false."""
        self.check()
        return False

    def check(self, progress: dict[str, Any] | None = None) -> None:
        """Raise the error that must end the run; journal anchors and live readings when due.

        Raises:
            Interrupted: the person asked to stop.
            SamplerFailed: a sampler ended unasked.
            ContainerDied: the runtime is gone.
            RunFailed: the run's time limit passed, or another run measures at the same time.
            DiskFull: less than 32 MiB are left for the run.
        """
        if self._cancelled():
            raise Interrupted("the run was stopped", "`kit show` has the records until then")
        self._gather(progress)
        self._watch_limits()
        if self._is_due("anchor", ANCHOR_EVERY_S):
            self._journal.add("clock.anchor", **self._clock.anchor())
        if self._live and self._is_due("live", LIVE_EVERY_S):
            self._journal.add("live", **self._live)
            self._live = {}
        if self._left and self._is_due("marks", LIVE_EVERY_S):
            self._take_marks(self._left)

    def wait(self, seconds: float) -> None:
        """Wait for ``seconds`` on the monotonic clock, and keep watching."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(TICK_S, left))
        self.check()

    def _gather(self, progress: dict[str, Any] | None) -> None:
        for sampler in self._samplers:
            for line in sampler.poll():
                if line.get("event") == "error":
                    self._journal.add(
                        "sampler.lost", meter=line.get("meter"), message=line.get("message")
                    )
                elif line.get("event") == "live":
                    self._take_live(line)
        if progress and progress.get("event") == "progress":
            keys = ("stage", "done", "total", "tokens", "images")
            self._live["progress"] = {k: progress[k] for k in keys if k in progress}

    def _take_live(self, line: dict[str, Any]) -> None:
        """Keep the latest watts and joules, and changes of the devices' states."""
        self._live.setdefault("power", {}).update(line.get("values", {}))
        held = self._live.setdefault("joules", {}) if "joules" in line else {}
        for device, joules in line.get("joules", {}).items():
            if held.get(device) != 0:  # a sum that began again says so in one event at least
                held[device] = joules
        for device, state in line.get("state", {}).items():
            state_now = self._state.setdefault(device, {})
            changed = {k: v for k, v in state.items() if state_now.get(k) != v}
            state_now.update(changed)
            if changed:
                changes = self._live.setdefault("state", {})
                changes[device] = changes.get(device, {}) | changed

    def _take_marks(self, folder: Path) -> None:
        """Journal new marks of persons, with the face's time on the run's clock."""
        now = self._clock.now()
        for mark in marks.collect(folder):
            at = min(max(mark.at - self._clock.origin, 0), now)
            self._journal.add("mark", text=mark.text, t_face=at)

    def _watch_limits(self) -> None:
        if died := self._ended():
            raise died
        if self._clock.now() > self._limit_s * 1e9:
            raise RunFailed(
                f"the run passed its limit of {self._limit_s:g} s",
                "raise limits.run_s in the spec",
            )
        if self._is_due("place", PLACE_EVERY_S):
            self._keep()
        if self._is_due("disk", DISK_EVERY_S):
            require_room(self._folder)

    def _is_due(self, task: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due[task]:
            return False
        self._due[task] = now + every_s
        return True


def require_room(folder: Path) -> None:
    """Raise `DiskFull` if less than 32 MiB are free on the file system of ``folder``."""
    free = shutil.disk_usage(folder).free
    if free < DISK_FLOOR_BYTES:
        raise DiskFull(
            f"only {free >> 20} MiB are left where the run is written",
            "free some space, or set another store with --runs",
        )


def reserve(path: Path) -> None:
    """Reserve disk space for a run's last files, so that it can be sealed on a full disk.

    On a file system that cannot reserve space it does nothing.

    Raises:
        OSError: there is not enough space.
    """
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise


def root_cause(fault: KitError, folder: Path) -> KitError:
    """Why a helper process ended; on a full disk it could not even report that itself."""
    if isinstance(fault, DriverFailed | SamplerFailed):
        try:
            require_room(folder)
        except DiskFull as full:
            return full
    return fault
