"""Readings that no device can have given: left out, counted, and replaced by the truer view.

Every kind of fault (a spike, a burst, a sentinel, a stream that is wrong by a factor, one that is
stuck, a counter that jumps, falls or races) is put into every quantity of a board whose energy is
known. The energy must stay the board's within its stated uncertainty, or be unmeasured with a
reason; and the doubt must be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from kit.core.facts import QuantityFacts
from kit.core.limits import overshoot, package_highest_w
from kit.core.model import MeterPlan
from kit.energy import Energy
from kit.energy.counted import counted
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.record import archive, records
from kit.record.samples import Series
from tests.committed import H200
from tests.test_energy import MS, Board, Rows, S, outlets, pdu, plan, rapl, read

POWER = ("gpu_power_sample", "gpu_power_instant", "gpu_power_average")
ALL = ("gpu_energy", *POWER)
FACTS: dict[str, dict[str, Any]] = {
    "gpu_energy": {"period_s": 0.1, "limit_w": 700.0},
    "gpu_power_sample": {"period_s": 0.02, "limit_w": 700.0},
    "gpu_power_instant": {"limit_w": 700.0},
    "gpu_power_average": {"limit_w": 700.0},
}
CARD = plan(**FACTS)
Fault = Callable[[Rows], Rows]


def board_rows(seed: int = 7) -> dict[str, Rows]:
    """What kit's sampler reads of one GPU, by quantity."""
    board = Board(seed)
    found = {"gpu_power_sample": board.sampled(), "gpu_energy": board.asked_seldom()}
    for quantity, window in (("gpu_power_instant", 0.025), ("gpu_power_average", 1.0)):
        found[quantity] = board.gauge(quantity, window)[::5]
    return found


def at(row: Any) -> float:
    """When a reading was made, s."""
    return float((row[2] if row[2] is not None else row[0]) / S)


def wrong(begin: float, end: float, value: Callable[[int], int]) -> Fault:
    """Readings between two times (s) say something else."""
    return lambda rows: [(*r[:6], value(r[6])) if begin <= at(r) < end else r for r in rows]


def answers(found: dict[str, Rows], card: MeterPlan = CARD) -> tuple[Energy, Board]:
    return Energy(read(*found.values()), [card]), Board(7)


def is_right(value: EnergyValue, truth: float, *, rel: float = 0.02) -> bool:
    """Within three of its own uncertainties, or within ``rel``."""
    assert value.joules is not None and value.u_reading is not None, value.reason
    return abs(value.joules - truth) <= max(rel * truth, 3 * value.u_reading)


