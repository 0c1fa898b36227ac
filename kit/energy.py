"""Energy of a window from raw samples, with its uncertainty. Pure, so that verify does it again.

Sources, best first, per device: an energy counter whose ticks say *how much*, shaped between
ticks by power samples that say *when*; the counter alone, interpolated between its ticks; power
samples alone; instantaneous power; averaged power, refused for windows under 5 s. A window that
the samples do not cover, or that has a hole, is *unmeasured* with that reason: a sampler that
stopped is never interpolated over.

Uncertainty after the GUM, every term in joules and by name. ``u_repeat`` is what would scatter on
repetition (edges, resolution); ``u_sensor`` is what would not (the sensor's gain and offset).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kit.model import EnergyValue, MeterDevice, MeterPlan
from kit.samples import Ints, Samples, Series
from kit.units import QUANTITIES

Floats = npt.NDArray[np.float64]

SCOPE_METERS = {"gpu": "nvml", "cpu": "rapl", "wall": "pdu", "estimate": "estimate"}
GAIN = {"gpu": 0.05 / math.sqrt(3), "cpu": 0.05 / math.sqrt(3), "wall": 0.03 / math.sqrt(3)}
MIN_PERIODS = {"pdu_power": 10}
MIN_AVERAGE_S = 5.0
HOLE_PERIODS = 5
MIN_HOLE_S = 0.5
_NS = 1e-9


class Part(NamedTuple):
    """Energy of one device over a window: joules, terms of uncertainty (J), how it was found."""

    joules: float
    terms: dict[str, float]
    method: str


class Unmeasured(NamedTuple):
    """Why a device's energy over a window cannot be told."""

    reason: str


def energy_of(
    samples: Samples, meters: Sequence[MeterPlan], t0: int, t1: int
) -> tuple[EnergyValue, ...]:
    """Energy of the window ``[t0, t1)`` (ns), one value per scope that the plan has a meter for."""
    return tuple(
        _scope_energy(scope, [m for m in meters if m.name == meter], samples, t0, t1)
        for scope, meter in SCOPE_METERS.items()
        if any(m.name == meter for m in meters)
    )


def _scope_energy(
    scope: str, meters: list[MeterPlan], samples: Samples, t0: int, t1: int
) -> EnergyValue:
    devices = [d for m in meters for d in m.devices if _counts(scope, d)]
    reasons = [m.reason for m in meters if m.reason]
    if not devices:
        return _unmeasured(scope, "; ".join(reasons) or "the meter found no device")
    parts = {d.device: _device_energy(scope, d, samples, t0, t1) for d in devices}
    missing = [f"{name}: {p.reason}" for name, p in parts.items() if isinstance(p, Unmeasured)]
    if missing or reasons:
        return _unmeasured(scope, "; ".join([*missing, *reasons]))
    return _summed(scope, {name: p for name, p in parts.items() if isinstance(p, Part)})


def _counts(scope: str, device: MeterDevice) -> bool:
    """Whether a device is part of the scope's sum: a zone inside another one is not."""
    return any(
        QUANTITIES[name].scope == scope and facts.get("sum", True)
        for name, facts in device.quantities.items()
        if name in QUANTITIES
    )


def _summed(scope: str, parts: dict[str, Part]) -> EnergyValue:
    """Devices added up: sensors' errors linearly, as they may share a cause; scatter in squares."""
    sensor = {"gain", "offset", "model"}
    terms: dict[str, float] = {}
    for name in sorted({t for p in parts.values() for t in p.terms}):
        values = [p.terms.get(name, 0.0) for p in parts.values()]
        terms[name] = math.fsum(values) if name in sensor else math.hypot(*values)
    return EnergyValue(
        scope=scope,
        status="estimated" if scope == "estimate" else "measured",
        joules=math.fsum(p.joules for p in parts.values()),
        u_repeat=math.hypot(*(v for k, v in terms.items() if k not in sensor)),
        u_sensor=math.hypot(*(v for k, v in terms.items() if k in sensor)),
        terms=terms,
        method=", ".join(sorted({p.method for p in parts.values()})),
        devices={name: p.joules for name, p in parts.items()},
    )


