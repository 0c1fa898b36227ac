"""The Monte Carlo of `benchmarks/window_error.py`, small and seeded: errors and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.window_error import LOADS, SENSORS, Errors, Sensor, load, plan, seen, simulated
from kit.energy import Energy
from kit.energy.believable import sift
from kit.energy.scopes.gpu import SCOPE
from kit.energy.shape import on_period

H200 = SENSORS["H200"]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("random steps 100-700 W", (0.5, 0.2, 0.05)),
        ("ramps", (0.5, 0.2, 0.05)),
        ("sinusoids 0.3-5 s", (0.5, 0.2, 0.05)),
        ("prefill/decode each 6 s", (0.5, 0.2, 0.05)),
        # Samples that are missing leave open what a burst of tens of milliseconds drew.
        ("prefill/decode each 0.6 s", (1.0, 0.5, 0.15)),
        ("random telegraph", (1.2, 0.5, 0.15)),
    ],
)
@pytest.mark.slow
def test_windows_meet_their_targets_on_loads_of_any_shape(
    name: str, limits: tuple[float, float, float]
) -> None:
    for length, limit in zip((1.0, 3.0, 10.0), limits, strict=True):
        found = simulated(name, H200, length, 6, 40, 40.0)
        assert found.rms < limit, length


@pytest.mark.heavy
@pytest.mark.parametrize("length", [1.0, 3.0, 10.0])
def test_stated_intervals_cover_the_truth(length: float) -> None:
    """Over all loads together; halved uncertainties would not, so that the check can fail."""
    found = [simulated(name, H200, length, 4, 30, 40.0) for name in LOADS]
    normal = np.concatenate([of.normal for of in found])
    together = Errors(np.concatenate([of.relative for of in found]), normal)
    assert 0.9 < together.cover < 0.99
    assert Errors(together.relative, 3 * normal).cover < 0.8


@pytest.mark.parametrize("lead", [-0.004, 0.0, 0.0055])
def test_the_lag_between_samples_and_counter_is_found(lead: float) -> None:
    sensor = Sensor(lead=lead)
    chance = np.random.default_rng(5)
    of = load(LOADS["random steps 100-700 W"](chance), 60.0)
    samples, meter = seen(of, sensor, 60.0, chance), plan(sensor)
    value = Energy(samples, [meter]).of(5_000_000_000, 5_200_000_000)[0]
    assert value.joules == pytest.approx(float(of.joules(5.2) - of.joules(5.0)), rel=0.03)
    found = SCOPE.ways(meter.devices[0], sift(samples, [meter])).curves[0]
    assert found.method == "counter+samples"
    assert found.lag_s < 0.001


def test_late_stamps_move_back_to_their_period_and_drift_is_followed() -> None:
    chance = np.random.default_rng(1)
    slots = np.cumsum(np.full(20_000, 20e6 * (1 + 4e-5))) + 3e6
    late = np.abs(chance.normal(0, 0.5e6, len(slots))) + 10e6 * (chance.random(len(slots)) < 0.15)
    kept = chance.random(len(slots)) > 0.03
    taken = on_period(np.sort((slots + late)[kept]), 0.02)
    assert taken is not None
    off = taken.t - slots[np.clip(np.searchsorted(slots, taken.t - 10e6), 0, len(slots) - 1)]
    assert np.percentile(np.abs(off - np.median(off)), 99) < 0.3e6
    assert taken.periods.sum() == pytest.approx(len(slots), abs=2)


def test_samples_without_a_period_stay_where_they_are() -> None:
    chance = np.random.default_rng(2)
    assert on_period(np.cumsum(chance.uniform(5e6, 35e6, 2000)), 0.02) is None