WINDOWS = ((2.0, 38.0), (5.3, 25.1), (18.0, 22.0), (28.0, 36.0))
# Everywhere impossible for a card capped at 700 W: by its limits, or by the other views.
FAULTS: dict[str, Fault] = {
    "one spike": wrong(20.0, 20.11, lambda v: v + 9_000_000),
    "a burst of 2 kW": wrong(20.0, 23.0, lambda _: 2_000_000),
    "a burst of 431 kW": wrong(12.0, 12.6, lambda _: 431_000_000),
    "a second at 1.2 kW": wrong(20.0, 21.5, lambda _: 1_200_000),
    "all bits set": wrong(20.0, 21.5, lambda _: 2**32 - 1),
    "all bits but the sign": wrong(20.0, 21.5, lambda _: 2**31 - 1),
    "negative": wrong(20.0, 21.5, lambda _: -1),
    "twice as much": wrong(0, 99, lambda v: 2 * v),
    "microwatts": wrong(0, 99, lambda v: 1000 * v),
    "watts": wrong(0, 99, lambda v: max(1, v // 1000)),
    "half as much": wrong(0, 99, lambda v: max(1, v // 2)),
}


@pytest.mark.parametrize("quantity", POWER)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_sound_counter_keeps_the_energy_right_whatever_power_says(
    quantity: str, fault: str
) -> None:
    found = board_rows()
    honest = [d.as_reason() for d in answers(found)[0].doubts()]
    found[quantity] = FAULTS[fault](found[quantity])
    computed, board = answers(found)
    for begin, end in WINDOWS:
        value = computed.of(round(begin * S), round(end * S))[0]
        assert is_right(value, float(board.joules(end) - board.joules(begin))), fault
    assert honest == []
    told = computed.doubts()
    assert {d.quantity for d in told} == {quantity}, told
    if quantity == "gpu_power_sample":  # the shape of the energy is in doubt, and says so
        assert any(computed.of(round(a * S), round(b * S))[0].doubts for a, b in WINDOWS)


@pytest.mark.parametrize("watts", [1100, 850, 640])
def test_garbage_in_every_power_reading_at_once_does_not_outvote_the_counter(watts: int) -> None:
    """One sensor feeds them all: for 0.8 s they all say the same, and the counter goes on."""
    found = board_rows()
    board = Board(7)
    begin = next(
        t / 10 for t in range(50, 300) if board.joules(t / 10 + 2) - board.joules(t / 10) < 300
    )
    for quantity in POWER:
        odd = wrong(begin + 0.5, begin + 1.3, lambda _: watts * 1000)
        found[quantity] = odd(found[quantity])
    computed, _ = answers(found)
    value = computed.of(round((begin - 3) * S), round((begin + 6) * S))[0]
    truth = float(board.joules(begin + 6) - board.joules(begin - 3))
    assert is_right(value, truth)


COUNTER_FAULTS: dict[str, Fault] = {
    "one read of garbage": wrong(20.5, 20.7, lambda _: 10**15),
    "three seconds of garbage": wrong(20.0, 23.0, lambda _: 10**15),
    "three seconds of zero": wrong(20.0, 23.0, lambda _: 0),
    "three seconds of -1": wrong(20.0, 23.0, lambda _: -1),
    "a jump by 1 MJ": wrong(20.0, 99, lambda v: v + 10**9),
    "a jump by 500 J": wrong(20.0, 99, lambda v: v + 500_000),
    "twice as fast": wrong(0, 99, lambda v: 2 * v),
    "in uJ": wrong(0, 99, lambda v: 1000 * v),
    "in J": wrong(0, 99, lambda v: v // 1000),
    "half as fast": wrong(0, 99, lambda v: v // 2),
}


@pytest.mark.parametrize("fault", COUNTER_FAULTS)
def test_sound_samples_keep_the_energy_right_whatever_the_counter_says(fault: str) -> None:
    found = board_rows()
    found["gpu_energy"] = COUNTER_FAULTS[fault](found["gpu_energy"])
    computed, board = answers(found)
    for begin, end in WINDOWS:
        value = computed.of(round(begin * S), round(end * S))[0]
        assert is_right(value, float(board.joules(end) - board.joules(begin))), fault
    assert {d.quantity for d in computed.doubts()} == {"gpu_energy"}
    assert any(computed.of(round(a * S), round(b * S))[0].doubts for a, b in WINDOWS)


def test_a_counter_that_sticks_and_goes_on_later_is_bridged_by_the_samples() -> None:
    found = board_rows()
    stood = max(r[6] for r in found["gpu_energy"] if at(r) < 15)
    found["gpu_energy"] = wrong(15.0, 25.0, lambda _: stood)(found["gpu_energy"])
    computed, board = answers(found)
    for begin, end in ((2.0, 38.0), (16.0, 24.0), (26.0, 37.0)):
        value = computed.of(round(begin * S), round(end * S))[0]
        assert is_right(value, float(board.joules(end) - board.joules(begin)), rel=0.03)
    assert any(d.quantity == "gpu_energy" for d in computed.doubts())


@pytest.mark.parametrize("watts", [80, 300, 700])
def test_samples_that_stick_under_a_changing_load_are_not_believed(watts: int) -> None:
    found = board_rows()
    found["gpu_power_sample"] = wrong(12.0, 99, lambda _: watts * 1000)(found["gpu_power_sample"])
    computed, board = answers(found)
    for begin, end in WINDOWS:
        value = computed.of(round(begin * S), round(end * S))[0]
        assert is_right(value, float(board.joules(end) - board.joules(begin)))
    assert any(d.quantity == "gpu_power_sample" for d in computed.doubts())


@pytest.mark.parametrize(
    "kept", [("gpu_power_sample",), ("gpu_power_instant",), ("gpu_power_average",), POWER]
)
@pytest.mark.parametrize("fault", ["a burst of 2 kW", "all bits set", "microwatts"])
def test_without_a_counter_impossible_power_is_a_hole_and_never_energy(
    kept: Sequence[str], fault: str
) -> None:
    found = {q: FAULTS[fault](rows) for q, rows in board_rows().items() if q in kept}
    card = plan(**{q: FACTS[q] for q in kept})
    computed, board = answers(found, card)
    spoilt = computed.of(round(5.3 * S), round(36 * S))[0]
    assert (spoilt.status, spoilt.joules) == ("unmeasured", None)
    assert "a card capped at 700 W" in sentence(spoilt.reason) or "all bits" in sentence(
        spoilt.reason
    )
    before = computed.of(5 * S, 18 * S)[0]
    if fault != "microwatts":
        assert is_right(before, float(board.joules(18) - board.joules(5)), rel=0.15)
        assert before.doubts == ()
    assert {d.quantity for d in computed.doubts()} == set(kept)


@pytest.mark.parametrize("rate", ["seldom", "polled"])
def test_a_counter_alone_that_jumps_leaves_a_hole(rate: str) -> None:
    board = Board(7)
    rows = board.polled() if rate == "polled" else board.asked_seldom()
    jumped = wrong(20.0, 99, lambda v: v + 10**9)(rows)
    computed, _ = answers({"gpu_energy": jumped}, plan(gpu_energy=FACTS["gpu_energy"]))
    over = computed.of(18 * S, 22 * S)[0]
    assert (over.status, over.joules) == ("unmeasured", None)
    if rate == "polled":
        assert is_right(computed.of(2 * S, 18 * S)[0], float(board.joules(18) - board.joules(2)))
        assert is_right(computed.of(23 * S, 37 * S)[0], float(board.joules(37) - board.joules(23)))
    assert [d.quantity for d in computed.doubts()] == ["gpu_energy"]


def test_of_several_gpus_the_one_that_is_odd_is_named_and_the_others_stay() -> None:
    found, odd = board_rows(), board_rows()
    odd["gpu_power_sample"] = FAULTS["a burst of 2 kW"](odd["gpu_power_sample"])
    other = [(*r[:3], "gpu1", *r[4:]) for rows in odd.values() for r in rows]
    both = MeterPlan(
        name="nvml",
        alias=None,
        devices=(*CARD.devices, *plan(device="gpu1", **FACTS).devices),
    )
    computed, board = Energy(read(*found.values(), other), [both]), Board(7)
    value = computed.of(5 * S, 36 * S)[0]
    truth = float(board.joules(36) - board.joules(5))
    assert value.devices == {g: pytest.approx(truth, rel=0.01) for g in ("gpu0", "gpu1")}
    assert all("gpu1" in sentence(d) for d in value.doubts) and value.doubts
    assert {d.device for d in computed.doubts()} == {"gpu1"}


@pytest.mark.parametrize("known", ["in the plan", "as it was in effect", "nowhere"])
def test_the_cap_comes_from_the_plan_else_from_the_run(known: str) -> None:
    found = board_rows()
    found["gpu_power_sample"] = FAULTS["a burst of 431 kW"](found["gpu_power_sample"])
    facts = {q: {k: v for k, v in f.items() if k != "limit_w"} for q, f in FACTS.items()}
    if known == "as it was in effect":
        limit = [(t * S, t * S, None, "gpu0", "gpu_power_limit", 0, 700_000) for t in range(40)]
        limit[7] = (*limit[7][:6], 2**32 - 1)  # the limit may be garbage, too
        found["gpu_power_limit"] = limit
        facts["gpu_power_limit"] = {}
    card = CARD if known == "in the plan" else plan(**facts)
    computed, board = answers(found, card)
    value = computed.of(2 * S, 38 * S)[0]
    assert is_right(value, float(board.joules(38) - board.joules(2)))
    assert value.doubts


# --- honest cards ---------------------------------------------------------------------------


def test_a_card_may_overshoot_its_cap_as_real_ones_do() -> None:
    """PCI-SIG's excursions, and the means that an H200 of 700 W showed."""
    assert overshoot(1e-4) == pytest.approx(3.3)
    assert overshoot(0.02) > 836 / 700 * 1.3
    assert overshoot(0.025) > 966 / 700 * 1.3
    assert overshoot(1.0) == overshoot(60.0) == 1.25
    assert overshoot(0.02) < 2000 / 700


def test_nothing_of_an_honest_run_is_in_doubt() -> None:
    loaded = records.load(archive.open_source(H200))
    assert Energy(loaded.samples, loaded.plan.meters).doubts() == ()


@pytest.mark.parametrize("seed", range(6))
def test_no_honest_board_is_doubted(seed: int) -> None:
    computed = Energy(read(*board_rows(seed).values()), [CARD])
    assert computed.doubts() == ()


def test_garbage_in_a_real_run_leaves_its_energy() -> None:
    """The H200's own samples: a burst of 90 kW for two seconds of its measured block."""
    loaded = records.load(archive.open_source(H200))
    block = next(p for p in loaded.phases if p.name == "measured")
    meters = loaded.plan.meters
    whole = Energy(loaded.samples, meters).of(block.t0, block.t1)[0]
    key = ("gpu0", "gpu_power_sample")
    series = loaded.samples.series[key]
    middle = (block.t0 + block.t1) // 2
    raw = np.where(np.abs(series.t - middle) < S, 90_000_000, series.raw)
    spoilt = loaded.samples._replace(
        series={**loaded.samples.series, key: series._replace(raw=raw)}
    )
    value = Energy(spoilt, meters).of(block.t0, block.t1)[0]
    assert value.joules == pytest.approx(whole.joules, rel=1e-3)
    assert whole.doubts == () and "90" not in sentence(value.reason)
    assert "left out" in sentence(value.doubts[0])


# --- counters -------------------------------------------------------------------------------


def series_of(t: Sequence[float], raw: Sequence[int]) -> Series:
    times = np.array([round(x * S) for x in t], np.int64)
    return Series(times, np.array(raw, np.int64), 0, times[:0], times, times)


@pytest.mark.parametrize(
    ("raw", "kept", "jumps"),
    [
        ([0, 10, 20, 30, 40, 50], 6, 0),
        ([0, 10, 9999, 30, 40, 50], 5, 0),
        ([0, 10, 9999, 9999, 40, 50], 4, 0),
        ([0, 10, 9999, 0, 40, 50], 4, 0),
        ([9999, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120], 12, 0),
        ([0, 10, 20, 5000, 5010, 5020], 6, 1),
        ([100, 110, 120, 0, 10, 20], 6, 1),
        ([0, 9999, 5, 9999, 3, 9999], 0, 0),
        ([0, 5000, 10000, 15000, 20000, 25000], 0, 0),
    ],
)
def test_what_one_counter_can_have_given(raw: list[int], kept: int, jumps: int) -> None:
    found = counted(series_of(range(len(raw)), raw), lambda s: 20.0 * s)
    assert (int(found.keep.sum()), len(found.jumps)) == (kept, jumps)


def test_a_glitch_of_a_package_is_left_out_and_its_wraps_are_kept() -> None:
    wrap = 262_143_328_851
    rows: Rows = [
        (i * 50 * MS, i * 50 * MS, None, "cpu0-package", "cpu_energy", 0,
         7 if i in (150, 210) else (wrap - 1_000_000_000 + i * 10_000_000) % wrap)
        for i in range(400)
    ]  # fmt: skip
    facts = {"wrap": wrap, "poll_s": 0.05, "summed": True}
    computed = Energy(read(rows), [plan("rapl", "cpu0-package", cpu_energy=facts)])
    value = computed.of(S, 19 * S)[0]
    assert value.joules == pytest.approx(200 * 18, rel=1e-3)
    assert value.doubts and "2 of 400 readings" in sentence(value.doubts[0])


@pytest.mark.parametrize("limit_w", [None, 65.0])
def test_a_package_is_held_against_the_power_that_the_kernel_names(limit_w: float | None) -> None:
    facts = {"wrap": 262_143_328_851, "poll_s": 0.05, "summed": True}
    facts |= {"limit_w": limit_w} if limit_w else {}
    rows = rapl(200, "cpu0-package")
    fast = [(*r[:6], (r[6] or 0) + (20_000_000 if i >= 200 else 0)) for i, r in enumerate(rows)]
    unwrapped = [(*r[:6], round(i * 10e6 + (20e6 if i >= 200 else 0))) for i, r in enumerate(fast)]
    value = Energy(read(unwrapped), [plan("rapl", "cpu0-package", cpu_energy=facts)]).of(S, 19 * S)
    # 20 J at once are 400 W more for 50 ms: possible for the largest parts, not for one of 65 W.
    assert (value[0].status == "unmeasured") is bool(limit_w)


@pytest.mark.parametrize(("named_w", "highest_w"), [(6, 100), (15, 100), (65, 260), (400, 1000)])
def test_a_small_package_may_draw_far_more_than_its_name_says(
    named_w: float, highest_w: float
) -> None:
    assert package_highest_w(QuantityFacts(limit_w=named_w)) == highest_w


@pytest.mark.parametrize(("apart", "believed"), [(1000 * MS, True), (50 * MS, False)])
def test_a_moment_above_the_cap_is_no_second_of_it(apart: int, believed: bool) -> None:
    """600 W are what a card of 450 W draws for a moment; its driver may be asked once a second."""
    rows: Rows = [
        (t, t, None, "gpu0", "gpu_power_instant", 0, 600_000 if 5 * S <= t < 7 * S else 300_000)
        for t in range(0, 20 * S, apart)
    ]
    card = plan(gpu_power_instant={"limit_w": 450.0, "poll_s": apart / S})
    assert (Energy(read(rows), [card]).doubts() == ()) is believed


# --- packages that are one ------------------------------------------------------------------


def packages(*names: str) -> MeterPlan:
    facts = {"wrap": 262_143_328_851, "poll_s": 0.05, "summed": True}
    devices = [plan("rapl", name, cpu_energy=facts).devices[0] for name in names]
    return MeterPlan(name="rapl", alias=None, devices=tuple(devices))


def zone(name: str, seed: int, start: int = 5_000_000, varying: bool = True) -> Rows:
    """A package around 60 W, its power changing each 50 ms where it varies."""
    chance = np.random.default_rng(seed)
    watts = chance.uniform(30, 90, 600) if varying else np.full(600, 60.0)
    counts = start + np.cumsum(watts * 0.05 * 1e6).astype(np.int64)
    return [
        (i * 50 * MS + 5000, i * 50 * MS + 9000, None, name, "cpu_energy", 0, int(c))
        for i, c in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("second", "is_twin"),
    [
        (zone("cpu1-package", 1), True),
        (zone("cpu1-package", 1, start=77_000_000), True),
        (zone("cpu1-package", 2), False),
        (zone("cpu1-package", 1, start=262_140_000_000), False),
    ],
    ids=["the same", "the same from elsewhere on", "another", "beyond its range"],
)
def test_two_zones_of_one_counter_are_counted_once(second: Rows, is_twin: bool) -> None:
    second = [(*r[:6], (r[6] or 0) % 262_143_328_851) for r in second]
    first = zone("cpu0-package", 1)
    computed = Energy(read(first, second), [packages("cpu0-package", "cpu1-package")])
    value = computed.of(S, 29 * S)[0]
    one = Energy(read(first), [packages("cpu0-package")]).of(S, 29 * S)[0]
    assert one.joules is not None
    if is_twin:
        assert value.devices == {"cpu0-package": pytest.approx(one.joules)}
        assert "shown twice" in sentence(computed.doubts()[0].as_reason())
    elif second[0][6] == zone("x", 2)[0][6]:
        assert set(value.devices) == {"cpu0-package", "cpu1-package"}
        assert computed.doubts() == ()


def test_two_packages_of_one_steady_power_are_two() -> None:
    """Nothing says that they are one: they only draw the same."""
    rows = [zone("cpu0-package", 1, varying=False), zone("cpu1-package", 1, 9_000_000, False)]
    computed = Energy(read(*rows), [packages("cpu0-package", "cpu1-package")])
    assert computed.of(S, 29 * S)[0].joules == pytest.approx(2 * 60 * 28, rel=1e-3)


# --- outlets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "scale"),
    [(65_535, 1), (65_535, 0.1), (32_767, 1), (2**31 - 1, 1), (2**31 - 1, 0.001), (-1, 1),
     (9_000, 1), (90_000, 0.1)],
)  # fmt: skip
@pytest.mark.parametrize("lasting", [1, 30])
def test_what_no_outlet_carries_is_no_energy(raw: int, scale: float, lasting: int) -> None:
    rows = pdu(lambda t: (300 + t % 2) / scale)
    bad = [(*r[:6], raw) if 100 <= i < 100 + lasting else r for i, r in enumerate(rows)]
    facts = {"scale": scale, "period_s": 1.0, "lag_s": 0.0, "lag_u_s": 0.05}
    computed = Energy(read(bad), [outlets(3, **facts)])
    value = computed.of(50 * S, 200 * S)[0]
    if lasting == 1:
        assert value.joules == pytest.approx(300.5 * 150, rel=0.01)
        assert value.doubts
    else:
        assert (value.status, value.joules) == ("unmeasured", None)
        assert "is not believed" in sentence(value.reason)
    assert computed.of(5 * S, 95 * S)[0].doubts == ()
    assert f"{lasting} of 300 readings" in sentence(computed.doubts()[0].as_reason())


def test_an_inlet_carries_more_than_an_outlet() -> None:
    rows = [(*r[:3], "pdu:a:inlet1", *r[4:]) for r in pdu(lambda t: 9000 + t % 2)]
    facts = {"scale": 1, "resolution": 1, "poll_s": 1.0, "period_s": 1.0}
    inlet = plan("pdu", "pdu:a:inlet1", pdu_power=facts)
    assert Energy(read(rows), [inlet]).doubts() == ()


def test_a_register_that_contradicts_its_power_is_a_doubt() -> None:
    """Tenths of watts taken for watts: the outlet's own register says ten times less."""
    power = pdu(lambda t: 3000 + t % 2)
    register = [(*r[:4], "pdu_energy", 0, round(300.5 * i / 3.6)) for i, r in enumerate(power)]
    facts = {"scale": 1, "resolution": 1, "poll_s": 1.0, "period_s": 1.0}
    point = plan("pdu", "pdu:a:3", pdu_power=facts, pdu_energy={"scale": 3.6, "resolution": 3.6})
    computed = Energy(read(power, register), [point])
    value = computed.of(50 * S, 200 * S)[0]
    (doubt,) = value.doubts
    assert re.search(r"(9\.98|10) times what", sentence(doubt))


# --- states ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "raw"),
    [("gpu_temperature", 255), ("gpu_temperature", 2**31 - 1), ("gpu_sm_clock", 2**32 - 1),
     ("gpu_utilisation", 101)],
)  # fmt: skip
def test_states_that_no_sensor_shows_are_left_out(quantity: str, raw: int) -> None:
    rows = [(t * S, t * S, None, "gpu0", quantity, 0, raw if t == 7 else 40) for t in range(20)]
    card = plan(**{quantity: {}})
    (doubt,) = Energy(read(rows), (card,)).doubts()
    assert (doubt.readings, doubt.of, doubt.quantity) == (1, 20, quantity)


@pytest.mark.parametrize("others", [("gpu_power_average",), POWER[1:]])
@pytest.mark.parametrize("watts", [5, 690])
def test_without_a_counter_samples_are_held_against_the_average(
    others: Sequence[str], watts: int
) -> None:
    """Possible by themselves, and wrong for some seconds; instant power says which is."""
    found = {q: rows for q, rows in board_rows().items() if q in ("gpu_power_sample", *others)}
    odd = wrong(18.0, 26.0, lambda _: watts * 1000)
    found["gpu_power_sample"] = odd(found["gpu_power_sample"])
    computed, board = answers(found, plan(**{q: FACTS[q] for q in found}))
    value = computed.of(10 * S, 35 * S)[0]
    assert value.doubts  # with one other view nothing decides: the number says that it is in doubt
    if len(others) > 1:
        assert is_right(value, float(board.joules(35) - board.joules(10)), rel=0.05)
        assert {d.quantity for d in computed.doubts()} == {"gpu_power_sample"}
