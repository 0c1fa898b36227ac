"""When an energy counter ticked, from when its value was seen to change.

A read takes milliseconds and comes at any moment, so that a change only brackets its tick. But
counters tick on a period as steady as a clock (an H200's is 100.00 ms; 527 ticks fit one straight
line within 1.2 ms): all brackets of a minute together leave little room for the phase, and the
time of every tick becomes known to a millisecond or so, even from slow polling. Where the
brackets contradict a steady period, each tick is only as good as its own bracket.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kit.energy.curve import SQRT12, Floats
from kit.samples import Ints, Series

_CHUNK = 64
_FEWEST = 4
_WIDEST = 0.8  # periods: a wider bracket says too little
_TOLERANCE = 0.03  # periods by which brackets may miss each other
_JITTER_NS = 0.3e6
_GRID = 121


class Known(NamedTuple):
    """Ticks of a counter.

    Attributes:
        t: when it ticked (ns). Shape ``(n,)``.
        u: standard uncertainty of that (ns). Shape ``(n,)``.
        raw: its value from then on. Shape ``(n,)``.
        resets: (ns, ns) between which the counter went backwards.
        period_ns: between two ticks, 0 where there are too few to tell.
    """

    t: Floats
    u: Floats
    raw: Ints
    resets: tuple[tuple[int, int], ...]
    period_ns: float


def known_ticks(series: Series, period_s: float | None) -> Known:
    """The ticks whose time the readings tell; ``period_s`` is a first guess."""
    steps = np.diff(series.raw)
    resets = tuple((int(series.t0[i]), int(series.t1[i + 1])) for i in np.flatnonzero(steps < 0))
    changed = np.flatnonzero(steps > 0)
    low = series.t0[changed].astype(np.float64)
    high = series.t1[changed + 1].astype(np.float64)
    raw = series.raw[changed + 1]
    period = _period((low + high) / 2, high - low, (period_s or 0.0) * 1e9)
    narrow = high - low <= _WIDEST * period if period else np.ones(len(low), bool)
    low, high, raw = low[narrow], high[narrow], raw[narrow]
    t, u = _refined(low, high, period)
    order = np.maximum.accumulate(t) if len(t) else t
    keep = np.concatenate([[True], np.diff(order) > 0])[: len(t)]
    return Known(order[keep], u[keep], raw[keep], resets, period)


def _period(middles: Floats, widths: Floats, guess: float) -> float:
    """The period (ns), by counting how many of it lie between ticks, near ones first."""
    if len(middles) < 2:
        return guess
    apart = np.diff(middles)
    sharp = (widths[1:] + widths[:-1]) / 2 < apart
    apart = apart[sharp] if sharp.any() else apart
    period = guess or float(apart.min())
    reach = 1.5
    while reach < 2 * float(apart.max()) / period and reach < 1e4:
        near = apart[apart < reach * period]
        counts = np.maximum(np.round(near / period), 1)
        if len(near):
            period = float(near.sum() / counts.sum())
        reach *= 2
    return period


def _refined(low: Floats, high: Floats, period: float) -> tuple[Floats, Floats]:
    """Each tick's time and its uncertainty, chunk by chunk of one straight line each."""
    t, u = (low + high) / 2, np.maximum((high - low) / SQRT12, _JITTER_NS)
    for first in range(0, len(low), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        found = _line(low[chunk], high[chunk], period) if period else None
        if found is not None:
            t[chunk], u[chunk] = found
    return t, u


def _line(low: Floats, high: Floats, period: float) -> tuple[Floats, float] | None:
    """Times ``phase + k · period`` that all brackets allow; None where they do not."""
    if len(low) < _FEWEST:
        return None
    middle = (low + high) / 2
    numbers = np.concatenate([[0.0], np.cumsum(np.round(np.diff(middle) / period))])
    if numbers[-1] < _FEWEST:
        return None
    slope = float(np.polyfit(numbers, middle, 1)[0])
    spread = float((high - low).max()) / numbers[-1]
    slopes = slope + np.linspace(-spread, spread, _GRID)
    lowest, highest = _room(low, high, numbers, slopes)
    best = int(np.argmax(highest - lowest))
    room = float(highest[best] - lowest[best])
    if room < -_TOLERANCE * period:
        return None
    phase = float(highest[best] + lowest[best]) / 2
    return phase + numbers * slopes[best], max(abs(room) / SQRT12, _JITTER_NS)


def _room(
    low: Floats, high: Floats, numbers: Floats, slopes: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For each slope, between which bounds the phase may lie."""
    ticks = slopes[:, None] * numbers[None, :]
    return (low - ticks).max(axis=1), (high - ticks).min(axis=1)
