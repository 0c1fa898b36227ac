"""The averaging time of a GPU's averaged power readings, estimated from a run's own samples.

Cards differ: an H200's "average" is the mean of the second before, an A100's of 25 ms. The true
course of power is taken from the 20 ms samples, or without them from the ticks of the energy
counter, between which it is held. The reading that came out at a time ``c`` is then explained by
the mean over ``c - delay - window … c - delay``: least squares over a grid of both, made finer
about the best. Only readings after steps of the power count, since all windows explain steady
power alike.

The window's standard uncertainty is that of least squares whose residuals hang together within a
stretch of readings (a sandwich of sums by stretch). A reason stands instead of a window where

- the power stepped in fewer than `_STRETCHES` stretches of `_REACH_S` by `_STEP_W` and
  `_STEP_SHARE` of its mean;
- the best mean leaves more than `_UNEXPLAINED` of the readings' own scatter (rms);
- the estimate lies within two standard uncertainties of two steps of the shape, or at the longest
  tried;
- the standard uncertainty exceeds a quarter of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from kit.core.arrays import np, npt
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, scale_of
from kit.energy.curve import Floats, even, held
from kit.energy.gpu import counter_ticks
from kit.energy.reason import Reason
from kit.record.samples import Samples, Series, readings

_AVERAGED = ("gpu_power_average", "gpu_power_instant")
_SAMPLE_S = 0.02
_LONGEST_S = 2.0
_EARLIEST_S, _LATEST_S = -0.2, 0.4  # delays; samples may carry a stamp later than the reading's
_COARSE_S, _FINEST_S = 0.02, 0.0005
_REACH_S = _LONGEST_S + _LATEST_S  # what lies before a reading and may be in it
_STEP_W, _STEP_SHARE = 10.0, 0.1
_STRETCHES, _ENOUGH, _MOST = 4, 12, 240
_UNEXPLAINED = 0.25
_LOOSEST = 0.25  # standard uncertainty as a share of the window
_LATE_POLLS = 2.5

Bools: TypeAlias = "npt.NDArray[np.bool_]"


@dataclass(frozen=True)
class Averaging:
    """The averaging time of one power reading of a GPU.

    Attributes:
        period_s: time between two renewals of the value; None where it hardly changed.
        window_s: length of the trailing mean; None with a reason.
        u_window_s: its standard uncertainty.
        delay_s: from the window's end until the value could be read, by the shape's own clock.
        reason: why there is no window; None where there is one.
    """

    period_s: float | None
    window_s: float | None
    u_window_s: float | None
    delay_s: float | None
    reason: Reason | None


class _Shape(NamedTuple):
    """Energy since the first point (J) at times (ns), and its usual step (s)."""

    t: Floats
    joules: Floats
    step_s: float

    def mean(self, begin: Floats, end: Floats) -> Floats:
        """Mean power (W) between times (ns)."""
        drawn = np.interp(end, self.t, self.joules) - np.interp(begin, self.t, self.joules)
        watts: Floats = drawn / ((end - begin) * NS)
        return watts


class _Renewals(NamedTuple):
    """When a value was first read anew (ns), and what it then said (W)."""

    t: Floats
    watts: Floats

    def only(self, keep: Bools) -> _Renewals:
        return _Renewals(self.t[keep], self.watts[keep])


class _Best(NamedTuple):
    window_s: float
    u_window_s: float
    delay_s: float
    unexplained: float


def averaging(device: MeterDevice, samples: Samples) -> dict[str, Averaging]:
    """The averaging time of each averaged power reading of this GPU, by quantity.

    Quantities that the card does not give are left out.
    """
    shape = _shape(device, samples)
    windows = {}
    for quantity in _AVERAGED:
        series = readings(device, samples, quantity)
        if series:
            windows[quantity] = _averaging(series[0], scale_of(quantity, series[1]), shape)
    return windows


def _shape(device: MeterDevice, samples: Samples) -> _Shape | None:
    """The course of power from the samples, else from the counter's ticks."""
    found = readings(device, samples, "gpu_power_sample")
    if found:
        series, facts = found
        real = series.raw > 0  # zeros of a power sensor are no readings
        t = series.t[real].astype(np.float64)
        watts = series.raw[real].astype(np.float64) * scale_of("gpu_power_sample", facts)
        step_s = seconds_or(facts.period_s, _SAMPLE_S)
        if len(t) > 1:
            return _Shape(t, held(t, watts, backwards=True), step_s)
    ticks = counter_ticks(device, samples)
    if ticks is None or len(ticks.t) < 2 or ticks.resets:
        return None
    joules = (ticks.raw - ticks.raw[0]) * ticks.scale
    return _Shape(ticks.t, joules, ticks.period_ns * NS)


