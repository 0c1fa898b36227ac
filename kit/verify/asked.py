"""L4: what was asked for is what was planned, registered and sent: all of it follows from the spec.

The schedule is made again from the spec, byte for byte, and so are the container's arguments,
environment, mounts and limits. A spec of a runtime that this kit does not know cannot be followed:
that is a warning, never a silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kit import jsonio
from kit.archive import Source
from kit.errors import UsageError
from kit.manifest import RECOMPUTED, RELATIONS
from kit.model import Manifest, RunSpec
from kit.records import RunRecords
from kit.verify.verdict import Check, check, judged

_ROOM = {"memory_bytes": "memory_mib", "shm_bytes": "shm_mib"}
_HASH = 64


def checks(records: RunRecords, source: Source, listed: Manifest) -> list[Check]:
    """Schedule, launch and registration against the spec."""
    return [
        _followed("SCHEDULE_DIFFERS", _schedule, records, source),
        _followed("LAUNCH_DIFFERS", _launch, records, source),
        judged("REGISTERED_DIFFERS", _registered(records, listed), "registered as it ran"),
    ]


def _followed(code: str, find: Any, records: RunRecords, source: Source) -> Check:
    try:
        return judged(code, find(records, source), "it follows from the spec")
    except UsageError as error:
        return check(code, "WARN", f"not followed from the spec: {error.message}")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return check(code, "FAIL", f"the spec cannot be followed ({type(error).__name__})")


def _schedule(records: RunRecords, source: Source) -> Iterator[str]:
    from kit import plan

    made = plan.materialise(_spec(source))
    if plan.schedule_bytes(made) == source.read("inputs/schedule.jsonl"):
        return
    if len(made) != len(records.schedule):
        yield f"{len(records.schedule)} requests are scheduled, the spec gives {len(made)}"
    for own, other in zip(records.schedule, made, strict=False):
        if own != other:
            yield f"request {own.index} is not the one that the spec gives"


def _spec(source: Source) -> RunSpec:
    """The spec with every default written in, as it was when the run was planned.

    Raises:
        UsageError: it names a runtime or a workload that this kit does not know.
    """
    from kit import spec

    found = spec.filled(jsonio.parse(source.read("spec.json"), "spec.json"))
    return msgspec.convert(found, RunSpec, strict=False)


def _launch(records: RunRecords, source: Source) -> Iterator[str]:
    from kit import plan, runtimes

    spec, launch = _spec(source), records.plan.launch
    runtime = runtimes.get(spec.runtime.name)
    listen = [plan.LOCALHOST] if launch.network == "host" else []
    if launch.argv != runtime.argv(spec, *listen):
        yield "the container's arguments are not those that the spec gives"
    if launch.env != runtime.env(spec):
        yield "the container's environment is not the one that the spec gives"
    if launch.mounts != plan.mounts(spec):
        yield "the files in the container are not the weights that the spec names"
    if launch.port != runtime.port:
        yield f"the server listens on {launch.port}, its runtime on {runtime.port}"
    for own, asked in _ROOM.items():
        if getattr(launch, own) != getattr(spec.limits, asked) << 20:
            yield f"{own} is not what limits.{asked} asks for"
    if launch.pids != spec.limits.pids:
        yield "the container's limit of processes is not the spec's"
    yield from _offered(records)


def _offered(records: RunRecords) -> Iterator[str]:
    """Network and GPUs: by what the engine offered, which the fingerprint says."""
    from kit import containers

    launch, engine = records.plan.launch, records.env_start.get("docker")
    count = launch.gpus.count if launch.gpus else 0
    if count != records.spec.devices.gpus:
        yield f"the container got {count} GPUs, the spec asks for {records.spec.devices.gpus}"
    if not isinstance(engine, dict) or "bridges" not in engine:
        return
    if (launch.network, launch.egress) != containers.network_plan(engine):
        yield "the container's network is not the one that this engine gives"
    if launch.gpus and engine.get("gpu") not in (None, launch.gpus.driver):
        yield "the engine hands out GPUs in another way than the plan says"


def _registered(records: RunRecords, listed: Manifest) -> Iterator[str]:
    first = records.events[0].data if records.events else {}
    if first.get("launches") != records.spec.launches:
        told = f"{first.get('launches')!a}"
        yield f"{told} launches were registered, the spec asks for {records.spec.launches}"
    if first.get("kit_version") != records.plan.kit_version:
        yield "the plan is of another kit than the one that registered it"
    for event in records.events:
        meant = {"network": records.plan.launch.network, "egress": records.plan.launch.egress}
        if event.kind == "container.created" and not meant.items() <= event.data.items():
            yield f"launch {event.data.get('launch')!a} had another network than the plan's"
    yield from _versions(records, listed)
    yield from _parents(listed)


def _versions(records: RunRecords, listed: Manifest) -> Iterator[str]:
    """One kit from begin to end; one that recovers a run, or computes it again, may be another."""
    other = any(p.get("relation") == RECOMPUTED for p in listed.parents)
    other = other or listed.status != "complete"
    told = {"manifest": None if other else listed.kit.get("version")}
    for name, found in (("env/start", records.env_start), ("env/end", records.env_end)):
        kit = found.get("kit")
        told[name] = kit.get("version") if isinstance(kit, dict) else None
    for name, version in told.items():
        if version not in (None, records.plan.kit_version):
            yield f"{name} is of another version of kit than the plan"


def _parents(listed: Manifest) -> Iterator[str]:
    """A parent is a hash and what the run is to it; that it is true is nobody's to see here."""
    seen = [p.get("relation") for p in listed.parents]
    for parent in listed.parents:
        name = parent.get("run_hash", "")
        whole = len(name) == _HASH and not set(name) - set("0123456789abcdef")
        if set(parent) != {"relation", "run_hash"} or not whole:
            yield "a parent is not named by its run's hash"
        elif parent["relation"] not in RELATIONS:
            yield f"{parent['relation'][:20]!a} is nothing that a run can be to another"
    if len(seen) != len(set(seen)):
        yield "the run has two parents of one kind"
