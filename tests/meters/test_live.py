"""What the live view shows of a device: its energy since the run began, and its state."""

from __future__ import annotations

from typing import Any

import pytest

from kit.core.model import MeterDevice
from kit.measure import meters
from kit.measure.meters.live import Live
from tests.plans import facts_in

S = 10**9


def live(device: str, **quantities: dict[str, Any]) -> Live:
    return Live([MeterDevice(device=device, description="", quantities=facts_in(quantities))])


def see(shown: Live, device: str, quantity: str, *readings: tuple[float, int]) -> None:
    for t, raw in readings:
        at = int(t * S)
        shown.see(meters.Reading(at, at, None, device, quantity, 0, raw))


def test_a_gpus_counter_since_its_first_reading() -> None:
    shown = live("gpu0", gpu_energy={})
    see(shown, "gpu0", "gpu_energy", (1, 5_000_000))
    assert shown.joules() == {}
    see(shown, "gpu0", "gpu_energy", (2, 5_100_000), (3, 5_250_000))
    assert shown.joules() == {"gpu0": 250.0}


def test_a_counter_that_was_reset_begins_again() -> None:
    shown = live("gpu0", gpu_energy={})
    see(shown, "gpu0", "gpu_energy", (1, 5_000_000), (2, 5_300_000), (3, 100))
    assert (shown.joules(), shown.watts(3 * S)) == ({}, {})
    see(shown, "gpu0", "gpu_energy", (4, 200_100))
    assert (shown.joules(), shown.watts(4 * S)) == ({"gpu0": 200.0}, {"gpu0": 200.0})


def test_a_package_across_a_wrap_and_after_a_reset() -> None:
    shown = live("cpu0-package", cpu_energy={"wrap": 1_000_000_000, "poll_s": 1})
    see(shown, "cpu0-package", "cpu_energy", (1, 900_000_000), (2, 20_000_000))
    assert shown.joules() == {"cpu0-package": 120.0}
    # More than a kilowatt: not a wrap, but a counter that began anew.
    see(shown, "cpu0-package", "cpu_energy", (2.01, 10_000_000))
    assert shown.joules() == {"cpu0-package": 0.0}  # once: it begins again
    assert shown.joules() == {}


def test_an_outlet_by_its_power_held() -> None:
    shown = live("pdu:a:1", pdu_power={"scale": 10, "poll_s": 1})
    see(shown, "pdu:a:1", "pdu_power", (0, 20), (1, 30), (2, 30))
    assert shown.joules() == {"pdu:a:1": 500.0}


@pytest.mark.parametrize("bad", [(3.0, 0), (9.0, 30)])
def test_an_outlet_that_reads_nothing_or_falls_silent(bad: tuple[float, int]) -> None:
    shown = live("pdu:a:1", pdu_power={"poll_s": 1})
    see(shown, "pdu:a:1", "pdu_power", (0, 20), (1, 30), bad)
    assert shown.joules() == {}


def test_an_estimate_is_summed_from_busy_time() -> None:
    shown = live("host", cpu_busy={"cpus": 4, "idle_w": 10.0, "max_w": 50.0, "poll_s": 1})
    see(shown, "host", "cpu_busy", (0, 0), (1, 2_000_000), (2, 9_000_000))
    assert shown.joules() == {"host": 80.0}  # half of the CPUs, then all of them


def test_state_is_what_was_read() -> None:
    facts: dict[str, Any] = {"gpu_temperature": {}, "gpu_event_reasons": {}, "gpu_sm_clock": {}}
    shown = live("gpu0", **facts)
    assert shown.state() == {}
    see(shown, "gpu0", "gpu_temperature", (1, 60), (2, 61))
    see(shown, "gpu0", "gpu_event_reasons", (2, 4))
    assert shown.state() == {"gpu0": {"temperature": 61, "event_reasons": 4}}
    assert shown.joules() == {}


def test_what_reads_zero_is_left_out() -> None:
    shown = live("pdu:a:1", pdu_power={"squelch": 50, "poll_s": 1})
    see(shown, "pdu:a:1", "pdu_power", (0, 0), (1, 0))
    assert (shown.watts(S), shown.joules()) == ({}, {})
    shown = live("gpu0", gpu_power_instant={}, gpu_power_average={})
    see(shown, "gpu0", "gpu_power_instant", (1, 0))
    see(shown, "gpu0", "gpu_power_average", (1, 250_000))
    assert shown.watts(S) == {"gpu0": 250.0}


