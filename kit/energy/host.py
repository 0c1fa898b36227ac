"""Energy of CPU packages (RAPL), outlets (PDU), and the estimate from CPU time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kit.core.limits import package_highest_w, seconds_of
from kit.core.model import MeterDevice
from kit.core.units import NS, QUANTITIES
from kit.energy.curve import (
    MEAN_EDGE,
    SQRT3,
    SQRT12,
    Curve,
    Floats,
    Hole,
    Sensor,
    Unmeasured,
    gaps,
    held,
    sharpened,
)
from kit.record.samples import Ints, Samples, Series, readings

RAPL_GAIN, PDU_GAIN, ESTIMATE_ERROR = 0.05, 0.03, 0.5
_HOLE_PERIODS, _SHORTEST_HOLE_S = 5, 0.5
# A PDU has no counter that would tell what was drawn meanwhile: two answers lost are too many. Not
# a half or a whole, where readings on a grid would lie to one side or the other by chance.
_PDU_HOLE_POLLS = 2.75
_PDU_PERIODS = 10
_UNKNOWN_LAG_PERIODS = 3
_REGISTER_STEPS = 50  # of a register that is read to a step each: 2% of its growth
# A counter is renewed each millisecond: two reads that lie closer may hold a whole one between.
_RENEWED_S = 0.002
# A package at rest draws watts: a counter that stands still for longer is not renewed.
_LONGEST_REST_S = 1.0


def rapl_curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Differences of the counter modulo its range."""
    found = readings(device, samples, "cpu_energy")
    if found is None:
        return None
    series, facts = found
    t, poll_s = series.t.astype(np.float64), seconds_of(facts, "poll_s", 0.05)
    steps = np.diff(series.raw).astype(np.float64)
    steps = np.where(steps < 0, steps + float(facts.get("wrap", 0)), steps)
    joules = steps * QUANTITIES["cpu_energy"].scale
    # A larger step is a counter that was reset, not one that wrapped.
    reset = (joules < 0) | (joules > package_highest_w(facts) * (np.diff(t) * NS + _RENEWED_S))
    limit_s = max(_SHORTEST_HOLE_S, _HOLE_PERIODS * poll_s, float(facts.get("bridge_s", 0.0)))
    drawn = np.concatenate([[0.0], np.cumsum(np.where(reset, 0.0, joules))])
    corners, energies = sharpened(t, drawn)
    return Curve(
        t=corners,
        joules=energies,
        method="counter",
        step_s=poll_s,
        edge=MEAN_EDGE,
        sensor=Sensor(gain=float(facts.get("gain", RAPL_GAIN)) / SQRT3),
        resolution_j=QUANTITIES["cpu_energy"].scale / np.sqrt(6),
        holes=(
            *_at(t, reset, "the energy counter was reset"),
            *_unfollowed(t, facts, poll_s),
            *_rests(t, steps == 0),
            *gaps(t, limit_s, "reading"),
        ),
    )


def _unfollowed(t: Floats, facts: Mapping[str, Any], poll_s: float) -> tuple[Hole, ...]:
    """A counter that may begin again more than once between two reads says nothing at all."""
    joules = float(facts.get("wrap", 0)) * QUANTITIES["cpu_energy"].scale
    if not 0 < joules < package_highest_w(facts) * poll_s:
        return ()
    reason = f"its counter begins again after {joules:.3g} J, too soon for reads {poll_s:g} s apart"
    return (Hole(float(t[0]), float(t[-1]), reason),)