def _unmeasured(scope: str, reason: str) -> EnergyValue:
    return EnergyValue(scope=scope, status="unmeasured", reason=reason)


# --- one device -----------------------------------------------------------------------------


def _device_energy(
    scope: str, device: MeterDevice, samples: Samples, t0: int, t1: int
) -> Part | Unmeasured:
    """The first way that works; the reason of the best one if none does."""
    if t1 <= t0:
        return Unmeasured("the window is empty")
    reasons = []
    for quantity, way in _WAYS[scope]:
        facts = device.quantities.get(quantity)
        if facts is None or "reason" in facts:
            if facts:
                reasons.append(str(facts["reason"]))
            continue
        series = samples.get(device.device, quantity)
        if series is None or len(series.t) < 2:
            reasons.append(f"{quantity} was not read")
            continue
        found = way(_Window(scope, device, quantity, series, samples, t0, t1))
        if isinstance(found, Part):
            return found
        reasons.append(found.reason)
    return Unmeasured(reasons[0] if reasons else "nothing it reads tells energy")


class _Window(NamedTuple):
    """One quantity of one device over ``[t0, t1)``."""

    scope: str
    device: MeterDevice
    quantity: str
    series: Series
    samples: Samples
    t0: int
    t1: int

    @property
    def scale(self) -> float:
        """Raw → W or J: the registry's factor times the device's own."""
        facts = self.device.quantities[self.quantity]
        return QUANTITIES[self.quantity].scale * float(facts.get("scale", 1.0))

    def fact(self, name: str, default: float) -> float:
        return float(self.device.quantities[self.quantity].get(name, default))

    @property
    def seconds(self) -> float:
        return (self.t1 - self.t0) * _NS

    def hole(self, t: Ints, period_s: float) -> Unmeasured | None:
        """Why ``t`` does not cover the window; the limit is five periods, at least 0.5 s."""
        limit = max(HOLE_PERIODS * period_s, MIN_HOLE_S) * 1e9
        near = t[(t >= self.t0 - limit) & (t <= self.t1 + limit)]
        if not len(near) or near[0] > self.t0 + limit or near[-1] < self.t1 - limit:
            return Unmeasured(f"{self.quantity} was not sampled over the whole window")
        if len(near) > 1 and int(np.diff(near).max()) > limit:
            widest = float(np.diff(near).max()) * _NS
            return Unmeasured(f"{self.quantity} has a hole of {widest:.2f} s in the window")
        return None


def _counter(w: _Window) -> Part | Unmeasured:
    """Counter ticks interpolated, shaped by power samples where they cover the window."""
    unwrapped = _unwrapped(w)
    if isinstance(unwrapped, Unmeasured):
        return unwrapped
    period = w.fact("period_s", 0.1)
    hole = w.hole(w.series.t, w.fact("poll_s", period))
    if hole:
        return hole
    t, joules = _ticks(w.series.t, unwrapped, w.scale)
    if len(t) < 2:
        return _constant(w, float(unwrapped[0]))
    shaped = _shape(w, t, joules)
    at = shaped or (lambda times: np.interp(times, t.astype(float), joules))
    ends = at(np.array([w.t0, w.t1], dtype=float))
    method = "counter+samples" if shaped else "counter"
    return _with_terms(w, float(ends[1] - ends[0]), period if not shaped else 0.02, method)


def _constant(w: _Window, first: float) -> Unmeasured:
    """A counter that never moved: not zero joules, but no reading."""
    return Unmeasured(f"{w.quantity} never moved from {first * w.scale:g} J: no reading")


def _unwrapped(w: _Window) -> Floats | Unmeasured:
    """Raw counter values made monotone; a decrease that no wrap explains invalidates the window."""
    raw = w.series.raw.astype(np.float64)
    steps = np.diff(raw)
    wrap = w.fact("wrap", 0.0)
    if wrap:
        steps = np.where(steps < 0, steps + wrap, steps)
    t = w.series.t
    spoilt = np.flatnonzero(steps < 0)
    for index in spoilt:
        if t[index] <= w.t1 and t[index + 1] >= w.t0:
            return Unmeasured(f"{w.quantity} was reset inside the window")
    joined: Floats = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0.0))])
    counter: Floats = joined + raw[0]
    return counter