def _averaging(series: Series, scale: float, shape: _Shape | None) -> Averaging:
    renewals, period_s = _renewals(series, scale)

    def unknown(reason: Reason) -> Averaging:
        return Averaging(period_s, None, None, None, reason)

    if shape is None:
        return unknown(Reason("no_shape"))
    stepped, stretches = _stepped(renewals, shape)
    if len(stretches) < _STRETCHES or len(stepped.t) < _ENOUGH:
        return unknown(
            Reason(
                "few_steps",
                step_w=_STEP_W,
                step_share=_STEP_SHARE,
                stretches=len(stretches),
                stretch_s=_REACH_S,
                least=_STRETCHES,
            )
        )
    best = _fitted(stepped, shape)
    why_not = _why_not(best, shape)
    if why_not:
        return unknown(why_not)
    return Averaging(period_s, best.window_s, best.u_window_s, best.delay_s, None)


def _why_not(best: _Best, shape: _Shape) -> Reason | None:
    """Why the best fit tells no window; None where it does."""
    shortest = 2 * shape.step_s
    window, doubt = best.window_s, best.u_window_s
    if best.unexplained > _UNEXPLAINED:
        return Reason(
            "unexplained",
            longest_s=_LONGEST_S,
            share=best.unexplained,
            shortest_s=shortest if window < shortest else None,
        )
    if window >= _LONGEST_S:
        return Reason("window_long", longest_s=_LONGEST_S)
    if window - 2 * doubt < shortest and doubt < shortest:
        bound = max(shortest, window + 2 * doubt)
        return Reason("window_short", bound_s=bound, step_s=shape.step_s)
    if doubt > _LONGEST_S:
        return Reason("window_untold")
    if doubt > _LOOSEST * window:
        return Reason("window_loose", window_s=window, u_s=doubt)
    return None


def _renewals(series: Series, scale: float) -> tuple[_Renewals, float | None]:
    """The first reading of each new value, and the median time between two of these (s)."""
    good = series.raw > 0
    begin, end, raw = series.t0[good], series.t1[good], series.raw[good]
    changed = np.flatnonzero(np.diff(raw) != 0)
    if len(changed) < _ENOUGH:
        return _Renewals(np.zeros(0), np.zeros(0)), None
    # The value changed at some time between the two reads.
    t = (begin[changed] + end[changed + 1]) / 2
    wide = end[changed + 1] - begin[changed]
    close = wide <= _LATE_POLLS * np.median(end[1:] - begin[:-1])
    period_s = float(np.median(np.diff(t))) * NS
    return _Renewals(t, raw[changed + 1].astype(np.float64) * scale).only(close), period_s


def _stepped(renewals: _Renewals, shape: _Shape) -> tuple[_Renewals, Floats]:
    """The readings that a step of power may be in, by stretches; and these.

    A reading with a hole in the shape before it does not count.
    """
    reach = _REACH_S * 1e9
    marks = even(shape.t[0], shape.t[-1], max(0.1, shape.step_s) * 1e9)
    watts = shape.mean(marks[:-1], marks[1:])
    limit = max(_STEP_W, _STEP_SHARE * float(watts.mean())) if len(watts) else 0.0
    steps = marks[1:-1][np.abs(np.diff(watts)) >= limit]
    apart = np.diff(shape.t)
    holes = shape.t[:-1][apart > _LATE_POLLS * shape.step_s * 1e9]
    t = renewals.t
    inside = (t - reach >= shape.t[0]) & (t - _EARLIEST_S * 1e9 <= shape.t[-1])
    near = _count(steps, t - reach, t) > 0
    no_hole = _count(holes, t - 1.5 * reach, t - _EARLIEST_S * 1e9) == 0
    chosen = renewals.only(inside & near & no_hole)
    numbers = np.floor(chosen.t / reach)
    stretches = np.unique(numbers)
    # A long run has more steps than are needed: whole stretches are kept, spread over all of it.
    most = max(_STRETCHES, int(_MOST / max(1.0, len(chosen.t) / max(1, len(stretches)))))
    if len(stretches) > most:
        stretches = stretches[np.linspace(0, len(stretches) - 1, most).astype(int)]
        chosen = chosen.only(np.isin(numbers, stretches))
    return chosen, stretches


