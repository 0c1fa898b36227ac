"""Read tiers on absolute deadlines: a missed deadline is counted and skipped, not made up."""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kit.measure.meters import Reading, Tier, fit
from kit.record.events import Clock

Take = Callable[[Sequence[Reading]], None]
Lost = Callable[[Tier, Exception], None]
_LATENESS_KEPT = 1 << 20
_NAP_S, _SHORT_S = 0.5, 0.1
_AGAIN_S = 1.0


@dataclass
class Punctuality:
    """How well a tier kept its deadlines."""

    reads: int = 0
    overruns: int = 0
    late_ns: array[int] = field(default_factory=lambda: array("q"))

    def note(self, late_ns: int, skipped: int) -> None:
        self.reads += 1
        self.overruns += skipped
        if len(self.late_ns) < _LATENESS_KEPT:
            self.late_ns.append(late_ns)

    def p99_ns(self) -> int | None:
        """99th percentile of the lateness, ns; None before the first read."""
        late = sorted(self.late_ns)
        return late[min(len(late) - 1, int(len(late) * 0.99))] if late else None


class Schedule:
    """Deadlines of one tier, on a grid from the start.

    Args:
        take: called with the readings.
        lost: called with every exception of the meter: its bug must not stop other meters.
    """

    def __init__(self, tier: Tier, meter: str, clock: Clock, take: Take, lost: Lost) -> None:
        self.tier, self.meter = tier, meter
        self._clock, self._take, self._lost = clock, take, lost
        self._period = round(fit.period_s(tier) * 1e9)
        self.due = clock.now()
        self.kept = Punctuality()
        self._read_failure = self._due_failure = ""

    @property
    def failure(self) -> str:
        """The error of its last read, or of computing its next time; empty without one."""
        return self._read_failure or self._due_failure

    def warm_up(self) -> None:
        """Take the first read, which is the slowest and must not count as late."""
        self._run(self.tier.read)

    def begin(self, start: int) -> None:
        """Set the first deadline; tiers with the same begin share their wake-ups."""
        self.due = self._own_due() if self.tier.due else start + self._period

    def read(self) -> None:
        """Take the due reading and set the next deadline."""
        late = self._clock.now() - self.due
        has_read = self._run(self.tier.read)
        if self.tier.due:  # it sets its own times: there are no deadlines to miss
            if has_read:  # where its moment had passed, it read nothing
                self.kept.note(late, 0)
            self.due = self._own_due()
            return
        skipped = max(0, (self._clock.now() - self.due) // self._period)
        self.kept.note(late, skipped)
        self.due += (skipped + 1) * self._period

    def finish(self, stopped_at: int) -> None:
        """Take the closing readings."""
        last = self.tier.last
        self._run((lambda: last(stopped_at)) if last else self.tier.read)

    def _run(self, read: Callable[[], Sequence[Reading]]) -> bool:
        """Take what ``read`` reads; whether it was anything."""
        try:
            readings = read()
            self._take(readings)
        except Exception as error:
            self._read_failure = _error_text(error)
            self._lost(self.tier, error)
            return False
        self._read_failure = ""
        return bool(readings)

    def _own_due(self) -> int:
        """The tier's own next time; a second later if it fails."""
        try:
            due = int(self.tier.due()) if self.tier.due else self.due
        except Exception as error:
            self._due_failure = _error_text(error)
            self._lost(self.tier, error)
            return self._clock.now() + round(_AGAIN_S * 1e9)
        self._due_failure = ""
        return due

    def __lt__(self, other: Schedule) -> bool:
        return self.due < other.due


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class Lane:
    """A thread that reads its schedules, always the one that is due first.

    All quick tiers share one lane. Each slow tier has its own, so that it delays no other (ctypes
    and sockets release the interpreter).

    Attributes:
        fault: why it ended early; empty while it runs and after a stop.
    """

    def __init__(self, schedules: list[Schedule], clock: Clock, stop: threading.Event) -> None:
        self.schedules, self._clock, self._stop = schedules, clock, stop
        self._heap = list(schedules)
        self.ready = threading.Event()
        self.fault = ""
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.fault = f"a read of {self.names} did not return within {timeout_s:g} s"

    @property
    def names(self) -> str:
        """The names of its tiers, for a message."""
        return ", ".join(f"{s.meter}.{s.tier.name}" for s in self.schedules)

    def _guarded(self) -> None:
        """Run the lane; record an error that ends it, so that its readings do not end silently."""
        try:
            self._run()
        except BaseException as error:
            self.fault = f"{self.names} stopped: {type(error).__name__}: {error}"
            self.ready.set()

    def _run(self) -> None:
        for schedule in self.schedules:
            schedule.warm_up()
        start = self._clock.now()
        for schedule in self.schedules:
            schedule.begin(start)
        self.ready.set()
        heapq.heapify(self._heap)
        while not self._stop.is_set():
            self._next()
        stopped_at = self._clock.now()
        for schedule in self.schedules:
            schedule.finish(stopped_at)

    def _next(self) -> None:
        first = self._heap[0]
        wait_s = (first.due - self._clock.now()) / 1e9
        if (
            wait_s > _SHORT_S
        ):  # waiting for an event can be interrupted, but costs twice a plain sleep
            self._stop.wait(min(wait_s, _NAP_S))
            return
        if wait_s > 0:
            time.sleep(wait_s)
        first.read()
        heapq.heapreplace(self._heap, first)


def lanes_of(schedules: list[Schedule], clock: Clock, stop: threading.Event) -> list[Lane]:
    """One lane for all quick tiers, one for each slow tier."""
    quick = [s for s in schedules if not s.tier.slow]
    groups = [quick, *([s] for s in schedules if s.tier.slow)]
    return [Lane(group, clock, stop) for group in groups if group]