def _ticks(t: Ints, counter: Floats, scale: float) -> tuple[Ints, Floats]:
    """When the counter changed, and to what (J): reads that saw the old value say nothing new."""
    changed = np.concatenate([[True], np.diff(counter) > 0])
    return t[changed], counter[changed] * scale


def _shape(w: _Window, t: Ints, joules: Floats) -> Callable[[Floats], Floats] | None:
    """Energy as a function of time: the samples' integral, stretched to meet each tick."""
    series = w.samples.get(w.device.device, "gpu_power_sample")
    if w.quantity != "gpu_energy" or series is None or len(series.t) < 2:
        return None
    if w.hole(series.t, 0.02):
        return None
    edges, integral = _window_integral(series, QUANTITIES["gpu_power_sample"].scale)
    inside = (t >= edges[0]) & (t <= edges[-1])
    ticks, known = t[inside].astype(float), joules[inside]
    if len(ticks) < 2:
        return None
    correction = known - np.interp(ticks, edges, integral)

    def energy(times: Floats) -> Floats:
        shape = np.interp(times, edges, integral)
        result: Floats = shape + np.interp(times, ticks, correction)
        return result

    return energy


def _window_integral(series: Series, scale: float) -> tuple[Floats, Floats]:
    """Cumulative energy of samples that are each the mean since the sample before."""
    t = series.t.astype(np.float64)
    watts = series.raw.astype(np.float64) * scale
    steps = np.diff(t) * _NS * watts[1:]
    return t, np.concatenate([[0.0], np.cumsum(steps)])


def _power_samples(w: _Window) -> Part | Unmeasured:
    """The 20 ms samples alone."""
    hole = w.hole(w.series.t, 0.02)
    if hole:
        return hole
    edges, integral = _window_integral(w.series, w.scale)
    ends = np.interp([w.t0, w.t1], edges, integral)
    return _with_terms(w, float(ends[1] - ends[0]), 0.02, "samples")


def _gauge(w: _Window) -> Part | Unmeasured:
    """Power held from each reading to the next."""
    period = w.fact("period_s", 0.1)
    least = MIN_PERIODS.get(w.quantity, 0) * period
    if w.seconds < least:
        return Unmeasured(
            f"n/a: the window of {w.seconds:.2f} s is shorter than ten periods of {period:g} s"
        )
    hole = w.hole(w.series.t, period)
    if hole:
        return hole
    t = w.series.t.astype(np.float64)
    watts = w.series.raw.astype(np.float64) * w.scale
    edges = np.concatenate([t, [max(t[-1], float(w.t1)) + 1.0]])
    integral = np.concatenate([[0.0], np.cumsum(np.diff(edges) * _NS * watts)])
    before = watts[0] * max(0.0, t[0] - w.t0) * _NS
    ends = np.interp([w.t0, w.t1], edges, integral)
    name = "instant" if w.quantity == "gpu_power_instant" else "power"
    return _with_terms(w, float(ends[1] - ends[0]) + before, period, name)


def _average(w: _Window) -> Part | Unmeasured:
    """A trailing mean blurs edges by its window: refused where that would matter."""
    if w.seconds < MIN_AVERAGE_S:
        return Unmeasured(
            f"averaged power cannot tell a window of {w.seconds:.2f} s (5 s at least)"
        )
    found = _gauge(w)
    return found._replace(method="average") if isinstance(found, Part) else found


def _cpu_time(w: _Window) -> Part | Unmeasured:
    """Busy CPU time times published watts: an estimate, never a measurement."""
    hole = w.hole(w.series.t, w.fact("period_s", 0.1))
    if hole:
        return hole
    busy = np.interp([w.t0, w.t1], w.series.t.astype(float), w.series.raw * w.scale)
    share = float(busy[1] - busy[0]) / (w.seconds * w.fact("cpus", 1))
    idle, full = w.fact("idle_w", 0.0), w.fact("max_w", 0.0)
    joules = (idle + min(max(share, 0.0), 1.0) * (full - idle)) * w.seconds
    return Part(joules, {"model": joules * w.fact("u_relative", 0.5)}, "cpu-time")


