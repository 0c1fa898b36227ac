"""Wall outlets: power from a PDU, a smart plug or a machine's own supply.

A change of load shows up to an update period late, so that windows under ten of these are
unmeasured, and so is each that touches a stretch without answers. An energy register is too coarse
to be cut into phases: it is the second view of the same outlet, and what contradicts it is a doubt.
"""

from __future__ import annotations

from typing import NamedTuple

from kit.core.arrays import np
from kit.core.facts import QuantityFacts, known
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice
from kit.core.units import NS, scale_of
from kit.energy.believable import Sifted
from kit.energy.curve import (
    SQRT3,
    SQRT12,
    Curve,
    Floats,
    Hole,
    Sensor,
    Unmeasured,
    held,
    holes_at,
)
from kit.energy.doubts import Doubt
from kit.energy.reason import Reason
from kit.energy.scopes.contract import Growth, Name, Scope, Ways
from kit.energy.trust import explained
from kit.record.samples import Ints, Samples, Series, readings

POWER, REGISTER = "pdu_power", "pdu_energy"
# What is taken for the accuracy of an outlet's meter whose makers state none.
GAIN = 0.05
GAIN_SOURCE = "prior: ±5%, its makers state no accuracy"
PERIODS = 10  # a window lasts so many update periods at least
_POLL_S, _SHORTEST_HOLE_S = 1.0, 0.5
# A PDU has no counter that would tell what was drawn meanwhile: two answers lost are too many. Not
# a half or a whole, where readings on a grid would lie to one side or the other by chance.
_HOLE_POLLS = 2.75
_UNKNOWN_LAG_PERIODS = 3
_REGISTER_STEPS = 50  # of a register that is read to a step each: 2% of its growth
# A clamp and a register are further apart only where one of them is not what it says.
_ALIKE = 1.25


def sensor(facts: QuantityFacts) -> Sensor:
    """An outlet's gain and offset; the prior, and one raw step, where the plan names none."""
    gain = known(facts.gain, GAIN)
    offset_w = known(facts.offset, scale_of(POWER, facts))
    return Sensor(gain=gain / SQRT3, offset_w=offset_w / SQRT3)


def curve(device: MeterDevice, samples: Samples) -> Curve | None:
    """Power held from each reading to the next; nothing for windows under ten update periods.

    A calibrated PDU's lag moves the curve back, and its correction scales it. A lag that nobody
    measured is taken to be anything up to three update periods. Where an answer comes late or is
    lost, a change lies anywhere in the longer time between two answers; where more are, is a hole.
    """
    found = readings(device, samples, POWER)
    if found is None:
        return None
    series, facts = found
    scale, poll_s = scale_of(POWER, facts), _poll_s(facts)
    answers = _answers(series)
    watts = series.raw.astype(np.float64) * scale * known(facts.correction, 1.0)
    unread = series.raw <= 0  # what lies below its squelch reads 0
    stated_s = seconds_or(facts.period_s, 0.0)
    period_s = judged_period_s(answers.t[~unread], series.raw[~unread], poll_s, stated_s)
    lag = (facts.lag_s or 0.0) / NS
    t = _changes(answers.t, poll_s) - lag
    return Curve(
        t=t,
        joules=held(t, watts, backwards=False),
        method="power",
        step_s=period_s,
        variance_j2=_variance_j2(watts, answers.apart_s, period_s, poll_s),
        lag_s=known(facts.lag_u_s, _UNKNOWN_LAG_PERIODS * period_s / SQRT3),
        sensor=sensor(facts),
        resolution_w=known(facts.resolution, scale) / SQRT12,
        shortest_s=PERIODS * period_s,
        holes=(
            *holes_at(answers.t - lag, unread[:-1] | unread[1:], _unread(facts)),
            *_unanswered(answers.t - lag, np.diff(series.t) * NS, _hole_s(facts)),
        ),
    )