@pytest.mark.parametrize("quantity", ["gpu_energy", "cpu_energy"])
def test_a_counter_that_stands_still_is_left_out_for_as_long_as_it_does(quantity: str) -> None:
    shown = live("x", **{quantity: {}})
    see(shown, "x", quantity, *[(t / 10, 5_000_000) for t in range(60)])
    assert (shown.watts(6 * S), shown.joules()) == ({}, {})
    see(shown, "x", quantity, (6, 5_500_000))
    assert (shown.watts(6 * S), shown.joules()) == ({}, {})  # nobody knows since when it grew
    see(shown, "x", quantity, (6.1, 5_520_000))
    assert shown.joules().keys() == shown.watts(6 * S).keys() == {"x"}
    see(shown, "x", quantity, (7.4, 5_520_000))
    assert shown.watts(8 * S) == {}
    assert not any(shown.joules().values())  # 0 is the word that a sum begins again


def test_a_rate_holds_until_the_counter_ticks_again() -> None:
    shown = live("gpu0", gpu_energy={})
    see(shown, "gpu0", "gpu_energy", (0, 0))
    assert shown.watts(0) == {}
    see(shown, "gpu0", "gpu_energy", (1, 100_000))
    assert shown.watts(S) == {"gpu0": 100.0}
    see(shown, "gpu0", "gpu_energy", (1.5, 100_000))
    assert shown.watts(2 * S) == {"gpu0": 100.0}
    see(shown, "gpu0", "gpu_energy", (2, 200_000))
    assert shown.watts(2 * S) == {"gpu0": 100.0}


def test_watts_are_by_the_calibration_and_sums_not_yet() -> None:
    shown = live("pdu:a:1", pdu_power={"scale": 10.0, "correction": 1.2, "poll_s": 1})
    see(shown, "pdu:a:1", "pdu_power", (0, 10), (1, 10))
    assert shown.watts(S) == {"pdu:a:1": 120.0}
    assert shown.joules() == {"pdu:a:1": 100.0}  # `kit.energy.running` corrects them
    shown = live("gpu0", gpu_energy={"gain_correction": 1.1, "offset_correction_w": 5.0})
    see(shown, "gpu0", "gpu_energy", (0, 0))
    shown.watts(0)
    see(shown, "gpu0", "gpu_energy", (1, 100_000))
    assert shown.watts(S) == {"gpu0": 115.0}


def test_a_device_that_is_not_known_is_passed_over() -> None:
    shown = live("gpu0", gpu_energy={})
    see(shown, "gpu1", "gpu_energy", (1, 1), (2, 2))
    assert shown.joules() == {}


@pytest.mark.parametrize(
    ("device", "quantity", "facts", "raw"),
    [
        ("gpu0", "gpu_power_instant", {"limit_w": 700.0}, 2_000_000),
        ("gpu0", "gpu_power_sample", {"limit_w": 700.0}, 2**32 - 1),
        ("gpu0", "gpu_power_average", {}, 431_000_000),
        ("pdu:a:3", "pdu_power", {"poll_s": 1}, 65_535),
        ("pdu:a:3", "pdu_power", {"poll_s": 1, "scale": 0.1}, 65_535),
        ("pdu:a:3", "pdu_power", {"poll_s": 1}, 9_000),
    ],
)
def test_a_power_that_its_device_cannot_draw_is_not_shown(
    device: str, quantity: str, facts: dict[str, Any], raw: int
) -> None:
    shown = live(device, **{quantity: facts})
    see(shown, device, quantity, (0, raw))
    assert (shown.watts(S), shown.joules()) == ({}, {})
    see(shown, device, quantity, (1, 300), (2, 300))
    assert shown.watts(2 * S).keys() == {device}
    see(shown, device, quantity, (3, raw))
    assert shown.watts(3 * S) == {}  # what it said before is no answer either


@pytest.mark.parametrize("raw", [10**15, 4_000_000])
def test_a_counter_that_no_card_can_follow_is_not_shown(raw: int) -> None:
    shown = live("gpu0", gpu_energy={"limit_w": 700.0})
    see(shown, "gpu0", "gpu_energy", (0, 1_000_000), (1, 1_300_000))
    assert shown.joules() == {"gpu0": 300.0}
    see(shown, "gpu0", "gpu_energy", (2, raw))
    assert (shown.joules(), shown.watts(2 * S)) == ({"gpu0": 0.0}, {})  # it begins again


def test_a_state_that_no_sensor_shows_is_not_shown() -> None:
    shown = live("gpu0", gpu_temperature={})
    see(shown, "gpu0", "gpu_temperature", (0, 44))
    assert shown.state() == {"gpu0": {"temperature": 44}}
    see(shown, "gpu0", "gpu_temperature", (1, 255))
    assert shown.state() == {}
