"""GPU energy: how readings of counter and power become a curve.

1. ``counter+samples``: the 20 ms samples give the shape, the counter the sum between two ticks.
   When the samples were taken, and how much later the counter comes, the run itself tells
   (`kit.energy.shape`).
2. ``counter``: straight lines between its ticks, where these are close enough.
3. ``samples``: the 20 ms samples alone.
4. ``instant``: instantaneous power, held about the time of its making; its window is 25 ms of
   each 100 ms, so that it aliases.
5. ``average``: the mean of a trailing second, moved back by half of it; windows of 5 s and more.
   We do not deconvolve the mean (energy now = energy a second ago + mean): each second adds the
   error of one renewal's time, ten milliseconds times the change of power, and none goes away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from kit.core.arrays import np
from kit.core.facts import QuantityFacts, known
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, scale_of
from kit.energy import shape as shapes
from kit.energy.curve import (
    MEAN_EDGE,
    SQRT12,
    Curve,
    Floats,
    Hole,
    Part,
    Sensor,
    Ticks,
    gaps,
    held,
    sharpened,
)
from kit.energy.ticks import CounterTicks, known_ticks
from kit.energy.views import QUANTITY
from kit.record.samples import Samples, Series, readings

_SAMPLE_HOLE_S, _COUNTER_HOLE_S, _GAUGE_HOLE_S = 0.25, 0.5, 0.5
_CLOSE_S = 5.0  # ticks further apart say little of the samples between them
_ENOUGH, _BETTER = 8, 0.5  # pairs of ticks, and how much nearer stamps must come to be believed
_SAMPLE_S, RENEWED_S, _INSTANT_S, _AVERAGE_S = 0.02, 0.1, 0.025, 1.0
_SHORTEST_AVERAGE_S = 5.0
# Samples and counter are two views of one sensor: further apart they are not, and do not mix.
_AGREEMENT = (0.8, 1.25)
_BRIDGE_NS = 6e10


def corrected(curve: Curve, facts: QuantityFacts, sensor: Sensor) -> Curve:
    """The curve by the card's calibration, where there is one, and with its sensor's errors."""
    factor, watts = known(facts.gain_correction, 1.0), facts.offset_correction_w or 0.0
    elapsed = (curve.t - curve.t[0]) * NS
    return replace(
        curve,
        joules=curve.joules * factor + elapsed * watts,
        variance_j2=None if curve.variance_j2 is None else curve.variance_j2 * factor**2,
        sensor=sensor,
    )


def gauges(device: MeterDevice, samples: Samples) -> Iterator[tuple[str, Curve]]:
    for name, make in (("instant", _instant), ("average", _average)):
        gauge = good(device, samples, QUANTITY[name])
        if gauge:
            yield name, make(*gauge)


class TwoViews(NamedTuple):
    """A GPU's counter, by its ticks, and its power readings, each by itself; None where unread."""

    ticks: CounterTicks | None
    power: Curve | None


def agreement(views: TwoViews, t0: int, t1: int) -> float | None:
    """Power readings' energy over the counter's: the cross-check of two views of one sensor.

    Both are taken between the first and the last tick inside the window, where neither needs the
    other: the counter's difference, and the samples (else instant power) alone. None where either
    is lacking.
    """
    ticks, power = views
    if ticks is None or power is None:
        return None
    first, last = np.searchsorted(ticks.t, t0), np.searchsorted(ticks.t, t1, side="right") - 1
    if last <= first:
        return None
    begin, end = float(ticks.t[first]), float(ticks.t[last])
    counted, read = float(grown(ticks)[[first, last]] @ [-1, 1]), power.between(begin, end)
    return read.joules / counted if isinstance(read, Part) and counted > 0 else None


def two_views(device: MeterDevice, samples: Samples) -> TwoViews:
    """The counter's ticks and the curve of the samples, else of instant power."""
    ticks = counter_ticks(device, samples)
    power = samples_curve(device, samples, ticks)
    instant = good(device, samples, "gpu_power_instant")
    if power is None and instant:
        power = _instant(*instant)
    return TwoViews(ticks, power)