def _with_terms(w: _Window, joules: float, period_s: float, method: str) -> Part:
    """Add the uncertainty budget: gain of the sensor, edges of the window, its resolution."""
    edges = _edge_step(w) * math.sqrt(2) * period_s / math.sqrt(12)
    resolution = w.scale / math.sqrt(6) if QUANTITIES[w.quantity].kind == "counter" else 0.0
    gain = w.fact("u_gain", GAIN[w.scope])
    offset = w.fact("u_offset_w", 0.0) * w.seconds
    terms = {"gain": abs(joules) * gain, "edge": edges, "resolution": resolution}
    if offset:
        terms["offset"] = offset
    return Part(joules, terms, method)


def _edge_step(w: _Window) -> float:
    """The larger change of mean power across either edge of the window (W)."""
    series, scale = _power_of(w)
    if series is None:
        return 0.0
    t, watts = series
    around = 0.25e9
    steps = [0.0]
    for edge in (w.t0, w.t1):
        before = watts[(t >= edge - around) & (t < edge)]
        after = watts[(t >= edge) & (t < edge + around)]
        if len(before) and len(after):
            steps.append(abs(float(after.mean() - before.mean())) * scale)
    return max(steps)


def _power_of(w: _Window) -> tuple[tuple[Ints, Floats] | None, float]:
    """A power series of the window's device, for the size of its edges."""
    for name in ("gpu_power_sample", "gpu_power_instant", w.quantity):
        series = w.samples.get(w.device.device, name)
        if series is None or len(series.t) < 3:
            continue
        if QUANTITIES[name].kind != "counter":
            return (series.t, series.raw.astype(np.float64)), QUANTITIES[name].scale
        gaps = np.maximum(np.diff(series.t), 1) * _NS
        rates: Floats = np.diff(series.raw) / gaps
        return (series.t[1:], rates), w.scale
    return None, 1.0


_Way = Callable[[_Window], Part | Unmeasured]
_WAYS: dict[str, tuple[tuple[str, _Way], ...]] = {
    "gpu": (
        ("gpu_energy", _counter),
        ("gpu_power_sample", _power_samples),
        ("gpu_power_instant", _gauge),
        ("gpu_power_average", _average),
    ),
    "cpu": (("cpu_energy", _counter),),
    "wall": (("pdu_power", _gauge),),
    "estimate": (("cpu_busy", _cpu_time),),
}


# --- for pictures ---------------------------------------------------------------------------


def power_series(samples: Samples, meters: Iterable[MeterPlan]) -> dict[str, tuple[Ints, Floats]]:
    """Watts over time by device, for a report: times in ns, each the end of its step."""
    found: dict[str, tuple[Ints, Floats]] = {}
    for meter in meters:
        for device in meter.devices:
            series = _drawn(samples, device)
            if series is not None:
                found[device.device] = series
    return found


def _drawn(samples: Samples, device: MeterDevice) -> tuple[Ints, Floats] | None:
    for name in ("gpu_power_sample", "gpu_power_instant", "gpu_power_average", "pdu_power"):
        series = samples.get(device.device, name)
        if series is not None and len(series.t) > 1:
            facts = device.quantities.get(name, {})
            scale = QUANTITIES[name].scale * float(facts.get("scale", 1.0))
            return series.t, series.raw * scale
    for name in ("cpu_energy", "cpu_busy"):
        series = samples.get(device.device, name)
        if series is not None and len(series.t) > 1:
            return _rate(series, name, device)
    return None


def _rate(series: Series, name: str, device: MeterDevice) -> tuple[Ints, Floats]:
    """Power between the readings of a counter; for CPU time, the estimator's line."""
    facts = device.quantities[name]
    steps = np.diff(series.raw).astype(np.float64)
    if facts.get("wrap"):
        steps = np.where(steps < 0, steps + float(facts["wrap"]), steps)
    per_second = steps * QUANTITIES[name].scale / (np.maximum(np.diff(series.t), 1) * _NS)
    if name == "cpu_busy":
        share = np.clip(per_second / facts["cpus"], 0, 1)
        per_second = facts["idle_w"] + share * (facts["max_w"] - facts["idle_w"])
    watts: Floats = per_second.astype(np.float64)
    return series.t[1:], watts