def _count(sorted_times: Floats, begin: Floats, end: Floats) -> npt.NDArray[np.int64]:
    """How many of the times lie in each interval."""
    count: npt.NDArray[np.int64] = np.searchsorted(sorted_times, end) - np.searchsorted(
        sorted_times, begin
    )
    return count


def _fitted(renewals: _Renewals, shape: _Shape) -> _Best:
    """The trailing mean that explains the readings best."""
    shortest = shape.step_s / 4  # less than a step of the shape is the shape's own power
    windows = np.arange(_COARSE_S, _LONGEST_S + 1.5 * _COARSE_S, _COARSE_S)
    delays = np.arange(_EARLIEST_S, _LATEST_S, _COARSE_S)
    grid = _COARSE_S
    while True:
        misfit = _misfits(renewals, shape, windows, delays)
        row, column = np.unravel_index(int(np.argmin(misfit)), misfit.shape)
        window, delay = float(windows[row]), float(delays[column])
        if grid <= _FINEST_S:
            break
        nearby = np.linspace(-1.5 * grid, 1.5 * grid, 13)
        grid /= 4
        windows, delays = np.unique(np.maximum(window + nearby, shortest)), delay + nearby
    scatter = float(renewals.watts.std())
    return _Best(
        # The shape's own steps blur by as much as a mean over one of them, which is in the
        # readings' window too: variances of boxes add, as squares of their lengths.
        math.hypot(window, shape.step_s) if window > shape.step_s else window,
        _uncertainty(renewals, shape, window, delay),
        delay,
        math.sqrt(float(misfit.min())) / scatter if scatter else math.inf,
    )


def _explained(renewals: _Renewals, shape: _Shape, window_s: float, delay_s: float) -> Floats:
    end = renewals.t - delay_s * 1e9
    return shape.mean(end - window_s * 1e9, end)


def _misfits(renewals: _Renewals, shape: _Shape, windows: Floats, delays: Floats) -> Floats:
    """Mean squared residual (W²). Shape ``(windows, delays)``."""
    ends = renewals.t[None, :] - delays[:, None] * 1e9
    last = np.interp(ends, shape.t, shape.joules)
    misfits = np.empty((len(windows), len(delays)))
    for row, window in enumerate(windows):
        drawn = last - np.interp(ends - window * 1e9, shape.t, shape.joules)
        misfits[row] = ((renewals.watts - drawn / window) ** 2).mean(axis=1)
    return misfits


def _uncertainty(renewals: _Renewals, shape: _Shape, window: float, delay: float) -> float:
    """Standard uncertainty of the window (s); infinite where the readings do not tell it."""
    move = min(0.01, window / 4)
    longer, shorter = (_explained(renewals, shape, window + d, delay) for d in (move, -move))
    later, sooner = (_explained(renewals, shape, window, delay + d) for d in (move, -move))
    slopes = np.column_stack([longer - shorter, later - sooner]) / (2 * move)
    left = renewals.watts - _explained(renewals, shape, window, delay)
    _, stretch = np.unique(np.floor(renewals.t / (_REACH_S * 1e9)), return_inverse=True)
    sums = np.zeros((int(stretch.max()) + 1, 2))
    np.add.at(sums, stretch, slopes * left[:, None])
    normal = slopes.T @ slopes
    if np.linalg.matrix_rank(normal) < 2:
        return math.inf
    inverse = np.linalg.inv(normal)
    many = len(sums)
    spread = inverse @ (sums.T @ sums) @ inverse * many / (many - 1)
    # Where inside a step of the shape the power stepped is not known, anew in each stretch.
    edges = shape.step_s**2 / 12 / many
    return math.sqrt(max(float(spread[0, 0]), 0.0) + edges)