def counter_ticks(device: MeterDevice, samples: Samples) -> CounterTicks | None:
    """The ticks of the card's counter; None where it is not read."""
    found = good(device, samples, "gpu_energy")
    if found is None:
        return None
    series, facts = found
    scale, period_s = scale_of("gpu_energy", facts), seconds_or(facts.period_s, RENEWED_S)
    return known_ticks(series, period_s, scale)


def good(
    device: MeterDevice, samples: Samples, quantity: str
) -> tuple[Series, QuantityFacts] | None:
    """A quantity's readings and facts; zeros of a power sensor are no readings."""
    found = readings(device, samples, quantity)
    if found is None:
        return None
    series, facts = found
    if quantity != "gpu_energy":
        real = series.raw > 0
        series = series._replace(
            t=series.t[real], raw=series.raw[real], t0=series.t0[real], t1=series.t1[real]
        )
    return (series, facts) if len(series.t) > 1 else None


def temperatures(device: MeterDevice, samples: Samples) -> tuple[float, float] | None:
    """The lowest and the highest temperature of the run, °C."""
    series = samples.get(device.device, "gpu_temperature")
    if series is None or not len(series.raw):
        return None
    return float(series.raw.min()), float(series.raw.max())


def grown(ticks: CounterTicks) -> Floats:
    """Energy since the first tick (J); across a reset it does not grow."""
    steps = np.diff(ticks.raw).astype(np.float64)
    grown = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0.0))])
    return grown * ticks.scale


def counter_curve(ticks: CounterTicks) -> Curve:
    period_s = ticks.period_ns * 1e-9 or RENEWED_S
    limit_s = max(_COUNTER_HOLE_S, 3 * period_s)
    t, joules = sharpened(ticks.t, grown(ticks))
    return Curve(
        t=t,
        joules=joules,
        method="counter",
        step_s=period_s,
        edge=MEAN_EDGE,
        resolution_j=ticks.scale / np.sqrt(6),
        holes=gaps(ticks.t, limit_s, "tick"),
        ticks=Ticks(ticks.t, ticks.u, ticks.common),
    )


def samples_curve(
    device: MeterDevice, samples: Samples, ticks: CounterTicks | None
) -> Curve | None:
    """The samples at the times when they were taken, on the counter's clock where there is one.

    A driver whose samples follow no period, or agree with the counter far better at their stamps,
    is taken at its word.
    """
    found = good(device, samples, "gpu_power_sample")
    if found is None:
        return None
    series, facts = found
    stamps, period_s = series.t.astype(np.float64), seconds_or(facts.period_s, _SAMPLE_S)
    scale = scale_of("gpu_power_sample", facts)
    watts = series.raw.astype(np.float64) * scale
    ways = [shapes.on_period(stamps, period_s), shapes.stamped(stamps, period_s)]
    drawn = [_drawn(taken, watts, period_s, scale) for taken in ways if taken]
    fits = [shapes.fit(c.t, c.joules, _variance_j2(c), _pairs(c, ticks), period_s) for c in drawn]
    at = 0
    if len(fits) > 1 and min(f.pairs for f in fits) >= _ENOUGH:
        at = int(fits[1].misfit < _BETTER * fits[0].misfit)
    return _moved(drawn[at], fits[at], stamps)


def _drawn(taken: shapes.Taken, watts: Floats, period_s: float, scale: float) -> Curve:
    watts = watts[taken.keep]
    t, joules = sharpened(taken.t, held(taken.t, watts, backwards=True))
    return Curve(
        t=t,
        joules=joules,
        method="samples",
        step_s=period_s,
        edge=MEAN_EDGE,
        resolution_w=scale / SQRT12,
        variance_j2=np.interp(t, taken.t, shapes.variance_j2(watts, taken.periods, period_s)),
        holes=gaps(taken.t, max(_SAMPLE_HOLE_S, 5 * period_s), "sample"),
    )


def _variance_j2(curve: Curve) -> Floats:
    assert curve.variance_j2 is not None
    return curve.variance_j2


