"""The processes of a run as context managers: container, driver, samplers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.model import MeterPlan, MeterSpec, Plan, RunSpec
from kit.machine import containers, host
from kit.measure import meters
from kit.measure.drive import DriverProcess, salvage
from kit.measure.sample import SamplerProcess
from kit.record.events import Clock, Journal
from kit.run import asking
from kit.run.launch import Running, launched
from kit.run.plan import HostFacts, meter_config, requests_of
from kit.run.watch import Watch
from kit.spec.runtimes import get as runtime_of
from kit.store.store import InFlight


@dataclass(frozen=True)
class Journey:
    """Everything that the steps of one run share, once it has been planned and registered."""

    spec: RunSpec
    plan: Plan
    facts: HostFacts
    engine: containers.Engine
    flight: InFlight
    journal: Journal
    clock: Clock
    config: host.HostConfig


@contextmanager
def container(journey: Journey, watch: Watch, index: int) -> Iterator[Running]:
    """The runtime's container, ready and watched; it is always removed afterwards."""
    spec = journey.spec
    with launched(
        journey.engine,
        plan=journey.plan,
        run_id=journey.flight.id,
        index=index,
        mounts=journey.facts.weights,
        log=journey.flight.path / launch_folder(index) / "container.log",
        emit=journey.journal.add,
    ) as running:
        runtime, ready_s = runtime_of(spec.runtime.name), spec.limits.ready_s
        running.wait_ready(runtime.ready_path, ready_s, watch.tick)
        running.prepare(runtime.preparing(spec), ready_s, watch.tick)
        watch.set_container(running.exited)
        try:
            yield running
        finally:
            watch.set_container(None)


@contextmanager
def driving(journey: Journey, running: Running, index: int) -> Iterator[DriverProcess]:
    """The driver process of one launch; if it crashes, its spooled records are saved."""
    spec, flight = journey.spec, journey.flight
    out, runtime = flight.path / launch_folder(index), runtime_of(spec.runtime.name)
    config = {
        "origin": journey.clock.origin,
        "base_url": running.base_url,
        "schedule": str(flight.path / "inputs" / "schedule.jsonl"),
        "out": str(out),
        "arrivals": msgspec.to_builtins(spec.arrivals),
        "request_s": spec.limits.request_s,
        "cpus": journey.plan.launch.driver_cpus,
        "recount": runtime.recount,
        "end_mark": runtime.end_mark,
        "makes": runtime.makes,
    }
    try:
        with DriverProcess(config, flight.scratch(f"driver-{index:03d}.json")) as driver:
            driver.wait_ready()
            yield driver
    finally:
        salvage(out, journey.clock.origin)


def report(journey: Journey, driver: DriverProcess, name: str, index: int, watch: Watch) -> None:
    """Let the driver parse a stage, after its phase, and journal the driver's report."""
    figures = driver.report_stage(name, watch.check)
    journey.journal.add("stage.done", launch=index, **msgspec.to_builtins(figures))


def query_after_load(journey: Journey, driver: DriverProcess, running: Running, index: int) -> None:
    """Make the queries that would disturb a measurement, and end the driver.

    The configuration in effect goes to ``effective.json``; the prompts' token ids, which are those
    of every launch, to ``prompts.jsonl`` of the first.
    """
    driver.recount()
    driver.close()
    runtime, folder = runtime_of(journey.spec.runtime.name), launch_folder(index)
    journey.flight.write(f"{folder}/effective.json", running.effective(runtime))
    if runtime.prompt_ids and index == 0:
        measured = (r for r in requests_of(journey.spec) if r.stage == "measured")
        tokens = asking.prompt_tokens(running.base_url, runtime.prompt_ids, measured)
        lines = b"".join(jsonio.canonical(msgspec.to_builtins(line)) + b"\n" for line in tokens)
        journey.flight.write_bytes(f"{folder}/prompts.jsonl", lines)


@contextmanager
def sampling(journey: Journey) -> Iterator[list[SamplerProcess]]:
    """Samplers for every meter that has devices: ready before the run, stopped after it."""
    with ExitStack() as stack:
        samplers = []
        for name, group in sampler_groups(journey).items():
            path = journey.flight.scratch(f"sampler-{name}.json")
            sampler = stack.enter_context(SamplerProcess(sampler_config(journey, group), path))
            sampler.wait_ready()
            stack.callback(stop_sampler, sampler, name, journey.journal)
            journey.journal.add("sampler.started", meter=name)
            samplers.append(sampler)
        yield samplers


def sampler_groups(journey: Journey) -> dict[str, list[tuple[MeterSpec, MeterPlan]]]:
    """Meters by their sampler process: one for all local meters, one for each SNMP device."""
    groups: dict[str, list[tuple[MeterSpec, MeterPlan]]] = {}
    for spec, plan in zip(journey.spec.meters, journey.plan.meters, strict=True):
        if plan.devices:
            own = meters.get(spec.name).process == "own"
            name = plan.label if own else "local"
            groups.setdefault(name, []).append((spec, plan))
    return groups


def sampler_config(journey: Journey, group: list[tuple[MeterSpec, MeterPlan]]) -> dict[str, Any]:
    """The settings that a sampler process starts with."""
    return {
        "origin": journey.clock.origin,
        "out": str(journey.flight.folder("samples")),
        "cpus": journey.plan.launch.sampler_cpus,
        "meters": [
            {
                "name": m.name,
                "alias": m.alias,
                "config": meter_config(m, journey.spec, journey.config),
                "planned": planned(plan),
            }
            for m, plan in group
        ],
    }


def planned(meter: MeterPlan) -> dict[str, list[str]]:
    """Which quantities of which devices the plan reads."""
    return {
        d.device: [name for name, facts in d.quantities.items() if facts.is_read]
        for d in meter.devices
    }


def stop_sampler(sampler: SamplerProcess, name: str, journal: Journal) -> None:
    """Stop a sampler; journal its errors, and its report on lateness."""
    try:
        report = {key: value for key, value in sampler.stop().items() if key != "event"}
    finally:
        for line in sampler.pending_errors():
            journal.add("sampler.lost", meter=line.get("meter"), message=line.get("message"))
    journal.add("sampler.stopped", meter=name, **report)


def launch_folder(index: int) -> str:
    """The folder of a launch inside a run."""
    return f"launches/{index:03d}"
