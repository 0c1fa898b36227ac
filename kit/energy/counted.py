"""Finds the readings of a counter that no device can have counted. Pure.

A counter only grows, and no faster than its device can draw. A step that breaks this is one of two
things. Where the readings after it soon go on from those before it, what lies between is garbage:
it is left out. Where they do not, the counter itself jumped, or began again: nobody knows what it
missed, and that stretch is a break.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from kit.core.arrays import np, npt
from kit.core.units import NS
from kit.energy.curve import Floats
from kit.record.samples import Series

Bools: TypeAlias = "npt.NDArray[np.bool_]"
# How long garbage may last for the readings after it to be those that follow the ones before it.
_LONGEST_NS, _LOOK_AHEAD = 60_000_000_000, 400
_HOPELESS, _LONG = 0.5, 1000  # share of steps that are impossible: then none of it is a counter
_FEW, _MANY = 3, 10
_LONG_NS = 1_000_000_000


class Counted(NamedTuple):
    """The readings of a counter that belong together, and its impossible jumps.

    Attributes:
        keep: which readings belong to the counter. Shape ``(n,)``.
        jumps: (ns, ns) between which it grew by more than its device can draw, or by nobody knows
            what.
    """

    keep: Bools
    jumps: tuple[tuple[int, int], ...]


def counted(
    series: Series, most: Callable[[Floats], Floats], *, wrap: int = 0, back: float = 0.0
) -> Counted:
    """The readings that one counter can have given.

    Args:
        most: the most that it can grow by in so many seconds, in raw units.
        wrap: its modulus, 0 for none.
        back: by how much it may fall and still be the same counter.
    """
    steps, none = _Steps(series, most, wrap, back), np.zeros(len(series.raw), bool)
    at = np.flatnonzero(series.raw >= 0)
    good = steps.possible(at[:-1], at[1:])
    if len(at) > _LONG and np.mean(~good) > _HOPELESS:
        return Counted(none, ())
    if len(at) <= _FEW:  # too few to say which of them is odd: they break, and stay
        broken = [(int(at[i]), int(at[i + 1])) for i in np.flatnonzero(~good)]
        places, jumps = at, broken
    else:
        places, jumps = _chained(at, good, steps)
    fast = steps.too_fast(places, jumps)
    if 2 * len(places) < len(at) or len(fast) > _HOPELESS * len(places):
        return Counted(none, ())
    keep = none.copy()
    keep[places] = True
    holes = sorted({(int(series.t0[a]), int(series.t1[b])) for a, b in (*jumps, *fast)})
    return Counted(keep, tuple(holes))


class _Steps:
    """What lies between readings of one counter."""

    def __init__(
        self, series: Series, most: Callable[[Floats], Floats], wrap: int, back: float
    ) -> None:
        self.series, self._most, self._wrap, self._back = series, most, wrap, back

    def possible(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> Bools:
        """Whether reading ``b`` can follow reading ``a``."""
        grown, seconds = self._between(a, b)
        possible: Bools = (grown >= -self._back) & (grown <= self._most(seconds))
        return possible

    def joins(self, a: int, b: npt.NDArray[np.int64]) -> Bools:
        """Whether readings ``b`` go on from reading ``a``, across what lies between.

        Of a counter that may have begun again meanwhile, any value would.
        """
        seconds = (self.series.t1[b] - self.series.t0[a]).astype(np.float64) * NS
        sure = self._most(seconds) < self._wrap / 2 if self._wrap else np.ones(len(b), bool)
        joined: Bools = self.possible(np.full(len(b), a), b) & sure
        return joined

    def too_fast(
        self, places: npt.NDArray[np.int64], jumps: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Stretches of a second and more over which it grew too fast, step by step unseen."""
        a, b = self._seconds(places)
        grown, seconds = self._between(a, b)
        fast = grown > self._most(seconds)
        for first, last in jumps:
            fast &= (b <= first) | (a >= last)
        return [(int(i), int(j)) for i, j in zip(a[fast], b[fast], strict=True)]

    def _seconds(
        self, places: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Pairs of readings a second apart, or the next one where they lie further apart."""
        t = self.series.t0[places]
        after = np.searchsorted(t, t + _LONG_NS)
        inside = after < len(places)
        return places[inside], places[after[inside]]

    def _between(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        grown = (self.series.raw[b] - self.series.raw[a]).astype(np.float64)
        if self._wrap:
            grown = np.where(grown < 0, grown + self._wrap, grown)
        seconds = (self.series.t1[b] - self.series.t0[a]).astype(np.float64) * NS
        return grown, seconds


def _chained(
    at: npt.NDArray[np.int64], good: Bools, steps: _Steps
) -> tuple[npt.NDArray[np.int64], list[tuple[int, int]]]:
    """The readings that follow one another, and where they break: (reading, reading)."""
    if good.all():
        return at, []
    ends = np.flatnonzero(~good)
    runs = np.split(at, ends + 1)
    places, jumps = [runs[0]], list[tuple[int, int]]()
    k = 1
    while k < len(runs):
        last = int(places[-1][-1])
        ahead = _next(runs, k, last, steps)
        if ahead is not None:  # what lies between is garbage
            places.append(runs[ahead])
            k = ahead + 1
            continue
        if len(places[-1]) < _FEW and len(runs[k]) > _MANY * len(places[-1]):
            places.pop()  # a few odd readings before a long good run
            if places:
                continue
        elif len(runs[k]) >= _FEW:
            jumps.append((last, int(runs[k][0])))
        else:
            k += 1  # a few odd readings that nothing follows
            continue
        places.append(runs[k])
        k += 1
    return np.concatenate(places), jumps


def _next(runs: list[npt.NDArray[np.int64]], k: int, last: int, steps: _Steps) -> int | None:
    """The next run after ``k`` that can follow reading ``last``."""
    starts = np.array([run[0] for run in runs[k + 1 : k + _LOOK_AHEAD]], np.int64)
    near = steps.series.t0[starts] - steps.series.t1[last] <= _LONGEST_NS if len(starts) else []
    starts = starts[near] if len(starts) else starts
    fitting = np.flatnonzero(steps.joins(last, starts))
    return k + 1 + int(fitting[0]) if len(fitting) else None
