"""Every preflight rule on scripted facts; gathering and `examine` on this very machine."""

from __future__ import annotations

import ast
import copy
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.core.facts import QuantityFacts
from kit.core.model import (
    DevicesSpec,
    Finding,
    GpuRequest,
    ImageIdentity,
    ImageSpec,
    MeterDevice,
    MeterPlan,
    Plan,
    RunSpec,
    RuntimeSpec,
    WeightFile,
    WeightsSpec,
    WorkloadSpec,
)
from kit.machine import queue
from kit.measure.meters.contract import MeterUnavailable, absent
from kit.run import preflight
from kit.run.preflight import facts as gathered
from kit.run.preflight import host_rules
from kit.run.preflight.rules import disk_need, run_bytes
from tests.plans import facts_in, launch_plan

MODEL = WeightsSpec(
    repo="org/model",
    revision="0" * 40,
    files=(WeightFile(path="model.gguf", source="file:", sha256="a" * 64, size=98_362_432),),
)
SPEC = RunSpec(
    schema="kit.run-spec/1",
    name="test",
    runtime=RuntimeSpec(name="llama-server"),
    image=ImageSpec(recipe="llama-server", digest="sha256:" + "b" * 64),
    weights=MODEL,
    workload=WorkloadSpec(name="prompts", options={"max_output_tokens": 64}),
)


def reading(meter: str, device: str, quantity: str) -> MeterPlan:
    meter_device = MeterDevice(
        device=device, description="", quantities={quantity: QuantityFacts()}
    )
    return MeterPlan(name=meter, alias=None, devices=(meter_device,))


RAPL = reading("rapl", "cpu0-package", "cpu_energy")
ESTIMATE = reading("estimate", "host", "cpu_busy")
PLAN = Plan(
    schema="kit.plan/1",
    spec_hash="c" * 64,
    kit_version="0",
    image=ImageIdentity(
        reference="kit/llama-server:abc",
        recipe="llama-server",
        image_id="sha256:" + "b" * 64,
        diff_ids=(),
        platform="linux/amd64",
    ),
    image_pinned="sha256:" + "b" * 64,
    image_match="identical",
    model=MODEL,
    launch=launch_plan(
        runtime_cpus="0-13",
        driver_cpus="14",
        sampler_cpus="15",
        memory_bytes=4 << 30,
        pids=512,
    ),
    meters=(RAPL,),
    schedule_sha256="d" * 64,
    requests=8,
    launches=3,
)
BOARD = {
    "name": "NVIDIA H200",
    "memory_total_bytes": 150_754_820_096,
    "power_limit_w": 700.0,
    "power_enforced_w": 700.0,
    "power_default_w": 700.0,
    "ecc": True,
    "slowdowns": [],
    "virtualisation": "passthrough",
    "temperature_c": 31,
    "temperature_slowdown_c": 92,
    "ecc_uncorrected": 0,
    "mig": False,
    "persistence": True,
    "compute_mode": "default",
    "compute_processes": 0,
}
FACTS: dict[str, Any] = {
    "host": {
        "docker": {
            "engine": "Docker",
            "version": "28.0.1",
            "api_version": "1.48",
            "image_store": "classic",
            "cgroup_version": "2",
            "rootless": False,
            "gpu": "cdi",
        },
        "cgroup": 2,
        "cpu": {
            "usable": 16,
            "frequency": {"governors": ["performance"], "driver": "intel_pstate"},
        },
        "memory": {"available_bytes": 64 << 30},
        "clock": {"synchronised": True, "maximum_error_us": 4000},
        "load": {"one_minute": 0.1},
        "gpus": {"gpu0": dict(BOARD), "gpu1": dict(BOARD)},
    },
    "weights": {"/weights/model.gguf": 98_362_432},
    "disk_free": 10**12,
    "port_free": {"absent": "the port is inside the container's own network"},
    "gpu_energy": {"gpu0": 35_000, "gpu1": 36_000},
    "other_runs": [],
    "queue": [],
}


def with_fact(path: str, value: Any) -> dict[str, Any]:
    """FACTS with the value at the dotted ``path`` replaced."""
    facts = copy.deepcopy(FACTS)
    at: Any = facts
    *parents, last = path.split("/")
    for key in parents:
        at = at[key]
    at[last] = value
    return facts


