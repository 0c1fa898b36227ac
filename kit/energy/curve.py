"""A device's energy as a function of time: what every source of readings is made into.

A curve goes through known points (time, joules) and is straight in between. The energy of a
window is the difference of two of its values, so that windows add up and subdividing one changes
nothing. Where nothing is known the curve has a hole, and a window that touches it is unmeasured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

from kit.core.arrays import np, npt
from kit.core.units import NS
from kit.energy.reason import Reason

Floats: TypeAlias = "npt.NDArray[np.float64]"

SQRT3, SQRT12 = math.sqrt(3), math.sqrt(12)
# A mark inside a step of power. Where a reading is held, the step lies anywhere in its time. Where
# it is a mean, only the power's place inside it is open: for a step and a mark that lie anywhere in
# it, held mean less true energy has the variance 1/90.
HELD_EDGE, MEAN_EDGE = 1 / SQRT12, 1 / math.sqrt(90)
_POWER_NS = 1e7
# A step of power is one where two means on either side of it differ by less than this share of it.
# An H200's power goes on moving after most steps: with 0.25 its counter's own ticks were met less
# well than by straight lines (rms 1.51 J against 1.44 J), with 0.1 as well.
_LEVEL, _CORNER_MEANS = 0.1, 5
_MOST_MARKS = 1_000_000  # of `even`
_INSIDE = 0.01  # nearer to an end of its mean a step needs no corner of its own


class Part(NamedTuple):
    """Energy of one device over a window.

    Attributes:
        joules: J.
        terms: of its uncertainty, J.
        method: how it was found.
        period_s: how often the readings behind it are renewed, s.
    """

    joules: float
    terms: dict[str, float]
    method: str
    period_s: float


class Unmeasured(NamedTuple):
    """Why a device's energy over a window is not known."""

    reason: Reason


class Hole(NamedTuple):
    """A stretch of time (ns) in which nothing is known, and why.

    Attributes:
        doubted: readings were made in it, and are not believed.
        bridged: a counter says what was drawn over all of it: only a window that begins or ends
            inside is unknown.
    """

    t0: float
    t1: float
    reason: Reason
    doubted: bool = False
    bridged: bool = False

    def spoils(self, t0: float, t1: float) -> bool:
        """Whether a window (ns) is unknown because of it."""
        if self.bridged and t0 <= self.t0 and self.t1 <= t1:
            return False
        return self.t0 < t1 and self.t1 > t0


class Ticks(NamedTuple):
    """Points of a curve whose joules are known better than their time.

    Attributes:
        t: times (ns), ascending; each is a point of the curve. Shape ``(n,)``.
        u: their standard uncertainties, each tick by itself (ns). Shape ``(n,)``.
        common: standard uncertainty that all share: the phase of their period (ns).
    """

    t: Floats
    u: Floats
    common: float


@dataclass(frozen=True)
class Sensor:
    """What is known of a sensor's errors: standard uncertainties, the same in every reading.

    Attributes:
        gain: relative.
        offset_w: constant, in watts.
        model: relative error of a model that stands in for a sensor.
        delay_s: how late its readings come, all alike: a window whose power differs between its
            ends takes in a piece of what was before it, and lacks one of its end.
        valid_w: between which powers this is known; ``outside`` holds elsewhere, on top.
    """

    gain: float = 0.0
    offset_w: float = 0.0
    model: float = 0.0
    delay_s: float = 0.0
    valid_w: tuple[float, float] = (-math.inf, math.inf)
    outside: Sensor | None = None

    def at(self, watts: float) -> Sensor:
        """The errors in a window of this mean power: larger outside the calibrated range."""
        if self.outside is None or self.valid_w[0] <= watts <= self.valid_w[1]:
            return self
        gain = math.hypot(self.gain, self.outside.gain)
        return replace(self, gain=gain, offset_w=math.hypot(self.offset_w, self.outside.offset_w))


