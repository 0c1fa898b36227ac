"""Energy of windows: on the known physics of a sensor, and what is refused rather than guessed.

The synthetic board draws a power whose integral is known. Its counter ticks every 100 ms and is
read in calls of 2.8 ms; its samples are means over 20 ms, their times astray by milliseconds, as on
an H200.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.energy import SENSOR_TERMS, Energy, power_series
from kit.energy.curve import sharpened
from kit.energy.reason import Reason
from kit.energy.reasons import sentence
from kit.energy.results.windows import together
from kit.energy.scopes.wall import register_agreement
from kit.energy.ticks import known_ticks
from kit.energy.value import EnergyValue
from kit.measure.meters.nvml.buffer import mapped
from kit.record import samples
from tests.plans import facts_in
from tests.properties import examples

S = 1_000_000_000
MS = 1_000_000
Floats = npt.NDArray[np.float64]
Rows = list[tuple[int, int, int | None, str, str, int, int | None]]


class Board:
    """A GPU with power steps at random times; joules in closed form."""

    def __init__(self, seed: int = 1, seconds: float = 40.0) -> None:
        chance = np.random.default_rng(seed)
        spans = chance.uniform(0.15, 2.5, 200)
        self.edges: Floats = np.concatenate([[-3.0], np.cumsum(spans) - 3.0])
        self.watts: Floats = chance.choice([80.0, 120.0, 350.0, 640.0, 700.0], 200)
        self.total: Floats = np.concatenate([[0.0], np.cumsum(spans * self.watts)])
        self.seconds, self.chance = seconds, chance

    def joules(self, t: Any) -> Any:
        """Energy from long ago to ``t`` (s)."""
        return np.interp(t, self.edges, self.total)

    def sampled(self, wander_ms: float = 2.0) -> Rows:
        """The 20 ms buffer."""
        t = np.arange(0.0, self.seconds, 0.02)
        watts = (self.joules(t) - self.joules(t - 0.02)) / 0.02
        late = np.abs(self.chance.normal(0, wander_ms * 1e-3, len(t)))
        stamps = np.maximum.accumulate(t + late)
        return [
            row(s, s, "gpu_power_sample", round(w * 1e3), own=s)
            for s, w in zip(stamps, watts, strict=True)
        ]

    def counted(self, times: Floats, latency: float = 0.0028, tick: float = 0.1) -> Rows:
        """Reads of the counter that begin at ``times``."""
        ticks = np.floor((times + latency - 0.037) / tick) * tick + 0.037
        raw = np.floor(self.joules(ticks) * 1e3).astype(int)
        pairs = zip(times, raw, strict=True)
        return [row(t, t + latency, "gpu_energy", int(r)) for t, r in pairs]

    def polled(self, hertz: float = 20.0, **how: float) -> Rows:
        return self.counted(np.arange(0.01, self.seconds, 1 / hertz), **how)

    def asked_seldom(self) -> Rows:
        """As kit's sampler asks: at first about every tick, later about one in fifteen seconds,
        in between once a second halfway between two."""
        around = np.arange(-0.008, 0.008, 0.0029)
        marks = [*np.arange(0.137, 1.0, 0.1), *np.arange(15.037, self.seconds, 15.0)]
        bursts = [m + around + self.chance.uniform(-0.001, 0.001) for m in marks]
        singles = np.arange(1.587, self.seconds - 0.5, 1.0)
        times = np.sort(np.concatenate([*bursts, singles, [self.seconds - 0.05]]))
        return self.counted(times[np.concatenate([[True], np.diff(times) > 0.0028])])

    def gauge(self, quantity: str, window: float) -> Rows:
        """Means over a trailing window, renewed each 100 ms, read at 50 Hz."""
        t = np.arange(0.0, self.seconds, 0.02)
        renewed = np.floor(t / 0.1) * 0.1
        watts = (self.joules(renewed) - self.joules(renewed - window)) / window
        return [row(a, a, quantity, round(w * 1e3)) for a, w in zip(t, watts, strict=True)]


def row(
    t0: float, t1: float, quantity: str, raw: int | None, own: float | None = None, rc: int = 0
) -> tuple[int, int, int | None, str, str, int, int | None]:
    mine = None if own is None else round(own * S)
    return round(t0 * S), round(t1 * S), mine, "gpu0", quantity, rc, raw


def read(*groups: Rows, device: str | None = None) -> samples.Samples:
    """Rows through the file format, as in a run."""
    lines = [samples.HEADER]
    for number, (t0, t1, own, name, quantity, rc, raw) in enumerate(r for g in groups for r in g):
        cells = (number, t0, t1, own, device or name, quantity, rc, raw)
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    return samples.from_csv({"x.csv": ("\n".join(lines) + "\n").encode()})


def plan(name: str = "nvml", device: str = "gpu0", **quantities: dict[str, Any]) -> MeterPlan:
    told = MeterDevice(device=device, description="", quantities=facts_in(quantities))
    return MeterPlan(name=name, alias=None, devices=(told,))


GPU = plan(
    gpu_energy={"period_s": 0.1},
    gpu_power_sample={"period_s": 0.02},
    gpu_power_instant={},
    gpu_power_average={},
)


def errors(
    board: Board, computed: Energy, length: float, count: int = 150
) -> tuple[Floats, Floats, set[str]]:
    """Relative errors of random windows, in units of 1 and of u_reading; the methods used."""
    relative, normal, ways = [], [], set()
    for start in board.chance.uniform(0.5, board.seconds - length - 0.5, count):
        value = computed.of(round(start * S), round((start + length) * S))[0]
        assert value.joules is not None and value.u_reading is not None, value.reason
        truth = float(board.joules(start + length) - board.joules(start))
        relative.append(value.joules / truth - 1)
        normal.append((value.joules - truth) / value.u_reading)
        ways.add(value.method)
    return np.array(relative), np.array(normal), ways


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


# --- against the truth ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "method", "limits"),
    [
        (lambda b: (b.sampled(), b.asked_seldom()), "counter+samples", (0.01, 0.004, 0.0012)),
        (lambda b: (b.sampled(), b.polled(20)), "counter+samples", (0.01, 0.004, 0.0012)),
        (lambda b: (b.polled(20),), "counter", (0.05, 0.02, 0.007)),
        (lambda b: (b.sampled(),), "samples", (0.012, 0.006, 0.003)),
    ],
    ids=["as the sampler asks", "polled and samples", "polled alone", "samples alone"],
)
def test_windows_are_as_good_as_their_method(
    rows: Callable[[Board], tuple[Rows, ...]], method: str, limits: tuple[float, float, float]
) -> None:
    """rms errors over windows of 1, 3 and 10 s that begin anywhere, edges inside samples too."""
    board = Board()
    computed = Energy(read(*rows(board)), [GPU])
    for length, limit in zip((1.0, 3.0, 10.0), limits, strict=True):
        found, _, ways = errors(board, computed, length)
        assert ways == {method}
        assert rms(found) < limit


@pytest.mark.parametrize("length", [0.5, 2.0, 8.0])
@pytest.mark.slow
def test_the_stated_uncertainty_covers_the_truth(length: float) -> None:
    """Over many boards: about 95% within twice the standard uncertainty, and not much less.

    The samples' noise is one figure for a whole run: it overstates short windows without a step.
    """
    inside, spread = [], []
    for seed in range(8):
        board = Board(seed)
        computed = Energy(read(board.sampled(), board.asked_seldom()), [GPU])
        _, normal, _ = errors(board, computed, length, 60)
        inside.append(np.mean(np.abs(normal) < 1.96))
        spread.append(rms(np.clip(normal, -5, 5)))
    assert float(np.mean(inside)) > 0.9
    assert 0.15 < float(np.mean(spread)) < 1.4


def test_ticks_are_found_to_a_millisecond_by_slow_polling() -> None:
    """20 Hz tells each tick within 53 ms; all of them together far better."""
    board = Board()
    series = read(board.polled(20)).series["gpu0", "gpu_energy"]
    ticks = known_ticks(series, 0.1)
    true = np.round((ticks.t * 1e-9 - 0.037) / 0.1) * 0.1 + 0.037
    assert len(ticks.t) > 0.9 * board.seconds / 0.1
    assert rms(ticks.t * 1e-9 - true) < 0.003
    assert ticks.period_ns == pytest.approx(0.1 * S, rel=1e-4)


def test_an_unsteady_counter_is_told_by_its_brackets() -> None:
    chance, joules = np.random.default_rng(3), np.arange(0, 400)
    moments = np.cumsum(chance.uniform(0.03, 0.3, 400))
    reads = np.arange(0.0, 30.0, 0.01)
    raw = joules[np.searchsorted(moments, reads)]
    rows = [row(t, t + 0.001, "gpu_energy", int(r)) for t, r in zip(reads, raw, strict=True)]
    ticks = known_ticks(read(rows).series["gpu0", "gpu_energy"], 0.1)
    nearest = moments[np.searchsorted(moments, ticks.t * 1e-9 - 0.006)]
    assert np.abs(ticks.t * 1e-9 - nearest).max() < 0.012
    assert ticks.u.min() > 0.002 * S  # a bracket's own width, no less


def test_the_cross_check_compares_samples_with_the_counter() -> None:
    board = Board()
    found = read(board.sampled(), board.polled(20))
    ratio = Energy(found, [GPU]).agreement(GPU.devices[0], 5 * S, 30 * S)
    assert ratio == pytest.approx(1.0, abs=0.02)


@pytest.mark.slow
def test_the_cross_check_sees_what_the_scaled_samples_hide() -> None:
    """Energy follows the counter, so that samples 5% too high leave it; the check tells them."""
    board = Board()
    high = [(*r[:6], round((r[6] or 0) * 1.05)) for r in board.sampled()]
    found = read(high, board.asked_seldom())
    truth = float(board.joules(30.0) - board.joules(5.0))
    assert only(Energy(found, (GPU,)).of(5 * S, 30 * S)).joules == pytest.approx(truth, rel=0.001)
    ratios = [
        Energy(found, [GPU]).agreement(GPU.devices[0], t * S, (t + 10) * S) for t in range(3, 25)
    ]
    assert ratios == pytest.approx([1.05] * len(ratios), abs=0.005)


def test_the_cross_check_takes_instant_power_where_there_are_no_samples() -> None:
    board = Board()
    rows = board.polled(20), board.gauge("gpu_power_instant", 0.025)
    ratio = Energy(read(*rows), [GPU]).agreement(GPU.devices[0], 5 * S, 35 * S)
    assert ratio == pytest.approx(1.0, abs=0.03)
    assert Energy(read(rows[0]), [GPU]).agreement(GPU.devices[0], 5 * S, 35 * S) is None
    assert Energy(read(rows[1]), [GPU]).agreement(GPU.devices[0], 5 * S, 35 * S) is None


def test_averaged_power_is_refused_where_it_blurs() -> None:
    board = Board()
    computed = Energy(read(board.gauge("gpu_power_average", 1.0)), [GPU])
    short = computed.of(5 * S, 9 * S)[0]
    assert (short.status, short.joules) == ("unmeasured", None)
    assert "at least 5 s" in sentence(short.reason)
    found, normal, ways = errors(board, computed, 12.0, 60)
    assert ways == {"average"}
    assert rms(found) < 0.05
    assert np.mean(np.abs(normal) < 1.96) > 0.9


def test_instant_power_knows_that_it_aliases() -> None:
    board = Board()
    computed = Energy(read(board.gauge("gpu_power_instant", 0.025)), [GPU])
    found, normal, ways = errors(board, computed, 5.0)
    assert ways == {"instant"}
    assert rms(found) < 0.02
    assert np.mean(np.abs(normal) < 1.96) > 0.9


def test_ways_stand_in_for_one_another_in_their_order() -> None:
    board = Board()
    rows = {
        "counter": board.polled(20),
        "samples": board.sampled(),
        "instant": board.gauge("gpu_power_instant", 0.025),
        "average": board.gauge("gpu_power_average", 1.0),
    }
    truth = float(board.joules(30.0) - board.joules(10.0))
    for number, method in enumerate(rows):
        left = read(*list(rows.values())[number:])
        value = only(Energy(left, (GPU,)).of(10 * S, 30 * S))
        assert value.method == ("counter+samples" if method == "counter" else method)
        assert value.joules == pytest.approx(truth, rel=0.02)
        assert value.u_reading is not None
        assert abs((value.joules or 0.0) - truth) < 3 * value.u_reading


def test_accuracy_and_repeatability_stand_apart() -> None:
    board = Board()
    calibrated = plan(gpu_energy={"period_s": 0.1, "gain": 0.01, "offset": 2.0})
    found = read(board.polled(20))
    prior = Energy(found, [GPU]).of(5 * S, 25 * S)[0]
    better = Energy(found, [calibrated]).of(5 * S, 25 * S)[0]
    assert prior.joules == better.joules is not None
    assert prior.u_reading == better.u_reading
    assert prior.terms["gain"] == pytest.approx((prior.joules or 0.0) * 0.05 / 3**0.5)
    assert prior.terms["offset"] == pytest.approx(20 * 5.0 / 3**0.5)
    assert prior.u_sensor == pytest.approx(
        math.hypot(*(prior.terms.get(name, 0.0) for name in SENSOR_TERMS))
    )
    assert better.terms["offset"] == pytest.approx(20 * 2.0 / 3**0.5)
    assert (better.u_sensor or 0.0) < (prior.u_sensor or 0.0)


# --- marks where the power steps ------------------------------------------------------------


class Requests(Board):
    """A server that prefills, decodes and waits: power steps where its marks are."""

    SPANS = ((0.3, 620.0), (1.1, 350.0), (0.25, 90.0))

    def __init__(self, seed: int = 1, late_s: float = 0.0) -> None:
        super().__init__(seed, 60.0)
        spans, watts = [4.0 + self.chance.uniform(0.0, 0.1)], [90.0]
        while sum(spans) < 55.0:
            for length, power in self.SPANS:
                spans.append(length * self.chance.uniform(0.95, 1.05))
                watts.append(power)
        self.edges = np.concatenate([[-3.0], np.cumsum([*spans, 20.0]) - 3.0])
        self.watts = np.array([*watts, 90.0])
        self.total = np.concatenate([[0.0], np.cumsum(np.diff(self.edges) * self.watts)])
        self.late_s = late_s

    def pieces(self, watts: float) -> list[tuple[int, int]]:
        """Every stretch of that power, by the marks of a host."""
        at = np.flatnonzero(self.watts == watts)
        return [(round(self.edges[i] * S), round(self.edges[i + 1] * S)) for i in at]

    def joules(self, t: Any) -> Any:
        """As the sensor sees it, ``late_s`` after it was drawn."""
        return super().joules(np.asarray(t) - self.late_s)

    def truth(self, pieces: list[tuple[int, int]]) -> float:
        drawn = [Board.joules(self, np.array([a, b]) / S) for a, b in pieces]
        return float(sum(b - a for a, b in drawn))


WAYS: dict[str, Callable[[Board], list[Rows]]] = {
    "counter+samples": lambda b: [b.sampled(0.5), b.asked_seldom()],
    "samples": lambda b: [b.sampled(0.5)],
    "counter": lambda b: [b.polled(20)],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("watts", [620.0, 350.0])
def test_marks_at_steps_of_power_lose_nothing(way: str, watts: float) -> None:
    """A line through the mean that a step lies in would lose a sixth of ΔP·T at either mark."""
    single, summed, lost = [], [], []
    for seed in range(6):
        board = Requests(seed)
        found = Energy(read(*WAYS[way](board)), [GPU])
        pieces = board.pieces(watts)
        values = [only(found.of(a, b)) for a, b in pieces]
        assert {v.method for v in values} == {way}
        for value, piece in zip(values, pieces, strict=True):
            single.append(((value.joules or 0.0) - board.truth([piece])) / _u(value))
        whole = together(values)
        error = (whole.joules or 0.0) - board.truth(pieces)
        summed.append(error / _u(whole))
        lost.append(error / board.truth(pieces))
    assert abs(float(np.mean(lost))) < (0.02 if way == "counter" else 0.004)
    assert np.mean(np.abs(single) < 1.96) >= 0.93
    assert np.mean(np.abs(summed) < 1.96) >= 0.93


def _u(value: EnergyValue) -> float:
    """What a window's joules may err by, gain and offset of the sensor aside."""
    return math.hypot(*(v for k, v in value.terms.items() if k not in ("gain", "offset")))


