"""A golden run: sealed by kit's own code from scripted records, for tests that need an archive.

No container runs and no meter is read: the numbers are made up here, but every file has the form
that the runner writes, and store, journal, results and seal are the real ones.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from kit import __version__
from kit.core import jsonio
from kit.core.facts import QuantityFacts
from kit.core.model import (
    ImageFile,
    ImageIdentity,
    ImageSpec,
    MeterDevice,
    MeterPlan,
    Plan,
    Request,
    Response,
    RunSpec,
    ScheduledRequest,
)
from kit.energy import results
from kit.machine import images
from kit.measure.meters import Reading
from kit.measure.meters.live import Live
from kit.record import archive, manifest, records
from kit.record.events import FILE, GENESIS, Clock, Journal
from kit.run import preflight
from kit.run.plan import HostFacts, plan, schedule_bytes
from kit.run.watch import phase
from kit.spec import runtimes, spec
from kit.store import seal
from kit.store.store import InFlight, Store
from tests.runtimes.specs import defaults

MS = 1_000_000
S = 1000 * MS
DIGEST = images.recipe("loopback").image_id
UTC = "2026-01-02T03:04:05+00:00"
UTC_NS = 1_767_323_045 * S
ANCHOR_NS, LIVE_NS, READ_NS = 10 * S, 500 * MS, 100 * MS
GPU_MW, CPU_MW = 250_000, 40_000
TOKENS = 8
GPUS = 1  # of the machine; the run asks for all
STATE: dict[str, int] = {}  # what else is read of each GPU, and its constant raw value
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
        starts = {"monotonic": 0, "monotonic_raw": 7 * S, "realtime": UTC_NS}
        return {name: str(start + self.t) for name, start in starts.items()}


@dataclass
class Script:
    """A run being written down."""

    flight: InFlight
    spec: RunSpec
    plan: Plan
    schedule: tuple[ScheduledRequest, ...]
    clock: ScriptedClock = field(default_factory=ScriptedClock)
    live: Live = field(default_factory=lambda: Live(d for m in meters() for d in m.devices))
    read: int = 0  # rounds of readings so far
    begun: int = 0  # when the first launch began


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
        "devices": {"gpus": GPUS},
        "launches": LAUNCHES,
    }
    return spec.parse(jsonio.canonical(document))


def image_spec() -> RunSpec:
    """A small spec of images, two of each request."""
    document = spec.document(run_spec())
    size = {"images": 2, "width": 16, "height": 8, "steps": 4}
    document |= {
        "name": "golden-images",
        "runtime": {"name": "diffusers"},
        "image": {"recipe": "diffusers", "digest": images.recipe("diffusers").image_id},
        "weights": {
            "repo": "golden",
            "revision": "1",
            "files": [
                {
                    "path": "model_index.json",
                    "source": "file:model_index.json",
                    "sha256": "0" * 64,
                    "size": 1,
                }
            ],
        },
        "workload": {"name": "images", "options": {"requests": 3, **size}},
        "devices": {"gpus": 0},
        "primary_metric": "gpu_energy_per_image",
    }
    return spec.parse(jsonio.canonical(document))


def build(
    root: Path, status: str = "complete", reason: str = "", asked: RunSpec | None = None
) -> Path:
    """A sealed run in the store at ``root``; returns its folder. ``asked`` is `run_spec` else."""
    script = begin(root, asked)
    total = records_of(script)
    finish(script, total, status, reason)
    source = archive.open_source(script.flight.path)
    script.flight.write("results.json", results.to_document(results.compute(records.load(source))))
    sealed = seal.seal(script.flight, status, reason)
    script.flight.release()
    return sealed


def copied(root: Path) -> Path:
    """A copy of one sound run in the folder ``root``, for tests that change it: built once."""
    sound = _sound()
    return Path(shutil.copytree(sound, root / sound.name))


@cache
def _sound() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kit-golden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build(folder / "runs")


def begin(root: Path, asked: RunSpec | None = None) -> Script:
    """A run in flight with spec, plan and schedule written."""
    flight = Store(root).begin()
    the_spec = asked or run_spec()
    the_plan, schedule = plan(the_spec, facts(the_spec.image))
    flight.write("spec.json", spec.document(the_spec))
    flight.write("plan.json", msgspec.to_builtins(the_plan))
    flight.write_bytes("inputs/schedule.jsonl", schedule_bytes(schedule))
    for name, data in recipe(the_spec.image).items():
        flight.write_bytes(f"inputs/image/{name}", data)
    flight.write("env/start.json", fingerprint())
    flight.write("private/identity.json", {"nonce": "ab" * 32, "host": "golden-host"})
    return Script(flight, the_spec, the_plan, schedule)


def recipe(image: ImageSpec) -> dict[str, bytes]:
    """The recipe of the image, as a run seals it."""
    return images.sealable_files(image.recipe or "", image.digest or "")


def facts(pinned: ImageSpec | None = None) -> HostFacts:
    """What kit would have found on the machine."""
    pinned = pinned or run_spec().image
    digest = pinned.digest or ""
    image = ImageIdentity(
        reference=f"kit/{pinned.recipe}:golden",
        recipe=pinned.recipe,
        image_id=digest,
        diff_ids=(digest,),
        platform="linux/amd64",
        config_digest=digest,
    )
    return HostFacts(
        engine=fingerprint()["docker"],
        image=image,
        match="identical",
        weights={},
        meters=meters(),
        cpus=("0-1", "2", "3"),
        recipe=recipe(pinned),
    )


def fingerprint() -> dict[str, Any]:
    """The machine, as `kit.machine.host.fingerprint` tells it."""
    board = {
        "name": "golden GPU",
        "energy_counter": True,
        "memory_total_bytes": 80 << 30,
        "power_default_w": 400,
        "power_enforced_w": 400,
        "power_limit_w": 400,
        "compute_processes": 0,
        "mig": False,
        "persistence": True,
        "ecc": True,
    }
    docker = {
        "engine": "docker",
        "version": "26.1.5",
        "api_version": "1.45",
        "bridges": True,
        "rootless": False,
        "image_store": "classic",
        "cgroup_version": "2",
        "gpu": "cdi",
    }
    return {
        "cgroup": 2,
        "clock": {"synchronised": True, "maximum_error_us": 500, "source": "tsc"},
        "cpu": {"model": "golden CPU", "threads": 4, "usable": 4, "frequency": {"absent": "?"}},
        "docker": docker,
        "gpus": {f"gpu{n}": board for n in range(GPUS)},
        "kernel": {"release": "6.1", "architecture": "x86_64"},
        "kit": {"version": __version__, "python": "3.11.2"},
        "load": {"one_minute": 0.1},
        "memory": {"total_bytes": 64 << 30, "available_bytes": 60 << 30},
        "nvidia": {"driver": "580.1", "cuda_driver": "13.0", "nvml": "13.580.1"},
        "os": {"id": "debian", "version": "12"},
    }


def findings(script: Script) -> list[dict[str, str]]:
    """What preflight says of this plan on this machine."""
    gathered = {
        "host": fingerprint(),
        "weights": {
            f"/weights/{file.path}": file.size
            for file in (script.spec.weights.files if script.spec.weights else ())
        },
        "disk_free": 1 << 40,
        "port_free": {"absent": "the port is inside the container's own network"},
        "gpu_energy": {f"gpu{n}": 125_000 for n in range(GPUS)},
        "other_runs": [],
    }
    result = preflight.check(script.plan, script.spec, gathered)
    return [{"code": f.code, "level": f.level, "message": f.message} for f in result]


def meters() -> tuple[MeterPlan, ...]:
    """GPUs with counter and power, and one CPU package; a third GPU quantity is absent."""
    quantities = {
        "gpu_energy": QuantityFacts(period_s=0.1, poll_s=0.1),
        "gpu_power_instant": QuantityFacts(period_s=0.1, poll_s=0.1),
        "gpu_power_sample": QuantityFacts(reason="this GPU keeps no power buffer"),
        **{name: QuantityFacts(poll_s=0.1) for name in STATE},
    }
    gpus = tuple(
        MeterDevice(device=f"gpu{n}", description="golden GPU", quantities=quantities)
        for n in range(GPUS)
    )
    cpu = MeterDevice(
        device="cpu0-package",
        description="RAPL zone package-0",
        quantities={"cpu_energy": QuantityFacts(wrap=1 << 40, poll_s=0.1)},
    )
    return (
        MeterPlan(name="nvml", alias=None, devices=gpus),
        MeterPlan(name="rapl", alias=None, devices=(cpu,)),
    )


# --- what is recorded -------------------------------------------------------------------------


def records_of(script: Script) -> int:
    """Journal, requests and samples of every launch; returns the rows of all sample files."""
    flight, clock = script.flight, script.clock
    journal = Journal(flight.path / FILE, clock)
    registered = {
        "id": flight.id,
        "spec_hash": jsonio.digest((flight.path / "spec.json").read_bytes()),
        "plan_hash": jsonio.digest((flight.path / "plan.json").read_bytes()),
        "utc": UTC,
        "kit_version": __version__,
        "launches": script.spec.launches,
        "parents": [],
    }
    journal.add("run.registered", **registered)
    flight.register(registered)
    for finding in findings(script):
        journal.add("finding", **finding)
    clock.t = 90 * MS
    journal.add("sampler.started", meter="local")
    clock.t = script.begun = 100 * MS
    for index in range(script.spec.launches):
        launch(script, journal, index)
    pass_time(script, None, clock.t + 200 * MS)
    rows = write_samples(script)
    journal.add("sampler.stopped", meter="local", **stopped(script, rows))
    journal.close()
    return rows


def stopped(script: Script, rows: int) -> dict[str, Any]:
    """A sampler's report: the first and the last round are not counted as reads."""
    tier = {"reads": script.read - 2, "late_p99_ns": 1000}
    timed = ["nvml.power-100ms", "rapl.rapl", *(["nvml.state-100ms"] if STATE else [])]
    return {
        "rows": rows,
        "late_p99_ns": 1000,
        "overruns": dict.fromkeys(timed, 0),
        "tiers": dict.fromkeys(["nvml.counter", *timed], tier),
    }