def pdu_curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Power held from each reading to the next; nothing for windows under ten update periods.

    A calibrated PDU's lag moves the curve back, and its correction scales it. A lag that nobody
    measured is taken to be anything up to three update periods. Where an answer comes late or is
    lost, a change lies anywhere in the longer time between two answers; where more are, is a hole.
    """
    found = readings(device, samples, "pdu_power")
    if found is None:
        return None
    series, facts = found
    scale, poll_s = float(facts.get("scale", 1.0)), seconds_of(facts, "poll_s", 1.0)
    answers = _answers(series)
    watts = series.raw.astype(np.float64) * scale * float(facts.get("correction", 1.0))
    unread = series.raw <= 0  # what lies below its squelch reads 0
    stated_s = seconds_of(facts, "period_s", 0.0)
    period_s = pdu_period_s(answers.t[~unread], series.raw[~unread], poll_s, stated_s)
    lag = float(facts.get("lag_s", 0.0)) / NS
    t = _changes(answers.t, poll_s) - lag
    limit_s = max(_SHORTEST_HOLE_S, _PDU_HOLE_POLLS * poll_s)
    return Curve(
        t=t,
        joules=held(t, watts, backwards=False),
        method="power",
        step_s=period_s,
        doubt=_doubt(watts, answers.apart_s, period_s, poll_s),
        lag_s=float(facts.get("lag_u_s", _UNKNOWN_LAG_PERIODS * period_s / SQRT3)),
        sensor=Sensor(
            gain=float(facts.get("gain", PDU_GAIN)) / SQRT3,
            offset_w=float(facts.get("offset", scale)) / SQRT3,
        ),
        resolution_w=float(facts.get("resolution", scale)) / SQRT12,
        shortest_s=_PDU_PERIODS * period_s,
        holes=(
            *_at(answers.t - lag, unread[:-1] | unread[1:], _unread(facts.get("squelch"))),
            *_unanswered(answers.t - lag, np.diff(series.t) * NS, limit_s),
        ),
    )


def register_agreement(device: MeterDevice, samples: Samples, t0: int, t1: int) -> float | str:
    """Power answers' energy over that of the outlet's own register, between two of its steps.

    Two views of one sensor, as a GPU's counter and power are. A register counts watt-hours, or
    tenths of kilowatt-hours: where a window (ns) holds too few of its steps, the reason why not.
    """
    found = readings(device, samples, "pdu_energy")
    curve = pdu_curve(device, samples)
    if found is None or curve is None:
        return "register and power are not both read"
    series, facts = found
    inside = (series.t >= t0) & (series.t <= t1)
    t, raw = series.t[inside], series.raw[inside]
    stepped = np.flatnonzero(np.diff(raw)) + 1
    grown = int(raw[stepped[-1]] - raw[stepped[0]]) if len(stepped) else 0
    if len(stepped) and int(np.diff(raw).min()) < 0:
        return "the energy register went backwards"
    steps = grown / max(1.0, float(facts.get("resolution", 1.0)) / float(facts.get("scale", 1.0)))
    if steps < _REGISTER_STEPS:
        return f"the energy register made {steps:.0f} steps, {_REGISTER_STEPS} at least"
    read = curve.between(float(t[stepped[0]]), float(t[stepped[-1]]))
    if isinstance(read, Unmeasured):
        return read.reason
    counted = grown * float(facts.get("scale", 1.0))
    power = device.quantities["pdu_power"]
    return read.joules / (counted * float(power.get("correction", 1.0)))


class _Answers(NamedTuple):
    """When a PDU's values were told.

    Attributes:
        t: times (ns), ascending. Shape ``(n,)``.
        apart_s: how far apart two of them can be, s. Shape ``(n - 1,)``.
    """

    t: Floats
    apart_s: Floats


def _answers(series: Series) -> _Answers:
    """An answer that took longer than most came to a request that was repeated: it is of its end.

    It may yet be of its beginning, by a PDU that is slow: so much further apart are its neighbours.
    """
    took = (series.t1 - series.t0).astype(np.float64)
    usual = float(np.median(took))
    late = np.maximum(took - usual, 0.0)
    t = np.maximum.accumulate(series.t + late / 2)
    return _Answers(t, (np.diff(t) + late[:-1]) * NS)


def _changes(t: Floats, poll_s: float) -> Floats:
    """From when on each value is held, ns: what changed between two answers, did so anywhere there.

    On the mean that is half-way. Half a poll is part of every PDU's lag, calibrated or not: the
    rest is taken back here.
    """
    found = t.copy()
    found[1:-1] -= np.maximum(np.diff(t)[:-1] - poll_s / NS, 0.0) / 2
    return found


def _doubt(watts: Floats, apart_s: Floats, period_s: float, poll_s: float) -> Floats:
    """Variance of the energy up to each change, J²: it lies anywhere in an update period.

    Where the answers are further apart than polls are, so much longer is the time it may lie in.
    """
    seconds = np.sqrt(period_s**2 + np.maximum(apart_s**2 - poll_s**2, 0.0)) / SQRT12
    return np.concatenate([[0.0], np.cumsum((np.diff(watts) * seconds) ** 2)])


def _unanswered(t: Floats, apart_s: Floats, limit_s: float) -> tuple[Hole, ...]:
    """Holes where two answers lie further apart than ``limit_s``, by the middles of their requests.

    By these, one answer that was asked for twice is late, and not lost.
    """
    return tuple(
        Hole(float(t[i]), float(t[i + 1]), f"no answer for {(t[i + 1] - t[i]) * NS:.2f} s")
        for i in np.flatnonzero(apart_s > limit_s)
    )


def _unread(squelch: float | None) -> str:
    limit = f" ({squelch:g} W)" if squelch else ""
    return f"the outlet read 0 W, less than it can measure{limit}"


def estimate_curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Busy CPU time between the published idle and full-load watts."""
    found = readings(device, samples, "cpu_busy")
    if found is None or not {"idle_w", "max_w", "cpus"} <= set(found[1]):
        return None
    series, facts = found
    t, period_s = series.t.astype(np.float64), seconds_of(facts, "period_s", 0.1)
    seconds = np.maximum(np.diff(t), 1.0) * NS
    busy = np.diff(series.raw) * QUANTITIES["cpu_busy"].scale
    share = np.clip(busy / (seconds * float(facts["cpus"])), 0.0, 1.0)
    watts = facts["idle_w"] + share * (facts["max_w"] - facts["idle_w"])
    limit_s = max(_SHORTEST_HOLE_S, _HOLE_PERIODS * period_s)
    return Curve(
        t=t,
        joules=np.concatenate([[0.0], np.cumsum(watts * seconds)]),
        method="cpu-time",
        step_s=period_s,
        sensor=Sensor(model=max(ESTIMATE_ERROR, float(facts.get("u_relative", 0.0)))),
        holes=gaps(t, limit_s, "reading"),
    )