def replaced(record: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(record, **changes)


def launch(**changes: Any) -> Plan:
    return replaced(PLAN, launch=replaced(PLAN.launch, **changes))


def gpu_case(**spec: Any) -> tuple[Plan, RunSpec]:
    """One GPU asked for and read by nvml."""
    nvml = reading("nvml", "gpu0", "gpu_energy")
    plan = replaced(launch(gpus=GpuRequest(driver="cdi", count=1)), meters=(nvml,))
    return plan, replaced(SPEC, devices=DevicesSpec(gpus=1), **spec)


def worst(findings: list[Finding]) -> dict[str, Finding]:
    return {f.code: f for f in findings if f.level != "ok"}


@pytest.mark.parametrize(
    ("threads", "warned"), [(15, True), (14, False), (1, False), (None, False)]
)
def test_more_threads_than_cpus_wait_for_one_another(threads: int | None, warned: bool) -> None:
    """The plan's runtime has fourteen CPUs."""
    options = {"threads": threads}
    spec = replaced(SPEC, runtime=RuntimeSpec(name="llama-server", options=options))
    found = worst(preflight.check(PLAN, spec, FACTS))
    assert list(found) == (["CPUS_THREADS"] if warned else [])
    if warned:
        assert "15 threads and has 14 CPUs" in found["CPUS_THREADS"].message


@pytest.mark.parametrize(("ranks", "warned"), [(15, True), (14, False), (None, False)])
def test_more_processes_than_cpus_wait_for_one_another(ranks: int | None, warned: bool) -> None:
    options = {"tensor_parallel": ranks}
    spec = replaced(SPEC, runtime=RuntimeSpec(name="transformers", options=options))
    found = worst(preflight.check(PLAN, spec, FACTS))
    assert [(c, "15 processes and has 14 CPUs" in f.message) for c, f in found.items()] == (
        [("CPUS_THREADS", True)] if warned else []
    )


@pytest.mark.parametrize(
    ("memory", "kv", "context", "code"),
    [
        (80 << 30, 23_040, 2048, None),
        (80 << 30, None, 2048, None),
        (90_000_000, None, None, "GPU_MEMORY_LIMIT"),  # the weights alone are 98 MB
        (150_000_000, 23_040, 2048, "GPU_MEMORY_LOW"),  # with 47 MB of cache
        (150_000_000, None, 2048, None),  # the files do not say how large the cache is
    ],
)
def test_a_model_must_fit_into_the_gpus_asked_for(
    memory: int, kv: int | None, context: int | None, code: str | None
) -> None:
    facts = copy.deepcopy(FACTS) | {"shape": {"kv_bytes": kv}}
    facts["host"]["gpus"]["gpu0"]["memory_total_bytes"] = memory
    options = {} if context is None else {"context": context}
    plan, spec = gpu_case(runtime=RuntimeSpec(name="llama-server", options=options))
    found = [f for f in preflight.check(plan, spec, facts) if f.code.startswith("GPU_MEMORY")]
    assert [f.code for f in found] == [code or "GPU_MEMORY"]
    assert ("estimated" in found[0].message) == (kv is not None and context is not None)


@pytest.mark.parametrize(("gpus", "code"), [(1, "GPU_MEMORY_LIMIT"), (2, "GPU_MEMORY")])
def test_boards_hold_a_model_together(gpus: int, code: str) -> None:
    facts = copy.deepcopy(FACTS) | {"shape": {}}
    for board in facts["host"]["gpus"].values():
        board["memory_total_bytes"] = 60_000_000  # the weights are 98 MB
    plan, spec = gpu_case(runtime=RuntimeSpec(name="transformers", options={}))
    spec = replaced(spec, devices=DevicesSpec(gpus=gpus))
    found = [f for f in preflight.check(plan, spec, facts) if f.code.startswith("GPU_MEMORY")]
    assert [f.code for f in found] == [code]


def test_a_cache_of_a_stated_size_is_what_must_fit() -> None:
    facts = copy.deepcopy(FACTS) | {"shape": {"kv_bytes": 23_040}}
    facts["host"]["gpus"]["gpu0"]["memory_total_bytes"] = 150_000_000
    options = {"context": 1 << 20, "kv_cache_mib": 16}
    plan, spec = gpu_case(runtime=RuntimeSpec(name="vllm", options=options))
    found = [f for f in preflight.check(plan, spec, facts) if f.code.startswith("GPU_MEMORY")]
    assert [f.code for f in found] == ["GPU_MEMORY"]
    assert "16.8 MB of KV cache" in found[0].message


@pytest.mark.parametrize(
    ("name", "gpus", "heads", "code", "remedy"),
    [
        ("vllm", 2, (32, 8), "MODEL_HEADS", ""),
        ("vllm", 16, (32, 8), "MODEL_HEADS", ""),  # each head of keys and values is there twice
        ("vllm", 2, (9, 3), "MODEL_HEADS!", "take 1 of them"),
        ("sglang", 4, (28, 4), "MODEL_HEADS", ""),
        ("transformers", 8, (28, 4), "MODEL_HEADS!", "take 4 of them"),
        ("transformers", 8, (32, 4), "MODEL_HEADS!", "take 4 of them"),  # has no head twice
        ("transformers", 24, (48, 16), "MODEL_HEADS!", "take 16 of them"),
        ("transformers", 8, None, "", ""),  # the files do not say
        ("transformers", 1, (9, 3), "", ""),
        ("llama-server", 2, (9, 3), "", ""),  # each GPU has whole layers
    ],
)
def test_processes_that_share_layers_share_their_heads_equally(
    name: str, gpus: int, heads: tuple[int, int] | None, code: str, remedy: str
) -> None:
    facts = copy.deepcopy(FACTS) | {"shape": {"heads": heads}}
    plan, spec = gpu_case(runtime=RuntimeSpec(name=name, options={}))
    spec = replaced(spec, devices=DevicesSpec(gpus=gpus))
    found = [f for f in preflight.check(plan, spec, facts) if f.code == "MODEL_HEADS"]
    assert [f.code + "!" * (f.level == "fail") for f in found] == ([code] if code else [])
    assert all(remedy in (f.remedy or "") for f in found)


@pytest.mark.parametrize(
    ("name", "gpus", "mib", "low"),
    [
        ("vllm", 2, 64, True),
        ("vllm", 2, 1024, False),
        ("vllm", 1, 64, False),
        ("llama-server", 2, 64, False),
    ],
)
def test_processes_on_several_gpus_need_shared_memory(
    name: str, gpus: int, mib: int, low: bool
) -> None:
    plan, spec = gpu_case(runtime=RuntimeSpec(name=name, options={}))
    spec = replaced(spec, devices=DevicesSpec(gpus=gpus))
    launch = replaced(plan.launch, shm_bytes=mib << 20, memory_bytes=8 << 30)
    found = preflight.check(replaced(plan, launch=launch), spec, copy.deepcopy(FACTS))
    assert ("SHM_LOW" in {f.code for f in found}) is low
    assert "SHM" in {f.code for f in found}, "verify expects it of every run"


def test_images_need_as_much_of_the_disk_as_their_pixels() -> None:
    _, spec = gpu_case(
        workload=WorkloadSpec(name="images", options={"images": 4, "width": 2048, "height": 2048})
    )
    texts, images = run_bytes(gpu_case()[1], 1, 8, 2), run_bytes(spec, 1, 8, 2)
    pixels = 2 * 8 * 4 * 2048 * 2048
    assert 3 * pixels < images - texts < 16 * pixels


def test_a_model_of_which_some_layers_stay_outside_need_not_fit() -> None:
    facts = copy.deepcopy(FACTS) | {"shape": {}}
    facts["host"]["gpus"]["gpu0"]["memory_total_bytes"] = 90_000_000
    plan, spec = gpu_case(runtime=RuntimeSpec(name="llama-server", options={"gpu_layers": 4}))
    found = [f for f in preflight.check(plan, spec, facts) if f.code.startswith("GPU_MEMORY")]
    assert [f.level for f in found] == ["ok"]


LEVELS = ("ok", "warn", "fail")


def codes_of_rules() -> Iterator[str]:
    """Every code that a rule's source gives."""
    for path in Path(preflight.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in LEVELS:
                continue
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def test_every_code_stands_in_the_list_of_the_package() -> None:
    listed = set(re.findall(r"\b[A-Z_]+\b", preflight.__doc__ or ""))
    found = set(codes_of_rules())
    assert len(found) > 40
    assert found <= listed, "list them in the docstring of kit/run/preflight/__init__.py"


def test_a_sound_host_has_only_ok() -> None:
    findings = preflight.check(PLAN, SPEC, FACTS)
    assert [f for f in findings if f.level != "ok"] == []
    assert {"ENGINE", "IMAGE", "WEIGHTS", "DISK", "MEMORY", "CPUS", "CLOCK", "METER"} <= {
        f.code for f in findings
    }


def test_a_sound_gpu_host_has_only_ok() -> None:
    findings = preflight.check(*gpu_case(), FACTS)
    assert worst(findings) == {}
    gpu, memory = findings[-2:]
    assert "gpu0: NVIDIA H200, power limit 700 W" in gpu.message
    assert memory.message == "98.4 MB of weights, 151 GB on the GPUs"


@pytest.mark.parametrize(
    ("stated", "in_file", "code", "words"),
    [
        ("Apache-2.0", "apache-2.0", "LICENCE", "as the spec and the model's file say"),
        ("Apache-2.0", "", "LICENCE", "licence Apache-2.0, as the spec says"),
        ("", "", "LICENCE", "neither the spec nor the model's file names one"),
        ("", "llama3.2", "LICENCE_MISSING", "names the licence 'llama3.2'"),
        ("MIT", "apache-2.0", "LICENCE_DIFFERS", "the model's file 'apache-2.0'"),
    ],
)
def test_the_licence_is_the_files_own_or_absent_with_the_reason(
    stated: str, in_file: str, code: str, words: str
) -> None:
    model = msgspec.structs.replace(MODEL, licence=stated)
    plan = msgspec.structs.replace(PLAN, model=model)
    facts = with_fact("licensed", {"/weights/model.gguf": in_file})
    (found,) = [f for f in preflight.check(plan, SPEC, facts) if f.code.startswith("LICENCE")]
    assert found.code == code and words in found.message
    assert found.level == ("ok" if code == "LICENCE" else "warn")
    assert bool(found.remedy) == (code != "LICENCE")


@pytest.mark.parametrize(
    ("path", "value", "code", "level"),
    [
        ("host/docker", {"absent": "no socket"}, "ENGINE_MISSING", "fail"),
        ("weights", {}, "WEIGHTS_MISSING", "fail"),
        ("weights", {"/weights/model.gguf": {"absent": "gone"}}, "WEIGHTS_MISSING", "fail"),
        ("weights", {"/weights/model.gguf": 3}, "WEIGHTS_SIZE", "fail"),
        ("disk_free", 1 << 20, "DISK_FULL", "fail"),
        ("disk_free", 400 << 20, "DISK_LOW", "warn"),
        ("host/memory/available_bytes", 1 << 30, "MEMORY_LOW", "warn"),
        ("host/memory", {"absent": "no /proc/meminfo"}, "MEMORY_UNKNOWN", "warn"),
        ("host/cpu/frequency/governors", ["powersave"], "FREQUENCY_GOVERNOR", "warn"),
        ("host/clock/synchronised", False, "CLOCK_UNSYNCHRONISED", "warn"),
        ("host/clock/synchronised", {"absent": "not allowed"}, "CLOCK_UNSYNCHRONISED", "warn"),
        ("host/load/one_minute", 9.5, "LOAD_HIGH", "warn"),
        ("host/load", {"absent": "no /proc/loadavg"}, "LOAD_UNKNOWN", "warn"),
        ("other_runs", ["20250101-x"], "RUNS_OTHER", "fail"),
        ("queue", ["run ab (started then)", "run cd (started then)"], "RUNS_QUEUE", "warn"),
        ("port_free", False, "PORT_TAKEN", "fail"),
    ],
)
def test_each_host_fact_has_its_finding(path: str, value: Any, code: str, level: str) -> None:
    finding = worst(preflight.check(PLAN, SPEC, with_fact(path, value)))
    assert list(finding) == [code]
    assert finding[code].level == level and finding[code].remedy


@pytest.mark.parametrize(
    ("plan", "code", "level"),
    [
        (replaced(PLAN, image_match="different"), "IMAGE_DIFFERENT", "warn"),
        (launch(memory_bytes=64 << 20, shm_bytes=1 << 20), "MEMORY_LIMIT", "fail"),
        (launch(shm_bytes=4 << 30), "SHM_TOO_LARGE", "fail"),
        (launch(runtime_cpus="0", driver_cpus="1", sampler_cpus="1"), "CPUS_FEW", "warn"),
        (launch(runtime_cpus="0", driver_cpus="0", sampler_cpus="0"), "CPUS_SHARED", "warn"),
    ],
)
def test_each_plan_has_its_finding(plan: Plan, code: str, level: str) -> None:
    finding = worst(preflight.check(plan, SPEC, FACTS))
    assert {code: finding[code].level for code in finding} == {code: level}
    assert finding[code].remedy


def test_a_rewrapped_image_is_sound() -> None:
    findings = preflight.check(replaced(PLAN, image_match="rewrapped"), SPEC, FACTS)
    assert worst(findings) == {}
    assert any("rewrapped" in f.message for f in findings)


def test_the_ports_state_is_only_told_where_it_matters() -> None:
    codes = {f.code for f in preflight.check(PLAN, SPEC, FACTS)}
    assert "PORT" not in codes
    codes = {f.code for f in preflight.check(PLAN, SPEC, with_fact("port_free", True))}
    assert "PORT" in codes


SHARED = MeterPlan(  # a card that was split into instances: its state is read, its power is not
    name="nvml",
    alias=None,
    devices=(
        MeterDevice(
            device="gpu0",
            description="",
            quantities={
                "gpu_energy": QuantityFacts(reason="MIG is on"),
                "gpu_temperature": QuantityFacts(poll_s=1.0),
            },
        ),
    ),
)


def silent(name: str, reason: str, alias: str | None = None) -> MeterPlan:
    return absent(name, alias, reason)


DENIED = absent("rapl", None, MeterUnavailable("only root may read it", "no_permission"))


@pytest.mark.parametrize(
    ("meters", "expected"),
    [
        ((), {"ENERGY_UNMEASURED": "warn"}),
        (
            (silent("nvml", "no NVIDIA driver"),),
            {"METER_ABSENT": "warn", "ENERGY_UNMEASURED": "warn"},
        ),
        ((RAPL, silent("nvml", "no NVIDIA driver")), {"METER_ABSENT": "warn"}),
        (
            (silent("rapl", "no permission is what it says, and no code"),),
            {"METER_ABSENT": "warn", "ENERGY_UNMEASURED": "warn"},
        ),
        ((RAPL, silent("pdu", "no answer in 2 s", "rack1")), {"PDU_UNREACHABLE": "fail"}),
        (
            (DENIED,),
            {"RAPL_UNREADABLE": "warn", "ENERGY_UNMEASURED": "warn"},
        ),
        ((ESTIMATE,), {"ENERGY_ESTIMATED": "warn"}),
        ((SHARED,), {"ENERGY_UNMEASURED": "warn"}),
    ],
)
def test_what_meters_leave_of_energy(
    meters: tuple[MeterPlan, ...], expected: dict[str, str]
) -> None:
    finding = worst(preflight.check(replaced(PLAN, meters=meters), SPEC, FACTS))
    assert {code: f.level for code, f in finding.items()} == expected
    assert all(f.remedy for f in finding.values())


def test_unreadable_rapl_names_the_command() -> None:
    plan = replaced(PLAN, meters=(DENIED,))
    finding = worst(preflight.check(plan, SPEC, FACTS))
    assert "chmod a+r /sys/class/powercap" in finding["RAPL_UNREADABLE"].remedy


@pytest.mark.parametrize(
    ("metric", "meters", "code"),
    [
        ("cpu_energy_per_output_token", (RAPL,), None),
        ("gpu_energy_per_output_token", (RAPL,), "PRIMARY_UNMEASURED"),
        ("gpu_energy_per_output_token", (SHARED, RAPL), "PRIMARY_UNMEASURED"),
        ("estimate_energy_per_request", (RAPL, ESTIMATE), "PRIMARY_ESTIMATED"),
        ("ttft_p50", (RAPL,), None),
    ],
)
def test_a_primary_metric_needs_its_meter(
    metric: str, meters: tuple[MeterPlan, ...], code: str | None
) -> None:
    plan, spec = replaced(PLAN, meters=meters), replaced(SPEC, primary_metric=metric)
    finding = worst(preflight.check(plan, spec, FACTS))
    assert list(finding) == ([code] if code else [])
    if code:
        assert "NOT-COMPARABLE" in finding[code].message


@pytest.mark.parametrize(
    ("path", "value", "code", "level"),
    [
        ("host/gpus", {"absent": "no NVIDIA driver"}, "GPU_MISSING", "fail"),
        ("host/gpus", {}, "GPU_TOO_FEW", "fail"),
        ("host/gpus/gpu0", {"absent": "NVML: GPU is lost"}, "GPU_LOST", "fail"),
        ("host/docker/gpu", None, "GPU_ENGINE", "fail"),
        ("host/gpus/gpu0/mig", True, "GPU_MIG", "fail"),
        ("host/gpus/gpu0/compute_mode", "prohibited", "GPU_PROHIBITED", "fail"),
        ("host/gpus/gpu0/ecc_uncorrected", 1, "GPU_ECC", "fail"),
        ("host/gpus/gpu0/temperature_c", 65, "GPU_WARM", "warn"),
        ("host/gpus/gpu0/temperature_c", 89, "GPU_HOT", "fail"),
        ("host/gpus/gpu0/persistence", False, "GPU_PERSISTENCE", "warn"),
        ("host/gpus/gpu0/compute_processes", 2, "GPU_BUSY", "fail"),
        ("host/gpus/gpu0/power_enforced_w", 450.0, "GPU_POWER_LIMIT", "warn"),
        ("host/gpus/gpu0/power_default_w", 600.0, "GPU_POWER_LIMIT", "warn"),
        ("host/gpus/gpu0/ecc", False, "GPU_ECC_OFF", "warn"),
        ("host/gpus/gpu0/slowdowns", ["power brake"], "GPU_SLOWED", "warn"),
        ("host/gpus/gpu0/virtualisation", "vgpu", "GPU_VIRTUAL", "warn"),
        ("gpu_energy/gpu0", 0, "GPU_COUNTER", "warn"),
        ("gpu_energy/gpu0", {"absent": "NVML: Not Supported"}, "GPU_COUNTER", "warn"),
        ("gpu_energy", {"absent": "no NVIDIA driver"}, "GPU_COUNTER", "warn"),
    ],
)
def test_each_gpu_fact_has_its_finding(path: str, value: Any, code: str, level: str) -> None:
    finding = worst(preflight.check(*gpu_case(), with_fact(path, value)))
    assert {c: f.level for c, f in finding.items()} == {code: level}
    assert finding[code].remedy


def test_mig_is_refused_with_its_reason() -> None:
    finding = worst(preflight.check(*gpu_case(), with_fact("host/gpus/gpu0/mig", True)))["GPU_MIG"]
    assert "reads the whole board, not the slice that is used" in finding.message
    assert finding.remedy == "sudo nvidia-smi -mig 0"


def test_a_real_h200_is_judged_by_what_it_said() -> None:
    """The fingerprint that `kit.machine.host` took of a virtual machine: a real H200, no engine."""
    recorded = jsonio.read(Path(__file__).parent / "data" / "fingerprint-h200.json")
    facts = {**FACTS, "host": recorded, "gpu_energy": {"gpu0": 4_440_680 - 4_402_537}}
    findings = preflight.check(*gpu_case(), facts)
    assert set(worst(findings)) == {"ENGINE_MISSING", "GPU_ENGINE", "CLOCK_UNSYNCHRONISED"}
    assert any("NVIDIA H200, power limit 700 W" in f.message for f in findings)


def test_only_the_gpus_asked_for_are_judged() -> None:
    facts = with_fact("host/gpus/gpu1/mig", True)
    assert worst(preflight.check(*gpu_case(), facts)) == {}
    assert worst(preflight.check(PLAN, SPEC, facts)) == {}


def test_a_limit_set_but_not_enforced_counts_where_that_is_all_that_is_told() -> None:
    facts = with_fact("host/gpus/gpu0/power_enforced_w", {"absent": "NVML: Not Supported"})
    assert worst(preflight.check(*gpu_case(), facts)) == {}
    facts["host"]["gpus"]["gpu0"]["power_limit_w"] = 350.0
    finding = worst(preflight.check(*gpu_case(), facts))["GPU_POWER_LIMIT"]
    assert "is 350 W, its default is 700 W" in finding.message
    assert "nvidia-smi -pl 700" in finding.remedy


def test_gpus_of_different_models_are_a_warning() -> None:
    plan, spec = gpu_case()
    both = replaced(spec, devices=DevicesSpec(gpus=2))
    assert worst(preflight.check(plan, both, FACTS)) == {}
    facts = with_fact("host/gpus/gpu1/name", "NVIDIA H100 PCIe")
    assert worst(preflight.check(plan, spec, facts)) == {}  # the second one is not used
    finding = worst(preflight.check(plan, both, facts))
    assert list(finding) == ["GPU_UNLIKE"]
    assert "NVIDIA H100 PCIe, 151 GB; NVIDIA H200, 151 GB" in finding["GPU_UNLIKE"].message
    facts["host"]["gpus"]["gpu1"] = {"absent": "NVML: GPU is lost"}
    assert list(worst(preflight.check(plan, both, facts))) == ["GPU_LOST"]


@pytest.mark.parametrize(
    ("readings", "sentence"),
    [
        (("gpu_power_sample", "gpu_power_average"), "20 ms power samples"),
        (("gpu_power_instant", "gpu_power_average"), "instantaneous power"),
        (("gpu_power_average",), "windows of 5 s"),
        ((), "stays unmeasured"),
    ],
)
def test_without_a_counter_it_is_said_what_is_used_instead(
    readings: tuple[str, ...], sentence: str
) -> None:
    plan, spec = gpu_case()
    quantities: dict[str, dict[str, Any]] = {"gpu_energy": {"reason": "NVML: Not Supported"}}
    quantities |= {"gpu_temperature": {}, "gpu_power_sample": {"reason": "no buffer"}}
    quantities |= {name: {} for name in readings}
    device = MeterDevice(device="gpu0", description="", quantities=facts_in(quantities))
    plan = replaced(plan, meters=(MeterPlan(name="nvml", alias=None, devices=(device,)),))
    finding = worst(preflight.check(plan, spec, with_fact("gpu_energy/gpu0", 0)))
    nothing = [] if readings else ["ENERGY_UNMEASURED"]
    assert sorted(finding) == [*nothing, "GPU_COUNTER"]
    assert sentence in finding["GPU_COUNTER"].remedy


def test_other_programs_are_counted_and_not_named() -> None:
    facts = with_fact("host/gpus/gpu0/compute_processes", 2)
    assert worst(preflight.check(*gpu_case(), facts))["GPU_BUSY"].message.startswith(
        "2 other programs use gpu0"
    )


def test_a_device_of_which_nothing_is_read_is_told() -> None:
    unread = MeterDevice(
        device="cpu1-package",
        description="package 1",
        quantities={
            "cpu_energy": QuantityFacts(reason="its counter cannot be read: Input/output error")
        },
    )
    plan = replaced(PLAN, meters=(replaced(RAPL, devices=(*RAPL.devices, unread)),))
    finding = worst(preflight.check(plan, SPEC, FACTS))
    assert list(finding) == ["METER_SILENT"]
    assert "rapl reads nothing of cpu1-package: its counter" in finding["METER_SILENT"].message
    assert finding["METER_SILENT"].remedy


def test_a_fact_that_a_card_lacks_is_no_finding() -> None:
    unknown = {key: {"absent": "NVML: Not Supported"} for key in BOARD}
    findings = preflight.check(*gpu_case(), with_fact("host/gpus/gpu0", unknown))
    assert worst(findings) == {}


def test_other_programs_only_warn_where_nvml_does_not_measure() -> None:
    plan, spec = gpu_case()
    facts = with_fact("host/gpus/gpu0/compute_processes", 1)
    finding = worst(preflight.check(replaced(plan, meters=(RAPL,)), spec, facts))
    assert finding["GPU_BUSY"].level == "warn"


def test_a_rootless_engine_on_cgroup_v1_cannot_keep_limits() -> None:
    docker = {**FACTS["host"]["docker"], "rootless": True, "cgroup_version": "1"}
    assert host_rules.engine(docker, 1).code == "ENGINE_LIMITS"
    assert host_rules.engine({**docker, "cgroup_version": "2"}, 2).level == "ok"


def test_disk_need_grows_with_time_devices_and_launches() -> None:
    need = disk_need(PLAN, SPEC)
    longer = replaced(SPEC, limits=replaced(SPEC.limits, run_s=10 * SPEC.limits.run_s))
    assert disk_need(PLAN, longer) - need == pytest.approx(81_000_000, rel=1e-6)
    assert disk_need(replaced(PLAN, launches=30), SPEC) > need
    assert disk_need(replaced(PLAN, meters=(RAPL, RAPL)), SPEC) > need


# --- gathering, for real ---------------------------------------------------------------------


def test_gather_reads_this_machine(tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"x" * 100)
    facts = preflight.gather(
        None,
        PLAN,
        tmp_path / "runs",
        {"/weights/model.gguf": weights, "/weights/b": tmp_path / "b"},
    )
    assert facts["weights"]["/weights/model.gguf"] == 100
    assert facts["weights"]["/weights/b"] == {"absent": "No such file or directory"}
    assert facts["disk_free"] > 0 and facts["other_runs"] == []
    findings = preflight.check(PLAN, SPEC, facts)
    assert {"ENGINE_MISSING", "WEIGHTS_SIZE"} <= set(worst(findings))


def test_a_taken_port_is_seen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        plan = launch(network="host", port=port)
        assert gathered._port_free(plan) is False
    assert gathered._port_free(plan) is True


def test_another_run_of_the_store_is_seen(tmp_path: Path) -> None:
    from kit.store.store import Store

    store = Store(tmp_path / "runs")
    mine, other, waits = store.begin(), store.begin(), store.begin()
    for flight in (mine, other):
        (flight.path / "events.jsonl").touch()
    assert gathered._other_runs(mine.path) == [other.id]
    assert sorted(gathered._other_runs(store.root)) == sorted([mine.id, other.id])
    with queue.ticket(other.id), queue.ticket(waits.id):
        assert gathered._other_runs(mine.path) == []
        assert [words.split()[1] for words in gathered._queue(store.root)] == [other.id, waits.id]
        assert gathered._queue(mine.path) == []


def test_examine_reports_instead_of_raising(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "host.toml"
    config.write_text('[pdu.rack1]\nhost = "127.0.0.1"\n')
    monkeypatch.setenv("KIT_HOST_CONFIG", str(config))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    findings = preflight.examine(tmp_path)
    finding = worst(findings)
    assert {"HOST_CONFIG", "ENGINE_MISSING"} <= {c for c, f in finding.items() if f.level == "fail"}
    assert all(f.remedy for f in finding.values())
    assert {"DISK", "DISK_LOW", "DISK_FULL"} & {f.code for f in findings}


def test_examine_warns_of_credentials_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "host.toml"
    config.write_text('[pdu.r]\nhost = "127.0.0.1"\nprofile = "apc-rpdu2"\ncommunity = "c"\n')
    config.chmod(0o644)
    monkeypatch.setenv("KIT_HOST_CONFIG", str(config))
    from kit.run.preflight import doctor

    assert [f.code for f in doctor._config()[1]] == ["HOST_CONFIG_OPEN"]
    config.chmod(0o600)
    assert [f.code for f in doctor._config()[1]] == ["HOST_CONFIG"]


@pytest.mark.docker
def test_examine_on_a_host_with_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIT_HOST_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    findings = preflight.examine(tmp_path)
    engine = next(f for f in findings if f.code == "ENGINE")
    assert re.search(r"API 1\.\d+, (classic|containerd) image store, cgroup v[12]", engine.message)
    assert {"ENERGY", "ENERGY_ESTIMATED", "ENERGY_UNMEASURED"} & {f.code for f in findings}
