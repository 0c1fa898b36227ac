"""NVIDIA GPUs through unmodified pynvml, over a fake driver library with a known true energy."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from kit.core.model import MeterPlan
from kit.energy import Energy
from kit.energy.reasons import sentence
from kit.energy.window import averaging
from kit.judge.verify import reads, streams
from kit.measure.meters.nvml.buffer import mapped
from kit.record import samples
from tests.meters.fake import NVML, Fake, Sampled, recorded

PROBE = (
    "import json, sys, msgspec; from kit.measure import meters; "
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
        assert told["gpu_energy"].period_s == pytest.approx(0.05, abs=0.011)
        assert told["gpu_power_sample"].period_s == 0.025
        assert told["gpu_power_sample"].slots == 120
        assert told["gpu_memory_temperature"].reason == "NVML: Not Supported"
        assert told["gpu_power_instant"].reason is None
        assert "SC24" in told["gpu_energy"].gain_source


def test_the_periods_of_power_are_measured(gpus: Gpus) -> None:
    for renew_ms in (100, 50):
        expected = pytest.approx([renew_ms * 1e-3] * 2, rel=0.15)
        for _ in range(3):  # who measures time beside others' work may be disturbed once
            facts = probe(gpus(gpus=1, renew_ms=renew_ms, wave=0.37)).devices[0].quantities
            periods = [facts[f"gpu_power_{view}"].period_s for view in ("instant", "average")]
            if periods == expected:
                break
        assert periods == expected
        assert facts["gpu_temperature"].period_s is None  # it never changed
        assert facts["gpu_temperature"].period_reason


def test_power_is_read_often_only_where_it_is_the_way_to_the_energy(gpus: Gpus) -> None:
    unlike = probe(gpus(gpus=2, no_buffer=1, only_gpu=1)).devices
    usual, often = (d.quantities["gpu_power_instant"].poll_s for d in unlike)
    assert usual == 0.1
    assert often in (0.02, None)  # None: where calls are slow, the run's start decides
    assert not unlike[1].quantities["gpu_power_sample"].is_read
    assert unlike[0].quantities["gpu_power_sample"].is_read


def test_clocks_are_watched_only_where_no_cumulative_times_are(gpus: Gpus) -> None:
    kept = probe(gpus(gpus=1)).devices[0].quantities
    older = probe(gpus(gpus=1, no_times=1)).devices[0].quantities
    without = probe(gpus(gpus=1, no_times=1, no_violation=1)).devices[0].quantities
    assert kept["gpu_power_cap_time"].source == "field 74"
    assert older["gpu_power_cap_time"].source == "violation status"
    assert "Not Supported" in without["gpu_power_cap_time"].reason
    polls = [told["gpu_event_reasons"].poll_s for told in (kept, older, without)]
    assert polls == [1.0, 1.0, 0.1]


def test_a_dear_call_is_made_seldom_and_its_cost_is_told(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, brake_us=700, latency_us=2800)).devices[0].quantities
    assert told["gpu_hw_thermal_time"].call_s >= 0.0007
    assert told["gpu_hw_thermal_time"].poll_s == 10.0
    assert told["gpu_thermal_time"].call_s < 0.0007
    assert told["gpu_thermal_time"].poll_s == 1.0
    assert told["gpu_energy"].call_s >= 0.0028


def test_a_dear_power_query_is_not_asked_at_its_usual_pace(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, no_counter=1, field_us=5000)).devices[0].quantities
    assert told["gpu_power_instant"].poll_s == 0.25


def test_whoever_is_on_a_gpu_is_counted_once_and_not_named(gpus: Gpus, tmp_path: Path) -> None:
    fake = gpus(gpus=1, processes=2, graphics=1)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    run.run(0.2)
    read = samples.from_csv(run.files()).series
    assert set(read["gpu0", "gpu_processes"].raw.tolist()) == {2}
    groups = read.get(("gpu0", "gpu_process_groups"))
    told = probe(fake).devices[0].quantities["gpu_process_groups"]
    assert (groups is None) == (not told.is_read)  # where the tests run in a container
    assert groups is None or set(groups.raw.tolist()) <= {1, 2}


def test_only_as_many_gpus_as_asked_for(gpus: Gpus) -> None:
    assert len(probe(gpus(gpus=4), gpus=1).devices) == 1


def test_no_gpu_is_a_reason(gpus: Gpus) -> None:
    assert probe(gpus(gpus=0)).reason == "the NVIDIA driver sees no GPU"


def test_energy_of_a_mig_slice_is_refused(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, mig=1)).devices[0].quantities
    for quantity in ("gpu_energy", "gpu_power_instant"):
        assert "MIG" in told[quantity].reason
        assert told[quantity].cause == "shared"
    assert told["gpu_temperature"].reason is None


def test_a_counter_that_stands_still_is_no_counter(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, frozen=1)).devices[0].quantities
    assert "does not advance" in told["gpu_energy"].reason
    assert told["gpu_energy"].cause == "still"


def test_without_fields_power_usage_is_the_average_that_it_is(gpus: Gpus) -> None:
    told = probe(gpus(gpus=1, no_fields=1)).devices[0].quantities
    assert told["gpu_power_average"].source == "power usage"
    assert not told["gpu_power_instant"].is_read


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
    run, span, read = recorded(tmp_path / "out", fake.env, 6)
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
    assert 11 > rate("gpu_power_instant") > 0.8 * 10 - missed
    assert rate("gpu_power_sample") == pytest.approx(50, rel=0.05)
    assert 2 > rate("gpu_temperature") >= 0.75 - missed
    assert rate("gpu_energy") < 25
    stamps = read.series["gpu0", "gpu_power_sample"]
    assert (stamps.t <= stamps.t1).all()
    assert report["rows"] == sum(data.count(b"\n") - 1 for data in run.files().values())
    records = SimpleNamespace(samples=read, plan=SimpleNamespace(meters=[probe(fake)]))
    assert list(streams._holes(records)) == []  # type: ignore[arg-type]


def test_everything_is_read_as_often_as_the_plan_says(gpus: Gpus, tmp_path: Path) -> None:
    """Verify holds the sampler to the plan; the two were made by two processes."""
    fake = gpus(gpus=2, latency_us=2800, brake_us=700, no_buffer=1, only_gpu=1)
    plan = probe(fake)
    run = Sampled(tmp_path / "out", NVML, fake.env)
    run.run(4)
    read = samples.from_csv(run.files())
    missed = sum(run.said[-1]["overruns"].values())
    checked = set()
    for device in plan.devices:
        for quantity, facts in device.quantities.items():
            series = read.get(device.device, quantity)
            expected = streams._deadlines(series, quantity, facts)
            assert not facts.is_read or (series is not None and len(series.t))
            if expected:
                assert series is not None
                assert len(series.t) >= expected - missed - 2, quantity
                checked.add(quantity)
    assert {"gpu_power_instant", "gpu_temperature", "gpu_power_limit"} <= checked


def test_aliases_are_nvmls_order_whatever_cuda_is_told(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [d.device for d in probe(gpus(gpus=2)).devices] == ["gpu0", "gpu1"]


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
    assert "gpu1" in sentence(both.reason) and "gpu0" not in sentence(both.reason)
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
    assert "reset" in sentence(whole.reason)
    assert energy.of(t0, t0 + 10**9)[0].status == "measured"


# --- the wall clock -------------------------------------------------------------------------


@pytest.mark.parametrize("step_ms", [0, 50, -50, 3_600_000, -3_600_000])
@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_a_step_of_the_wall_clock_moves_no_sample(step_ms: int, cut: int) -> None:
    """Samples taken before the step carry the old difference, later ones the new."""
    offset, step = 10**18, step_ms * 10**6
    true = [1_000_000_000 + i * 20_000_000 for i in range(40)]
    stamps = [t + offset + (step if i >= cut else 0) for i, t in enumerate(true)]
    assert mapped(stamps, offset, offset + step, true[0] - 20_000_000) == true


HOST = "import json; from kit.machine.host import gpus; print(json.dumps(gpus.facts()))"


def test_a_driver_that_lacks_a_system_call_still_tells_the_others(gpus: Gpus) -> None:
    driver, cards = gpus(gpus=1, no_driver_version=1).python(HOST)
    assert "Not" in driver["driver"]["absent"] or "error" in driver["driver"]["absent"]
    assert driver["cuda_driver"] == "12.8"
    assert cards["gpu0"]["name"] == "Fake GPU (test)"


# --- what the readings themselves tell ------------------------------------------------------


def test_a_runs_own_readings_tell_over_how_long_they_are_averaged(
    gpus: Gpus, tmp_path: Path
) -> None:
    fake = gpus(gpus=1, average_ms=400, instant_ms=60, wave=2.3)
    device = probe(fake).devices[0]
    for attempt in range(3):  # a busy machine reads so seldom that kit says: it cannot be told
        _, _, read = recorded(tmp_path / f"out{attempt}", fake.env, 12)
        found = averaging(device, read)
        if all(f.window_s is not None for f in found.values()):
            break
    for quantity, window_s in (("gpu_power_average", 0.4), ("gpu_power_instant", 0.06)):
        assert found[quantity].window_s is not None, found[quantity].reason
        assert found[quantity].window_s == pytest.approx(window_s, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"gpus": 8, "latency_us": 1000}, {"gpus": 2, "no_buffer": 1, "only_gpu": 1}],
    ids=["eight GPUs", "one of two without samples"],
)
def test_the_count_of_reads_agrees_with_the_rows_of_several_gpus(
    gpus: Gpus, tmp_path: Path, settings: dict[str, float]
) -> None:
    """A burst is a read of one GPU alone, and a GPU without samples is polled beside."""
    fake = gpus(**settings)
    run = Sampled(tmp_path, NVML, fake.env)
    t0, t1 = run.run(12)
    report = run.said[-1]
    moments = {"sampler.started": t0, "sampler.stopped": t1}
    events = [SimpleNamespace(kind="run.began", t=0, data={})]
    events += [
        SimpleNamespace(kind=kind, t=t, data={"meter": "local", **report})
        for kind, t in moments.items()
    ]
    plan = SimpleNamespace(meters=(probe(fake),))
    read = samples.from_csv(run.files())
    records: Any = SimpleNamespace(plan=plan, events=events, samples=read, losses=())
    (check,) = reads.checks(records, is_complete=True)
    assert check.status == "PASS", check.message
    counter = report["tiers"]["nvml.counter"]["reads"]
    rows = [
        len(series.t) for (_, quantity), series in read.series.items() if quantity == "gpu_energy"
    ]
    assert sum(rows) >= counter
