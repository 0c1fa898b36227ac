"""Energy of CPU packages where readings come late or stand still."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from kit.energy import Energy
from kit.model import MeterDevice, MeterPlan
from tests.test_energy import WRAP, Rows, S, read

Floats = npt.NDArray[np.float64]
PACKAGE = MeterPlan(
    name="rapl",
    alias=None,
    devices=(
        MeterDevice(
            device="cpu0-package",
            description="",
            quantities={"cpu_energy": {"wrap": WRAP, "poll_s": 0.05, "summed": True}},
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
    assert "the energy counter stood still for 69.95 s" in value.reason


def test_a_rapl_counter_that_stands_still_for_a_while_spoils_its_windows_alone() -> None:
    """From 10 s to 12 s it is not renewed; what it missed is never told."""
    computed = package(np.arange(0, 30, 0.05), lambda t: 100 * (min(t, 10.0) + max(t - 12.0, 0.0)))
    assert "stood still" in computed.of(5 * S, 20 * S)[0].reason
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
    assert "reset" in value.reason
