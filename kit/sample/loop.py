"""Reading tiers on absolute deadlines: a late read is counted and skipped, never caught up."""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kit.events import Clock
from kit.meters import Reading, Tier

Take = Callable[[Sequence[Reading]], None]
Lost = Callable[[Tier, Exception], None]
_LATENESS_KEPT = 1 << 20
_NAP_S, _SHORT_S = 0.5, 0.1


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
    """Deadlines of one tier: the next one after now, on the grid that began at the start.

    Args:
        take: where the readings go.
        lost: told of an exception in `read`: a bug of the meter, which must not stop the others.
    """

    def __init__(self, tier: Tier, meter: str, clock: Clock, take: Take, lost: Lost) -> None:
        self.tier, self.meter = tier, meter
        self._clock, self._take, self._lost = clock, take, lost
        self._period = round(tier.period_s * 1e9)
        self.due = clock.now()
        self.kept = Punctuality()

    def warm_up(self) -> None:
        """The first read is the slowest: it may not count as late."""
        self._run(self.tier.read)

    def begin(self, start: int) -> None:
        """Set the first deadline; tiers that begin together share their wake-ups."""
        self.due = self.tier.due() if self.tier.due else start + self._period

    def read(self) -> None:
        """Take the reading that is due and set the next deadline."""
        late = self._clock.now() - self.due
        self._run(self.tier.read)
        if self.tier.due:  # it sets its own pace: there is no grid to miss
            self.kept.note(late, 0)
            self.due = self.tier.due()
            return
        skipped = max(0, (self._clock.now() - self.due) // self._period)
        self.kept.note(late, skipped)
        self.due += (skipped + 1) * self._period

    def finish(self, stopped_at: int) -> None:
        """Take the closing readings."""
        last = self.tier.last
        self._run((lambda: last(stopped_at)) if last else self.tier.read)

    def _run(self, read: Callable[[], Sequence[Reading]]) -> None:
        try:
            self._take(read())
        except Exception as error:
            self._lost(self.tier, error)

    def __lt__(self, other: Schedule) -> bool:
        return self.due < other.due


class Lane:
    """A thread that reads its schedules, always the one that is due first.

    All quick tiers share one lane; each slow tier has its own, so that it delays no other (ctypes
    and sockets release the interpreter).
    """

    def __init__(self, schedules: list[Schedule], clock: Clock, stop: threading.Event) -> None:
        self._schedules, self._clock, self._stop = schedules, clock, stop
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        for schedule in self._schedules:
            schedule.warm_up()
        start = self._clock.now()
        for schedule in self._schedules:
            schedule.begin(start)
        self.ready.set()
        heapq.heapify(self._schedules)
        while not self._stop.is_set():
            self._next()
        stopped_at = self._clock.now()
        for schedule in self._schedules:
            schedule.finish(stopped_at)

    def _next(self) -> None:
        first = self._schedules[0]
        wait_s = (first.due - self._clock.now()) / 1e9
        if wait_s > _SHORT_S:  # an event can be set meanwhile, but costs twice a plain sleep
            self._stop.wait(min(wait_s, _NAP_S))
            return
        if wait_s > 0:
            time.sleep(wait_s)
        first.read()
        heapq.heapreplace(self._schedules, first)


def lanes_of(schedules: list[Schedule], clock: Clock, stop: threading.Event) -> list[Lane]:
    """One lane for all quick tiers, one for each slow tier."""
    quick = [s for s in schedules if not s.tier.slow]
    groups = [quick, *([s] for s in schedules if s.tier.slow)]
    return [Lane(group, clock, stop) for group in groups if group]
