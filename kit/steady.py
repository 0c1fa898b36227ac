"""Whether a GPU was in a steady state over a window: temperature, power, clock event reasons.

Power alone is not enough: a card that still warms up draws more for the same work. Judged are

    temperature   its slope by least squares, degC a minute
    power         its slope, percent of its mean a minute
    event reasons that the mask did not change (the idle bit, which follows the load, apart)

A slope within the limit over a long enough window is steady; one beyond the limit by twice its
standard error is not; anything else cannot be told. Pure: verify judges again.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kit.model import MeterDevice
from kit.samples import Samples, Series

NS = 1e-9
IDLE_BIT = 1  # nvmlClocksEventReasonGpuIdle
BIN_S = 1.0  # readings of a second count as one: those of one update are no new ones
LEAST_BINS = 4
_ROUNDING = 1e-9  # raw units a second: no slope, but the arithmetic of one that is 0
_POWERS = ("gpu_power_sample", "gpu_power_instant", "gpu_power_average")


class Rule(NamedTuple):
    """What counts as steady; the defaults ask for a minute's rest.

    Attributes:
        temperature_c_per_min: largest slope, degC a minute.
        power_percent_per_min: largest slope, percent of the mean a minute.
        window_s: over how long a time, s.
    """

    temperature_c_per_min: float = 0.5
    power_percent_per_min: float = 0.5
    window_s: float = 60.0


class Slope(NamedTuple):
    """A slope a minute, with its standard error."""

    value: float
    u: float


def judge(device: MeterDevice, samples: Samples, t0: int, t1: int, rule: Rule) -> dict[str, Any]:
    """The judgement of one GPU over ``[t0, t1)`` (ns): status, reasons, slopes.

    ``status`` is ``steady``, ``not_steady`` or ``unknown``; ``reasons`` says why it is not the
    first.
    """
    seconds = (t1 - t0) * NS
    temperature = _slope(_within(samples.get(device.device, "gpu_temperature"), t0, t1))
    power, mean = _power(device, samples, t0, t1)
    masks = _masks(samples.get(device.device, "gpu_event_reasons"), t0, t1)
    long_enough = seconds >= rule.window_s
    told = [
        _judged("temperature", temperature, rule.temperature_c_per_min, "°C/min", long_enough),
        _judged("power", power, rule.power_percent_per_min, "%/min", long_enough),
    ]
    if masks is not None and len(masks) > 1:
        told.append(("not_steady", f"clock event reasons changed ({len(masks)} masks)"))
    if not long_enough:
        told.append(("unknown", f"judged over {seconds:.3g} s, {rule.window_s:g} s at least"))
    found: dict[str, Any] = {
        "status": _worst([status for status, _ in told]),
        "reasons": [reason for status, reason in told if status != "steady"],
        "window_s": seconds,
    }
    if temperature:
        found["temperature_c_per_min"] = temperature._asdict()
    if power:
        found["power_percent_per_min"] = power._asdict()
    if mean is not None:
        found["power_w"] = mean
    if masks is not None:
        found["event_reasons"] = masks
    return found


def _worst(statuses: list[str]) -> str:
    return next((s for s in ("not_steady", "unknown") if s in statuses), "steady")


def _judged(
    what: str, slope: Slope | None, limit: float, unit: str, long_enough: bool
) -> tuple[str, str]:
    if slope is None:
        return "unknown", f"{what}: too few readings"
    told = f"{what} moves by {slope.value:+.2g} ± {slope.u:.1g} {unit} (limit {limit:g})"
    if abs(slope.value) - 2 * slope.u > limit:
        return "not_steady", told
    if abs(slope.value) > limit or (not long_enough and slope.u > limit):
        return "unknown", told
    return "steady", told


def _power(
    device: MeterDevice, samples: Samples, t0: int, t1: int
) -> tuple[Slope | None, float | None]:
    """Slope in percent of the mean a minute, and the mean (W), by the best power readings."""
    for quantity in _POWERS:
        inside = _within(samples.get(device.device, quantity), t0, t1)
        if inside is None or not len(inside[1]):
            continue
        mean, slope = float(inside[1].mean()), _slope(inside)
        if slope is None or mean <= 0:
            continue
        percent = Slope(100 * slope.value / mean, 100 * slope.u / mean)
        return percent, mean * 1e-3
    return None, None


Floats = npt.NDArray[np.float64]
Points = tuple[Floats, Floats]


def _within(series: Series | None, t0: int, t1: int) -> Points | None:
    """Times (s since ``t0``) and raw readings inside the window."""
    if series is None:
        return None
    inside = (series.t >= t0) & (series.t < t1)
    return (series.t[inside] - t0).astype(np.float64) * NS, series.raw[inside].astype(np.float64)


def _slope(points: Points | None) -> Slope | None:
    """Least squares through means of a second each; its error from the residuals.

    A reading that never changed has no residuals: its last digit's rectangle stands in for them.
    """
    if points is None or not len(points[0]):
        return None
    t, y = _binned(*points)
    if len(t) < LEAST_BINS:
        return None
    t = t - t.mean()
    square = float(t @ t)
    slope = float(t @ y) / square
    if abs(slope) < _ROUNDING:
        slope = 0.0
    residual = y - y.mean() - slope * t
    variance = max(float(residual @ residual) / (len(t) - 2), _resolution(points[1]) ** 2)
    return Slope(60 * slope, 60 * math.sqrt(variance / square))


def _binned(t: Floats, y: Floats) -> Points:
    bins = np.floor(t / BIN_S).astype(np.int64)
    _, index, count = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(index, t) / count, np.bincount(index, y) / count


def _resolution(raw: Floats) -> float:
    """Standard uncertainty of one reading by its step: the smallest difference seen, or one."""
    steps = np.diff(np.unique(raw))
    return float(steps.min() if len(steps) else 1.0) / math.sqrt(12)


def _masks(series: Series | None, t0: int, t1: int) -> list[int] | None:
    """Every mask of clock event reasons seen in the window, the idle bit left out."""
    if series is None:
        return None
    inside = (series.t >= t0) & (series.t < t1)
    return sorted({int(mask) & ~IDLE_BIT for mask in np.unique(series.raw[inside])})
