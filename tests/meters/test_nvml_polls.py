"""Counters, polled or read in bursts: no window between ready and stop lies outside their ticks."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kit.core.model import MeterPlan
from kit.energy import Energy
from kit.energy.ticks import known_ticks
from kit.measure.meters.contract import Reading
from kit.measure.meters.nvml import counter
from tests.test_energy import S, plan, read

TICK_NS, WATTS = 100_000_000, 250
LOST = 15  # NVML_ERROR_GPU_IS_LOST
NAMES = ("gpu0", "gpu1")
DEVICES = tuple(plan(device=n, gpu_energy={"period_s": 0.1}).devices[0] for n in NAMES)
PLANS = (MeterPlan(name="nvml", alias=None, devices=DEVICES),)


class Cards:
    """Two GPUs of 250 W whose counters tick each 100 ms, and the time, which only calls take."""

    def __init__(self, phases: tuple[int, int], latency_ns: int) -> None:
        self.t, self.phases, self.latency_ns = 3 * S, phases, latency_ns

    def now(self) -> int:
        self.t += 1_000
        return self.t

    def sleep(self, seconds: float) -> None:
        self.t += round(seconds * S)

    def counted(self, card: int) -> tuple[int, int]:
        self.t += self.latency_ns
        return 0, (self.t - self.phases[card]) // TICK_NS * WATTS * TICK_NS // 1_000_000


def tickers_of(cards: Cards) -> list[counter.Ticker]:
    return [
        counter.Ticker(name, lambda card=i: cards.counted(card), cast("Any", cards))
        for i, name in enumerate(NAMES)
    ]


def polled(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Reading], int, int]:
    """All reads of two seconds, as the sampler makes them; when it was ready, and when stopped."""
    monkeypatch.setattr(counter.time, "sleep", cards.sleep)
    tier = counter.Polls(tickers_of(cards), cast("Any", cards)).tier()
    assert tier.last is not None
    begun, readings = cards.t, list(tier.read())
    ready = cards.t
    period_ns = round(tier.period_s * S)
    while cards.t < ready + 2 * S:
        cards.t += (begun - cards.t) % period_ns
        readings += tier.read()
    stopped = cards.t
    return [*readings, *tier.last(stopped)], ready, stopped


def test_a_gpu_that_is_gone_is_not_asked_again_while_another_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cards = Cards((0, 45_000_000), 300_000)
    asked = list[int]()

    def gone() -> tuple[int, None]:
        asked.append(cards.t)
        return LOST, None

    monkeypatch.setattr(counter.time, "sleep", cards.sleep)
    clock = cast("Any", cards)
    lost = counter.Ticker("gpu0", gone, clock)
    ticker = counter.Ticker("gpu1", lambda: cards.counted(1), clock)
    readings = counter.Polls([lost, ticker], clock).tier().read()
    assert len(readings) > 10
    assert len(asked) <= 3


@pytest.mark.parametrize("latency_ns", [300_000, 1_500_000])
@pytest.mark.parametrize("apart", [0, 2, 9, 20, 45, 70, 91, 98])
def test_every_counter_has_a_known_tick_before_ready_and_one_after_stop(
    monkeypatch: pytest.MonkeyPatch, latency_ns: int, apart: int
) -> None:
    """At whatever moment of its period each counter is when the sampler begins."""
    for phase in range(0, 100, 3):
        cards = Cards((phase * 1_000_000, (phase + apart) * 1_000_000), latency_ns)
        rows, ready, stopped = polled(cards, monkeypatch)
        (value,) = Energy(read([tuple(row) for row in rows]), PLANS).of(ready, stopped)
        assert (value.method, value.reason) == ("counter", None), phase
        assert value.joules == pytest.approx(2 * WATTS * (stopped - ready) / S, rel=0.005)


@pytest.mark.parametrize("apart", [0, 9, 45, 91])
def test_bursts_end_with_a_known_tick_of_every_counter(
    monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    for phase in range(0, 100, 7):
        cards = Cards((phase * 1_000_000, (phase + apart) * 1_000_000), 2_800_000)
        monkeypatch.setattr(counter.time, "sleep", cards.sleep)
        tier = counter.Bursts(tickers_of(cards), cast("Any", cards)).tier()
        assert tier.due and tier.last
        rows, ready = list(tier.read()), cards.t
        while cards.t < ready + 20 * S:
            cards.t = max(cards.t, tier.due())
            rows += tier.read()
        stopped = cards.t
        found = read([tuple(row) for row in [*rows, *tier.last(stopped)]]).series
        for name in NAMES:
            ticks = known_ticks(found[name, "gpu_energy"], 0.1).t
            assert ticks[0] < ready and ticks[-1] > stopped, (phase, name)
