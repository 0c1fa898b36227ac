"""Over which time power readings average: against simulated truth and a recorded H200."""

from __future__ import annotations

import csv
import gzip
import io
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kit.core.model import MeterDevice
from kit.energy.reasons import sentence
from kit.energy.window import Averaging, averaging
from kit.record.samples import Samples
from tests.test_energy import GPU, Board, Rows, read, row

DATA = Path(__file__).parent / "data"
DEVICE = GPU.devices[0]
AVERAGE, INSTANT = "gpu_power_average", "gpu_power_instant"


def gauge(board: Board, window: float, period: float = 0.1, noise_w: float = 0.2) -> Rows:
    """Means over a trailing window with a sensor's noise, polled at 50 Hz."""
    t = np.arange(0.0, board.seconds, 0.02)
    number = np.floor(t / period).astype(int)
    ends = number * period
    watts = (board.joules(ends) - board.joules(ends - window)) / window
    watts = watts + board.chance.normal(0, noise_w, int(number[-1]) + 1)[number]
    return [row(a, a + 1e-5, AVERAGE, round(w * 1e3)) for a, w in zip(t, watts, strict=True)]


def of(samples: Samples, device: MeterDevice = DEVICE) -> Averaging:
    return averaging(device, samples)[AVERAGE]


@pytest.mark.parametrize("window", [0.1, 0.5, 1.0, 1.8])
@pytest.mark.parametrize("shape", ["samples", "counter"])
def test_the_window_is_found_from_samples_or_from_the_counter(shape: str, window: float) -> None:
    board = Board(seed=5, seconds=60.0)
    told = board.sampled() if shape == "samples" else board.polled()
    found = of(read(told, gauge(board, window)))
    if shape == "counter" and window == 0.1:  # the length of a tick
        assert found.window_s is None
        assert sentence(found.reason).startswith(("shorter than", "the steps of power"))
        return
    assert found.window_s is not None and found.u_window_s is not None, found.reason
    assert found.window_s == pytest.approx(window, abs=max(0.012, 0.02 * window))
    assert found.u_window_s < 0.05 * window + 0.005
    assert found.delay_s == pytest.approx(0.0, abs=0.015)


@pytest.mark.parametrize("period", [0.02, 0.1, 0.25, 1.0])
def test_the_period_is_how_often_the_value_changes(period: float) -> None:
    board = Board(seconds=60.0)
    found = of(read(board.sampled(), gauge(board, 1.0, period)))
    assert found.period_s == pytest.approx(period, rel=0.05)


def test_the_uncertainty_is_that_of_repeated_runs() -> None:
    windows, stated = [], []
    for seed in range(24):
        board = Board(seed=seed, seconds=40.0)
        found = of(read(board.sampled(), gauge(board, 0.5, noise_w=5.0)))
        assert found.window_s is not None and found.u_window_s is not None
        windows.append(found.window_s)
        stated.append(found.u_window_s)
    errors = np.array(windows) - 0.5
    normal = errors / np.array(stated)
    assert 0.5 < float(np.sqrt(np.mean(normal**2))) < 2.0


@pytest.mark.parametrize("window", [2.05, 4.0])
def test_a_window_over_two_seconds_is_told_as_too_long(window: float) -> None:
    board = Board(seconds=60.0)
    found = of(read(board.sampled(), gauge(board, window)))
    assert found.window_s is None
    assert sentence(found.reason).startswith(("longer than 2 s", "no trailing mean of up to 2 s"))


@pytest.mark.parametrize("seed", range(6))
def test_a_window_as_short_as_a_sample_is_no_number(seed: int) -> None:
    board = Board(seed=seed, seconds=60.0)
    found = of(read(board.sampled(), gauge(board, 0.025)))
    assert found.window_s is None
    assert sentence(found.reason).startswith(("shorter than", "the steps of power"))


