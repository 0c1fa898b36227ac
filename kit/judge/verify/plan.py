"""L4: plan, registration and requests follow from the spec.

The schedule is made again from the spec, byte for byte, and so are the container's arguments,
environment, mounts and limits. If this kit does not know the spec's runtime, the verdict is a
warning.

Requests, arguments and environment follow from a spec by kit's own rules, and another version may
have other rules. So a difference in a plan of another version is a warning. What needs no rules of
kit still fails: weights, limits, GPUs, and arguments in the journal that were not registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import UNSET

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.model import LaunchPlan, Manifest, RunSpec
from kit.judge.verify.verdict import Check, check, judged
from kit.judge.verify.versions import ruled_by
from kit.record.archive import ArchiveSource
from kit.record.manifest import RECOMPUTED, RELATIONS
from kit.record.records import RunRecords
from kit.spec.runtimes.contract import ServerRequest

_ROOM = {"memory_bytes": "memory_mib", "shm_bytes": "shm_mib"}
_HASH = 64
_PROBLEMS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
Find = Callable[[RunRecords, ArchiveSource], Iterator[str]]


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """Compare schedule, launch and registration with the spec."""
    return [
        _followed("SCHEDULE_DIFFERS", _nothing, _schedule, records, source),
        _followed("LAUNCH_DIFFERS", _stated, _launch, records, source),
        judged("REGISTERED_DIFFERS", _registered(records, manifest), "registered as it ran"),
    ]


def _followed(
    code: str, plain: Find, ruled: Find, records: RunRecords, source: ArchiveSource
) -> Check:
    """Check what holds for every kit (``plain``), then what follows by this kit's rules."""
    try:
        if problems := list(plain(records, source)):
            return judged(code, problems, "")
        return ruled_by(records.plan, code, ruled(records, source), "it follows from the spec")
    except UsageError as error:
        return check(code, "WARN", f"not followed from the spec: {error.message}")
    except _PROBLEMS as error:
        reason = f"the spec cannot be followed ({type(error).__name__})"
        return ruled_by(records.plan, code, [reason], "")


def _nothing(_records: RunRecords, _source: ArchiveSource) -> Iterator[str]:
    """Nothing: `kit.judge.verify.recheck` checks the counts and stages of requests."""
    return iter(())


def _schedule(records: RunRecords, source: ArchiveSource) -> Iterator[str]:
    from kit.run import plan

    expected = plan.requests_of(_spec(source))
    for scheduled, due in zip_longest(records.schedule, expected):  # stops at the first difference
        if scheduled is None:
            yield f"{len(records.schedule)} requests are scheduled, the spec gives more"
        elif due is None:
            number = len(records.schedule)
            yield f"{number} requests are scheduled, the spec gives {scheduled.index}"
        elif scheduled != due:
            yield f"request {scheduled.index} is not the one that the spec gives"
        if scheduled != due:
            return


def _spec(source: ArchiveSource) -> RunSpec:
    """The spec with every default written in, as it was when the run was planned.

    Raises:
        UsageError: it names a runtime or a workload that this kit does not know.
        ValueError: an option is not what its schema allows.
    """
    from kit.spec import spec

    document = spec.filled(jsonio.parse(source.read("spec.json"), "spec.json"))
    for problem in spec.option_problems(document):
        raise ValueError(f"{problem.path}: {problem.message}")
    return msgspec.convert(document, RunSpec, strict=False)


def _launch(records: RunRecords, source: ArchiveSource) -> Iterator[str]:
    from kit.run import plan
    from kit.spec import runtimes
    from kit.spec.runtimes.contract import environment, scratch_size

    spec, launch = _spec(source), records.plan.launch
    runtime = runtimes.get(spec.runtime.name)
    listen = [plan.LOCALHOST] if launch.network == "host" else []
    if launch.argv != runtime.argv(spec, *listen):
        yield "the container's arguments are not those that the spec gives"
    if launch.env != environment(runtime, spec, *listen):
        yield "the container's environment is not the one that the spec gives"
    if launch.mounts != plan.mounts(spec):
        yield "the files in the container are not where the spec puts them"
    if launch.scratch_bytes != (scratch_size(runtime, spec) or UNSET):
        yield "the container's /tmp is not the one that its runtime needs"
    # Its words may change within a version.
    if records.plan.repeat and records.plan.repeat.kind != runtime.repeat.kind:
        yield "what a repeat gives is not what the runtime states of itself"
    if launch.port != runtime.port:
        yield f"the server listens on {launch.port}, its runtime on {runtime.port}"
    yield from _offered(records)
    yield from _asked(records, "startup.step", runtime.preparing(spec))
    yield from _asked(records, "shutdown.step", runtime.closing(spec))


