"""GPU energy: ways from NVML's readings to a curve, best first.

1. ``counter+samples``: the 20 ms samples give the shape, the counter the sum between two ticks.
2. ``counter``: straight lines between its ticks, where these are close enough.
3. ``samples``: the 20 ms samples alone.
4. ``instant``: instantaneous power, held; its window is 25 ms of each 100 ms, so that it aliases.
5. ``average``: the mean of a trailing second, moved back by half of it; windows of 5 s and more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kit.energy.curve import NS, SQRT3, SQRT12, Curve, Floats, Hole, Sensor, Ticks, gaps, held
from kit.energy.ticks import Known, known_ticks
from kit.model import MeterDevice
from kit.samples import Samples, Series
from kit.units import QUANTITIES

GAIN = 0.05
_SAMPLE_HOLE_S, _COUNTER_HOLE_S, _GAUGE_HOLE_S = 0.25, 0.5, 0.5
_LEAST_WANDER_S = 5e-5
_LAG_S = 0.003  # between samples and counter, as seen on H200s
_CLOSE_S, _ENOUGH = 3.0, 8  # ticks that tell the samples' noise: how close, how many
_SAMPLE_S, _RENEWED_S, _AVERAGE_S = 0.02, 0.1, 1.0
_SHORTEST_AVERAGE_S = 5.0
# Samples and counter are two views of one sensor: further apart they are not, and do not mix.
_AGREEMENT = (0.8, 1.25)
_RESET = "the energy counter was reset (the driver was reloaded)"


def curves(device: MeterDevice, samples: Samples) -> list[Curve]:
    """Every way that this device's readings allow, best first.

    A counter that went backwards means a driver that was reloaded: no way tells such a window.
    """
    shape = _samples_curve(device, samples)
    found: list[Curve] = []
    resets: tuple[Hole, ...] = ()
    counter = _good(device, samples, "gpu_energy")
    if counter:
        series, facts = counter
        ticks = known_ticks(series, float(facts.get("period_s", _RENEWED_S)))
        resets = tuple(Hole(a, b, _RESET) for a, b in ticks.resets)
        found += _counting(ticks, shape, _sensor(facts))
    found += [shape] if shape else []
    found += _gauges(device, samples)
    return [replace(curve, holes=(*resets, *curve.holes)) for curve in found]


def _counting(ticks: Known, shape: Curve | None, sensor: Sensor) -> Iterator[Curve]:
    combined = _combined(ticks, shape, sensor) if shape else None
    if combined:
        yield combined
    if len(ticks.t) > 1:
        yield _counter_curve(ticks, sensor)


def _gauges(device: MeterDevice, samples: Samples) -> Iterator[Curve]:
    for quantity, make in (("gpu_power_instant", _instant), ("gpu_power_average", _average)):
        found = _good(device, samples, quantity)
        if found:
            yield make(*found)


def agreement(device: MeterDevice, samples: Samples, t0: int, t1: int) -> float | None:
    """Samples' energy over counter's in a window: the cross-check. None where either is lacking."""
    found = {c.method: c.between(t0, t1) for c in curves(device, samples)}
    best, plain = found.get("counter+samples"), found.get("samples") or found.get("instant")
    first, second = getattr(best, "joules", None), getattr(plain, "joules", None)
    return second / first if first and second else None


def _good(
    device: MeterDevice, samples: Samples, quantity: str
) -> tuple[Series, Mapping[str, Any]] | None:
    """A quantity's readings and facts; zeros of a power sensor are no readings."""
    facts = device.quantities.get(quantity)
    series = samples.get(device.device, quantity)
    if facts is None or "reason" in facts or series is None:
        return None
    if quantity != "gpu_energy":
        real = series.raw > 0
        series = series._replace(
            t=series.t[real], raw=series.raw[real], t0=series.t0[real], t1=series.t1[real]
        )
    return (series, facts) if len(series.t) > 1 else None


def _sensor(facts: Mapping[str, Any]) -> Sensor:
    gain, offset = float(facts.get("gain", GAIN)), float(facts.get("offset", 0.0))
    return Sensor(gain=gain / SQRT3, offset_w=offset / SQRT3)


def _grown(ticks: Known) -> Floats:
    """Energy since the first tick (J); across a reset it does not grow."""
    steps = np.diff(ticks.raw).astype(np.float64)
    grown = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0.0))])
    return grown * QUANTITIES["gpu_energy"].scale


def _counter_curve(ticks: Known, sensor: Sensor) -> Curve:
    period_s = ticks.period_ns * 1e-9 or _RENEWED_S
    limit_s = max(_COUNTER_HOLE_S, 3 * period_s)
    return Curve(
        t=ticks.t,
        joules=_grown(ticks),
        method="counter",
        step_s=period_s,
        sensor=sensor,
        resolution_j=QUANTITIES["gpu_energy"].scale / np.sqrt(6),
        holes=gaps(ticks.t, limit_s, "tick of the energy counter"),
        ticks=Ticks(ticks.t, ticks.u, ticks.common),
    )