def launch(script: Script, journal: Journal, index: int) -> None:
    """One launch with all its blocks."""
    asked = script.spec.phases
    idle_ns, loaded_ns = round(asked.idle_s * S), round(asked.loaded_idle_s * S)
    journal.add("launch.begin", launch=index)
    with phase(journal, index, "idle", "before"):
        pass_time(script, journal, script.clock.t + idle_ns)
    with phase(journal, index, "startup"):
        created = {"image": script.plan.image.image_id, "network": "internal", "egress": "host"}
        argv = list(script.plan.launch.argv)
        journal.add("container.created", launch=index, argv=argv, **created)
        journal.add("container.started", launch=index)
        pass_time(script, journal, script.clock.t + S)
        journal.add("container.ready", launch=index)
        take_steps(script, journal, index, "startup.step")
    pairs, stages = [], {}
    for name in ("warmup", "measured"):
        if name == "measured":
            with phase(journal, index, "loaded_idle", "before"):
                pass_time(script, journal, script.clock.t + loaded_ns)
        requests, stages[name] = stage(script, journal, index, name)
        pairs += requests
    with phase(journal, index, "loaded_idle", "after"):
        pass_time(script, journal, script.clock.t + loaded_ns)
    write_launch(script, index, pairs, stages)
    with phase(journal, index, "shutdown"):
        take_steps(script, journal, index, "shutdown.step")
        pass_time(script, journal, script.clock.t + S)
        journal.add("container.stopped", launch=index, exit_code=0, killed=False)
    journal.add("container.removed", launch=index)
    with phase(journal, index, "idle", "after"):
        pass_time(script, journal, script.clock.t + idle_ns)
    journal.add("launch.end", launch=index)


