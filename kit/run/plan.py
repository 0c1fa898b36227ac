"""From a spec to a plan: first gather the facts (`resolve`), then compute (`plan`, pure).

A plan says exactly what will run: every digest of the image, model files by hash, arguments,
limits, CPU sets, meters with their devices, the schedule's hash. Nothing in it names the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from kit import __version__
from kit.core import jsonio
from kit.core.model import (
    GpuRequest,
    ImageIdentity,
    LaunchPlan,
    MeterPlan,
    MeterSpec,
    Mount,
    Plan,
    RunSpec,
    ScheduledRequest,
)
from kit.core.prompt import Prompt
from kit.machine import containers, host, images, weights
from kit.measure import meters
from kit.spec import runtimes, workloads
from kit.spec.runtimes.contract import environment, scratch_size
from kit.spec.spec import spec_hash
from kit.spec.workloads import arrivals, schedule

SCHEMA = "kit.plan/1"
WEIGHTS_DIR = "/weights"
LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class HostFacts:
    """Facts of this machine for a plan; ``weights`` maps container paths to host paths.

    ``recipe`` holds the files of the image's recipe by name, ``calibrations`` those that the
    meters' facts name by SHA-256. A run seals both.
    """

    engine: dict[str, Any]
    image: ImageIdentity
    match: Literal["identical", "rewrapped", "different"]
    weights: dict[str, Path]
    meters: tuple[MeterPlan, ...]
    cpus: tuple[str, str, str]
    recipe: dict[str, bytes] = field(default_factory=dict)
    calibrations: dict[str, bytes] = field(default_factory=dict)


def resolve(
    spec: RunSpec,
    engine: containers.Engine,
    config: host.HostConfig,
    recipe: Mapping[str, bytes] | None = None,
) -> HostFacts:
    """Look up everything the spec refers to.

    Args:
        recipe: the files of the image's recipe, used if this kit has none for the pin.

    Raises:
        ImageUnavailable: the image is missing, or present with another digest.
        WeightsUnavailable: no file on this machine has the hash.
        UsageError: a calibration file of this host cannot be used.
    """
    image, match = images.resolve(spec.image, engine.image)
    planned = meters.apart(
        meters.probe(m.name, m.alias, meter_config(m, spec, config)) for m in spec.meters
    )
    return HostFacts(
        engine=engine.facts(),
        image=image,
        match=match,
        weights=_locate_weights(spec, config),
        meters=planned,
        cpus=host.cpu_split(),
        recipe=images.sealable_files(spec.image.recipe or "", spec.image.digest or "")
        or dict(recipe or {}),
        calibrations=_calibrations(spec, planned, config),
    )


def plan(spec: RunSpec, facts: HostFacts) -> tuple[Plan, tuple[ScheduledRequest, ...]]:
    """The plan of ``spec`` under ``facts``, and its materialised schedule. Pure."""
    requests = tuple(requests_of(spec))
    measured = sum(r.stage == "measured" for r in requests)
    result = Plan(
        schema=SCHEMA,
        spec_hash=spec_hash(spec),
        kit_version=__version__,
        image=facts.image,
        image_pinned=spec.image.digest or (spec.image.reference or "").partition("@")[2],
        image_match=facts.match,
        model=spec.weights,
        launch=launch_plan(spec, facts.engine, facts.cpus),
        meters=facts.meters,
        schedule_sha256=jsonio.digest(schedule_bytes(requests)),
        requests=measured,
        launches=spec.launches,
        image_recipe_sha256=_recipe_digest(facts.recipe),
        repeat=runtimes.get(spec.runtime.name).repeat,
    )
    return result, requests


def requests_of(spec: RunSpec) -> Iterator[ScheduledRequest]:
    """Every request of one launch, warm-up first, exactly as it will be sent."""
    runtime = runtimes.get(spec.runtime.name)
    workload, options = workloads.get(spec.workload.name), spec.workload.options

    def request_of(prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        return runtime.request(spec, prompt, index)

    return schedule.requests(
        workload.prompts(options, spec.phases.warmup_requests),
        workload.prompts(options),
        spec.arrivals,
        request_of,
        equal_work=runtime.equal_work and spec.sampling.ignore_eos,
        unique_prefix=options.get("unique_prefix", True),
    )


def schedule_bytes(requests: tuple[ScheduledRequest, ...]) -> bytes:
    """``inputs/schedule.jsonl``: one canonical line a request."""
    return b"".join(jsonio.canonical(msgspec.to_builtins(r)) + b"\n" for r in requests)


def _recipe_digest(recipe: dict[str, bytes]) -> str | None:
    hashes = {name: jsonio.digest(data) for name, data in recipe.items()}
    return images.files_digest(hashes) if hashes else None


def _calibrations(
    spec: RunSpec, planned: tuple[MeterPlan, ...], config: host.HostConfig
) -> dict[str, bytes]:
    """The calibrations that the plan's facts name, by SHA-256."""
    named = {
        facts.calibration_sha256
        for meter in planned
        for device in meter.devices
        for facts in device.quantities.values()
    }
    calibrations = {
        k: v for m in spec.meters for k, v in config.calibrations(m.name, m.alias).items()
    }
    return {sha256: data for sha256, data in calibrations.items() if sha256 in named}