def _samples_curve(device: MeterDevice, samples: Samples) -> Curve | None:
    found = _good(device, samples, "gpu_power_sample")
    if found is None:
        return None
    series, facts = found
    t, scale = series.t.astype(np.float64), QUANTITIES["gpu_power_sample"].scale
    period_s = float(facts.get("period_s", _SAMPLE_S))
    limit_s = max(_SAMPLE_HOLE_S, 5 * period_s)
    return Curve(
        t=t,
        joules=held(t, series.raw.astype(np.float64) * scale, backwards=True),
        method="samples",
        step_s=period_s,
        sensor=_sensor(facts),
        wander_s=_wander_s(t, period_s),
        lag_s=_LAG_S,
        holes=gaps(t, limit_s, "power sample"),
    )


def _combined(ticks: Known, shape: Curve, sensor: Sensor) -> Curve | None:
    """The samples' curve, stretched between each two ticks to the counter's difference."""
    inside = (ticks.t >= shape.t[0]) & (ticks.t <= shape.t[-1])
    if np.count_nonzero(inside) < 2:
        return None
    ticks = ticks._replace(t=ticks.t[inside], u=ticks.u[inside], raw=ticks.raw[inside])
    known, drawn = _grown(ticks), np.interp(ticks.t, shape.t, shape.joules)
    ratio = (known[-1] - known[0]) / (drawn[-1] - drawn[0])
    if not _AGREEMENT[0] < ratio < _AGREEMENT[1]:
        return None
    t = np.union1d(shape.t, ticks.t)
    return Curve(
        t=t,
        joules=_stretched(np.interp(t, shape.t, shape.joules), drawn, known, float(ratio)),
        method="counter+samples",
        step_s=shape.step_s,
        sensor=sensor,
        resolution_j=QUANTITIES["gpu_energy"].scale / np.sqrt(6),
        holes=_to_ticks(shape.holes, ticks.t),
        ticks=Ticks(ticks.t, ticks.u, ticks.common),
        wander_s=shape.wander_s,
        lag_s=shape.lag_s,
        noise_j=_noise_j(ticks.t, known, drawn * ratio),
    )


def _to_ticks(holes: tuple[Hole, ...], t: Floats) -> tuple[Hole, ...]:
    """A hole in the shape spoils all between the ticks beside it: their sum went in there too."""
    found = []
    for hole in holes:
        before, after = t[t <= hole.t0], t[t >= hole.t1]
        begin = float(before[-1]) if len(before) else -math.inf
        end = float(after[0]) if len(after) else math.inf
        found.append(hole._replace(t0=begin, t1=end))
    return tuple(found)


def _noise_j(t: Floats, known: Floats, drawn: Floats) -> float | None:
    """How far the samples' energy strays from the counter's at any time, J; None from few ticks.

    Between two ticks the two differ by what each of the ends strays.
    """
    close = np.diff(t) < _CLOSE_S * 1e9
    if np.count_nonzero(close) < _ENOUGH:
        return None
    differences = (np.diff(known) - np.diff(drawn))[close]
    return float(np.sqrt(np.mean(differences**2) / 2))


def _wander_s(t: Floats, period_s: float) -> float:
    """How far the samples' times stray from their period, s: an H200's by 3 ms."""
    apart = np.diff(t) * NS
    regular = apart[apart < 1.8 * period_s]
    return max(_LEAST_WANDER_S, float(regular.std()) / math.sqrt(2)) if len(regular) else period_s


def _stretched(shape: Floats, drawn: Floats, known: Floats, ratio: float) -> Floats:
    """Energy (J) at each point of the shape: through every tick, by ``ratio`` outside of them."""
    joules = np.interp(shape, drawn, known)
    before, after = shape < drawn[0], shape > drawn[-1]
    joules[before] = known[0] + (shape[before] - drawn[0]) * ratio
    joules[after] = known[-1] + (shape[after] - drawn[-1]) * ratio
    result: Floats = joules - joules[0]
    return result


def _instant(series: Series, facts: Mapping[str, Any]) -> Curve:
    return _gauge(series, facts, "gpu_power_instant", "instant", _RENEWED_S)


def _average(series: Series, facts: Mapping[str, Any]) -> Curve:
    """A trailing mean belongs to the middle of its window."""
    curve = _gauge(series, facts, "gpu_power_average", "average", _AVERAGE_S)
    half = _AVERAGE_S / 2 * 1e9
    holes = tuple(Hole(h.t0 - half, h.t1 - half, h.reason) for h in curve.holes)
    return replace(curve, t=curve.t - half, holes=holes, shortest_s=_SHORTEST_AVERAGE_S)


def _gauge(
    series: Series, facts: Mapping[str, Any], quantity: str, method: str, step_s: float
) -> Curve:
    t = series.t.astype(np.float64)
    watts = series.raw.astype(np.float64) * QUANTITIES[quantity].scale
    return Curve(
        t=t,
        joules=held(t, watts, backwards=False),
        method=method,
        step_s=step_s,
        sensor=_sensor(facts),
        wander_s=2 * step_s / SQRT12,  # twice: most of the time is not seen, and loads alias
        holes=gaps(t, _GAUGE_HOLE_S, "power reading"),
    )