@dataclass(frozen=True)
class Curve:
    """Cumulative energy of one device, found by one method.

    Attributes:
        t: times of its points (ns), ascending. Shape ``(n,)``.
        joules: energy since the first point. Shape ``(n,)``.
        method: how it was found.
        step_s: over what time its shape is blurred: a mark inside a step of power is uncertain.
        sensor: errors that do not average out.
        resolution_j: standard uncertainty of a difference by the reading's last digit, J.
        resolution_w: the same of power readings, W.
        shortest_s: windows shorter than this cannot be told.
        holes: where nothing is known.
        ticks: which points have uncertain times.
        wander_s: standard uncertainty of the time of every other point, s: where the power
            changes at a point, that much of the change goes to the wrong side.
        lag_s: standard uncertainty of the time of all its points together, s; of those between
            its ticks, where it has any.
        variance_j2: variance of the energy up to each point, J², where more is known of it than
            ``wander_s``; ticks not counted. Shape ``(n,)``.
        edge: share of a step of power that is uncertain at a mark, see `HELD_EDGE`.
    """

    t: Floats
    joules: Floats
    method: str
    step_s: float
    sensor: Sensor = Sensor()
    resolution_j: float = 0.0
    resolution_w: float = 0.0
    shortest_s: float = 0.0
    holes: tuple[Hole, ...] = ()
    ticks: Ticks | None = None
    wander_s: float = 0.0
    lag_s: float = 0.0
    variance_j2: Floats | None = None
    edge: float = HELD_EDGE

    def between(self, t0: float, t1: float) -> Part | Unmeasured:
        """Energy of the window ``[t0, t1)`` (ns), or why it is not known."""
        why_not = self._why_not(t0, t1)
        if why_not:
            return Unmeasured(why_not)
        joules = self._difference(t0, t1)
        seconds = (t1 - t0) * NS
        sensor = self.sensor.at(joules / seconds)
        terms = {
            "edge": self._edges(t0, t1),
            "resolution": math.hypot(self.resolution_j, self.resolution_w * seconds),
            "gain": abs(joules) * sensor.gain,
            "offset": sensor.offset_w * seconds,
            "model": abs(joules) * sensor.model,
            "delay": self._displaced(t0, t1, sensor.delay_s),
            "ticks": self._tick_error(t0, t1),
            "sampling": math.sqrt(max(self._shape_variance(t0, t1), 0.0)),
            "lag": self._lag_error(t0, t1),
        }
        return Part(joules, {k: v for k, v in terms.items() if v > 0.0}, self.method, self.step_s)

    def _why_not(self, t0: float, t1: float) -> Reason | None:
        if t1 <= t0:
            return Reason("window_empty")
        for hole in self.holes:
            if hole.spoils(t0, t1):
                return Reason("in_hole", method=self.method, reason=hole.reason)
        if len(self.t) < 2 or t0 < self.t[0] or t1 > self.t[-1]:
            return Reason("not_covered", method=self.method)
        seconds, shortest_s = (t1 - t0) * NS, self.shortest_s
        if seconds < shortest_s:
            return Reason("too_short", method=self.method, window_s=seconds, shortest_s=shortest_s)
        return None

    def _edges(self, t0: float, t1: float) -> float:
        """Both marks may lie anywhere in a step of power: ΔP · T · edge, each."""
        return math.hypot(*(self._power_step(t) * self.step_s * self.edge for t in (t0, t1)))

    def _lag_error(self, t0: float, t1: float) -> float:
        """What it does to a window that the curve as a whole may come late, or early.

        Ticks hold it where they are: there the power at each mark counts against theirs, before
        or after the mark.
        """
        if not self.lag_s or self.ticks is None:
            return self._displaced(t0, t1, self.lag_s)
        held_w = [math.fsum(w for _, w in self._shares(t)) for t in (t0, t1)]
        sides = ((self._power(t + s) for t in (t0, t1)) for s in (-_POWER_NS, _POWER_NS))
        excess = [[w - h for w, h in zip(side, held_w, strict=True)] for side in sides]
        return max(abs(last - first) for first, last in excess) * self.lag_s

    def _displaced(self, t0: float, t1: float, u_s: float) -> float:
        """Standard uncertainty (J) of a window whose time is uncertain by ``u_s`` (s), J.

        The window is looked at where it may lie: a step of power at a mark, or near it, counts
        whole. By one standard uncertainty to both sides, and at the ends of the rectangle that has
        it.
        """
        if not u_s:
            return 0.0
        largest = 0.0
        here = self._difference(t0, t1)
        for share in (1.0, SQRT3):
            for move in (-share * u_s / NS, share * u_s / NS):
                there = self._difference(t0 + move, t1 + move)
                largest = max(largest, abs(there - here) / share)
        return largest

    def _difference(self, t0: float, t1: float) -> float:
        start, end = np.interp([t0, t1], self.t, self.joules)
        return float(end - start)

    def _power_step(self, t: float) -> float:
        """By how much the power changes around ``t``: within a step, and to the pieces beside."""
        reach = self.step_s * 1e9
        first = int(np.searchsorted(self.t, min(t - reach, self._point(t, -2)), side="left"))
        last = int(np.searchsorted(self.t, max(t + reach, self._point(t, 1)), side="right"))
        powers = self._watts[first : max(first + 1, last - 1)]
        return float(np.ptp(powers)) if len(powers) else 0.0

    def _point(self, t: float, offset: int) -> float:
        at = int(np.searchsorted(self.t, t, side="right")) + offset
        return float(self.t[min(max(at, 0), len(self.t) - 1)])

    @cached_property
    def _watts(self) -> Floats:
        """Mean power between each two points. Shape ``(n - 1,)``."""
        watts: Floats = np.diff(self.joules) / (np.maximum(np.diff(self.t), 1.0) * NS)
        return watts

    @cached_property
    def _variance(self) -> Floats:
        """The variance of the energy up to each point, J². Shape ``(n,)``."""
        if self.variance_j2 is not None:
            return self.variance_j2
        changes = np.cumsum(np.diff(self._watts) ** 2) * self.wander_s**2
        variance: Floats = np.concatenate([[0.0], changes, changes[-1:] if len(changes) else [0.0]])
        return variance

    def _shape_variance(self, t0: float, t1: float) -> float:
        """What uncertain times of readings do to a window, J².

        A pair of ticks fixes what lies between them: of an error there, each part of the stretch
        takes its share of the energy, so that little is left near the ticks.
        """
        (a, b), (c, d) = self._stretch(t0), self._stretch(t1)
        if self.ticks is None or (a, b) == (c, d):
            return self._bridged(a, t0, t1, b)
        return self._bridged(a, t0, b, b) + self._bridged(c, c, t1, d)

    def _bridged(self, a: float, t0: float, t1: float, b: float) -> float:
        """Variance of ``[t0, t1]`` inside ``[a, b]``, whose sum is known where both are finite."""
        low, first, last, high = np.interp([a, t0, t1, b], self.t, self._variance)
        inside = float(last - first)
        if not math.isfinite(a) or not math.isfinite(b):
            return inside
        energy = np.interp([a, t0, t1, b], self.t, self.joules)
        energy_j = float(energy[3] - energy[0])
        share = float(energy[2] - energy[1]) / energy_j if energy_j > 0 else 0.0
        return (1 - share) ** 2 * inside + share**2 * (float(high - low) - inside)

    def _stretch(self, t: float) -> tuple[float, float]:
        """The ticks around ``t``; infinite where there is none."""
        if self.ticks is None:
            return -math.inf, math.inf
        times = self.ticks.t
        after = int(np.searchsorted(times, t, side="right"))
        before = float(times[after - 1]) if after else -math.inf
        return before, float(times[after]) if after < len(times) else math.inf

    def _tick_error(self, t0: float, t1: float) -> float:
        """What the uncertain times of the ticks around both marks do to the window's energy.

        Between two ticks the curve is scaled to meet both. Moving a tick by δ moves what lies
        beside it by power × δ × its share; a tick inside the window, far from its marks, cancels.
        """
        if self.ticks is None or len(self.ticks.t) < 2:
            return 0.0
        moved: dict[int, float] = {}
        for mark, sign in ((t1, 1.0), (t0, -1.0)):
            for tick, watts in self._shares(mark):
                moved[tick] = moved.get(tick, 0.0) + sign * watts
        own = math.hypot(*(w * float(self.ticks.u[k]) * NS for k, w in moved.items()))
        return math.hypot(own, math.fsum(moved.values()) * self.ticks.common * NS)

    def _shares(self, mark: float) -> list[tuple[int, float]]:
        """The ticks beside ``mark``, each with how many watts of error it brings per second."""
        return [
            (tick, share * self._power(float(self.ticks.t[tick])))
            for tick, share in self._between_ticks(mark)
            if self.ticks is not None
        ]

    def _between_ticks(self, mark: float) -> list[tuple[int, float]]:
        """The ticks beside ``mark``, each with its share in what the curve is there."""
        if self.ticks is None or len(self.ticks.t) < 2:
            return []
        times = self.ticks.t
        after = int(np.clip(np.searchsorted(times, mark, side="right"), 1, len(times) - 1))
        span = times[[after - 1, after]]
        low, here, high = np.interp([span[0], mark, span[1]], self.t, self.joules)
        if high <= low or not span[0] <= mark <= span[1]:
            return [(after - 1 if mark < span[0] else after, 1.0)]
        share = float((here - low) / (high - low))
        return [(after - 1, 1 - share), (after, share)]

    def _power(self, t: float) -> float:
        around = np.array([t - _POWER_NS, t + _POWER_NS])
        low, high = np.interp(around, self.t, self.joules)
        return float(high - low) / (2 * _POWER_NS * NS)