def duration_s(spec: RunSpec) -> float:
    """The least time that the run can take (s), without settling and the work of a server.

    It is idle for that long, and waits until each request is due.
    """
    due_s = arrivals.last_s(spec.arrivals, spec.workload.options.get("requests", 1))
    return spec.launches * (2 * (spec.phases.idle_s + spec.phases.loaded_idle_s) + due_s)


def launch_plan(spec: RunSpec, engine: dict[str, Any], cpus: tuple[str, str, str]) -> LaunchPlan:
    """The settings of every launch's container on an engine with these facts. Pure."""
    runtime = runtimes.get(spec.runtime.name)
    network, egress = containers.network_plan(engine)
    runtime_cpus, driver_cpus, sampler_cpus = cpus
    listen = [LOCALHOST] if network == "host" else []
    return LaunchPlan(
        argv=runtime.argv(spec, *listen),
        env=environment(runtime, spec, *listen),
        port=runtime.port,
        mounts=mounts(spec),
        network=network,
        egress=egress,
        runtime_cpus=runtime_cpus,
        driver_cpus=driver_cpus,
        sampler_cpus=sampler_cpus,
        memory_bytes=spec.limits.memory_mib << 20,
        shm_bytes=spec.limits.shm_mib << 20,
        pids=spec.limits.pids,
        scratch_bytes=scratch_size(runtime, spec) or UNSET,
        gpus=_gpus(spec, engine),
    )


def mounts(spec: RunSpec) -> tuple[Mount, ...]:
    """The files of the container by their path in it. Pure."""
    files = spec.weights.files if spec.weights else ()
    return tuple(Mount(target=f"{WEIGHTS_DIR}/{f.path}", sha256=f.sha256) for f in files)


def _gpus(spec: RunSpec, engine: dict[str, Any]) -> GpuRequest | None:
    """How to ask this engine for GPUs; preflight refuses an engine without GPUs."""
    if spec.devices.gpus == 0:
        return None
    driver: Literal["cdi", "nvidia"] = "nvidia" if engine.get("gpu") == "nvidia" else "cdi"
    return GpuRequest(driver=driver, count=spec.devices.gpus)


def _locate_weights(spec: RunSpec, config: host.HostConfig) -> dict[str, Path]:
    files = spec.weights.files if spec.weights else ()
    return {f"{WEIGHTS_DIR}/{f.path}": weights.require(f, config.weights_folders) for f in files}


def meter_config(meter: MeterSpec, spec: RunSpec, config: host.HostConfig) -> dict[str, Any]:
    """A meter's settings: from host.toml, and for GPUs the number of boards that the run uses.

    Without that number a run on one GPU of eight would be charged with all eight.
    """
    settings = config.meter(meter.name, meter.alias)
    if meters.get(meter.name).scope == "gpu" and spec.devices.gpus:
        return {**settings, "gpus": spec.devices.gpus}
    return settings
