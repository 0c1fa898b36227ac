"""When an energy counter changed (its ticks), and its value from then on.

A read takes milliseconds and comes at any moment, so that a change of the value only brackets its
tick. But counters tick on a period as steady as a clock (an H200's is 100.00 ms; 527 ticks fit one
straight line within 1.2 ms): the brackets of a minute together leave little room for the phase,
and the time of every tick becomes known to a millisecond, even from slow polling. Then every read
between two ticks tells what the counter said at the earlier one. Where the brackets contradict a
steady period, only ticks that were bracketed count, each as good as its own bracket.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from kit.core.arrays import np, npt
from kit.core.units import QUANTITIES
from kit.energy.curve import SQRT12, Floats
from kit.record.samples import Ints, Series

_LONGEST = 512
_FEWEST = 6
_MOST_LATE = 0.2  # share of brackets that a busy driver may have spoilt
_GUESS_ERROR = 0.05
_WIDEST = 0.95  # periods: a wider bracket says nothing
_TOLERANCE = 0.03  # periods by which brackets may miss each other
# An idle H200's counter grows by 12.3 J a tick, scattering by 0.1 J, what one has too much the
# next having too little: each tick comes up to a millisecond off its period.
_JITTER_NS = 0.55e6
_LATE_NS, _LATE_SHARE = 12e6, 0.15
_MJ = QUANTITIES["gpu_energy"].scale
_GRID, _ZOOMS, _FEW_SLOPES = 101, 3, 12


class CounterTicks(NamedTuple):
    """Ticks of a counter.

    Attributes:
        t: when it ticked (ns). Shape ``(n,)``.
        u: standard uncertainty of that, each tick by itself (ns). Shape ``(n,)``.
        common: standard uncertainty that all share (ns).
        raw: its value from then on. Shape ``(n,)``.
        resets: (ns, ns) between which the counter went backwards.
        period_ns: between two ticks.
        jumps: (ns, ns) between which it grew by more than the device can draw.
        scale: joules in one step of ``raw``.
    """

    t: Floats
    u: Floats
    common: float
    raw: Ints
    resets: tuple[tuple[int, int], ...]
    period_ns: float
    jumps: tuple[tuple[int, int], ...] = ()
    scale: float = _MJ


class _Line(NamedTuple):
    """Ticks at ``phase + number · period``, known to ± ``error`` (standard), all together."""

    phase: float
    period: float
    error: float


def known_ticks(series: Series, period_s: float, scale: float = _MJ) -> CounterTicks:
    """The ticks that follow from the readings.

    Args:
        period_s: their period within a few percent, s.
        scale: joules in one step of the raw value.
    """
    return _from_brackets(series, period_s)._replace(scale=scale)


def _from_brackets(series: Series, period_s: float) -> CounterTicks:
    steps = np.diff(series.raw)
    resets = tuple((int(series.t0[i]), int(series.t1[i + 1])) for i in np.flatnonzero(steps < 0))
    changed = np.flatnonzero(steps > 0)
    if not len(changed):
        return CounterTicks(np.zeros(0), np.zeros(0), 0.0, series.raw[:0], resets, period_s * 1e9)
    low = series.t0[changed].astype(np.float64)
    high = series.t1[changed + 1].astype(np.float64)
    # Between two bursts the counter ticked at a time that nobody saw.
    narrow = high - low <= _WIDEST * period_s * 1e9
    narrow |= not narrow.any()
    low, high, raw = low[narrow], high[narrow], series.raw[changed + 1][narrow]
    numbers, period = _numbered(low, high, period_s * 1e9)
    lines = _lines(low, high, numbers, period)
    times = _every(series, lines) if lines else None
    if lines is None or times is None:
        t, u = (low + high) / 2, np.maximum((high - low) / SQRT12, _JITTER_NS)
        return CounterTicks(*_ascending(t, u, raw), resets=resets, period_ns=period)
    error = max(line.error for _, line in lines)
    return CounterTicks(
        times[0], np.full(len(times[0]), _JITTER_NS), error, times[1], resets, period
    )


def _ascending(t: Floats, u: Floats, raw: Ints) -> tuple[Floats, Floats, float, Ints]:
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(t)) > 0])
    return t[keep], u[keep], 0.0, raw[keep]


def _numbered(low: Floats, high: Floats, period: float) -> tuple[Floats, float]:
    """How many periods after the first each tick came, and the period (ns).

    The counter may be asked seldom, and each tick is seen with an error: every few more ticks
    that were counted make the period sharper, and so the next ones can be counted.
    """
    middles, sigma = (low + high) / 2, float((high - low).mean()) / SQRT12
    numbers = np.zeros(len(middles))
    stop, at, error = 1, float(middles[0]), _GUESS_ERROR
    while stop < len(middles):
        more = slice(stop, max(stop + 1, int(stop * 1.25)))
        numbers[more] = numbers[stop - 1] + np.round((middles[more] - at) / period)
        stop = min(more.stop, len(middles))
        fit = slice(max(0, stop - _LONGEST), stop)
        span = float(numbers[stop - 1] - numbers[fit.start])
        better = sigma * SQRT12 / (math.sqrt(stop - fit.start) * max(span, 1e-9) * period)
        if better < error:
            period, error = float(np.polyfit(numbers[fit], middles[fit], 1)[0]), better
        first = float((middles[fit] - period * numbers[fit]).mean())
        at = first + period * float(numbers[stop - 1])
    return numbers, period


def _lines(
    low: Floats, high: Floats, numbers: Floats, period: float
) -> list[tuple[float, _Line]] | None:
    """Straight lines through all ticks, each with the time up to which it holds (ns).

    A stretch that fits no line is halved, since a period may drift over hours. None where the
    ticks do not come at a steady period.
    """
    parts = -(-len(low) // _LONGEST)
    marks = np.linspace(0, len(low), parts + 1).astype(int).tolist()
    waiting = [slice(a, b) for a, b in pairwise(marks)][::-1]
    lines: list[tuple[float, _Line]] = []
    while waiting:
        part = waiting.pop()
        line = _line(low[part], high[part], numbers[part], period)
        middle = (part.start + part.stop) // 2
        if line is not None:
            lines.append((float(high[part][-1]), line))
        elif middle - part.start >= _FEWEST:
            waiting += [slice(middle, part.stop), slice(part.start, middle)]
        else:
            return None
    return lines


def _line(low: Floats, high: Floats, numbers: Floats, period: float) -> _Line | None:
    """The line in the middle of those that all brackets allow; None where there is none.

    A driver that was busy ticks 10 ms late: a few brackets that contradict all others are left
    out, those first without which the others have the most room.
    """
    is_kept = np.ones(len(low), bool)
    for _ in range(1 + int(_MOST_LATE * len(low))):
        if np.count_nonzero(is_kept) < _FEWEST or np.ptp(numbers[is_kept]) < _FEWEST:
            return None
        line, tight = _line_of(low[is_kept], high[is_kept], numbers[is_kept] - numbers[0], period)
        if line is not None:
            return line
        places = np.flatnonzero(is_kept)[list(tight)]
        rooms = [_room_without(low, high, numbers, is_kept, place) for place in places]
        is_kept[places[int(np.argmax(rooms))]] = False
    return None


def _room_without(
    low: Floats, high: Floats, numbers: Floats, is_kept: npt.NDArray[np.bool_], place: int
) -> float:
    """The most room that any line has among the brackets that are kept, but for one."""
    rest = is_kept.copy()
    rest[place] = False
    slope, spread = _about(low[rest], high[rest], numbers[rest])
    slopes = slope + np.linspace(-spread, spread, _GRID)
    lowest, highest = _room(low[rest], high[rest], numbers[rest], slopes)
    return float((highest - lowest).max())


def _about(low: Floats, high: Floats, numbers: Floats) -> tuple[float, float]:
    """A line's slope by least squares, and how far it may be off."""
    slope = float(np.polyfit(numbers, (low + high) / 2, 1)[0])
    return slope, float((high - low).max()) / float(np.ptp(numbers))


