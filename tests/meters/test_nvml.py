"""NVIDIA GPUs through unmodified pynvml, over a fake driver library with a known true energy."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit import samples
from kit.energy import Energy
from kit.meters.nvml.buffer import mapped
from kit.model import MeterPlan
from tests.meters.fake import Fake, Sampled

NVML: list[dict[str, Any]] = [{"name": "nvml", "alias": None, "config": {}}]
PROBE = (
    "import json, sys, msgspec; from kit import meters; "
    "plan = meters.get('nvml').probe(None, json.loads(sys.argv[1])); "
    "print(json.dumps(msgspec.to_builtins(plan)))"
)
Gpus = Callable[..., Fake]


def probe(fake: Fake, **config: Any) -> MeterPlan:
    return msgspec.convert(fake.python(PROBE, json.dumps(config)), MeterPlan)


def errors(
    fake: Fake, energy: Energy, run: Sampled, span: tuple[int, int], length_s: float, gpus: int
) -> tuple[list[float], set[str]]:
    """Relative errors of random windows of all GPUs together, and the methods used."""
    chance, length, found, ways = random.Random(1), int(length_s * 1e9), [], set()
    for _ in range(60):
        t0 = chance.randint(span[0], span[1] - length)
        value = energy.of(t0, t0 + length)[0]
        assert value.joules is not None, value.reason
        origin = run.origin
        truth = sum(fake.joules(g, origin + t0, origin + t0 + length) for g in range(gpus))
        found.append(value.joules / truth - 1)
        ways.add(value.method)
    return found, ways


def rms(values: list[float]) -> float:
    return (sum(v * v for v in values) / len(values)) ** 0.5


def test_a_probe_tells_quantities_periods_and_reasons(gpus: Gpus) -> None:
    plan = probe(gpus(gpus=2, tick_ms=50, sample_ms=25, no_memory_temperature=1))
    assert [d.device for d in plan.devices] == ["gpu0", "gpu1"]
    for device in plan.devices:
        told = device.quantities
        assert told["gpu_energy"]["period_s"] == pytest.approx(0.05, abs=0.011)
        assert told["gpu_power_sample"]["period_s"] == 0.025
        assert told["gpu_power_sample"]["slots"] == 120
        assert told["gpu_memory_temperature"] == {"reason": "NVML: Not Supported"}
        assert "reason" not in told["gpu_power_instant"]
        assert "SC24" in told["gpu_energy"]["gain_source"]


def test_only_as_many_gpus_as_asked_for(gpus: Gpus) -> None:
    assert len(probe(gpus(gpus=4), gpus=1).devices) == 1


def test_no_gpu_is_a_reason(gpus: Gpus) -> None:
    assert probe(gpus(gpus=0)).reason == "the NVIDIA driver sees no GPU"


def test_energy_of_a_mig_slice_is_refused(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, mig=1)).devices[0].quantities
    assert "MIG" in told["gpu_energy"]["reason"]
    assert "MIG" in told["gpu_power_instant"]["reason"]
    assert "reason" not in told["gpu_temperature"]


def test_a_counter_that_stands_still_is_no_counter(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, frozen=1)).devices[0].quantities
    assert "does not advance" in told["gpu_energy"]["reason"]


def test_without_fields_power_usage_is_the_average_that_it_is(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, no_fields=1)).devices[0].quantities
    assert told["gpu_power_average"]["source"] == "power usage"
    assert "reason" in told["gpu_power_instant"]


@pytest.mark.parametrize(
    ("settings", "method", "limits"),
    [
        ({"latency_us": 2800}, "counter+samples", {1.0: 0.01, 3.0: 0.005}),
        ({"no_buffer": 1, "latency_us": 300}, "counter", {1.0: 0.05, 3.0: 0.015}),
        ({"no_counter": 1}, "samples", {1.0: 0.01, 3.0: 0.005}),
        ({"no_counter": 1, "no_buffer": 1}, "instant", {3.0: 0.1}),
    ],
    ids=["both", "counter", "samples", "instant"],
)
def test_windows_agree_with_the_truth(
    gpus: Gpus, tmp_path: Path, settings: dict[str, float], method: str, limits: dict[float, float]
) -> None:
    fake = gpus(gpus=2, **settings)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    span = run.run(6)
    read = samples.from_csv(run.files())
    assert read.gaps == ()
    energy = Energy(read, [probe(fake)])
    for length_s, limit in limits.items():
        found, ways = errors(fake, energy, run, span, length_s, 2)
        assert ways == {method}
        assert rms(found) < limit


def test_the_whole_time_between_ready_and_stop_is_covered(gpus: Gpus, tmp_path: Path) -> None:
    fake = gpus(gpus=2, latency_us=2800)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    t0, t1 = run.run(1.0)
    value = Energy(samples.from_csv(run.files()), [probe(fake)]).of(t0, t1)[0]
    assert value.method == "counter+samples"
    assert set(value.devices) == {"gpu0", "gpu1"}


def test_the_counter_is_asked_seldom_and_the_cheap_ones_often(gpus: Gpus, tmp_path: Path) -> None:
    fake = gpus(gpus=1, latency_us=2800)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    run.wait_for("ready")
    t0 = run.now()
    time.sleep(4)
    t1 = run.now()
    report = run.stop()
    read = samples.from_csv(run.files())
    seconds = (t1 - t0) * 1e-9

    def rate(quantity: str) -> float:
        t = read.series["gpu0", quantity].t
        return float(((t > t0) & (t < t1)).sum()) / seconds

    missed = sum(report["overruns"].values()) / seconds
    assert rate("gpu_power_instant") == pytest.approx(10, abs=2 + missed)  # beside the samples
    assert rate("gpu_power_sample") == pytest.approx(50, rel=0.05)
    assert rate("gpu_event_reasons") > 0.8 * 10 - missed
    assert 0.5 < rate("gpu_temperature") < 1.5
    assert rate("gpu_energy") < 25
    stamps = read.series["gpu0", "gpu_power_sample"]
    assert (stamps.t <= stamps.t1).all()
    assert report["rows"] == sum(data.count(b"\n") - 1 for data in run.files().values())


def test_power_is_asked_often_where_it_is_all_there_is(gpus: Gpus) -> None:
    told = probe(gpus(no_buffer=1)).devices[0].quantities
    assert told["gpu_power_instant"]["poll_s"] == pytest.approx(0.02)
    beside = probe(gpus()).devices[0].quantities
    assert beside["gpu_power_instant"]["poll_s"] == pytest.approx(0.1)


def test_a_lost_gpu_leaves_codes_and_the_other_one_its_energy(gpus: Gpus, tmp_path: Path) -> None:
    fake = gpus(gpus=2, lost_after=2.5, lost_gpu=1)
    plan = probe(gpus(gpus=2))
    run = Sampled(tmp_path / "out", NVML, fake.env)
    run.wait_for("ready")
    t0 = run.now()
    said = run.wait_for("error")
    t1 = run.now()
    time.sleep(0.5)
    run.stop()
    read = samples.from_csv(run.files())
    assert "gpu1" in said["message"] and "lost" in said["message"].lower()
    assert len([line for line in run.said if line["event"] == "error"]) == 1
    assert read.series["gpu1", "gpu_power_instant"].errors > 0
    both = Energy(read, [plan]).of(t0, t1)[0]
    assert both.status == "unmeasured"
    assert "gpu1" in both.reason and "gpu0" not in both.reason
    alone = msgspec.structs.replace(plan, devices=plan.devices[:1])
    assert Energy(read, [alone]).of(t0, t1)[0].joules == pytest.approx(
        fake.joules(0, run.origin + t0, run.origin + t1), rel=0.02
    )


def test_a_counter_that_restarts_invalidates_the_window(gpus: Gpus, tmp_path: Path) -> None:
    fake = gpus(gpus=1, reset_after=3.0)
    plan = probe(gpus(gpus=1))
    run = Sampled(tmp_path / "out", NVML, fake.env)
    t0, t1 = run.run(4.5)
    energy = Energy(samples.from_csv(run.files()), [plan])
    whole = energy.of(t0, t1)[0]
    assert whole.status == "unmeasured"
    assert "reset" in whole.reason
    assert energy.of(t0, t0 + 10**9)[0].status == "measured"


def test_a_reloaded_driver_is_taken_up_again(gpus: Gpus, tmp_path: Path) -> None:
    """The window of the reload is unmeasured; those before and after it have their energy."""
    fake = gpus(gpus=2, reload_after=3.0, reload_s=1.5)
    plan = probe(gpus(gpus=2))
    run = Sampled(tmp_path / "out", NVML, fake.env)
    t0, t1 = run.run(11.0)
    read = samples.from_csv(run.files())
    energy = Energy(read, [plan])
    whole = energy.of(t0, t1)[0]
    assert whole.status == "unmeasured"
    assert read.series["gpu1", "gpu_sm_clock"].errors > 0
    for a, b in ((t0, t0 + 1_500_000_000), (t1 - 2_000_000_000, t1)):
        value = energy.of(a, b)[0]
        assert value.status == "measured", value.reason
        true = sum(fake.joules(gpu, run.origin + a, run.origin + b) for gpu in (0, 1))
        assert value.joules == pytest.approx(true, rel=0.02)


# --- the wall clock -------------------------------------------------------------------------


@pytest.mark.parametrize("step_ms", [0, 50, -50, 3_600_000, -3_600_000])
@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_a_step_of_the_wall_clock_moves_no_sample(step_ms: int, cut: int) -> None:
    """Samples taken before the step carry the old difference, later ones the new."""
    offset, step = 10**18, step_ms * 10**6
    true = [1_000_000_000 + i * 20_000_000 for i in range(40)]
    stamps = [t + offset + (step if i >= cut else 0) for i, t in enumerate(true)]
    assert mapped(stamps, offset, offset + step, true[0] - 20_000_000) == true


# --- what slowed it, and who else is there --------------------------------------------------


@pytest.mark.parametrize(("old", "source"), [(0, "field 74"), (1, "violation time")])
def test_times_under_the_power_cap_add_up(
    gpus: Gpus, tmp_path: Path, old: int, source: str
) -> None:
    fake = gpus(gpus=1, old=old)
    told = probe(fake).devices[0].quantities
    assert told["gpu_time_power_cap"]["source"] == source
    assert "reason" in told["gpu_time_hw_thermal"]
    run = Sampled(tmp_path / "out", NVML, fake.env)
    run.run(2.5)
    held = samples.from_csv(run.files()).series["gpu0", "gpu_time_power_cap"]
    rate = (held.raw[-1] - held.raw[0]) / (held.t[-1] - held.t[0])
    assert rate == pytest.approx(0.1, rel=0.05)


def test_processes_that_draw_are_counted_too(gpus: Gpus, tmp_path: Path) -> None:
    run = Sampled(tmp_path / "out", NVML, gpus(gpus=1, drawing=2).env)
    run.run(1.2)
    read = samples.from_csv(run.files()).series
    assert set(read["gpu0", "gpu_processes"].raw) == {2}
    assert set(read["gpu0", "gpu_power_limit"].raw) == {700_000}
    assert set(read["gpu0", "gpu_performance_state"].raw) == {0}
    assert set(read["gpu0", "gpu_memory_utilisation"].raw) == {10}