def test_steady_power_tells_no_window() -> None:
    board = Board(seconds=30.0)
    board.watts[:] = 300.0
    board.total = np.concatenate([[0.0], np.cumsum(np.diff(board.edges) * 300.0)])
    found = of(read(board.sampled(), gauge(board, 1.0)))
    assert found.window_s is None and found.u_window_s is None and found.delay_s is None
    assert "stepped" in sentence(found.reason)
    assert found.period_s == pytest.approx(0.1, rel=0.05)


def test_readings_that_no_mean_explains_are_told_so() -> None:
    board, other = Board(seed=1), Board(seed=2)
    assert "no trailing mean" in sentence(of(read(board.sampled(), gauge(other, 1.0))).reason)


def test_without_anything_to_compare_with_there_is_only_a_period() -> None:
    board = Board()
    found = of(read(gauge(board, 1.0)))
    assert sentence(found.reason).startswith("there are neither power samples nor")
    assert found.period_s == pytest.approx(0.1, rel=0.05)
    assert averaging(DEVICE, read(board.sampled())) == {}


def test_a_hole_in_the_samples_spoils_nothing() -> None:
    board = Board(seed=3, seconds=60.0)
    told = [r for r in board.sampled() if not 20 <= r[0] / 1e9 <= 24]
    found = of(read(told, gauge(board, 1.0)))
    assert found.window_s == pytest.approx(1.0, rel=0.02)


def test_a_long_run_takes_little_longer() -> None:
    """The steps are thinned: forty times the readings are no forty times the work."""
    took = []
    for seconds in (60.0, 1200.0):
        board = Board(seed=4, seconds=seconds)
        board.edges = np.arange(-3.0, seconds + 3.0, 0.7)
        board.watts = board.chance.choice([80.0, 350.0, 700.0], len(board.edges) - 1)
        board.total = np.concatenate([[0.0], np.cumsum(np.diff(board.edges) * board.watts)])
        records = read(board.sampled(), gauge(board, 1.0))
        begin = time.process_time()
        found = of(records)
        took.append(time.process_time() - begin)
        assert found.window_s == pytest.approx(1.0, rel=0.02)
    assert took[1] < 8 * took[0]


def recorded(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress((DATA / name).read_bytes()).decode())))


def test_a_recorded_h200_averages_one_second() -> None:
    """Against the counter's ticks; its instant power is too short and too rare for these."""
    rows: Rows = []
    for line in recorded("h200-power-steps.csv.gz"):
        t0 = int(line["begin_us"]) * 1e-6
        for quantity in ("gpu_energy", INSTANT, AVERAGE):
            rows.append(row(t0, t0 + int(line["took_us"]) * 1e-6, quantity, int(line[quantity])))
    found = averaging(DEVICE, read(rows))
    average, instant = found[AVERAGE], found[INSTANT]
    assert average.window_s == pytest.approx(1.0, abs=0.02), average.reason
    assert average.period_s == pytest.approx(0.1, abs=0.005)
    assert instant.period_s == pytest.approx(0.1, abs=0.01)
    assert instant.window_s is None
    assert "a window far under 0.2 s" in sentence(instant.reason)


def test_the_same_card_by_its_samples() -> None:
    rows: Rows = []
    for line in recorded("h200-batches.csv.gz"):
        t, quantity = int(line["t_us"]) * 1e-6, line["quantity"]
        own = t if quantity == "gpu_power_sample" else None
        rows.append(row(t, t, quantity, int(line["raw"]), own))
    found = of(read(rows))
    assert found.window_s == pytest.approx(1.0, abs=0.03), found.reason


@pytest.mark.parametrize("quantity", ["gpu_power_sample", "gpu_energy"])
def test_one_reading_at_the_end_of_time_takes_no_memory_for_the_time_between(quantity: str) -> None:
    board = Board(seed=5, seconds=20.0)
    told = board.sampled() if quantity == "gpu_power_sample" else board.polled()
    lone = [row(9e6 + n, 9e6 + n, quantity, 10**9 + n) for n in range(3)]
    tracemalloc.start()
    of(read([*told, *lone], gauge(board, 0.5)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
