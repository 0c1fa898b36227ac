"""Energy of CPU packages and outlets where readings come late, are lost, or stand still."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.energy import Energy
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.measure.meters import Reading
from kit.measure.meters.live import Live
from tests.test_energy import MS, WRAP, Rows, S, outlets, read

Floats = npt.NDArray[np.float64]
PACKAGE = MeterPlan(
    name="rapl",
    alias=None,
    devices=(
        MeterDevice(
            device="cpu0-package",
            description="",
            quantities={"cpu_energy": QuantityFacts(wrap=WRAP, poll_s=0.05, summed=True)},
        ),
    ),
)


def package(times: Floats, joules: Callable[[float], float]) -> Energy:
    """A package's counter, renewed each millisecond, read at ``times`` (s)."""
    rows: Rows = [
        (round(t * S), round(t * S), None, "cpu0-package", "cpu_energy", 0,
         round(joules(np.floor(t * 1000 + 1e-6) / 1000) * 1e6))
        for t in times
    ]  # fmt: skip
    return Energy(read(rows), [PACKAGE])


# --- RAPL -----------------------------------------------------------------------------------


def test_a_rapl_counter_that_never_grows_is_no_energy_of_0_j() -> None:
    computed = package(np.arange(0, 70, 0.05), lambda t: 60.0)
    value = computed.of(S, 61 * S)[0]
    assert (value.status, value.joules) == ("unmeasured", None)
    assert "the energy counter stood still for 70 s" in sentence(value.reason)


def test_a_rapl_counter_that_stands_still_for_a_while_spoils_its_windows_alone() -> None:
    """From 10 s to 12 s it is not renewed; what it missed is never told."""
    computed = package(np.arange(0, 30, 0.05), lambda t: 100 * (min(t, 10.0) + max(t - 12.0, 0.0)))
    assert "stood still" in sentence(computed.of(5 * S, 20 * S)[0].reason)
    assert computed.of(2 * S, 9 * S)[0].joules == pytest.approx(700)
    assert computed.of(13 * S, 29 * S)[0].joules == pytest.approx(1600)


