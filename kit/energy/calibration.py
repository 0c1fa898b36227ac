"""Lag and gain of a PDU from a scripted step of load: idle, load, idle.

The lag is by how much the PDU's energy comes late: between the middle of one plateau and the
middle of the next it has counted ``ΔP · lag`` too little (or, at the step down, too much). That is
the lag that energy needs, whether the PDU samples late, averages, or is polled late. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from kit.core.arrays import np
from kit.core.units import NS
from kit.energy.curve import SQRT12, Floats, held
from kit.energy.scopes.wall import update_period_s
from kit.record.samples import Ints

_PERIODS, _LEAST_PERIODS = 3, 5
# A step that is not far above the scatter of its plateaus tells no lag.
_LEAST_STEP = 8.0


class Record(NamedTuple):
    """A power over time: ``t`` in ns, ``watts``; each value holds until the next."""

    t: Floats
    watts: Floats


class Plateau(NamedTuple):
    """Mean power between two steps, without their edges: watts and its standard error."""

    watts: float
    u_watts: float


class Calibration(NamedTuple):
    """The result of a step of load.

    Attributes:
        lag_s: by how much the PDU's energy comes late; ``lag_u_s`` its standard uncertainty.
        lags_s: the same of each edge, up and down.
        period_s: update period as seen; ``changes`` how many changes of the value told it.
        idle, load: the plateaus; idle is both together.
        discarded_s: what was left out at each edge of a plateau.
    """

    lag_s: float
    lag_u_s: float
    lags_s: tuple[float, ...]
    period_s: float
    changes: int
    idle: Plateau
    load: Plateau
    discarded_s: float


class CannotCalibrate(Exception):
    """A record from which no lag follows; the message is the reason."""


def calibrate(
    record: Record, raw: Ints, edges: Sequence[float], poll_s: float, edge_u_s: float
) -> Calibration:
    """Lag, period and plateaus.

    Args:
        record: the PDU's power, all outlets together; ``raw`` the integers it was read as.
        edges: when the load truly began and ended (ns).
        edge_u_s: standard uncertainty of these times, s.

    Raises:
        CannotCalibrate: plateaus too short for the PDU, or a step too small.
    """
    if (record.watts <= 0).any():
        raise CannotCalibrate("the outlets read 0 W at times: the idle load is below their range")
    period_s, changes = update_period_s(record.t, raw, poll_s)
    spans = _spans(record.t, edges)
    discard_s = _PERIODS * period_s
    for _ in range(2):  # the lag itself says how much is to be left out
        plateaus = [_plateau(record, span, discard_s, period_s) for span in spans]
        idle = _together(plateaus[0], plateaus[2])
        step = _step(idle, plateaus)
        lags = [_lag_s(record, edges[i], plateaus[i], plateaus[i + 1], spans) for i in (0, 1)]
        discard_s = max(_PERIODS * period_s, max(lags) + period_s)
    mean = float(np.mean(lags))
    spread = abs(lags[0] - lags[1]) / 2
    drift = abs(plateaus[0].watts - plateaus[2].watts) / step * _half_s(spans) / SQRT12
    catching = math.hypot(period_s, poll_s) / SQRT12 / math.sqrt(2)
    lag_u_s = math.hypot(spread, catching, edge_u_s, drift)
    return Calibration(mean, lag_u_s, tuple(lags), period_s, changes, idle, plateaus[1], discard_s)


def true_edges(reference: Record, about: Sequence[float]) -> tuple[float, float]:
    """When the load truly began and ended (ns), by a quick meter of the same host.

    Args:
        about: when it was started and stopped (ns).

    Raises:
        CannotCalibrate: the quick meter shows no step.
    """
    spans = _spans(reference.t, about)
    plateaus = [_plateau(reference, span, _half_s(spans) / 4, 0.0) for span in spans]
    if plateaus[1].watts <= max(plateaus[0].watts, plateaus[2].watts):
        raise CannotCalibrate("GPUs and CPU packages show no load")
    lags = [_lag_s(reference, about[i], plateaus[i], plateaus[i + 1], spans) for i in (0, 1)]
    return about[0] + lags[0] / NS, about[1] + lags[1] / NS


def _step(idle: Plateau, plateaus: Sequence[Plateau]) -> float:
    """By how many watts the load lifts the host.

    Raises:
        CannotCalibrate: by none that stand out.
    """
    step = plateaus[1].watts - idle.watts
    noise = max(math.hypot(p.u_watts, plateaus[1].u_watts) for p in plateaus)
    if step <= _LEAST_STEP * noise or step <= 0:
        raise CannotCalibrate(
            f"the load added {step:.3g} W, too little beside a scatter of {noise:.2g} W: "
            "give a heavier load, or check that these outlets feed this host"
        )
    return step


def _spans(t: Floats, edges: Sequence[float]) -> list[tuple[float, float]]:
    begin, end = edges
    return [(float(t[0]), begin), (begin, end), (end, float(t[-1]))]


def _plateau(
    record: Record, span: tuple[float, float], discard_s: float, period_s: float
) -> Plateau:
    t0, t1 = span[0] + discard_s / NS, span[1] - discard_s / NS
    inside = record.watts[(record.t >= t0) & (record.t < t1)]
    seconds = (t1 - t0) * NS
    if len(inside) < _LEAST_PERIODS or seconds < _LEAST_PERIODS * period_s:
        needed = 2 * discard_s + max(10.0, _LEAST_PERIODS * period_s)
        raise CannotCalibrate(
            f"a plateau of {(span[1] - span[0]) * NS:.3g} s is too short for a PDU that renews "
            f"every {period_s:.3g} s: {math.ceil(needed)} s at least"
        )
    renewed = max(2.0, seconds / period_s if period_s else len(inside))
    scatter = float(inside.std(ddof=1))
    return Plateau(float(inside.mean()), scatter / math.sqrt(renewed))


def _lag_s(
    record: Record,
    edge: float,
    before: Plateau,
    after: Plateau,
    spans: Sequence[tuple[float, float]],
) -> float:
    """By how much the area under the step comes late, between the middles of both plateaus."""
    half = _half_s(spans) / NS
    t0, t1 = max(edge - half, record.t[0]), min(edge + half, record.t[-1])
    joules = np.interp([t0, t1], record.t, held(record.t, record.watts, backwards=False))
    step = after.watts - before.watts
    if step == 0:
        raise CannotCalibrate("the load changed nothing: do these outlets feed this host?")
    if_prompt = before.watts * (edge - t0) * NS + after.watts * (t1 - edge) * NS
    return float((if_prompt - (joules[1] - joules[0])) / step)


def _half_s(spans: Sequence[tuple[float, float]]) -> float:
    return min(t1 - t0 for t0, t1 in spans) * NS / 2


def _together(first: Plateau, second: Plateau) -> Plateau:
    u_watts = math.hypot(first.u_watts, second.u_watts, first.watts - second.watts) / 2
    return Plateau((first.watts + second.watts) / 2, u_watts)
