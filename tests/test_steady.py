"""A steady state against slopes that are known, and the gate that waits for one."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan, SteadySpec
from kit.energy.reasons import sentence
from kit.energy.steady import Rule, judge, may_settle
from kit.record import samples
from kit.record.events import Clock
from kit.record.samples import Samples, Series
from kit.run.gate import settle
from kit.run.watch import Watch

GPU = MeterDevice(device="gpu0", description="", quantities={})
MUTE = MeterDevice(
    device="gpu0",
    description="",
    quantities={"gpu_event_reasons": QuantityFacts(reason="NVML: Not Supported")},
)
MINUTE = 60_000_000_000


def series(values: Any, period_s: float) -> Series:
    raw = np.asarray(values).astype(np.int64)
    t = (np.arange(len(raw)) * period_s * 1e9).astype(np.int64)
    return Series(t, raw, 0, np.zeros(0, np.int64), t, t)


def state(
    celsius_per_min: float = 0.0, percent_per_min: float = 0.0, masks: tuple[int, ...] = (0,)
) -> Samples:
    """A minute of a GPU whose temperature and power move at these rates, as NVML gives them."""
    chance = np.random.default_rng(1)
    minutes = np.arange(600) / 600
    power = np.arange(3000) / 3000
    watts = 300 * (1 + percent_per_min / 100 * (power - 0.5)) + chance.normal(0, 3, 3000)
    return Samples(
        {
            ("gpu0", "gpu_temperature"): series(np.round(60 + celsius_per_min * minutes), 0.1),
            ("gpu0", "gpu_power_sample"): series(watts * 1000, 0.02),
            ("gpu0", "gpu_event_reasons"): series(np.resize(masks, 600), 0.1),
        },
        (),
        {},
    )


def judged(
    of: Samples, t1: int = MINUTE, rule: Rule | None = None, device: MeterDevice = GPU
) -> dict[str, Any]:
    steady = judge(device, of, 0, t1, rule or Rule())
    document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(steady, reasons=()))
    return document | {"reasons": [sentence(reason) for reason in steady.reasons]}


def test_a_state_that_stays_is_steady() -> None:
    verdict = judged(state())
    assert (verdict["status"], verdict["reasons"]) == ("steady", [])
    assert verdict["power_w"] == pytest.approx(300, rel=0.01)
    assert (
        abs(verdict["power_percent_per_min"]["value"]) < 3 * verdict["power_percent_per_min"]["u"]
    )


@pytest.mark.parametrize("rate", [3.0, 6.0])
def test_a_gpu_that_warms_is_not(rate: float) -> None:
    verdict = judged(state(celsius_per_min=rate))
    assert verdict["status"] == "not_steady"
    assert verdict["temperature_c_per_min"]["value"] == pytest.approx(rate, rel=0.15)
    assert verdict["reasons"][0].startswith("temperature moves by +")


def test_power_that_drifts_is_not() -> None:
    verdict = judged(state(percent_per_min=3.0))
    assert verdict["status"] == "not_steady"
    assert verdict["power_percent_per_min"]["value"] == pytest.approx(3, abs=0.5)


def test_the_error_of_a_slope_is_what_it_scatters_by() -> None:
    """Power's slope of many noisy minutes lies within twice its stated error in 95% of them."""
    inside = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        watts = 300_000 + chance.normal(0, 3000, 3000)
        of = Samples({("gpu0", "gpu_power_sample"): series(watts, 0.02)}, (), {})
        slope = judged(of)["power_percent_per_min"]
        inside += abs(slope["value"]) < 2 * slope["u"]
    assert 180 <= inside <= 199


def test_event_reasons_that_change_are_not_steady_and_idling_is_no_change() -> None:
    assert judged(state(masks=(0, 4)))["status"] == "not_steady"
    assert judged(state(masks=(0, 1)))["status"] == "steady"  # the idle bit follows the load
    assert judged(state(masks=(4, 5)))["event_reasons"] == (4,)


