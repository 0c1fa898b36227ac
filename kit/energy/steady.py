"""Whether a GPU was in a steady state over a window: temperature, power, clock event reasons.

Power alone is not enough: a card that still warms up draws more for the same work. Judged are

    temperature   its slope by least squares, degC a minute
    power         its slope, percent of its mean a minute
    event reasons that the mask did not change (the idle bit, which follows the load, apart)
    held clocks   that the cumulative times of the reasons, where a card keeps them, stood still or
                  grew evenly: a mask read once a second misses what comes and goes in between

A slope beyond its limit by twice its standard error is not steady; one within the limit is, if
twice its standard error is within it too, and the window long enough. Anything else cannot be
told, nor can what was read in a part of the window alone. Pure: verify judges again.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from kit.core.arrays import np, npt
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, QUANTITIES
from kit.energy.reason import Reason
from kit.record.samples import Samples, Series

IDLE_BIT = 1  # nvmlClocksEventReasonGpuIdle
BIN_S = 1.0  # readings of a second count as one: those of one update are no new ones
LEAST_BINS = 4
_ROUNDING = 1e-9  # raw units a second: no slope, but the arithmetic of one that is 0
_POWERS = ("gpu_power_sample", "gpu_power_instant", "gpu_power_average")
Floats: TypeAlias = "npt.NDArray[np.float64]"
Points = tuple[Floats, Floats]
Status = Literal["steady", "not_steady", "unknown"]
_TEMPERATURE, _MASK = "gpu_temperature", "gpu_event_reasons"
_TIMES = tuple(n for n in QUANTITIES if n.startswith("gpu_") and n.endswith("_time"))
_COVERED = 0.9  # of a window, that readings must span
_HOLE_PERIODS, _SHORTEST_HOLE_S = 5, 0.5  # as in kit.energy: a longer silence tells nothing
_PARTS = 4  # of a window: clocks held for as long in each are held evenly,
_EVEN = 0.25  # up to this share of the mean, since reads and updates have periods of their own


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


class Slope(msgspec.Struct, frozen=True):
    """A slope a minute, with its standard error."""

    value: float
    u: float


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a GPU was steady over a window of ``window_s`` (s), and its slopes.

    ``reasons`` says why it was not, or why that is not known; of a steady card, what held its
    clocks all along. ``power_w`` is the mean power (W), ``event_reasons`` the masks of NVML's clock
    event reasons that were seen. A slope is None where too little was read.
    """

    status: Status
    reasons: tuple[Reason, ...]
    window_s: float
    temperature_c_per_min: Slope | None = None
    power_percent_per_min: Slope | None = None
    power_w: float | None = None
    event_reasons: tuple[int, ...] = ()


class Criterion(NamedTuple):
    """The result of one criterion: status, reason, and whether this card can never give another."""

    status: Status
    reason: Reason | None = None
    for_good: bool = False


STEADY = Criterion("steady")


def judge(device: MeterDevice, samples: Samples, t0: int, t1: int, rule: Rule) -> Steady:
    """The judgement of one GPU over ``[t0, t1)`` (ns)."""
    evidence = _evidence(device, samples, t0, t1)
    criteria = _criteria(evidence, (t1 - t0) * NS, rule)
    return Steady(
        status=_worst(criteria),
        reasons=tuple(t.reason for t in criteria if t.reason),
        window_s=(t1 - t0) * NS,
        temperature_c_per_min=evidence.temperature,
        power_percent_per_min=evidence.power,
        power_w=evidence.power_w if evidence.power else None,
        event_reasons=tuple(evidence.masks),
    )


def may_settle(device: MeterDevice, samples: Samples, t0: int, t1: int, rule: Rule) -> bool:
    """Whether waiting can still make the judgement ``steady``, or a better one than now.

    It cannot where all is steady but for the event reasons of a card that never tells them.
    """
    criteria = _criteria(_evidence(device, samples, t0, t1), (t1 - t0) * NS, rule)
    return any(t.status != "steady" and not t.for_good for t in criteria)


class _Evidence(NamedTuple):
    """What a window shows of a GPU; of readings of a part of it ``lacks`` says so."""

    temperature: Slope | None
    power: Slope | None
    power_w: float
    masks: list[int]
    lacks: list[Criterion]
    held: list[Criterion]


def _evidence(device: MeterDevice, samples: Samples, t0: int, t1: int) -> _Evidence:
    power = _power_read(device, samples, t0, t1)
    slope, watts = _power(samples.get(device.device, power), t0, t1)
    read = (("temperature", _TEMPERATURE), ("power", power), ("event_reasons", _MASK))
    lacks = [_covered(what, device, samples, name, t0, t1) for what, name in read]
    masks = _masks(samples.get(device.device, _MASK), t0, t1)
    return _Evidence(
        temperature=_slope(_within(samples.get(device.device, _TEMPERATURE), t0, t1)),
        power=slope,
        power_w=watts,
        masks=masks,
        lacks=[*lacks, *([] if masks else [_no_mask(device)])],
        held=[_held(name, samples.get(device.device, name), t0, t1) for name in _TIMES],
    )