@pytest.mark.parametrize("late_s", [0.0, 0.008, 0.015])
def test_a_sensor_that_is_late_is_within_its_delay(late_s: float) -> None:
    found = []
    for seed in range(4):
        board = Requests(seed, late_s)
        energy = Energy(read(board.sampled(0.5), board.asked_seldom()), [GPU])
        for piece in board.pieces(620.0):
            value = only(energy.of(*piece))
            found.append(((value.joules or 0.0) - board.truth([piece])) / _u(value))
    assert np.mean(np.abs(found) < 1.96) >= 0.93


def test_a_corner_stands_where_the_mean_says() -> None:
    t = np.arange(8) * 20e6
    watts = np.array([100.0, 100.0, 100.0, 250.0, 300.0, 300.0, 300.0])  # steps at 65 ms
    times, joules = sharpened(t, np.concatenate([[0.0], np.cumsum(watts * 0.02)]))
    assert len(times) == 9
    assert times[4] == pytest.approx(65e6)
    assert joules[4] == pytest.approx(6.5)


def test_a_ramp_and_noise_have_no_corner() -> None:
    t = np.arange(30) * 20e6
    ramp = np.linspace(100.0, 400.0, 29)
    energies = np.concatenate([[0.0], np.cumsum(ramp * 0.02)])
    assert len(sharpened(t, energies)[0]) == len(t)
    # Equal means, of whose sums rounding leaves differences that are none.
    level = np.concatenate([[0.0], np.cumsum(np.full(29, 121.3) * 0.02)])
    assert len(sharpened(t, level)[0]) == len(t)
    assert len(sharpened(t[:4], energies[:4])[0]) == 4