def test_a_short_window_cannot_be_told_unless_it_is_plain() -> None:
    assert judged(state(), MINUTE // 6)["status"] == "unknown"
    assert judged(state(celsius_per_min=60), MINUTE // 6)["status"] == "not_steady"


def test_no_readings_cannot_be_told() -> None:
    verdict = judged(samples.EMPTY)
    assert verdict["status"] == "unknown"
    assert "temperature: too few readings" in verdict["reasons"]
    assert "clock event reasons: no readings" in verdict["reasons"]
    assert verdict["power_w"] is None and verdict["event_reasons"] == ()


def changed(quantity: str, to: Series | None, of: Samples | None = None) -> Samples:
    """The steady minute with another series of one quantity, or without one."""
    of = of or state()
    series = {key: s for key, s in of.series.items() if key[1] != quantity}
    return of._replace(series=series | ({("gpu0", quantity): to} if to else {}))


def part(of: Series, *, begin_s: float = 0.0, end_s: float = 60.0, hole: bool = False) -> Series:
    """The readings between two times, or those outside of them."""
    inside = ((of.t >= begin_s * 1e9) & (of.t < end_s * 1e9)) ^ hole
    return of._replace(t=of.t[inside], raw=of.raw[inside], t0=of.t0[inside], t1=of.t1[inside])


def test_without_event_reasons_nobody_knows() -> None:
    """Their card does not tell them: all else is steady, and waiting would not help."""
    of = changed("gpu_event_reasons", None)
    assert judged(of)["reasons"] == ["clock event reasons: no readings"]
    assert may_settle(GPU, of, 0, MINUTE, Rule())
    reason = MUTE.quantities["gpu_event_reasons"].reason
    verdict = judged(of, device=MUTE)
    assert (verdict["status"], verdict["reasons"]) == (
        "unknown",
        [f"clock event reasons: {reason}"],
    )
    assert not may_settle(MUTE, of, 0, MINUTE, Rule())
    assert may_settle(MUTE, changed("gpu_temperature", None, of), 0, MINUTE, Rule())


@pytest.mark.parametrize(
    ("quantity", "what"),
    [
        ("gpu_temperature", "temperature"),
        ("gpu_power_sample", "power"),
        ("gpu_event_reasons", "clock event reasons"),
    ],
)
def test_what_was_read_in_a_part_of_the_window_says_nothing_of_the_rest(
    quantity: str, what: str
) -> None:
    series = state().series["gpu0", quantity]
    verdict = judged(changed(quantity, part(series, end_s=50)))
    assert verdict["status"] == "unknown"
    assert f"{what}: read for only 50 s of 60 s" in verdict["reasons"]
    assert judged(changed(quantity, part(series, end_s=56)))["status"] == "steady"
    hole = judged(changed(quantity, part(series, begin_s=20, end_s=40, hole=True)))
    assert any(re.match(rf"{what}: read for only (39.9|40) s of 60 s", r) for r in hole["reasons"])


def test_power_is_taken_from_readings_that_span_the_window() -> None:
    of = state()
    series = of.series["gpu0", "gpu_power_sample"]
    of = changed("gpu_power_sample", part(series, end_s=10), of)
    of = changed("gpu_power_instant", series, of)
    assert judged(of)["status"] == "steady"


def test_a_slope_that_its_own_error_may_hide_cannot_be_told() -> None:
    chance = np.random.default_rng(0)
    noisy = series(300_000 * (1 + chance.normal(0, 0.2, 60)), 1.0)
    verdict = judged(changed("gpu_power_sample", noisy))
    assert verdict["status"] == "unknown"
    # Whole degrees over 20 s may hide three degrees a minute.
    short = judged(state(), MINUTE // 3, Rule(window_s=20.0, power_percent_per_min=5))
    assert short["reasons"] == ["temperature moves by +0 ± 0.7 °C/min (limit 0.5 °C/min)"]


def held(share: Any) -> Samples:
    """The steady minute of a card whose power cap holds clocks for this share of each second."""
    ns = np.concatenate([[0], np.cumsum(np.broadcast_to(share, 59) * 1e9)]) + 7e12
    return changed("gpu_power_cap_time", series(ns, 1.0))


def test_clocks_held_between_two_reads_of_the_mask_are_seen_by_their_time() -> None:
    assert judged(held(0.0))["reasons"] == []
    some = judged(held(np.where(abs(np.arange(59) - 30) < 10, 0.9, 0.0)))
    assert some["status"] == "not_steady"
    assert some["reasons"] == ["power cap held clocks for 17.1 s of 59 s, not evenly"]
    blink = judged(held(np.where(np.arange(59) == 30, 0.01, 0.0)))
    assert blink["status"] == "not_steady"


def test_a_card_that_is_held_all_along_is_steady_and_says_so() -> None:
    verdict = judged(held(0.9))
    assert verdict["status"] == "steady"
    assert verdict["reasons"] == ["power cap held clocks for 53.1 s of 59 s, evenly all along"]
    jitter = np.random.default_rng(3).uniform(0.2, 0.4, 59)
    assert judged(held(jitter))["status"] == "steady"
    assert judged(held(np.linspace(0.2, 0.9, 59)))["status"] == "not_steady"


def test_a_time_that_was_reset_cannot_be_told() -> None:
    verdict = judged(held(np.where(np.arange(59) == 30, -5.0, 0.0)))
    assert verdict["status"] == "unknown"
    assert "was reset" in verdict["reasons"][0]


# --- the gate -------------------------------------------------------------------------------


class Patient(Watch):
    """A watch whose time passes, and that nothing ends."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self, seconds: float) -> None:
        self.waits += 1
        time.sleep(min(seconds, 0.02))


PLAN = (MeterPlan(name="nvml", alias=None, devices=(GPU,)),)
ASKED = SteadySpec(
    temperature_c_per_min=0.5, power_percent_per_min=0.5, window_s=60.0, limit_s=60.0
)
IDLE_S = 70  # for so long the server has been idle


def rows(celsius_per_s: float, mask: int | None = 0) -> bytes:
    """What a sampler has written since then: temperature, power and event reasons at 10 Hz."""
    lines = [samples.HEADER]
    for tick in range(IDLE_S * 10):
        t = tick * 100_000_000
        celsius = 60 + round(celsius_per_s * tick / 10)
        read = {"gpu_temperature": celsius, "gpu_power_sample": 300_000, "gpu_event_reasons": mask}
        for quantity, raw in read.items():
            if raw is not None:
                lines.append(f"{len(lines) - 1},{t},{t},,gpu0,{quantity},0,{raw}")
    return ("\n".join(lines) + "\n").encode()


def waited(
    tmp_path: Path, written: bytes, asked: SteadySpec = ASKED, gpu: MeterDevice = GPU
) -> dict[str, Any]:
    (tmp_path / "nvml.csv").write_bytes(written)
    clock = Clock(time.monotonic_ns() - IDLE_S * 1_000_000_000)
    plan = (MeterPlan(name="nvml", alias=None, devices=(gpu,)),)
    return settle(Patient(), clock, 0, tmp_path, plan, asked)


def test_the_gate_opens_at_once_for_a_steady_gpu(tmp_path: Path) -> None:
    settled = waited(tmp_path, rows(0))
    assert settled["devices"] == {"gpu0": "steady"}
    assert settled["seconds"] < 5


SHORT = SteadySpec(window_s=60.0, limit_s=0.1)


def test_the_gate_gives_up_after_its_limit_and_says_so(tmp_path: Path) -> None:
    assert waited(tmp_path, rows(1), SHORT)["devices"] == {"gpu0": "not_steady"}


def test_the_gate_waits_until_the_gpu_has_settled(tmp_path: Path) -> None:
    """The sampler's file changes while the gate is waiting."""
    cooled = threading.Timer(0.3, lambda: (tmp_path / "nvml.csv").write_bytes(rows(0)))
    cooled.start()
    assert waited(tmp_path, rows(1))["devices"] == {"gpu0": "steady"}
    cooled.join()


def test_the_gate_does_not_wait_for_what_a_card_never_tells(tmp_path: Path) -> None:
    """It waits for temperature and power all the same, and calls none of it steady."""
    settled = waited(tmp_path, rows(0, mask=None), gpu=MUTE)
    assert settled["devices"] == {"gpu0": "unknown"}
    assert settled["seconds"] < 5
    warm = waited(tmp_path, rows(1, mask=None), SHORT, MUTE)
    assert warm["devices"] == {"gpu0": "not_steady"}
    assert warm["seconds"] >= 0.1


def test_the_gate_waits_its_time_for_what_a_card_should_tell(tmp_path: Path) -> None:
    settled = waited(tmp_path, rows(0, mask=None), SHORT)
    assert settled["devices"] == {"gpu0": "unknown"}
    assert settled["seconds"] >= 0.1


def test_the_gate_has_nothing_to_wait_for_without_gpus(tmp_path: Path) -> None:
    settled = settle(Patient(), Clock(), 0, tmp_path, (), ASKED)
    assert settled["devices"] == {}


def test_a_file_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    clock = Clock(time.monotonic_ns() - 20_000_000_000)
    settled = settle(Patient(), clock, 0, tmp_path, PLAN, SteadySpec(window_s=10.0, limit_s=0.1))
    assert settled["devices"] == {"gpu0": "unknown"}