def _moved(curve: Curve, fitted: shapes.Fitted, stamps: Floats) -> Curve:
    """The curve as late as the counter comes; a hole stays where it was, and goes there too."""
    lag = fitted.lag_s * 1e9
    moved = replace(
        curve,
        t=curve.t + lag,
        lag_s=fitted.u_lag_s,
        variance_j2=_variance_j2(curve) * fitted.scale,
        holes=tuple(
            h._replace(t0=h.t0 + min(lag, 0.0), t1=h.t1 + max(lag, 0.0)) for h in curve.holes
        ),
    )
    return _extend_to_readings(moved, float(stamps[0]), float(stamps[-1]))


def _extend_to_readings(curve: Curve, first: float, last: float) -> Curve:
    """The curve from the first to the last reading, where it was moved by some milliseconds: its
    first and last power held that much longer."""
    seconds = np.array([max(curve.t[0] - first, 0.0), max(last - curve.t[-1], 0.0)]) * NS
    ends = np.diff(curve.joules)[[0, -1]] / (np.maximum(np.diff(curve.t)[[0, -1]], 1.0) * NS)
    before, after = ends * seconds
    variance_j2 = None if curve.variance_j2 is None else np.pad(curve.variance_j2, 1, mode="edge")
    return replace(
        curve,
        t=np.concatenate([[min(first, curve.t[0] - 1)], curve.t, [max(last, curve.t[-1] + 1)]]),
        joules=np.concatenate(
            [[curve.joules[0] - before], curve.joules, [curve.joules[-1] + after]]
        ),
        variance_j2=variance_j2,
    )


def _pairs(shape: Curve, ticks: CounterTicks | None) -> shapes.Pairs:
    """Neighbouring ticks that tell something of the samples between them."""
    if ticks is None or len(ticks.t) < 2:
        return shapes.Pairs(np.zeros(0), np.zeros(0), np.zeros(0), 0.0)
    good = _comparable(shape, ticks)
    return shapes.Pairs(
        ticks.t[:-1][good], ticks.t[1:][good], np.diff(grown(ticks))[good], _jitter_s(ticks)
    )


def _jitter_s(ticks: CounterTicks) -> float:
    return float(ticks.u.mean()) * NS


def _comparable(shape: Curve, ticks: CounterTicks) -> np.typing.NDArray[np.bool_]:
    """Between which neighbouring ticks the samples tell what the counter should have counted."""
    begin, end = ticks.t[:-1], ticks.t[1:]
    good: np.typing.NDArray[np.bool_] = end - begin < _CLOSE_S * 1e9
    good &= (begin > shape.t[0] + 1e8) & (end < shape.t[-1] - 1e8)
    spoilt = ((h.t0, h.t1) for h in shape.holes)
    for t0, t1 in (*spoilt, *ticks.resets, *ticks.jumps):
        good &= (end < t0) | (begin > t1)
    return good


def punctual(ticks: CounterTicks, shape: Curve) -> CounterTicks:
    """The ticks without late ones; the samples on both sides show which are late."""
    if len(ticks.t) < _ENOUGH:
        return ticks
    pairs = shapes.Pairs(ticks.t[:-1], ticks.t[1:], np.diff(grown(ticks)), _jitter_s(ticks))
    late = shapes.late(shape.t, shape.joules, _variance_j2(shape), pairs, shape.step_s)
    good = _comparable(shape, ticks)
    keep = np.ones(len(ticks.t), bool)
    keep[1:-1] = ~(late & good[:-1] & good[1:])
    return ticks._replace(t=ticks.t[keep], u=ticks.u[keep], raw=ticks.raw[keep])