def test_outlets_of_one_answer_err_together() -> None:
    """A step of 200 W through one outlet, and through two that share it."""

    def rows(outlet: int, share: float) -> Rows:
        watts = [300.0 if t < 60 else 500.0 for t in range(120)]
        return [
            (
                *row(t, t + 0.004, "pdu_power", round(w * share * 10))[:3],
                f"pdu:rack:{outlet}",
                "pdu_power",
                0,
                round(w * share * 10),
            )
            for t, w in enumerate(watts)
        ]

    def value(*outlets: int) -> EnergyValue:
        devices = tuple(
            MeterDevice(
                device=f"pdu:rack:{o}",
                description="",
                quantities={"pdu_power": QuantityFacts(scale=0.1, period_s=1.0, poll_s=1.0)},
            )
            for o in outlets
        )
        meters = (MeterPlan(name="pdu", alias="rack", devices=devices),)
        found = read(*(rows(o, 1 / len(outlets)) for o in outlets))
        return only(Energy(found, meters).of(40 * S, 60 * S))

    one, two = value(1), value(1, 2)
    for term in ("lag", "edge", "sampling"):
        assert two.terms[term] == pytest.approx(one.terms[term], rel=0.01)


def register(wh: float, factor: float = 1.0, restart: bool = False) -> float | str:
    """Ten minutes at 500 W by power, and by a register that counts steps of ``wh``."""
    device = MeterDevice(
        device="pdu:rack:1",
        description="",
        quantities={
            "pdu_power": QuantityFacts(scale=1.0, period_s=1.0, poll_s=1.0),
            "pdu_energy": QuantityFacts(scale=3600 * wh, resolution=3600 * wh, summed=False),
        },
    )
    watts = [row(t, t + 0.004, "pdu_power", 500) for t in range(600)]
    counts = [int(500 * factor * t / (3600 * wh)) for t in range(600)]
    if restart:
        counts[300:] = [n - counts[300] for n in counts[300:]]
    energies = [row(t, t + 0.004, "pdu_energy", n) for t, n in enumerate(counts)]
    found = read(watts, energies, device="pdu:rack:1")
    return register_agreement(device, found, 0, 600 * S)