def take_steps(script: Script, journal: Journal, index: int, kind: str) -> None:
    """What the runtime wants its server asked; the loopback runtime wants nothing."""
    runtime = runtimes.get(script.spec.runtime.name)
    asked = runtime.preparing if kind == "startup.step" else runtime.closing
    for request in asked(script.spec):
        pass_time(script, journal, script.clock.t + S)
        journal.add(kind, launch=index, **request.record, status=200, seconds=1.0)


def pass_time(script: Script, journal: Journal | None, until: int) -> None:
    """Let time pass; the sampler reads meanwhile, and the runner's heartbeat is journalled."""
    clock = script.clock
    while True:
        due = READ_NS * script.read + 20 * MS
        beat = script.begun + -(-(clock.t - script.begun + 1) // LIVE_NS) * LIVE_NS
        if min(due, beat) > until:
            break
        if due <= beat:
            for reading in readings(due):
                script.live.see(reading)
            script.read += 1
        else:
            clock.t = beat
            if journal:
                tell(script, journal)
    clock.t = until


def tell(script: Script, journal: Journal) -> None:
    """A beat of the runner's heart."""
    clock = script.clock
    if (clock.t - script.begun) // LIVE_NS % (ANCHOR_NS // LIVE_NS) == 1:
        journal.add("clock.anchor", **clock.anchor())
    data = {"power": script.live.watts(clock.t), "joules": script.live.joules()}
    journal.add("live", **data)


def stage(
    script: Script, journal: Journal, index: int, name: str
) -> tuple[list[tuple[Request, Response]], dict[str, Any]]:
    """A block of requests, one after the other, as long as they take; the driver's words on it."""
    begin = script.clock.t
    pairs = []
    with phase(journal, index, name):
        t = begin
        for scheduled in (r for r in script.schedule if r.stage == name):
            pairs.append(exchange(scheduled, t + 10 * MS))
            if scheduled.expect_images is not msgspec.UNSET:
                pairs[-1] = with_images(script.flight, index, scheduled, *pairs[-1])
            t = pairs[-1][0].done
        pass_time(script, journal, t)
        wall = script.clock.t - begin
        pass_time(script, journal, t + 10 * MS)
    counts = {"ok": len(pairs), "failed": 0, "cpu_share": 0.01, "lag_p99_ns": 0}
    journal.add("stage.done", launch=index, stage=name, **counts)
    chunks = sum(len(response.chunk_times) for _, response in pairs)
    own = {"requests": len(pairs), "chunks": chunks, "reads": chunks, "lag_max_ns": 0}
    return pairs, {**counts, **own, "wall_ns": wall, "cpu_ns": wall // 100, "parse_cpu_ns": 1000}


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


def with_images(
    flight: InFlight, launch: int, scheduled: ScheduledRequest, request: Request, response: Response
) -> tuple[Request, Response]:
    """The answer with images in place of its text; their files are written."""
    width, height = map(int, scheduled.body["size"].split("x"))
    made = []
    for number in range(scheduled.body["n"]):
        data = png_file(width, height, shade=scheduled.body["seed"] + number)
        name = f"images/{scheduled.index:05d}-{number}.png"
        flight.write_bytes(f"launches/{launch:03d}/{name}", data)
        sha256 = hashlib.sha256(data).hexdigest()
        made.append(ImageFile(file=name, sha256=sha256, width=width, height=height))
    steps = scheduled.expect_steps
    untimed = {"first_token": None, "last_token": None, "output_tokens": None}
    return (
        msgspec.structs.replace(
            request, **untimed, finish_reason=None, images=len(made), steps=steps
        ),
        msgspec.structs.replace(
            response,
            text="",
            text_sha256=hashlib.sha256(b"").hexdigest(),
            chunk_times=(),
            usage={"prompt_tokens": 5, "images": len(made), "steps": steps},
            images=tuple(made),
        ),
    )


def png_file(width: int, height: int, shade: int = 0) -> bytes:
    """A PNG file of one grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        framed = kind + data
        return len(data).to_bytes(4, "big") + framed + zlib.crc32(framed).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    rows = (b"\0" + bytes((shade % 256,)) * width) * height
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_launch(
    script: Script, index: int, pairs: list[tuple[Request, Response]], stages: dict[str, Any]
) -> None:
    folder = f"launches/{index:03d}"
    flight = script.flight
    flight.write_bytes(f"{folder}/requests.jsonl", lines(r for r, _ in pairs))
    flight.write_bytes(f"{folder}/responses.jsonl", lines(r for _, r in pairs))
    about = {"python": "3.11.2", "affinity": {"asked": "2", "got": "2"}, "stages": stages}
    flight.write(f"{folder}/driver.json", about)
    flight.write(f"{folder}/effective.json", {"/props": {}})
    flight.write_bytes(f"{folder}/container.log", b"listening\n")


def lines(items: Iterable[Any]) -> bytes:
    """Records as canonical JSON Lines."""
    return b"".join(jsonio.canonical(msgspec.to_builtins(r)) + b"\n" for r in items)


def readings(t: int) -> list[Reading]:
    """What the sampler reads at ``t``, under constant power."""
    names = [f"gpu{n}" for n in range(GPUS)]
    rows = (
        *((t, name, "gpu_energy", 5_000_000 + GPU_MW * t // S) for name in names),
        *((t + 20_000, name, "gpu_power_instant", GPU_MW) for name in names),
        *((t + 30_000, name, what, raw) for name in names for what, raw in STATE.items()),
        (t + 40_000, "cpu0-package", "cpu_energy", 7_000_000 + CPU_MW * t // MS),
    )
    return [Reading(t0, t0 + 5000, None, name, what, 0, raw) for t0, name, what, raw in rows]


def write_samples(script: Script) -> int:
    """Rows each 100 ms from 20 ms on; returns how many."""
    rows = [r for n in range(script.read) for r in readings(READ_NS * n + 20 * MS)]
    for name, gpu in (("nvml", True), ("rapl", False)):
        own = [
            (r.t0, r.device, r.quantity, r.raw) for r in rows if r.device.startswith("gpu") is gpu
        ]
        script.flight.write_bytes(f"samples/{name}.csv", csv(own))
    return len(rows)


def csv(rows: Iterable[tuple[int, str, str, int | None]]) -> bytes:
    lines = ["seq,t0,t1,t_dev,device,quantity,rc,raw\n"]
    for seq, (t, device, quantity, raw) in enumerate(rows):
        lines.append(f"{seq},{t},{t + 5000},,{device},{quantity},0,{raw}\n")
    return "".join(lines).encode()


def finish(script: Script, rows: int, status: str, reason: str) -> None:
    """The closing fingerprint and the last event."""
    assert rows > 0
    script.flight.write("env/end.json", fingerprint())
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
    documents = [jsonio.parse(line) for line in path.read_bytes().splitlines()]
    change(documents)
    path.write_bytes(b"".join(jsonio.canonical(line) + b"\n" for line in documents))


def recompute(run: Path) -> None:
    """What a careful forger does next: derive results from the forged records."""
    document = results.to_document(results.compute(records.load(archive.open_source(run))))
    (run / "results.json").write_bytes(jsonio.canonical(document))


def reseal(run: Path) -> Path:
    """List the files as they now are, and give the run the name of its new manifest."""
    document = jsonio.read(run / archive.MANIFEST)
    document["files"] = [msgspec.to_builtins(f) for f in seal.entries(run)]
    plan = json.loads((run / "plan.json").read_bytes())  # whatever a forger wrote there
    document.update(image=plan.get("image"), model=plan.get("model"))
    hashes = {f["path"]: f["sha256"] for f in document["files"]}
    for field_, name in (("spec", "spec"), ("plan", "plan"), ("result", "results")):
        document[f"{field_}_hash"] = hashes.get(f"{name}.json", "0" * 64)
    data = jsonio.canonical(document)
    (run / archive.MANIFEST).write_bytes(data)
    return run.rename(run.with_name(manifest.run_hash(data)))