def _asked(records: RunRecords, kind: str, requests: tuple[ServerRequest, ...]) -> Iterator[str]:
    """What the server was asked beside the schedule, against what the runtime asks for.

    `kit.judge.verify.journal` checks how many steps there are, and where.
    """
    due = {request.name: request.record for request in requests}
    for event in records.events:
        if event.kind != kind:
            continue
        name, launch = event.data["name"], event.data["launch"]
        sent = {k: v for k, v in event.data.items() if k not in ("launch", "status", "seconds")}
        if name in due and sent != due[name]:
            yield f"launch {launch}: its step {name[:20]!a} is not the one that the spec gives"


def _stated(records: RunRecords, _source: ArchiveSource) -> Iterator[str]:
    """Differences between what spec and plan both state literally, whatever kit made them."""
    spec, launch = records.spec, records.plan.launch
    files = spec.weights.files if spec.weights else ()
    weights = sorted((f.sha256, PurePosixPath(f.path).name) for f in files)
    if weights != sorted((m.sha256, PurePosixPath(m.target).name) for m in launch.mounts):
        yield "the files in the container are not the weights that the spec names"
    for own, limit in _ROOM.items():
        if getattr(launch, own) != getattr(spec.limits, limit) << 20:
            yield f"{own} is not what limits.{limit} asks for"
    if launch.pids != spec.limits.pids:
        yield "the container's limit of processes is not the spec's"
    count = launch.gpus.count if launch.gpus else 0
    if count != spec.devices.gpus:
        yield f"the container got {count} GPUs, the spec asks for {spec.devices.gpus}"


def _offered(records: RunRecords) -> Iterator[str]:
    """Network and GPUs, by the engine's facts in the fingerprint."""
    from kit.machine import containers

    launch, engine = records.plan.launch, records.env_start.get("docker")
    if not isinstance(engine, dict) or "bridges" not in engine:
        return
    if (launch.network, launch.egress) != containers.network_plan(engine):
        yield "the container's network is not the one that this engine gives"
    if launch.gpus and engine.get("gpu") not in (None, launch.gpus.driver):
        yield "the engine hands out GPUs in another way than the plan says"


def _registered(records: RunRecords, manifest: Manifest) -> Iterator[str]:
    first = records.events[0].data if records.events else {}
    if first.get("launches") != records.spec.launches:
        launches = f"{first.get('launches')!a}"
        yield f"{launches} launches were registered, the spec asks for {records.spec.launches}"
    if first.get("kit_version") != records.plan.kit_version:
        yield "the plan is of another kit than the one that registered it"
    for event in records.events:
        if event.kind == "container.created":
            yield from _created(records.plan.launch, event.data)
    yield from _versions(records, manifest)
    yield from _parents(manifest)


def _created(launch: LaunchPlan, journalled: Mapping[str, Any]) -> Iterator[str]:
    """The network and arguments that a launch was given, against the registered plan."""
    where = f"launch {journalled.get('launch')!a}"
    planned = {"network": launch.network, "egress": launch.egress}
    if not planned.items() <= journalled.items():
        yield f"{where} had another network than the plan's"
    # Older kits did not journal it.
    if "argv" in journalled and journalled["argv"] != list(launch.argv):
        yield f"{where} had other arguments than the plan's"


def _versions(records: RunRecords, manifest: Manifest) -> Iterator[str]:
    """One version of kit for the whole run; only recovering or recomputing may use another."""
    may_differ = any(p.get("relation") == RECOMPUTED for p in manifest.parents)
    may_differ = may_differ or manifest.status != "complete"
    versions = {"manifest": None if may_differ else manifest.kit.get("version")}
    for name, fingerprint in (("env/start", records.env_start), ("env/end", records.env_end)):
        kit = fingerprint.get("kit")
        versions[name] = kit.get("version") if isinstance(kit, dict) else None
    for name, version in versions.items():
        if version not in (None, records.plan.kit_version):
            yield f"{name} is of another version of kit than the plan"


def _parents(manifest: Manifest) -> Iterator[str]:
    """Check the form of parents: hash and relation. Whether they are true is not known here."""
    relations = [p.get("relation") for p in manifest.parents]
    for parent in manifest.parents:
        name = parent.get("run_hash", "")
        is_hash = len(name) == _HASH and not set(name) - set("0123456789abcdef")
        if set(parent) != {"relation", "run_hash"} or not is_hash:
            yield "a parent is not named by its run's hash"
        elif parent["relation"] not in RELATIONS:
            yield f"{parent['relation'][:20]!a} is nothing that a run can be to another"
    if len(relations) != len(set(relations)):
        yield "the run has two parents of one kind"