def register_agreement(device: MeterDevice, samples: Samples, t0: int, t1: int) -> float | Reason:
    """Power answers' energy over that of the outlet's own register, between two of its steps.

    Two views of one sensor, as a GPU's counter and power are. A register counts watt-hours, or
    tenths of kilowatt-hours: where a window (ns) holds too few of its steps, the reason why not.
    """
    found = readings(device, samples, REGISTER)
    power = curve(device, samples)
    if found is None or power is None:
        return Reason("register_missing")
    series, facts = found
    inside = (series.t >= t0) & (series.t <= t1)
    t, raw = series.t[inside], series.raw[inside]
    stepped = np.flatnonzero(np.diff(raw)) + 1
    grown = int(raw[stepped[-1]] - raw[stepped[0]]) if len(stepped) else 0
    if len(stepped) and int(np.diff(raw).min()) < 0:
        return Reason("register_backwards")
    steps = grown / max(1.0, known(facts.resolution, 1.0) / scale_of(REGISTER, facts))
    if steps < _REGISTER_STEPS:
        return Reason("register_coarse", steps=float(steps), least=_REGISTER_STEPS)
    read = power.between(float(t[stepped[0]]), float(t[stepped[-1]]))
    if isinstance(read, Unmeasured):
        return read.reason
    counted = grown * scale_of(REGISTER, facts)
    correction = known(device.facts(POWER).correction, 1.0)
    return read.joules / (counted * correction)


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
    u_t = t.copy()
    u_t[1:-1] -= np.maximum(np.diff(t)[:-1] - poll_s / NS, 0.0) / 2
    return u_t


def _variance_j2(watts: Floats, apart_s: Floats, period_s: float, poll_s: float) -> Floats:
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
        Hole(float(t[i]), float(t[i + 1]), _silence(float(t[i + 1] - t[i]) * NS))
        for i in np.flatnonzero(apart_s > limit_s)
    )


def _silence(seconds: float) -> Reason:
    return Reason("gap", what="answer", seconds=seconds)


def _unread(facts: QuantityFacts) -> Reason:
    return Reason("below_squelch", squelch_w=facts.squelch or None)


def _ways(device: MeterDevice, sifted: Sifted) -> Ways:
    energy = curve(device, sifted.samples)
    if energy is None:
        return Ways((), ())
    energy = explained(energy, sifted.dropped(device.device, POWER))
    return Ways((energy,), _against_register(device, sifted.samples))


def _poll_s(facts: QuantityFacts) -> float:
    return seconds_or(facts.poll_s, _POLL_S)


def _hole_s(facts: QuantityFacts) -> float:
    return max(_SHORTEST_HOLE_S, _HOLE_POLLS * _poll_s(facts))


def _against_register(device: MeterDevice, samples: Samples) -> tuple[Doubt, ...]:
    """What contradicts an outlet's power over the whole run: its own energy register.

    Both come from one sensor, yet by two ways: a column that is given another unit, or a register
    that is given another scale, shows here.
    """
    read = samples.get(device.device, POWER)
    if REGISTER not in device.quantities or read is None or len(read.t) < 2:
        return ()
    span = (int(read.t[0]), int(read.t[-1]))
    ratio = register_agreement(device, samples, *span)
    if isinstance(ratio, Reason) or 1 / _ALIKE < ratio < _ALIKE:
        return ()
    reason = Reason("register_differs", ratio=ratio)
    return (Doubt(device.device, POWER, reason, None, 0, 0, (span,), dropped=False),)


def judged_period_s(t: Floats, raw: Ints, poll_s: float, stated_s: float | None) -> float:
    """The update period that a PDU's windows are judged by, s: what is stated, or longer if seen.

    Few changes may be those of a steady load: they count only where nothing is stated.
    """
    seen_s, changes = update_period_s(t, raw, poll_s)
    if stated_s and changes <= PERIODS:
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


def _grown(facts: QuantityFacts, before: int, raw: int, seconds: float) -> float | None:
    """The power before, held; from half of what an answer was late by, the power after.

    A power of 0 W is what an outlet says below its squelch: nothing is known of it.
    """
    if min(before, raw) <= 0:
        return None
    late_s = max(seconds - _poll_s(facts), 0.0) / 2
    return (before * (seconds - late_s) + raw * late_s) * scale_of(POWER, facts)


def _corrected(facts: QuantityFacts, joules: float, _seconds: float) -> float:
    return joules * known(facts.correction, 1.0)


SCOPE = Scope(
    name="wall",
    title=Name("wall outlets", "wall", "outlets"),
    status="measured",
    source=POWER,
    main=frozenset({POWER}),
    power=(POWER,),
    sensor=sensor,
    ways=_ways,
    growth={POWER: Growth(_grown, "power, held", _hole_s)},
    corrected=_corrected,
    of_zero=_unread,
)
