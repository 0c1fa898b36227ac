"""A golden run: sealed by kit's own code from scripted records, for tests that need an archive.

No container runs and no meter is read: the numbers are made up here, but every file has the form
that the engine writes, and store, journal, results and seal are the real ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kit import archive, images, jsonio, manifest, records, results, seal, spec
from kit.events import FILE, GENESIS, Clock, Journal
from kit.model import (
    ImageIdentity,
    LaunchPlan,
    MeterDevice,
    MeterPlan,
    Plan,
    Request,
    Response,
    RunSpec,
    ScheduledRequest,
)
from kit.plan import materialise, schedule_bytes
from kit.store import InFlight, Store
from tests.runtimes.specs import defaults

MS = 1_000_000
S = 1000 * MS
DIGEST = "sha256:" + "1" * 64
UTC = "2026-01-02T03:04:05+00:00"
GPU_MW, CPU_MW = 250_000, 40_000
TOKENS = 8
LAUNCHES = 2

Mutation = Callable[[Path], None]


class ScriptedClock(Clock):
    """A clock that is told the time."""

    def __init__(self) -> None:
        super().__init__(origin=0)
        self.t = 0

    def now(self) -> int:
        return self.t

    def anchor(self) -> dict[str, str]:
        return {name: str(self.t) for name in ("monotonic", "monotonic_raw", "realtime")}


@dataclass
class Script:
    """A run being written down."""

    flight: InFlight
    spec: RunSpec
    plan: Plan
    schedule: tuple[ScheduledRequest, ...]
    clock: ScriptedClock = field(default_factory=ScriptedClock)


def run_spec() -> RunSpec:
    """A small spec of the loopback runtime with a GPU's and a CPU's meter."""
    document = {
        "schema": "kit.run-spec/1",
        "name": "golden",
        "runtime": {"name": "loopback", "options": defaults("loopback")},
        "image": {"recipe": "loopback", "digest": DIGEST},
        "weights": None,
        "workload": {"name": "prompts", "options": {"requests": 3, "max_output_tokens": TOKENS}},
        "phases": {"idle_s": 2, "loaded_idle_s": 2, "warmup_requests": 1},
        "meters": [{"name": "nvml"}, {"name": "rapl"}],
        "launches": LAUNCHES,
    }
    return spec.parse(jsonio.canonical(document))


def build(root: Path, status: str = "complete", reason: str = "") -> Path:
    """A sealed run in the store at ``root``; returns its folder."""
    script = begin(root)
    total = records_of(script)
    finish(script, total, status, reason)
    source = archive.open_source(script.flight.path)
    script.flight.write("results.json", results.compute(records.load(source)))
    sealed = seal.seal(script.flight, status, reason)
    script.flight.release()
    return sealed


def begin(root: Path) -> Script:
    """A run in flight with spec, plan and schedule written."""
    flight = Store(root).begin()
    the_spec = run_spec()
    schedule = materialise(the_spec)
    plan = plan_of(the_spec, schedule)
    flight.write("spec.json", spec.document(the_spec))
    flight.write("plan.json", msgspec.to_builtins(plan))
    flight.write_bytes("inputs/schedule.jsonl", schedule_bytes(schedule))
    for name, data in recipe().items():
        flight.write_bytes(f"inputs/image/{name}", data)
    flight.write("env/start.json", {"kernel": "6.1"})
    flight.write("private/identity.json", {"nonce": "ab" * 32, "host": "golden-host"})
    return Script(flight, the_spec, plan, schedule)


def recipe() -> dict[str, bytes]:
    """A recipe whose lock fits its one file and the pinned image."""
    dockerfile = b"FROM scratch\n"
    lock = {
        "schema": "kit.image/1",
        "recipe": "loopback",
        "files": {"Dockerfile": jsonio.digest(dockerfile)},
        "image_id": DIGEST,
    }
    return {"Dockerfile": dockerfile, "image.json": jsonio.canonical(lock)}


def plan_of(the_spec: RunSpec, schedule: tuple[ScheduledRequest, ...]) -> Plan:
    image = ImageIdentity(
        reference="kit/loopback:golden",
        recipe="loopback",
        image_id=DIGEST,
        diff_ids=(DIGEST,),
        platform="linux/amd64",
        config_digest=DIGEST,
    )
    launch = LaunchPlan(
        argv=("--port", "8080"),
        env={},
        port=8080,
        mounts=(),
        network="internal",
        egress="none",
        runtime_cpus="0",
        driver_cpus="1",
        sampler_cpus="1",
        memory_bytes=1 << 30,
        shm_bytes=1 << 26,
        pids=64,
    )
    return Plan(
        schema="kit.plan/1",
        spec_hash=spec.spec_hash(the_spec),
        kit_version="0.1.0",
        image=image,
        image_pinned=DIGEST,
        image_match="identical",
        model=None,
        launch=launch,
        meters=meters(),
        schedule_sha256=jsonio.digest(schedule_bytes(schedule)),
        requests=sum(r.stage == "measured" for r in schedule),
        launches=the_spec.launches,
        image_recipe_sha256=images.files_digest(
            {name: jsonio.digest(data) for name, data in recipe().items()}
        ),
    )


def meters() -> tuple[MeterPlan, ...]:
    """One GPU with counter and power, and one CPU package; a second GPU quantity is absent."""
    gpu = MeterDevice(
        device="gpu0",
        description="golden GPU",
        quantities={
            "gpu_energy": {"period_s": 0.1, "poll_s": 0.1},
            "gpu_power_instant": {"period_s": 0.1, "poll_s": 0.1},
            "gpu_power_sample": {"reason": "this GPU keeps no power buffer"},
        },
    )
    cpu = MeterDevice(
        device="cpu0-package",
        description="RAPL zone package-0",
        quantities={"cpu_energy": {"wrap": 1 << 40, "poll_s": 0.1}},
    )
    return (
        MeterPlan(name="nvml", alias=None, devices=(gpu,)),
        MeterPlan(name="rapl", alias=None, devices=(cpu,)),
    )


# --- what is recorded -------------------------------------------------------------------------


def records_of(script: Script) -> int:
    """Journal, requests and samples of every launch; returns the rows of all sample files."""
    flight, clock = script.flight, script.clock
    with_journal = Journal(flight.path / FILE, clock)
    spec_hash = jsonio.digest((flight.path / "spec.json").read_bytes())
    plan_hash = jsonio.digest((flight.path / "plan.json").read_bytes())
    registered = {
        "id": flight.id,
        "spec_hash": spec_hash,
        "plan_hash": plan_hash,
        "utc": UTC,
        "kit_version": "0.1.0",
        "launches": script.spec.launches,
        "parents": [],
    }
    with_journal.add("run.registered", **registered)
    flight.register(registered)
    clock.t = 10 * MS
    with_journal.add("sampler.started", meter="local")
    clock.t = 100 * MS
    with_journal.add("clock.anchor", **clock.anchor())
    for index in range(script.spec.launches):
        launch(script, with_journal, index)
    rows = write_samples(flight, clock.t + S)
    clock.t += S
    report = {"rows": rows, "late_p99_ns": 1000, "overruns": {}, "tiers": {}}
    with_journal.add("sampler.stopped", meter="local", **report)
    with_journal.close()
    return rows


def launch(script: Script, journal: Journal, index: int) -> None:
    """One launch with all its blocks."""
    clock = script.clock
    clock.t += 100 * MS
    journal.add("launch.begin", launch=index)
    block(script, journal, index, "idle", "before", 2 * S)
    journal.add("phase.begin", launch=index, phase="startup", part=None)
    created = {"image": script.plan.image.image_id, "network": "internal", "egress": "none"}
    journal.add("container.created", launch=index, **created)
    journal.add("container.started", launch=index)
    clock.t += S
    journal.add("container.ready", launch=index)
    journal.add("phase.end", launch=index, phase="startup", part=None)
    pairs = stage(script, journal, index, "warmup")
    block(script, journal, index, "loaded_idle", "before", 2 * S)
    pairs += stage(script, journal, index, "measured")
    block(script, journal, index, "loaded_idle", "after", 2 * S)
    write_launch(script, index, pairs)
    block(script, journal, index, "shutdown", None, S)
    block(script, journal, index, "idle", "after", 2 * S)
    journal.add("launch.end", launch=index)


def block(
    script: Script, journal: Journal, index: int, name: str, part: str | None, ns: int
) -> None:
    journal.add("phase.begin", launch=index, phase=name, part=part)
    script.clock.t += ns
    journal.add("phase.end", launch=index, phase=name, part=part)


def stage(
    script: Script, journal: Journal, index: int, name: str
) -> list[tuple[Request, Response]]:
    """A block of requests, one after the other, as long as they take."""
    clock = script.clock
    journal.add("phase.begin", launch=index, phase=name, part=None)
    pairs = []
    for scheduled in (r for r in script.schedule if r.stage == name):
        clock.t += 10 * MS
        pairs.append(exchange(scheduled, clock.t))
        clock.t = pairs[-1][0].done
    clock.t += 10 * MS
    facts = {"ok": len(pairs), "failed": 0, "cpu_share": 0.01, "lag_p99_ns": 0}
    journal.add("stage.done", launch=index, stage=name, **facts)
    journal.add("phase.end", launch=index, phase=name, part=None)
    return pairs


def exchange(scheduled: ScheduledRequest, sent: int) -> tuple[Request, Response]:
    """A request and its answer: first token after 50 ms, then one each 100 ms."""
    times = tuple(sent + 50 * MS + n * 100 * MS for n in range(TOKENS))
    text = " ".join(f"w{scheduled.index}{n}" for n in range(TOKENS))
    request = Request(
        index=scheduled.index,
        stage=scheduled.stage,
        item=scheduled.item,
        intended=sent,
        sent=sent,
        first_byte=times[0],
        first_token=times[0],
        last_token=times[-1],
        done=times[-1] + MS,
        status="ok",
        http_status=200,
        error=None,
        prompt_tokens=5,
        output_tokens=TOKENS,
        cached_tokens=0,
        finish_reason="length",
    )
    response = Response(
        index=scheduled.index,
        stage=scheduled.stage,
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        chunk_times=times,
        usage={"prompt_tokens": 5, "completion_tokens": TOKENS, "total_tokens": TOKENS + 5},
        timings=None,
    )
    return request, response


def write_launch(script: Script, index: int, pairs: list[tuple[Request, Response]]) -> None:
    folder = f"launches/{index:03d}"
    flight = script.flight
    flight.write_bytes(f"{folder}/requests.jsonl", lines(r for r, _ in pairs))
    flight.write_bytes(f"{folder}/responses.jsonl", lines(r for _, r in pairs))
    stages = {"measured": {"cpu_share": 0.01, "lag_p99_ns": 0}}
    flight.write(f"{folder}/driver.json", {"stages": stages})
    flight.write(f"{folder}/effective.json", {"/props": {}})
    flight.write_bytes(f"{folder}/container.log", b"listening\n")


def lines(found: Iterable[Any]) -> bytes:
    """Records as canonical JSON Lines."""
    return b"".join(jsonio.canonical(msgspec.to_builtins(r)) + b"\n" for r in found)


def write_samples(flight: InFlight, end: int) -> int:
    """Rows each 100 ms under constant power, from 20 ms to ``end``; returns how many."""
    gpu, cpu = [], []
    for t in range(20 * MS, end, 100 * MS):
        energy_mj = 5_000_000 + GPU_MW * t // S
        gpu.append((t, "gpu0", "gpu_energy", energy_mj))
        gpu.append((t + 20_000, "gpu0", "gpu_power_instant", GPU_MW))
        cpu.append((t + 40_000, "cpu0-package", "cpu_energy", 7_000_000 + CPU_MW * t // MS))
    for name, rows in (("nvml", gpu), ("rapl", cpu)):
        flight.write_bytes(f"samples/{name}.csv", csv(rows))
    return len(gpu) + len(cpu)


def csv(rows: list[tuple[int, str, str, int]]) -> bytes:
    found = ["seq,t0,t1,t_dev,device,quantity,rc,raw\n"]
    for seq, (t, device, quantity, raw) in enumerate(rows):
        found.append(f"{seq},{t},{t + 5000},,{device},{quantity},0,{raw}\n")
    return "".join(found).encode()


def finish(script: Script, rows: int, status: str, reason: str) -> None:
    """The closing fingerprint and the last event."""
    assert rows > 0
    script.flight.write("env/end.json", {"kernel": "6.1"})
    path = script.flight.path / FILE
    add_event(path, script.clock.t, "run.end", {"status": status, "reason": reason})


# --- mutating a sealed run --------------------------------------------------------------------


def add_event(path: Path, t: int, kind: str, data: dict[str, Any]) -> None:
    """Append a chained event to a journal."""
    rechain(path, lambda events: events.append({"t": t, "kind": kind, "data": data}))


def rechain(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Let ``change`` edit a journal's events, then number and chain them again."""
    events = [jsonio.parse(line) for line in path.read_bytes().splitlines()]
    change(events)
    prev, out = GENESIS, b""
    for seq, event in enumerate(events):
        line = jsonio.canonical({**event, "seq": seq, "prev": prev})
        prev = jsonio.digest(line)
        out += line + b"\n"
    path.write_bytes(out)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Let ``change`` edit a JSON document in place."""
    document = jsonio.read(path)
    change(document)
    path.write_bytes(jsonio.canonical(document))


def edit_lines(path: Path, change: Callable[[list[Any]], object]) -> None:
    """Let ``change`` edit the list of a JSON Lines file's documents."""
    found = [jsonio.parse(line) for line in path.read_bytes().splitlines()]
    change(found)
    path.write_bytes(b"".join(jsonio.canonical(line) + b"\n" for line in found))


def recompute(run: Path) -> None:
    """What a careful forger does next: derive results from the forged records."""
    found = results.compute(records.load(archive.open_source(run)))
    (run / "results.json").write_bytes(jsonio.canonical(found))


def reseal(run: Path) -> Path:
    """List the files as they now are, and give the run the name of its new manifest."""
    document = jsonio.read(run / archive.MANIFEST)
    document["files"] = [msgspec.to_builtins(f) for f in seal.listed(run)]
    plan = jsonio.read(run / "plan.json")
    document.update(image=plan.get("image"), model=plan.get("model"))
    hashes = {f["path"]: f["sha256"] for f in document["files"]}
    for field_, name in (("spec", "spec"), ("plan", "plan"), ("result", "results")):
        document[f"{field_}_hash"] = hashes.get(f"{name}.json", "0" * 64)
    data = jsonio.canonical(document)
    (run / archive.MANIFEST).write_bytes(data)
    return run.rename(run.with_name(manifest.run_hash(data)))