def test_a_rapl_counter_may_rest_for_a_moment() -> None:
    computed = package(np.arange(0, 30, 0.05), lambda t: 20 * (t // 0.9) * 0.9)
    assert computed.of(9 * S, 18 * S)[0].joules == pytest.approx(180, abs=18)


@pytest.mark.parametrize("early_s", [0.0003, 0.001, 0.0498])
def test_a_late_rapl_read_right_before_the_next_is_no_reset(early_s: float) -> None:
    """The counter is renewed each 1 ms: two reads 0.3 ms apart may hold 1 ms of a busy package."""
    times = np.arange(0, 10, 0.05) + 0.0001
    times[100] = times[101] - early_s
    value = package(times, lambda t: 60 + 400 * t).of(S, 9 * S)[0]
    assert value.joules == pytest.approx(8 * 400, rel=1e-3)


def test_more_than_a_package_can_draw_is_still_a_reset() -> None:
    times = np.arange(0, 10, 0.05)
    value = package(times, lambda t: 60 + 20 * t + (60 if t >= 5 else 0)).of(S, 9 * S)[0]
    assert "reset" in sentence(value.reason)


# --- PDU ------------------------------------------------------------------------------------


class Outlet(NamedTuple):
    """An outlet whose power is known at any time, and the answers of its PDU.

    Attributes:
        watts: power at a time (s).
        rows: the answers as sampled.
    """

    watts: Callable[[Floats], Floats]
    rows: Rows


def answered(
    watts: Callable[[Floats], Floats],
    chance: np.random.Generator,
    *,
    retried: float = 0.0,
    lost: float = 0.0,
    period_s: float = 0.0,
    seconds: float = 240.0,
) -> Outlet:
    """Polled each second by fixed deadlines; a retry costs 2 s, and the deadlines missed by it.

    Args:
        retried: share of the polls that are answered by the second request alone.
        lost: share of the polls that are not answered.
        period_s: how often the PDU renews its value; 0 stands for always.
    """
    rows: Rows = []
    due, phase = chance.uniform(0, 1), chance.uniform(0, period_s or 1.0)
    while due < seconds:
        took = 2.0 if chance.random() < retried else 0.0
        at = due + took
        renewed = (at - phase) // period_s * period_s + phase if period_s else at
        flicker = int(renewed * 7.3) % 3  # so that a renewed value is seen to be one
        raw = round(float(watts(np.array([renewed]))[0])) + flicker - 1
        if chance.random() >= lost:
            rows.append(
                (round(due * S), round(at * S) + 4 * MS, None, "pdu:a:3", "pdu_power", 0, raw)
            )
        due += took + 1.0
    return Outlet(watts, rows)


def square(chance: np.random.Generator) -> Callable[[Floats], Floats]:
    """300 W and 700 W in turn, 20 s each."""
    phase = chance.uniform(0, 20)
    return lambda t: 300 + 400 * (((t + phase) // 20) % 2)


def uneven(chance: np.random.Generator) -> Callable[[Floats], Floats]:
    """Levels of 300 W to 900 W that last 3 s to 15 s each."""
    ends = np.cumsum(chance.uniform(3, 15, 200))
    levels = chance.uniform(300, 900, 201)
    return lambda t: levels[np.searchsorted(ends, t)]


class Scored(NamedTuple):
    """Of random windows: errors over their uncertainty, errors (J), share that was measured."""

    normal: Floats
    errors: Floats
    measured: float

    @property
    def covered(self) -> float:
        return float(np.mean(np.abs(self.normal) < 1.96))


def scored(
    load: Callable[[np.random.Generator], Callable[[Floats], Floats]],
    runs: int = 60,
    **answers: float,
) -> Scored:
    """Windows of 20–50 s against the truth. The lag is known: half a poll, half an update."""
    chance = np.random.default_rng(4)
    normal, errors, asked = [], [], 0
    period_s = answers.get("period_s", 0.0)
    facts = {"lag_s": 0.5 + period_s / 2, "lag_u_s": 0.05, "period_s": max(1.0, period_s)}
    t = np.arange(0, 240, 0.005)
    for _ in range(runs):
        outlet = answered(load(chance), chance, **answers)
        total = np.concatenate([[0.0], np.cumsum(outlet.watts(t)[:-1] * 0.005)])
        computed = Energy(read(outlet.rows), [outlets(3, **facts)])
        for begin in chance.uniform(20, 150, 6):
            end = begin + chance.uniform(20, 50)
            asked += 1
            value = computed.of(round(begin * S), round(end * S))[0]
            if value.joules is None or value.u_reading is None:
                continue
            errors.append(
                value.joules - float(np.interp(end, t, total) - np.interp(begin, t, total))
            )
            normal.append(errors[-1] / value.u_reading)
    return Scored(np.array(normal), np.array(errors), len(normal) / asked)


def burst(lost: range) -> EnergyValue:
    """300 W, from 40.5 s to 44.5 s 900 W; the polls ``lost`` are not answered."""
    rows: Rows = [
        (t * S, t * S + 4 * MS, None, "pdu:a:3", "pdu_power", 0,
         900 if 40.5 <= t < 44.5 else 300 + t % 2)
        for t in range(120)
        if t not in lost
    ]  # fmt: skip
    facts = {"period_s": 1.0, "lag_s": 0.0, "lag_u_s": 0.05}
    return Energy(read(rows), [outlets(3, **facts)]).of(30 * S, 60 * S)[0]


def test_answers_that_were_lost_are_a_hole_and_not_held_over() -> None:
    value = burst(range(41, 45))
    assert (value.status, value.joules) == ("unmeasured", None)
    assert "no answer for 5 s" in sentence(value.reason)
    assert burst(range(0)).joules == pytest.approx(300.5 * 30 + 600 * 4, abs=300)


def test_answers_that_all_came_are_as_sure_as_before() -> None:
    """Each change of power lies anywhere in an update period, however the network jitters."""
    chance = np.random.default_rng(1)
    watts = [300 + 100 * (t // 7 % 3) + t % 2 for t in range(120)]
    rows: Rows = []
    for t, w in enumerate(watts):
        t0 = t * S + int(chance.uniform(0, MS))
        t1 = t0 + 4 * MS + int(chance.exponential(2 * MS))
        rows.append((t0, t1, None, "pdu:a:3", "pdu_power", 0, w))
    facts = {"period_s": 1.0, "lag_s": 0.5, "lag_u_s": 0.05}
    value = Energy(read(rows), [outlets(3, **facts)]).of(29_500 * MS, 89_500 * MS)[0]
    assert value.joules == pytest.approx(sum(watts[30:90]), rel=2e-4)
    expected = np.sqrt(np.sum(np.diff(watts[29:91]) ** 2.0) / 12)
    assert value.terms["sampling"] == pytest.approx(expected, rel=0.02)


def test_one_lost_answer_widens_the_interval() -> None:
    whole, one = burst(range(0)), burst(range(41, 42))
    assert whole.u_reading is not None and one.u_reading is not None
    assert one.joules is not None
    assert abs(one.joules - (300.5 * 30 + 600 * 4)) < 1.96 * one.u_reading
    assert one.u_reading > 1.3 * whole.u_reading


@pytest.mark.parametrize("load", [square, uneven])
@pytest.mark.parametrize(
    ("answers", "measured"),
    [
        ({}, 1.0),
        ({"period_s": 2.0}, 0.7),  # some windows are shorter than ten periods as seen
        ({"retried": 0.1}, 0.7),
        ({"retried": 0.1, "period_s": 2.0}, 0.45),
        ({"lost": 0.1}, 0.7),
        ({"lost": 0.1, "retried": 0.05, "period_s": 1.0}, 0.4),
    ],
)
def test_late_and_lost_answers_leave_the_truth_covered(
    load: Callable[[np.random.Generator], Callable[[Floats], Floats]],
    answers: dict[str, float],
    measured: float,
) -> None:
    found = scored(load, **answers)
    assert found.covered >= 0.93
    assert found.measured >= measured


@pytest.mark.parametrize("until", [0, 60, 120])
def test_what_a_pdu_squelches_is_no_energy_in_the_run_and_none_while_it_goes_on(until: int) -> None:
    """An outlet that reads 0 W until some time; what it reads above 0 it has measured."""
    plan = outlets(3, squelch=50, period_s=1.0)
    rows: Rows = [
        (t * S, t * S + 4 * MS, None, "pdu:a:3", "pdu_power", 0, 0 if t < until else 30 + t % 2)
        for t in range(120)
    ]
    shown = Live(plan.devices)
    for t0, t1, _, device, quantity, rc, raw in rows:
        shown.see(Reading(t0, t1, None, device, quantity, rc, raw))
    whole, end = (Energy(read(rows), [plan]).of(t * S, 110 * S)[0] for t in (10, 70))
    expected = pytest.approx(30.5 * (119 - until), abs=1)
    assert shown.joules() == ({} if until == 120 else {"pdu:a:3": expected})
    assert (whole.joules is None) == (until > 0)
    assert (end.joules is None) == (until > 60)
    for value in (whole, end):
        if value.joules is None:
            assert value.status == "unmeasured"
            assert "the outlet read 0 W: it cannot measure so little, but 50 W" in sentence(
                value.reason
            )
