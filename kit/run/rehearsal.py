"""What a spec would do here, before anything runs: `kit plan`, and the Plan screen.

An obstacle (no engine, no image) is one finding with its remedy. Everything that does not depend
on it is still examined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kit.core import jsonio
from kit.core.errors import Blocked
from kit.core.facts import QuantityFacts
from kit.core.limits import seconds_or
from kit.core.model import Finding, Plan, RunSpec
from kit.core.units import NS
from kit.machine import containers, host
from kit.machine.containers.command import command_line
from kit.record import events
from kit.run import launch, preflight
from kit.run import plan as planning
from kit.spec.spec import spec_hash
from kit.store.store import Store

# The end of a run's journal is enough to know how long it took.
_TAIL = 1 << 16
_ROW_BYTES = 62  # of one reading in samples/*.csv, measured on an H200
_DOCTORS = ("ENGINE", "IMAGE", "WEIGHTS")  # findings that repeat the obstacle


@dataclass(frozen=True)
class Rehearsal:
    """What a spec would do here.

    Attributes:
        plan: None if an obstacle forbids planning; the findings name it.
        least_s: the total of the waiting times in the spec, s; without the work.
        took_s: how long the last complete run of the same spec took in this store, s.
        sample_bytes_per_s: approximate growth of the readings on disk, bytes/s.
        command: the container of the first launch as a `docker run` command line.
    """

    spec: RunSpec
    plan: Plan | None
    findings: tuple[Finding, ...]
    least_s: float
    took_s: float | None
    sample_bytes_per_s: float | None
    command: tuple[str, ...] = ()

    @property
    def forbidden(self) -> bool:
        """Whether a finding forbids the run."""
        return any(f.level == "fail" for f in self.findings)


def rehearse(spec: RunSpec, store: Store) -> Rehearsal:
    """Plan ``spec`` on this machine and run preflight on it; no container is started."""
    took_s = last_took_s(spec, store)
    least_s = planning.duration_s(spec)
    try:
        return _rehearsed(spec, store, took_s, least_s)
    except Blocked as blocked:
        lacking = preflight.lacking_gpus(spec.devices.gpus)
        findings = (*lacking, _obstacle(blocked), *_elsewhere(store.root))
        return Rehearsal(spec, None, findings, least_s, took_s, None)


def _rehearsed(spec: RunSpec, store: Store, took_s: float | None, least_s: float) -> Rehearsal:
    with containers.connect() as engine:
        facts = planning.resolve(spec, engine, host.HostConfig.load())
        planned, _ = planning.plan(spec, facts)
        gathered = preflight.gather(facts.engine, planned, store.root, facts.weights)
        findings = tuple(preflight.check(planned, spec, gathered))
        command = _command(engine, planned, facts)
    return Rehearsal(spec, planned, findings, least_s, took_s, bytes_per_s(planned), command)


def _command(
    engine: containers.Engine, planned: Plan, facts: planning.HostFacts
) -> tuple[str, ...]:
    """The container's command line; the run's id and network get their names when it begins."""
    try:
        config = launch.container_config(
            engine.facts(),
            planned.image.image_id,
            planned.launch,
            "ID",
            0,
            launch.network_name(planned.launch, "ID", 0),
            dict(facts.weights),
        )
    except Blocked:
        return ()  # a GPU that the engine cannot provide: preflight reports it
    return command_line(config._replace(labels={}))  # kit removes everything with its labels


def _obstacle(blocked: Blocked) -> Finding:
    code = {
        "EngineUnavailable": "ENGINE_MISSING",
        "ImageUnavailable": "IMAGE_MISSING",
        "WeightsUnavailable": "WEIGHTS_MISSING",
    }.get(type(blocked).__name__, "BLOCKED")
    return Finding(code=code, level="fail", message=blocked.message, remedy=blocked.remedy)


def _elsewhere(root: Path) -> Iterator[Finding]:
    """The findings of `kit doctor` on the rest of this machine."""
    for finding in preflight.examine(root):
        if not finding.code.startswith(_DOCTORS):
            yield finding


def last_took_s(spec: RunSpec, store: Store) -> float | None:
    """How long the last complete run of the same spec took here, s; None without one."""
    wanted = spec_hash(spec)
    for entry in reversed(store.ledger()):
        if entry.get("spec_hash") == wanted and entry.get("status") == "complete":
            return _length_s(store.root / str(entry.get("run_hash")) / events.FILE)
    return None


def _length_s(path: Path) -> float | None:
    """The time of a journal's last event, s."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            last = file.read().splitlines()[-1]
        return float(jsonio.parse(last, path.name)["t"]) * NS
    except (OSError, jsonio.JsonRefused, IndexError, KeyError, TypeError):
        return None


def bytes_per_s(planned: Plan) -> float:
    """Approximate growth of a plan's samples on disk (bytes/s), from its meters' paces."""
    rows = 0.0
    for meter in planned.meters:
        for device in meter.devices:
            rows += sum(_rows_per_s(facts) for facts in device.quantities.values())
    return rows * _ROW_BYTES


def _rows_per_s(facts: QuantityFacts) -> float:
    """Rows a second: a buffer gives one for each of its periods, other quantities one a read."""
    every_s = 0.0 if facts.slots is not None else seconds_or(facts.poll_s, 0.0)
    every_s = every_s or seconds_or(facts.period_s, 0.0)
    return 1.0 / every_s if every_s and facts.is_read else 0.0


def without_meter(spec: RunSpec, name: str, alias: str | None) -> RunSpec:
    """``spec`` without one meter."""
    meters = tuple(m for m in spec.meters if (m.name, m.alias) != (name, alias))
    return msgspec.structs.replace(spec, meters=meters)
