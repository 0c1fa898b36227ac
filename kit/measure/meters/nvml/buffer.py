"""The driver's buffer of power samples: one each 20 ms, asked for once a second.

Its times are microseconds of the wall clock. They are mapped to the run's clock by the difference
of the two at the moment of asking; when somebody sets the wall clock in between, the samples from
before the step keep the old difference.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from kit.measure.meters.contract import Reading
from kit.measure.meters.nvml.api import NOT_FOUND, Api, value_of
from kit.measure.meters.nvml.board import Board
from kit.record.events import Clock

_STEP_NS = 2_000_000
_MOST = 512
_NAP_S, _WAIT_NS = 0.03, 600_000_000
_QUIET_S = 3.0


class WallClock:
    """Maps wall-clock times to the run's clock, across steps of the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._measure()

    def moved(self) -> tuple[int, int]:
        """(offset until now, offset now), ns; they differ after a step."""
        before, self._offset = self._offset, self._measure()
        return before, self._offset

    def _measure(self) -> int:
        """Wall clock minus run's clock; the tightest of three readings."""
        tries = []
        for _ in range(3):
            before = self._clock.now()
            wall = time.time_ns()
            after = self._clock.now()
            tries.append((after - before, wall - (before + after) // 2))
        return min(tries)[1]


def mapped(stamps: Sequence[int], old: int, new: int, last: int | None) -> list[int]:
    """Wall times (ns) on the run's clock, where the offset changed from ``old`` to ``new``.

    After a step, samples taken before it carry the old offset: the place of the change is where
    the samples, and ``last`` before them, are spaced most evenly.
    """
    if abs(new - old) < _STEP_NS:
        return [stamp - new for stamp in stamps]
    choices = [
        [s - old for s in stamps[:cut]] + [s - new for s in stamps[cut:]]
        for cut in range(len(stamps) + 1)
    ]
    return min(choices, key=lambda times: _unevenness(times, last))


def _unevenness(times: Sequence[int], last: int | None) -> float:
    joined = [*([] if last is None else [last]), *times]
    gaps = [b - a for a, b in pairwise(joined)]
    return sum(abs(gap - median(gaps)) for gap in gaps) if gaps else 0.0


def _pairs(api: Api, handle: Any, since: int) -> list[tuple[int, int | None]]:
    """(µs, mW) of what lies in the buffer; None for a value that is no number."""
    kind, samples = api.nvml.nvmlDeviceGetSamples(handle, api.nvml.NVML_TOTAL_POWER_SAMPLES, since)
    return [(int(sample.timeStamp), value_of(kind, sample.sampleValue)) for sample in samples]


class Buffer:
    """One GPU's samples, each handed out once."""

    def __init__(self, device: str, board: Board, clock: Clock) -> None:
        self._device, self._board, self._clock = device, board, clock
        self._wall = WallClock(clock)
        self._stamps: deque[int] = deque(maxlen=_MOST)
        self._last: int | None = None
        self._heard = clock.now()
        self._ask(0)  # what lies in it from before the run is not ours

    def read(self) -> list[Reading]:
        """The samples since the last call; one row with a code when the driver gives none."""
        old, new = self._wall.moved()
        since = 0 if abs(new - old) >= _STEP_NS else max(self._stamps, default=0)
        t0 = self._clock.now()
        rc, samples = self._ask(since)
        t1 = self._clock.now()
        if not samples:
            silent = (t1 - self._heard) * 1e-9 > _QUIET_S
            return [self._reading(t0, t1, None, rc, None)] if rc and silent else []
        self._heard = t1
        times = mapped([stamp * 1000 for stamp, _ in samples], old, new, self._last)
        self._last = times[-1]
        return [
            self._reading(t0, t1, t, 0, raw)
            for t, (_, raw) in zip(times, samples, strict=True)
            if 0 <= t <= t1
        ]

    def until(self, stopped_at: int) -> list[Reading]:
        """The closing samples: waits until one lies after ``stopped_at``, at most 0.6 s."""
        readings = self.read()
        while (self._last or 0) < stopped_at and self._clock.now() < stopped_at + _WAIT_NS:
            time.sleep(_NAP_S)
            readings += self.read()
        return readings

    def _ask(self, since: int) -> tuple[int, list[tuple[int, int]]]:
        """(return code, unseen (µs, mW) pairs in order)."""
        rc, pairs = self._board.ask(lambda api, handle: _pairs(api, handle, since))
        if rc:
            return rc, []
        times = set(self._stamps)
        fresh = [(t, raw) for t, raw in pairs if t and t not in times and raw is not None]
        self._stamps.extend(t for t, _ in fresh)
        return (0, fresh) if fresh else (NOT_FOUND, [])

    def _reading(self, t0: int, t1: int, t: int | None, rc: int, raw: int | None) -> Reading:
        return Reading(t0, t1, t, self._device, "gpu_power_sample", rc, raw)