def test_an_outlets_register_is_a_second_view_of_its_power() -> None:
    assert register(1.0) == pytest.approx(1.0, abs=0.005)
    assert register(1.0, factor=0.8) == pytest.approx(1.25, abs=0.01)
    assert register(100.0) == Reason("register_coarse", steps=0.0, least=50)
    assert register(1.0, restart=True) == Reason("register_backwards")


# --- what must hold for any window ----------------------------------------------------------

_BOARD = Board(7)
_FOUND = read(_BOARD.sampled(), _BOARD.asked_seldom())
_GPUS = (GPU,)
_TIMES = st.integers(2 * S // 5, 39 * S)
# A hole reaches from one sample to another, and each was taken up to a period and the lag of the
# counter away from its stamp: so near to its ends a window may be told or refused.
_BESIDE = 40 * MS


@examples(60)
@given(st.lists(_TIMES, min_size=3, max_size=12, unique=True))
def test_parts_of_a_window_add_up_to_it(times: list[int]) -> None:
    times = sorted(times)
    energy = Energy(_FOUND, _GPUS)
    parts = [energy.of(a, b)[0] for a, b in pairwise(times)]
    whole = energy.of(times[0], times[-1])[0]
    assert whole.joules == pytest.approx(sum(p.joules or 0.0 for p in parts), rel=1e-9, abs=1e-6)


@examples(25)
@given(
    hole=st.integers(3 * S, 30 * S),
    length=st.integers(6 * S // 10, 5 * S),
    start=_TIMES,
    span=st.integers(S // 10, 6 * S),
)
def test_a_sampler_that_stopped_is_flagged_and_never_interpolated(
    hole: int, length: int, start: int, span: int
) -> None:
    rows = [
        r for r in [*_ROWS] if not hole <= (r[2] if r[2] is not None else r[1]) <= hole + length
    ]
    end = min(start + span, 39 * S)
    if end <= start:
        return
    value = Energy(read(rows), (GPU,)).of(start, end)[0]
    before = Energy(_FOUND, (GPU,)).of(start, end)[0]
    inside = min(end, hole + length) - max(start, hole)  # negative: so far away from the hole
    if inside > _BESIDE or (inside > -_BESIDE and value.status == "unmeasured"):
        assert (value.status, value.joules) == ("unmeasured", None)
        assert "no power sample for" in sentence(value.reason)
    elif value.method == before.method:
        assert value.joules == pytest.approx(before.joules, rel=0.01, abs=2.0)
    else:  # the counter's difference includes what happened in the hole: the samples alone
        assert value.method == "samples"
        assert end > hole - 2 * S and start < hole + length + 2 * S


@pytest.mark.parametrize(
    ("lacking", "method"),
    [(0.25, "counter"), (0.47, "instant"), (0.9, None)],
)
def test_a_counter_is_left_where_ticks_lie_as_far_apart_as_in_released_formulas(
    lacking: float, method: str | None
) -> None:
    """Sealed runs of formulas 4 and 5 have this way, and verify computes their numbers again: who
    changes it raises `FORMULAS`."""
    rows = (*Board(3).polled(50.0), *Board(3).gauge("gpu_power_instant", 0.025))
    kept = [r for r in rows if not 10.09 <= r[1] / S <= 10.09 + lacking]
    value = only(Energy(read(kept), (GPU,)).of(2 * S, 18 * S))
    assert (value.method if value.reason is None else None) == method


@examples(20)
@given(at=st.integers(5, 35), step=st.sampled_from([-7200.0, -1.5, 0.7, 3600.0]), start=_TIMES)
def test_a_step_of_the_wall_clock_changes_nothing(at: int, step: float, start: int) -> None:
    """The buffer's stamps are the wall clock's: asked once a second, one call sees the step."""
    rows = [r for r in _ROWS if r[4] == "gpu_power_sample"]
    mapped_rows: Rows = []
    last: int | None = None
    for second in range(41):
        mine = [r for r in rows if second * S <= (r[2] or 0) < (second + 1) * S]
        before = round(step * S) if second > at else 0
        now = round(step * S) if second >= at else 0
        change = at * S + S // 2
        walls = [(r[2] or 0) + (round(step * S) if (r[2] or 0) >= change else 0) for r in mine]
        times = mapped(walls, before, now, last)
        last = times[-1] if times else last
        mapped_rows += [(t, t, t, *r[3:]) for t, r in zip(times, mine, strict=True)]
    end = min(start + 2 * S, 39 * S)
    others = [r for r in _ROWS if r[4] != "gpu_power_sample"]
    if end > start:
        stepped = Energy(read(mapped_rows, others), (GPU,)).of(start, end)[0]
        plain = Energy(read(_ROWS), (GPU,)).of(start, end)[0]
        assert stepped.joules == pytest.approx(plain.joules, rel=1e-6)


_ROWS = [*_BOARD.sampled(), *_BOARD.asked_seldom()]


# --- what is refused ------------------------------------------------------------------------


def only(value: tuple[EnergyValue, ...]) -> EnergyValue:
    assert len(value) == 1
    return value[0]


def test_nothing_to_compute_from_is_a_reason_and_never_zero() -> None:
    for rows in ([], [row(1.0, 1.0, "gpu_power_instant", 90_000)]):
        value = only(Energy(read(rows), (GPU,)).of(S, 2 * S))
        assert (value.status, value.joules, value.u_reading) == ("unmeasured", None, None)
        assert "gpu0" in sentence(value.reason)


def test_the_plans_reason_is_the_reason() -> None:
    absent = MeterPlan(name="nvml", alias=None, devices=(), reason="no NVIDIA driver")
    told = Reason("said", said="no NVIDIA driver")
    assert only(Energy(samples.EMPTY, (absent,)).of(0, S)).reason == told
    refused = plan(gpu_energy={"reason": "MIG is on"}, gpu_power_instant={"reason": "MIG is on"})
    assert "MIG is on" in sentence(only(Energy(samples.EMPTY, (refused,)).of(0, S)).reason)


def test_a_scope_nobody_asked_for_is_not_answered() -> None:
    assert Energy(samples.EMPTY, ()).of(0, S) == ()


def test_a_counter_that_decreased_invalidates_its_window_alone() -> None:
    board = Board()
    rows = board.polled(20)
    at = next(i for i, r in enumerate(rows) if r[0] > 20 * S)
    low = rows[at][6] or 0
    again = [r if i < at else (*r[:6], (r[6] or 0) - low) for i, r in enumerate(rows)]
    computed = Energy(read(board.sampled(), again), [GPU])
    assert "reset" in sentence(computed.of(19 * S, 22 * S)[0].reason)
    assert computed.of(5 * S, 19 * S)[0].status == "measured"
    assert computed.of(21 * S, 30 * S)[0].status == "measured"


def test_zeros_of_a_power_sensor_are_no_readings() -> None:
    rows = [row(t / 50, t / 50, "gpu_power_instant", 0) for t in range(500)]
    assert only(Energy(read(rows), (GPU,)).of(S, 8 * S)).status == "unmeasured"


def test_unlike_gpus_add_up_and_one_without_readings_spoils_the_sum() -> None:
    board = Board()
    second = plan(device="gpu1", gpu_power_instant={})
    both = MeterPlan(name="nvml", alias=None, devices=(*GPU.devices, *second.devices))
    mine = [(*r[:3], "gpu0", *r[4:]) for r in board.polled(20)]
    other = [(*r[:3], "gpu1", *r[4:]) for r in board.gauge("gpu_power_instant", 0.025)]
    value = only(Energy(read(mine, other), (both,)).of(5 * S, 15 * S))
    assert value.joules == pytest.approx(sum(value.devices.values()))
    assert value.method == "counter, instant"
    assert "gpu1" in sentence(only(Energy(read(mine), (both,)).of(5 * S, 15 * S)).reason)


# --- RAPL -----------------------------------------------------------------------------------

WRAP = 65_532_611
CPU = MeterPlan(
    name="rapl",
    alias=None,
    devices=tuple(
        MeterDevice(
            device=name,
            description="",
            quantities={"cpu_energy": QuantityFacts(wrap=WRAP, poll_s=0.05, summed=counts)},
        )
        for name, counts in (("cpu0-package", True), ("cpu0-core", False), ("psys", False))
    ),
)


def rapl(watts: float, device: str, start: int = 60_000_000) -> Rows:
    """A package at constant power, its counter wrapping as it grows."""
    times = np.arange(0.0, 20.0, 0.05)
    counts = (start + times * watts * 1e6).astype(int) % WRAP
    return [
        (round(t * S), round(t * S), None, device, "cpu_energy", 0, int(c))
        for t, c in zip(times, counts, strict=True)
    ]


def test_rapl_wraps_and_only_packages_count() -> None:
    found = read(rapl(200, "cpu0-package"), rapl(150, "cpu0-core"), rapl(400, "psys"))
    value = only(Energy(found, (CPU,)).of(S, 19 * S))
    assert value.joules == pytest.approx(200 * 18, rel=1e-6)
    assert set(value.devices) == {"cpu0-package"}


def test_a_rapl_counter_that_was_reset_is_not_taken_for_a_wrap() -> None:
    rows = rapl(20, "cpu0-package", start=1_000_000)
    rows = [*rows[:200], *((*r[:6], (r[6] or 0) // 50) for r in rows[200:])]
    packages = MeterPlan(name="rapl", alias=None, devices=CPU.devices[:1])
    computed = Energy(read(rows), [packages])
    assert "reset" in sentence(computed.of(5 * S, 15 * S)[0].reason)
    assert computed.of(S, 9 * S)[0].joules == pytest.approx(160, rel=1e-6)


def test_failed_rapl_reads_are_a_hole() -> None:
    rows = rapl(20, "cpu0-package")
    bad = [(*r[:5], 5, None) if 100 <= i < 130 else r for i, r in enumerate(rows)]
    packages = MeterPlan(name="rapl", alias=None, devices=CPU.devices[:1])
    assert "no reading for" in sentence(only(Energy(read(bad), (packages,)).of(S, 19 * S)).reason)


# --- PDU ------------------------------------------------------------------------------------


def pdu(watts: Callable[[float], float], outlet: int = 3, period: float = 1.0) -> Rows:
    """An outlet polled at 1 Hz that is renewed every ``period`` seconds."""
    return [
        (t * S, t * S + 4 * MS, None, f"pdu:a:{outlet}", "pdu_power", 0,
         round(watts(t // period * period)))
        for t in range(300)
    ]  # fmt: skip


def outlets(*numbers: int, **facts: Any) -> MeterPlan:
    told = {"scale": 1, "resolution": 1, "poll_s": 1.0, "gain": 0.03, "offset": 1, **facts}
    devices = [
        MeterDevice(device=f"pdu:a:{n}", description="", quantities=facts_in({"pdu_power": told}))
        for n in numbers
    ]
    return MeterPlan(name="pdu", alias="a", devices=tuple(devices))


def test_two_supplies_of_one_host_add_up() -> None:
    found = read(pdu(lambda t: 230), pdu(lambda t: 110, 4))
    value = only(Energy(found, (outlets(3, 4),)).of(10 * S, 110 * S))
    assert value.joules == pytest.approx(340 * 100)
    assert set(value.devices) == {"pdu:a:3", "pdu:a:4"}


def test_a_pdu_says_nothing_of_windows_under_ten_of_its_periods() -> None:
    """The period is inferred from the values: here 5 s, though it is polled every second."""
    found = read(pdu(lambda t: 200 + t, period=5.0))
    computed = Energy(found, [outlets(3)])
    assert "cannot resolve" in sentence(computed.of(10 * S, 55 * S)[0].reason)
    assert computed.of(10 * S, 65 * S)[0].status == "measured"


def test_what_an_outlet_squelches_to_zero_is_not_zero_joules() -> None:
    found = read(pdu(lambda t: 0.0 if 100 <= t < 150 else 40.0))
    computed = Energy(found, [outlets(3)])
    assert "cannot measure so little" in sentence(computed.of(90 * S, 200 * S)[0].reason)
    assert computed.of(20 * S, 90 * S)[0].joules == pytest.approx(40 * 70)


def test_one_silent_pdu_of_two_leaves_the_wall_unmeasured() -> None:
    dead = MeterPlan(name="pdu", alias="b", devices=(), reason="no answer")
    value = only(Energy(read(pdu(lambda t: 230)), (outlets(3), dead)).of(10 * S, 110 * S))
    assert (value.status, sentence(value.reason)) == ("unmeasured", "no answer")


# --- for pictures ---------------------------------------------------------------------------


def test_power_over_time_has_the_energy_under_it() -> None:
    board = Board()
    found = read(board.sampled(), board.polled(20))
    t, watts = power_series(found, [GPU])["gpu0"]
    assert len(t) == len(watts)
    area = float((watts[1:] * np.diff(t)).sum()) * 1e-9
    assert area == pytest.approx(
        float(board.joules(t[-1] * 1e-9) - board.joules(t[0] * 1e-9)), rel=0.01
    )


def test_no_line_is_drawn_where_nothing_is_known() -> None:
    kept = [r for r in Board().sampled() if not 10 * S < (r[2] or 0) < 14 * S]
    t, watts = power_series(read(kept), [GPU])["gpu0"]
    assert np.isfinite(watts).all()
    assert not ((t > 10 * S) & (t < 14 * S)).any()
    t, watts = power_series(read(kept), [GPU], holes=True)["gpu0"]
    (hole,) = t[np.isnan(watts)]
    assert hole == pytest.approx(14 * S, abs=0.03 * S)
