"""Blocks and phases: when what began and ended, and the heartbeat that watches over them.

One launch is ``idle → startup → warmup → loaded_idle → measured → loaded_idle → shutdown →
idle``. The boundaries are events, never timers; cutting samples into phases happens afterwards.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.errors import ContainerDied, DiskFull, Interrupted, RunFailed
from kit.events import Clock, Journal
from kit.sample import SamplerProcess

ANCHOR_EVERY_S = 10.0
LIVE_EVERY_S = 0.5
DISK_EVERY_S = 5.0
TICK_S = 0.05
DISK_FLOOR_BYTES = 32 << 20


@contextmanager
def phase(journal: Journal, launch: int, name: str, part: str | None = None) -> Iterator[None]:
    """Journal the beginning and the end of a phase, also when it ends by an error."""
    journal.add("phase.begin", launch=launch, phase=name, part=part)
    try:
        yield
    finally:
        journal.add("phase.end", launch=launch, phase=name, part=part)


class Watch:
    """The engine's heartbeat: called often, it notices what must end the run.

    Args:
        samplers: running samplers by meter name; one that ends unasked ends the run.
        cancelled: true once the person asked to stop.
        limit_s: longest duration of the whole run, seconds.
        folder: where the run is written; a nearly full disk ends the run while there is
            still room to seal it.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        samplers: Sequence[SamplerProcess],
        cancelled: Callable[[], bool],
        limit_s: float,
        folder: Path,
    ) -> None:
        self._journal, self._clock, self._samplers = journal, clock, samplers
        self._cancelled, self._limit_s, self._folder = cancelled, limit_s, folder
        self._due = {"anchor": 0.0, "live": 0.0, "disk": 0.0}
        self._live: dict[str, Any] = {}
        self._ended: Callable[[], str | None] = lambda: None

    def over(self, ended: Callable[[], str | None] | None) -> None:
        """Watch a container from now on (``ended`` gives the reason once it is gone), or none."""
        self._ended = ended or (lambda: None)

    def tick(self) -> bool:
        """`check` in the shape of a "cancelled?" question: raises, or says no."""
        self.check()
        return False

    def check(self, progress: dict[str, Any] | None = None) -> None:
        """Raise what must end the run; journal anchors and live readings when due.

        Raises:
            Interrupted: the person asked to stop.
            SamplerFailed: a sampler ended unasked.
            ContainerDied: the runtime is gone.
            RunFailed: the run's own time limit passed.
            DiskFull: less than 32 MiB are left where the run is written.
        """
        if self._cancelled():
            raise Interrupted("the run was stopped", "`kit show` has what was gathered until then")
        self._gather(progress)
        self._watch_limits()
        if self._is_due("anchor", ANCHOR_EVERY_S):
            self._journal.add("clock.anchor", **self._clock.anchor())
        if self._live and self._is_due("live", LIVE_EVERY_S):
            self._journal.add("live", **self._live)
            self._live = {}

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass on the monotonic clock, watching all the while."""
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
                    self._live.setdefault("power", {}).update(line.get("values", {}))
        if progress and progress.get("event") == "progress":
            self._live["progress"] = {k: progress[k] for k in ("stage", "done", "total")}

    def _watch_limits(self) -> None:
        reason = self._ended()
        if reason:
            raise ContainerDied(f"the runtime ended during the run: {reason}")
        if self._clock.now() > self._limit_s * 1e9:
            raise RunFailed(
                f"the run passed its limit of {self._limit_s:g} s",
                "raise limits.run_s in the spec",
            )
        if self._is_due("disk", DISK_EVERY_S):
            require_room(self._folder)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every_s
        return True


def require_room(folder: Path) -> None:
    """Raise `DiskFull` when less than 32 MiB are left on the file system of ``folder``."""
    free = shutil.disk_usage(folder).free
    if free < DISK_FLOOR_BYTES:
        raise DiskFull(
            f"only {free >> 20} MiB are left where the run is written",
            "free some space, or set another store with --runs",
        )