def _criteria(evidence: _Evidence, seconds: float, rule: Rule) -> list[Criterion]:
    """The verdict of each criterion; one that says steady may carry no reason."""
    criteria = [
        _judged("temperature", evidence.temperature, rule.temperature_c_per_min, "°C/min"),
        _judged("power", evidence.power, rule.power_percent_per_min, "%/min"),
        *evidence.lacks,
        *evidence.held,
    ]
    if len(evidence.masks) > 1:
        criteria.append(
            Criterion("not_steady", Reason("reasons_changed", masks=len(evidence.masks)))
        )
    if seconds < rule.window_s:
        brief = Reason("judged_briefly", window_s=seconds, least_s=rule.window_s)
        criteria.append(Criterion("unknown", brief))
    return criteria


def _worst(criteria: list[Criterion]) -> Status:
    statuses = {t.status for t in criteria}
    if "not_steady" in statuses:
        return "not_steady"
    return "unknown" if "unknown" in statuses else "steady"


def _judged(what: str, slope: Slope | None, limit: float, unit: str) -> Criterion:
    if slope is None:
        return Criterion("unknown", Reason("few_readings", what=what))
    reason = Reason("slope", what=what, slope=slope.value, u=slope.u, unit=unit, limit=limit)
    if abs(slope.value) - 2 * slope.u > limit:
        return Criterion("not_steady", reason)
    return STEADY if max(abs(slope.value), 2 * slope.u) <= limit else Criterion("unknown", reason)


# --- what was read ---------------------------------------------------------------------------


def _covered(
    what: str, device: MeterDevice, samples: Samples, quantity: str, t0: int, t1: int
) -> Criterion:
    """Readings of a part of a window say nothing of its rest."""
    inside = _within(samples.get(device.device, quantity), t0, t1)
    if inside is None or not len(inside[0]):
        return STEADY  # that there are none is said of the slope
    seconds, read_s = (t1 - t0) * NS, _span_s(device, quantity, inside[0])
    if read_s >= _COVERED * seconds:
        return STEADY
    part = Reason("read_in_part", what=what, read_s=read_s, window_s=seconds)
    return Criterion("unknown", part)


def _span_s(device: MeterDevice, quantity: str, t: Floats) -> float:
    """For how long there were readings, s: without holes, and each for a period of its own."""
    steps = np.diff(t)
    usual = float(np.median(steps)) if len(steps) else 0.0
    period_s = seconds_or(device.facts(quantity).poll_s, usual)
    is_continuous = steps <= max(_SHORTEST_HOLE_S, _HOLE_PERIODS * period_s)
    return float(steps[is_continuous].sum()) + period_s


def _power(series: Series | None, t0: int, t1: int) -> tuple[Slope | None, float]:
    """Slope in percent of the mean a minute, and the mean (W)."""
    inside = _within(series, t0, t1)
    slope = _slope(inside)
    if inside is None or slope is None or (mean := float(inside[1].mean())) <= 0:
        return None, 0.0
    return Slope(100 * slope.value / mean, 100 * slope.u / mean), mean * 1e-3


def _power_read(device: MeterDevice, samples: Samples, t0: int, t1: int) -> str:
    """Of the power readings that tell a slope, the best that spans the window, or else the best."""
    able = [q for q in _POWERS if _power(samples.get(device.device, q), t0, t1)[0]]
    covered = [q for q in able if _covered("power", device, samples, q, t0, t1) is STEADY]
    return next(iter([*covered, *able]), _POWERS[0])


# --- why clocks were held down ---------------------------------------------------------------


def _no_mask(device: MeterDevice) -> Criterion:
    """Without a mask nobody knows whether clocks were held down; some cards never tell it."""
    if why := device.facts(_MASK).reason:
        untold = Reason("reasons_untold", said=why)
        return Criterion("unknown", untold, for_good=True)
    return Criterion("unknown", Reason("reasons_unread"))


def _held(quantity: str, series: Series | None, t0: int, t1: int) -> Criterion:
    """That a reason held the clocks down at no time in the window, or all along alike.

    Judged is what lies between two reads in the window: of the time between the last read before
    it and the first one in it nobody knows on which side of the edge it was.
    """
    inside = _within(series, t0, t1)
    if inside is None or len(inside[0]) < 2:
        return STEADY
    t, ns = inside
    if (np.diff(ns) < 0).any():
        return Criterion("unknown", Reason("held_reset", quantity=quantity))
    held_s = float(ns[-1] - ns[0]) * NS
    if held_s == 0:
        return STEADY
    code = "held_evenly" if (even := _even(t, ns)) else "held_unevenly"
    reason = Reason(code, quantity=quantity, held_s=held_s, window_s=float(t[-1] - t[0]))
    return Criterion("steady" if even else "not_steady", reason)


def _even(t: Floats, ns: Floats) -> bool:
    """Whether a cumulative time grew by as much in each part of the window."""
    if len(t) <= _PARTS:
        return False
    grown = np.diff(np.interp(np.linspace(t[0], t[-1], _PARTS + 1), t, ns))
    return bool(np.abs(grown - grown.mean()).max() <= _EVEN * grown.mean())


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


def _masks(series: Series | None, t0: int, t1: int) -> list[int]:
    """Every mask of clock event reasons seen in the window, the idle bit left out."""
    if series is None:
        return []
    inside = (series.t >= t0) & (series.t < t1)
    return sorted({int(mask) & ~IDLE_BIT for mask in np.unique(series.raw[inside])})
