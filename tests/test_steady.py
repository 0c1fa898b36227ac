"""A steady state against slopes that are known, and the gate that waits for one."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kit import samples
from kit.events import Clock
from kit.gate import settle
from kit.measure import Watch
from kit.model import MeterDevice, MeterPlan, SteadySpec
from kit.samples import Samples, Series
from kit.steady import Rule, judge

GPU = MeterDevice(device="gpu0", description="", quantities={})
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


def judged(of: Samples, t1: int = MINUTE, rule: Rule | None = None) -> dict[str, Any]:
    return judge(GPU, of, 0, t1, rule or Rule())


def test_a_state_that_stays_is_steady() -> None:
    found = judged(state())
    assert (found["status"], found["reasons"]) == ("steady", [])
    assert found["power_w"] == pytest.approx(300, rel=0.01)
    assert abs(found["power_percent_per_min"]["value"]) < 3 * found["power_percent_per_min"]["u"]


@pytest.mark.parametrize("rate", [3.0, 6.0])
def test_a_gpu_that_warms_is_not(rate: float) -> None:
    found = judged(state(celsius_per_min=rate))
    assert found["status"] == "not_steady"
    assert found["temperature_c_per_min"]["value"] == pytest.approx(rate, rel=0.15)
    assert found["reasons"][0].startswith("temperature moves by +")


def test_power_that_drifts_is_not() -> None:
    found = judged(state(percent_per_min=3.0))
    assert found["status"] == "not_steady"
    assert found["power_percent_per_min"]["value"] == pytest.approx(3, abs=0.5)


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
    assert judged(state(masks=(4, 5)))["event_reasons"] == [4]


def test_a_short_window_cannot_be_told_unless_it_is_plain() -> None:
    assert judged(state(), MINUTE // 6)["status"] == "unknown"
    assert judged(state(celsius_per_min=60), MINUTE // 6)["status"] == "not_steady"


def test_no_readings_cannot_be_told() -> None:
    found = judged(samples.EMPTY)
    assert found["status"] == "unknown"
    assert "temperature: too few readings" in found["reasons"]
    assert "power_w" not in found and "event_reasons" not in found


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
    temperature_c_per_min=0.5, power_percent_per_min=0.5, window_s=10.0, limit_s=60.0
)


def rows(seconds: float, celsius_per_s: float) -> bytes:
    """What a sampler has written of the last seconds: temperature and power at 10 Hz."""
    lines = [samples.HEADER]
    for tick in range(int(seconds * 10)):
        t = tick * 100_000_000
        celsius = 60 + round(celsius_per_s * tick / 10)
        for quantity, raw in (("gpu_temperature", celsius), ("gpu_power_sample", 300_000)):
            lines.append(f"{len(lines) - 1},{t},{t},,gpu0,{quantity},0,{raw}")
    return ("\n".join(lines) + "\n").encode()


def waited(tmp_path: Path, written: bytes, asked: SteadySpec = ASKED) -> dict[str, Any]:
    (tmp_path / "nvml.csv").write_bytes(written)
    clock = Clock(time.monotonic_ns() - 20_000_000_000)
    return settle(Patient(), clock, 0, tmp_path, PLAN, asked)


def test_the_gate_opens_at_once_for_a_steady_gpu(tmp_path: Path) -> None:
    found = waited(tmp_path, rows(20, 0))
    assert found["devices"] == {"gpu0": "steady"}
    assert found["seconds"] < 10


def test_the_gate_gives_up_after_its_limit_and_says_so(tmp_path: Path) -> None:
    short = SteadySpec(window_s=10.0, limit_s=0.1)
    assert waited(tmp_path, rows(20, 1), short)["devices"] == {"gpu0": "not_steady"}


def test_the_gate_waits_until_the_gpu_has_settled(tmp_path: Path) -> None:
    """The sampler's file changes while the gate is waiting."""
    cooled = threading.Timer(0.3, lambda: (tmp_path / "nvml.csv").write_bytes(rows(20, 0)))
    cooled.start()
    assert waited(tmp_path, rows(20, 1))["devices"] == {"gpu0": "steady"}
    cooled.join()


def test_the_gate_has_nothing_to_wait_for_without_gpus(tmp_path: Path) -> None:
    found = settle(Patient(), Clock(), 0, tmp_path, (), ASKED)
    assert found["devices"] == {}


def test_a_file_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    clock = Clock(time.monotonic_ns() - 20_000_000_000)
    found = settle(Patient(), clock, 0, tmp_path, PLAN, SteadySpec(window_s=10.0, limit_s=0.1))
    assert found["devices"] == {"gpu0": "unknown"}
