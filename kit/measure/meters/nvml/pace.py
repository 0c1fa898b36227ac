"""How expensive each query is, how often it may therefore be made, how often its value changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kit.measure.meters.nvml.api import Answer
from kit.record.events import Clock

Ask = Callable[[], Answer]

# Share of one CPU that one quantity of one GPU may cost: power, and everything else.
POWER_SHARE, STATE_SHARE = 2e-3, 2e-4
POWER_LADDER, STATE_LADDER = (0.02, 0.1, 0.25), (0.1, 1.0, 10.0)
SLOW_CALL_S = 2e-4  # a call that takes longer is made in a thread apart
_TRIES = 5
_DOUBT = 3.0
_WATCH_S, _NAP_S, _CHANGES = 0.8, 0.001, 6
_UNEVEN = 0.25


class Pace(NamedTuple):
    """How often a quantity is read.

    Attributes:
        period_s: seconds between two reads.
        sure: whether another measurement of the call's cost would say the same.
    """

    period_s: float
    sure: bool


def call_s(ask: Ask, clock: Clock) -> float:
    """Seconds that one call takes: the median of five, after one that warms it up."""
    ask()
    taken = []
    for _ in range(_TRIES):
        begin = clock.now()
        ask()
        taken.append(clock.now() - begin)
    return median(taken) * 1e-9


def paced(cost_s: float, usual_s: float, share: float, ladder: Sequence[float]) -> Pace:
    """The usual period, or the first longer one at which a call stays within its share of a CPU."""

    def fitting(cost: float) -> float:
        steps = [step for step in ladder if step >= usual_s]
        return next((step for step in steps if cost <= share * step), steps[-1])

    doubted = {fitting(cost_s * factor) for factor in (1 / _DOUBT, 1.0, _DOUBT)}
    return Pace(fitting(cost_s), len(doubted) == 1)


def update_periods(asked: Mapping[str, Ask], clock: Clock) -> dict[str, float]:
    """Seconds between two updates of each value that was seen to change at an even pace.

    All are asked in turn each millisecond until every one has changed six times, at most for
    0.8 s; a value that seldom changes has no period here.
    """
    changes_of = {name: _Changes(ask) for name, ask in asked.items()}
    end = clock.now() + round(_WATCH_S * 1e9)
    while clock.now() < end and any(len(s.times) < _CHANGES for s in changes_of.values()):
        for changes in changes_of.values():
            changes.look(clock)
        time.sleep(_NAP_S)
    periods = {name: changes.period_s() for name, changes in changes_of.items()}
    return {name: period for name, period in periods.items() if period is not None}


class _Changes:
    """When a value changed."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._last: Answer | None = None
        self.times: list[int] = []

    def look(self, clock: Clock) -> None:
        answer = self._ask()
        if self._last is not None and answer != self._last:
            self.times.append(clock.now())
        self._last = answer

    def period_s(self) -> float | None:
        """The period, s: now and then an update brings the same value, and two gaps are one."""
        gaps = [(b - a) * 1e-9 for a, b in pairwise(self.times)]
        if len(gaps) < 3:
            return None
        short = [gap for gap in gaps if gap < 1.5 * median(sorted(gaps)[: max(1, len(gaps) // 2)])]
        usual = median(short)
        multiples = [gap / usual for gap in gaps]
        even = [w for w in multiples if abs(w - round(w)) <= _UNEVEN]
        return round(usual, 3) if len(even) >= 0.7 * len(multiples) else None