def even(first: float, last: float, step_ns: float) -> Floats:
    """Times from ``first`` on (ns), evenly apart: by ``step_ns``, or by more where that would give
    more than a million, as a forged time at the end of a series does."""
    return np.arange(first, last, max(step_ns, (last - first) / _MOST_MARKS))


def gaps(t: Floats, limit_s: float, what: str) -> tuple[Hole, ...]:
    """Holes wherever two readings lie further apart than ``limit_s``; ``what`` they are is a word
    of `kit.energy.reasons`."""
    apart = np.diff(t)
    return tuple(
        Hole(float(t[i]), float(t[i + 1]), Reason("gap", what=what, seconds=float(apart[i]) * NS))
        for i in np.flatnonzero(apart > limit_s * 1e9)
    )


def holes_at(t: Floats, wrong: npt.NDArray[np.bool_], reason: Reason) -> tuple[Hole, ...]:
    """A hole at each ``wrong`` step between two points, neighbours joined. Shape ``(n - 1,)``."""
    holes: list[Hole] = []
    for i in np.flatnonzero(wrong):
        begin = holes.pop().t0 if holes and holes[-1].t1 == t[i] else float(t[i])
        holes.append(Hole(begin, float(t[i + 1]), reason))
    return tuple(holes)


def sharpened(t: Floats, joules: Floats) -> tuple[Floats, Floats]:
    """The curve through means, with a corner where the power stepped inside one of them.

    A straight line through the mean in which the power steps from one level to another cuts the
    corner: at the step itself by a sixth of ΔP·T in the mean, always to the same side, so that
    every window that begins and ends with a load loses it. Where both sides are level, the mean
    tells where in it the step lies (Harten, J. Comput. Phys. 83, 1989: subcell resolution).

    Args:
        t: ends of the means (ns), the first one's begin before them. Shape ``(n,)``.
        joules: energy up to each. Shape ``(n,)``.
    """
    if len(t) < _CORNER_MEANS + 1:
        return t, joules
    seconds = np.maximum(np.diff(t), 1.0) * NS
    watts = np.diff(joules) / seconds
    before, here, after = watts[1:-3], watts[2:-2], watts[3:-1]
    jump = after - before
    level = np.maximum(np.abs(before - watts[:-4]), np.abs(watts[4:] - after))
    share = np.divide(after - here, jump, out=np.zeros_like(jump), where=jump != 0)
    corner = (level < _LEVEL * np.abs(jump)) & (share > _INSIDE) & (share < 1 - _INSIDE)
    at = np.flatnonzero(corner) + 2
    inside = share[corner] * seconds[at]
    corners = t[at] + inside / NS
    where = np.searchsorted(t, corners)
    return np.insert(t, where, corners), np.insert(
        joules, where, joules[at] + watts[at - 1] * inside
    )


def held(t: Floats, watts: Floats, *, backwards: bool) -> Floats:
    """Cumulative energy (J) of power readings, each held from the one before (``backwards``) or
    until the one after."""
    steps = np.diff(t) * NS * (watts[1:] if backwards else watts[:-1])
    return np.concatenate([[0.0], np.cumsum(steps)])