def _line_of(
    low: Floats, high: Floats, numbers: Floats, period: float
) -> tuple[_Line | None, tuple[int, int]]:
    """The line that these brackets allow; and the two that leave the least room."""
    slope, spread = _about(low, high, numbers)
    for _ in range(_ZOOMS):
        slopes = slope + np.linspace(-spread, spread, _GRID)
        lowest, highest = _room(low, high, numbers, slopes)
        room = highest - lowest
        if np.count_nonzero(room > 0) > _FEW_SLOPES:
            return _middle(slopes, lowest, highest, float(numbers[-1])), (0, 0)
        slope, spread = float(slopes[int(np.argmax(room))]), 4 * spread / _GRID
    best = int(np.argmax(room))
    ticks = slope * numbers
    tight = int(np.argmax(low - ticks)), int(np.argmin(high - ticks))
    if room[best] < -_TOLERANCE * period:
        return None, tight
    middle = float(highest[best] + lowest[best]) / 2
    return _Line(middle, slope, abs(float(room[best])) / 2), tight


def _middle(slopes: Floats, lowest: Floats, highest: Floats, last: float) -> _Line:
    """The middle of all lines that are allowed, and how far they stray from it at worst."""
    room = np.maximum(highest - lowest, 0.0)
    share, middles = room / room.sum(), (highest + lowest) / 2
    # The value may be taken at either end of a call: half the room, not its spread.
    inside = float(share @ (room / 2) ** 2)
    phase, slope = float(share @ middles), float(share @ slopes)
    strays = [
        float(share @ (middles + slopes * at - phase - slope * at) ** 2) for at in (0.0, last)
    ]
    return _Line(phase, slope, math.sqrt(inside + max(strays)))


def _room(
    low: Floats, high: Floats, numbers: Floats, slopes: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For each slope, between which bounds the phase may lie."""
    ticks = slopes[:, None] * numbers[None, :]
    return (low - ticks).max(axis=1), (high - ticks).min(axis=1)


def _every(series: Series, lines: list[tuple[float, _Line]]) -> tuple[Floats, Ints] | None:
    """What every read tells of the tick before it: times (ns) and values, one each.

    None where no read is clear of all ticks: these are then known too badly.
    """
    begin, end = series.t0.astype(np.float64), series.t1.astype(np.float64)
    t = np.full(len(begin), np.nan)
    until = [bound for bound, _ in lines[:-1]]
    which = np.searchsorted(until, begin)
    for index, (_, line) in enumerate(lines):
        rows = which == index
        number = np.floor((begin[rows] - line.phase) / line.period)
        tick = line.phase + number * line.period
        margin = 2 * line.error + _JITTER_NS  # a read about a tick may tell either value
        late = min(_LATE_NS, _LATE_SHARE * line.period)  # a read that soon may tell the old value
        clear = (begin[rows] > tick + margin + late) & (end[rows] < tick + line.period - margin)
        t[rows] = np.where(clear, tick, np.nan)
    places = np.flatnonzero(~np.isnan(t))
    if len(places) < 2:
        return None
    first = places[np.concatenate([[True], np.diff(t[places]) > 0.5 * lines[0][1].period])]
    return t[first], series.raw[first]
