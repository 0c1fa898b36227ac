"""Reading tiers on absolute deadlines: a late read is counted and skipped, never caught up."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kit.meters import Reading, Tier

Take = Callable[[Sequence[Reading]], None]
_LATENESS_KEPT = 200_000


@dataclass
class Punctuality:
    """How well a tier kept its deadlines."""

    reads: int = 0
    overruns: int = 0
    late_ns: list[int] = field(default_factory=list)

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
    """Deadlines of one tier: the next one after now, on the grid that began at the start."""

    def __init__(self, tier: Tier, take: Take, start: int) -> None:
        self.tier, self._take = tier, take
        self._period = round(tier.period_s * 1e9)
        self.due = start
        self.kept = Punctuality()

    def read(self) -> None:
        """Take the reading that is due and set the next deadline."""
        late = time.monotonic_ns() - self.due
        self._take(self.tier.read())
        now = time.monotonic_ns()
        skipped = max(0, (now - self.due) // self._period)
        self.kept.note(late, skipped)
        self.due += (skipped + 1) * self._period

    def __lt__(self, other: Schedule) -> bool:
        return self.due < other.due


def run_together(schedules: list[Schedule], stop: threading.Event) -> None:
    """Read quick tiers in this thread, always the one that is due first, until ``stop``."""
    heapq.heapify(schedules)
    while schedules and not stop.is_set():
        wait = (schedules[0].due - time.monotonic_ns()) / 1e9
        if wait > 0 and stop.wait(min(wait, 0.2)):
            return
        if schedules[0].due <= time.monotonic_ns():
            schedules[0].read()
            heapq.heapreplace(schedules, schedules[0])


def run_alone(schedule: Schedule, stop: threading.Event) -> threading.Thread:
    """Read a slow tier in a thread of its own; ctypes and sockets release the interpreter."""
    thread = threading.Thread(target=run_together, args=([schedule], stop), daemon=True)
    thread.start()
    return thread
