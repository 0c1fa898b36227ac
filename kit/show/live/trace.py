"""A growing series in bounded memory: old values are kept coarser, but no spike is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

BINS, RECENT = 1024, 1280  # 1280 live events are about ten minutes


class Point(NamedTuple):
    """``n`` values from the instant ``t`` (ns) on: lowest, mean and highest."""

    t: int
    low: float
    mean: float
    high: float
    n: int = 1


class Trace:
    """Values in time order: the last `RECENT` one by one, all of them in at most `BINS` bins."""

    def __init__(self, bins: int = BINS, recent: int = RECENT) -> None:
        self._most, self._width = bins, 1
        self._bins: list[Point] = []
        self._recent: deque[Point] = deque(maxlen=recent)

    def add(self, t: int, value: float) -> None:
        """Take in ``value``, read at ``t`` (ns)."""
        point = Point(t, value, value, value)
        self._recent.append(point)
        if self._bins and self._bins[-1].n < self._width:
            self._bins[-1] = joined((self._bins[-1], point))
        else:
            self._bins.append(point)
        if len(self._bins) > self._most:
            pairs = range(0, len(self._bins), 2)
            self._bins = [joined(self._bins[i : i + 2]) for i in pairs]
            self._width *= 2

    @property
    def last(self) -> float:
        """The value added last."""
        return self._recent[-1].mean

    def points(self) -> tuple[Point, ...]:
        """All points in time order: bins, then the recent values."""
        if not self._recent:
            return ()
        since = self._recent[0].t
        return (*(b for b in self._bins if b.t < since), *self._recent)


def joined(points: Sequence[Point]) -> Point:
    """Several points as one, from the first one's instant on."""
    n = sum(p.n for p in points)
    return Point(
        points[0].t,
        min(p.low for p in points),
        sum(p.mean * p.n for p in points) / n,
        max(p.high for p in points),
        n,
    )


def columns(points: Iterable[Point], t0: int, t1: int, width: int) -> list[Point | None]:
    """The points between ``t0`` and ``t1`` (ns) in ``width`` columns; None for an empty one."""
    result: list[list[Point]] = [[] for _ in range(width)]
    span = max(t1 - t0, 1)
    for point in points:
        if t0 <= point.t <= t1:
            result[min((point.t - t0) * width // span, width - 1)].append(point)
    return [joined(column) if column else None for column in result]