def combined(ticks: CounterTicks, shape: Curve, unknown: tuple[Hole, ...]) -> Curve | None:
    """The samples' curve, stretched between each two ticks to the counter's difference."""
    inside = (ticks.t >= shape.t[0]) & (ticks.t <= shape.t[-1])
    if np.count_nonzero(inside) < 2:
        return None
    ticks = ticks._replace(t=ticks.t[inside], u=ticks.u[inside], raw=ticks.raw[inside])
    at_ticks, drawn = grown(ticks), np.interp(ticks.t, shape.t, shape.joules)
    ratio = (at_ticks[-1] - at_ticks[0]) / (drawn[-1] - drawn[0])
    if not _AGREEMENT[0] < ratio < _AGREEMENT[1]:
        return None
    t = np.union1d(shape.t, ticks.t)
    return replace(
        shape,
        t=t,
        joules=_rescale_to_ticks(
            np.interp(t, shape.t, shape.joules), drawn, at_ticks, float(ratio)
        ),
        method="counter+samples",
        resolution_j=ticks.scale / np.sqrt(6),
        resolution_w=0.0,
        holes=(*unknown, *_to_ticks(shape.holes, ticks.t)),
        ticks=Ticks(ticks.t, ticks.u, ticks.common),
        variance_j2=np.interp(t, shape.t, _variance_j2(shape)),
    )


def _to_ticks(holes: tuple[Hole, ...], t: Floats) -> tuple[Hole, ...]:
    """A hole in the shape spoils all between the ticks beside it: their sum went in there too.

    Where readings were made, and are not believed, that sum is known all the same.
    """
    stretched = []
    for hole in holes:
        before, after = t[t <= hole.t0], t[t >= hole.t1]
        begin = float(before[-1]) if len(before) else -math.inf
        end = float(after[0]) if len(after) else math.inf
        is_bridged = hole.doubted and math.isfinite(begin) and end - begin < _BRIDGE_NS
        stretched.append(hole._replace(t0=begin, t1=end, bridged=is_bridged))
    return tuple(stretched)


def _rescale_to_ticks(shape: Floats, drawn: Floats, counter_j: Floats, ratio: float) -> Floats:
    """Energy (J) at each point of the shape: through every tick, by ``ratio`` outside of them."""
    joules = np.interp(shape, drawn, counter_j)
    before, after = shape < drawn[0], shape > drawn[-1]
    joules[before] = counter_j[0] + (shape[before] - drawn[0]) * ratio
    joules[after] = counter_j[-1] + (shape[after] - drawn[-1]) * ratio
    result: Floats = joules - joules[0]
    return result


def _instant(series: Series, facts: QuantityFacts) -> Curve:
    """Each value represents the interval around the instant it was measured: half a renewal, half
    its window and half a poll before it was last read."""
    renewed_s = _renewal_s(series)
    curve = _gauge(series, scale_of("gpu_power_instant", facts), "instant", renewed_s)
    back = (renewed_s + _INSTANT_S + float(np.median(np.diff(curve.t))) * NS) / 2 * 1e9
    holes = tuple(h._replace(t0=h.t0 - back) for h in curve.holes)
    last = float(curve.t[-1])
    return _extend_to_readings(
        replace(curve, t=curve.t - back, holes=holes), float(curve.t[0]) - back, last
    )


def _renewal_s(series: Series) -> float:
    """How often a polled value changes, s; what is usual where it hardly does."""
    changed = series.t[1:][np.diff(series.raw) != 0]
    if len(changed) < _ENOUGH:
        return RENEWED_S
    return min(RENEWED_S, float(np.median(np.diff(changed))) * NS)


def _average(series: Series, facts: QuantityFacts) -> Curve:
    """A trailing mean belongs to the middle of its window, and covers all of it: no hole there."""
    scale = scale_of("gpu_power_average", facts)
    curve = _gauge(series, scale, "average", _AVERAGE_S, _AVERAGE_S)
    half = _AVERAGE_S / 2 * 1e9
    holes = tuple(Hole(h.t0 - half, h.t1 - half, h.reason) for h in curve.holes)
    return replace(curve, t=curve.t - half, holes=holes, shortest_s=_SHORTEST_AVERAGE_S)


def _gauge(
    series: Series, scale: float, method: str, step_s: float, hole_s: float = _GAUGE_HOLE_S
) -> Curve:
    t = series.t.astype(np.float64)
    watts = series.raw.astype(np.float64) * scale
    return Curve(
        t=t,
        joules=held(t, watts, backwards=False),
        method=method,
        step_s=step_s,
        resolution_w=scale / SQRT12,
        wander_s=2 * step_s / SQRT12,  # twice: most of the time is not seen, and loads alias
        holes=gaps(t, hole_s, "power"),
    )