def pdu_period_s(t: Floats, raw: Ints, poll_s: float, stated_s: float | None) -> float:
    """The update period that a PDU's windows are judged by, s: what is stated, or longer if seen.

    Few changes may be those of a steady load: they count only where nothing is stated.
    """
    seen_s, changes = update_period_s(t, raw, poll_s)
    if stated_s and changes <= _PDU_PERIODS:
        return max(float(stated_s), poll_s)
    return max(seen_s, float(stated_s or 0.0))


def update_period_s(t: Floats, raw: Ints, poll_s: float) -> tuple[float, int]:
    """How often a polled value is renewed (s), and from how many changes that was found.

    A value may be renewed without a change, so that the shorter times between changes tell: their
    mean, up to a poll more than the shortest tenth, since polls catch a change up to a poll late.
    A value that changes once bounds the period by the shorter stretch beside; one that never
    changes is right whatever its period: then it is the time between two reads.
    """
    at = np.flatnonzero(np.diff(raw)) + 1
    if len(at) == 0:
        return poll_s, 0
    if len(at) == 1:
        return max(poll_s, float(min(t[at[0]] - t[0], t[-1] - t[at[0]])) * NS), 1
    apart = np.diff(t[at]) * NS
    shortest = float(np.quantile(apart, 0.1))
    return max(poll_s, float(apart[apart <= shortest + 1.05 * poll_s].mean())), len(at)


def _rests(t: Floats, still: np.typing.NDArray[np.bool_]) -> tuple[Hole, ...]:
    """Holes where the counter did not grow for longer than a package can be at rest."""
    return tuple(
        hole._replace(reason=f"the energy counter stood still for {seconds:.2f} s")
        for hole in _at(t, still, "")
        if (seconds := (hole.t1 - hole.t0) * NS) > _LONGEST_REST_S
    )


def _at(t: Floats, wrong: np.typing.NDArray[np.bool_], reason: str) -> tuple[Hole, ...]:
    """A hole at each step that is ``wrong``, neighbours joined."""
    found: list[Hole] = []
    for i in np.flatnonzero(wrong):
        begin = found.pop().t0 if found and found[-1].t1 == t[i] else float(t[i])
        found.append(Hole(begin, float(t[i + 1]), reason))
    return tuple(found)
