"""The rules: pure functions from (plan, spec, facts) to findings.

Each threshold has its reason in a comment. An absent fact never counts as a good one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.core.errors import UsageError
from kit.core.model import Finding, Plan, RunSpec
from kit.energy import scopes
from kit.machine.host import is_absent, parse_set
from kit.run.preflight import gpu_rules, host_rules, meter_rules
from kit.run.preflight.finding import fail, ok, warn
from kit.spec import runtimes
from kit.spec.runtimes.contract import WEIGHTS

# Measured on an H200 at the sampler's tiers (see the traces): about 9 MB of CSV per GPU-hour.
SAMPLES_BYTES_PER_HOUR = 9_000_000
# Container log, driver's spool and journal of one launch: generous, they are rarely 1 MB.
LAUNCH_BYTES = 16 << 20
# A generated token with its chunk time and its share of the JSON.
TOKEN_BYTES = 64
# A pixel in base64, as the driver keeps it until the stage is over, and in a PNG file.
PIXEL_BYTES = 8
DISK_MARGIN = 256 << 20
# Context, activations and the runtime in addition to the weights; with less it will not start.
MEMORY_FACTOR = 1.2
# Of a GPU's memory: the rest is the driver's, the runtime's and its activations'.
MEMORY_SHARE = 0.9
# What the documentation of NCCL, by which processes on several GPUs speak, asks for in a container.
_SHM_OF_NCCL = 1 << 30


@dataclass(frozen=True)
class Case:
    """The input of every rule."""

    plan: Plan
    spec: RunSpec
    facts: Mapping[str, Any]

    @property
    def host(self) -> Mapping[str, Any]:
        fingerprint: Mapping[str, Any] = self.facts["host"]
        return fingerprint


def check(plan: Plan, spec: RunSpec, facts: Mapping[str, Any]) -> list[Finding]:
    """All findings on ``plan`` by the facts of `gather`, in a fixed order. Pure."""
    case = Case(plan, spec, facts)
    return [finding for rule in _RULES for finding in rule(case)]


def _engine(case: Case) -> Iterator[Finding]:
    yield host_rules.engine(case.host["docker"], case.host["cgroup"])


def _image(case: Case) -> Iterator[Finding]:
    name = case.plan.image.reference
    match case.plan.image_match:
        case "identical":
            yield ok("IMAGE", f"{name} is the image that the spec pins")
        case "rewrapped":
            yield ok("IMAGE", f"{name} has the pinned layers under another manifest (rewrapped)")
        case "different":
            yield warn(
                "IMAGE_DIFFERENT",
                f"{name} is not the image that the spec pins: outputs and energy may differ",
                "rebuild it from its lock with `kit images build`, or pin this image's digest",
            )


def _weights(case: Case) -> Iterator[Finding]:
    files = case.plan.model.files if case.plan.model else ()
    sizes = _by_name(case.facts["weights"])
    unreadable, names = (_by_name(case.facts.get(k, {})) for k in ("unreadable", "self_named"))
    for file in files:
        size = sizes.get(file.path)
        if not isinstance(size, int):
            reason = size["absent"] if isinstance(size, dict) else "not on this machine"
            message = f"{file.path} cannot be used: {reason}"
            yield fail("WEIGHTS_MISSING", message, "fetch it with `kit weights add`")
        elif reason := unreadable.get(file.path):
            yield fail(
                "WEIGHTS_UNREADABLE",
                f"the container's user cannot read {file.path}: {reason}",
                "`chmod o+r` the file; the folders above it may stay closed",
            )
        elif size != file.size:
            yield fail(
                "WEIGHTS_SIZE",
                f"{file.path} has {size:,} bytes, the spec says {file.size:,}",
                "remove the file and fetch it again with `kit weights add`",
            )
        else:
            own_name = f"; it calls itself {names[file.path]!a}" if names.get(file.path) else ""
            yield ok("WEIGHTS", f"{file.path} is present ({_bytes(size)}){own_name}")
    yield from case.facts.get("misnamed", ())


def _licence(case: Case) -> Iterator[Finding]:
    """The licence in the spec against the one that the model's file names."""
    model = case.plan.model
    if model is None:
        return
    said = next(filter(None, case.facts.get("licensed", {}).values()), "")
    remedy = f'write "licence": "{said}" into weights'
    if not model.licence and said:
        yield warn("LICENCE_MISSING", f"the model's file names the licence {said!a}", remedy)
    elif not model.licence:
        yield ok("LICENCE", "no licence is known: neither the spec nor the model's file names one")
    elif said.lower() not in model.licence.lower():
        message = f"the spec says licence {model.licence!a}, the model's file {said!a}"
        yield warn("LICENCE_DIFFERS", message, f"{remedy}, or leave it where you know better")
    else:
        where = "the spec and the model's file say" if said else "the spec says"
        yield ok("LICENCE", f"licence {model.licence}, as {where}")


def _by_name(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about files by their path below the container's folder of weights."""
    return {target.removeprefix(f"{WEIGHTS}/"): fact for target, fact in facts.items()}


def _disk(case: Case) -> Iterator[Finding]:
    need, free = disk_need(case.plan, case.spec), case.facts["disk_free"]
    message = f"{_bytes(free)} free where the run is written, {_bytes(need)} needed at most"
    remedy = "free some space, or keep runs elsewhere ([store] runs in host.toml)"
    if free < need:
        yield fail("DISK_FULL", message, remedy)
    elif free < 2 * need:
        yield warn("DISK_LOW", message, remedy)
    else:
        yield ok("DISK", message)


def disk_need(plan: Plan, spec: RunSpec) -> int:
    """The most that the run can write, bytes: samples until its time limit, logs, responses."""
    devices = sum(len(meter.devices) for meter in plan.meters)
    return run_bytes(spec, devices, plan.requests, plan.launches)


def run_bytes(spec: RunSpec, devices: int, requests: int, launches: int | None = None) -> int:
    """`disk_need` from the numbers of devices and of requests in a launch."""
    samples = SAMPLES_BYTES_PER_HOUR * max(1, devices) * spec.limits.run_s / 3600
    per_launch = LAUNCH_BYTES + requests * _answer_bytes(spec.workload.options)
    return int(samples + (launches or spec.launches) * per_launch + DISK_MARGIN)


def _answer_bytes(options: Mapping[str, Any]) -> int:
    """The most that one answer takes: its tokens, or its images as they come and as files."""
    sides = options.get("width"), options.get("height"), options.get("images")
    if all(isinstance(side, int) for side in sides):
        return math.prod(side for side in sides if isinstance(side, int)) * PIXEL_BYTES
    return int(options.get("max_output_tokens") or 4096) * TOKEN_BYTES


def _memory(case: Case) -> Iterator[Finding]:
    limit = case.plan.launch.memory_bytes
    available = case.host["memory"].get("available_bytes")
    weights = sum(file.size for file in case.plan.model.files) if case.plan.model else 0
    if not case.plan.launch.gpus and limit < weights * MEMORY_FACTOR:
        yield fail(
            "MEMORY_LIMIT",
            f"limits.memory_mib is {limit >> 20}, too little for {_bytes(weights)} of weights",
            f"set limits.memory_mib to {int(weights * 2) >> 20} or more",
        )
    elif not isinstance(available, int):
        yield warn("MEMORY_UNKNOWN", "available memory cannot be read", "mount /proc")
    elif available < limit:
        yield warn(
            "MEMORY_LOW",
            f"{_memory_size(available)} of memory are available, "
            f"the container may use {_memory_size(limit)}",
            "end other programs, or lower limits.memory_mib",
        )
    else:
        yield ok(
            "MEMORY",
            f"{_memory_size(available)} available, the container may use {_memory_size(limit)}",
        )


def _shm(case: Case) -> Iterator[Finding]:
    launch = case.plan.launch
    if launch.shm_bytes >= launch.memory_bytes:
        yield fail(
            "SHM_TOO_LARGE",
            f"shared memory of {_memory_size(launch.shm_bytes)} leaves nothing of the container's "
            f"{_memory_size(launch.memory_bytes)}",
            "lower limits.shm_mib or raise limits.memory_mib",
        )
    else:
        yield ok("SHM", f"{_memory_size(launch.shm_bytes)} of shared memory")


def _ranks(case: Case) -> int:
    runtime = _runtime(case)
    return runtime.ranks(case.spec) if runtime else 1


def _runtime(case: Case) -> runtimes.Runtime | None:
    """None where verify judges a run of a third party's runtime, which is not installed here."""
    try:
        return runtimes.get(case.spec.runtime.name)
    except UsageError:
        return None


def _sharing(case: Case) -> Iterator[Finding]:
    """What processes that share each layer need: memory to meet in, and equally many heads."""
    runtime, ranks = _runtime(case), _ranks(case)
    if runtime is None or ranks == 1:
        return
    launch, heads = case.plan.launch, case.facts.get("shape", {}).get("heads")
    if launch.gpus and launch.shm_bytes < _SHM_OF_NCCL:
        yield warn(
            "SHM_LOW",
            f"{ranks} processes meet in {_memory_size(launch.shm_bytes)} of shared memory: NCCL's "
            f"documentation asks for {_memory_size(_SHM_OF_NCCL)}",
            f"set limits.shm_mib to {_SHM_OF_NCCL >> 20}",
        )
    if heads:
        queries, keys = heads
        yield _shared_heads(queries, keys, ranks, copied=runtime.copies_key_heads)


def _shared_heads(queries: int, keys: int, ranks: int, *, copied: bool) -> Finding:
    """``copied``: a head of keys and values may be there in several processes."""
    fits = [
        number
        for number in range(1, ranks + 1)
        if queries % number == 0 and (keys % number == 0 or (copied and number % keys == 0))
    ]
    if fits[-1] == ranks:
        return ok("MODEL_HEADS", f"{queries} attention heads among {ranks} processes")
    return fail(
        "MODEL_HEADS",
        f"{queries} attention heads, with {keys} of keys and values, cannot be shared equally by "
        f"{ranks} processes",
        f"take {fits[-1]} of them (GPUs, or the option tensor_parallel)",
    )


def _cpus(case: Case) -> Iterator[Finding]:
    launch = case.plan.launch
    runtime = parse_set(launch.runtime_cpus)
    helpers = {"driver": parse_set(launch.driver_cpus), "sampler": parse_set(launch.sampler_cpus)}
    shared = [name for name, cpus in helpers.items() if cpus & runtime]
    split = f"runtime {launch.runtime_cpus}, driver {launch.driver_cpus}"
    split += f", sampler {launch.sampler_cpus}"
    if shared:
        message = f"{' and '.join(shared)} share CPUs with the runtime ({split})"
        yield warn("CPUS_SHARED", message, "give kit three CPUs or more; kit disturbs the run")
    elif helpers["driver"] & helpers["sampler"]:
        message = f"driver and sampler share a CPU ({split})"
        yield warn("CPUS_FEW", message, "give kit three CPUs or more")
    else:
        yield ok("CPUS", f"each has CPUs of its own: {split}")
    on_cpus = 1 if launch.gpus else _ranks(case)
    several = {
        "threads": ("threads", case.spec.runtime.options.get("threads")),
        "tensor_parallel": ("processes", on_cpus),
    }
    for option, (what, count) in several.items():
        if isinstance(count, int) and count > len(runtime):
            yield warn(
                "CPUS_THREADS",
                f"the runtime computes with {count} {what} and has {len(runtime)} "
                f"CPU{'s' if len(runtime) > 1 else ''}: they wait for one another, perhaps for "
                "minutes",
                f"set the option {option} to {len(runtime)} or less",
            )


def _state(case: Case) -> Iterator[Finding]:
    yield host_rules.frequency(case.host["cpu"].get("frequency"))
    yield host_rules.clock(case.host["clock"])
    yield host_rules.load(case.host["load"], case.host["cpu"].get("usable"))


def _other_runs(case: Case) -> Iterator[Finding]:
    runs, queued = case.facts["other_runs"], case.facts.get("queue", ())
    if runs:
        yield fail(
            "RUNS_OTHER",
            f"another run is going on here, outside this machine's queue: {', '.join(runs)}",
            "wait for it (`kit attach`); two runs at once measure each other",
        )
    elif queued:
        more = f", and {len(queued) - 1} more in the queue" if len(queued) > 1 else ""
        yield warn(
            "RUNS_QUEUE",
            f"another run is going on here: {queued[0]}{more}",
            "nothing has to be done: a run waits for its turn; --no-wait does not",
        )
    else:
        yield ok("RUNS", "no other run is going on on this machine")


def _port(case: Case) -> Iterator[Finding]:
    free, port = case.facts["port_free"], case.plan.launch.port
    if free is False:
        yield fail(
            "PORT_TAKEN",
            f"port {port} of this host is taken and the plan uses the host's network",
            f"end what listens there (`ss -ltnp 'sport = :{port}'`)",
        )
    elif not is_absent(free):
        yield ok("PORT", f"port {port} is free")


def _meters(case: Case) -> Iterator[Finding]:
    yield from meter_rules.meters(case.plan.meters)
    yield from meter_rules.wall(case.plan.meters, case.facts["gpu_energy"])
    yield from meter_rules.energy(case.plan.meters)
    yield from meter_rules.primary(case.spec.primary_metric, case.plan.meters)


def _gpus(case: Case) -> Iterator[Finding]:
    wanted = case.spec.devices.gpus
    if wanted:
        devices = [m.devices for m in case.plan.meters if scopes.of_meter(m) == "gpu" and m.devices]
        engine = case.host["docker"].get("gpu")
        counters = case.facts["gpu_energy"]
        yield from gpu_rules.check(
            wanted, case.host["gpus"], engine, next(iter(devices), None), counters
        )


def _gpu_memory(case: Case) -> Iterator[Finding]:
    """Weights and KV cache, which is estimated, against the memory of the GPUs asked for."""
    gpus = case.host["gpus"]
    boards = [] if is_absent(gpus) else list(gpus.values())[: case.spec.devices.gpus]
    sizes = [b.get("memory_total_bytes") for b in boards if isinstance(b, Mapping)]
    has = sum(size for size in sizes if isinstance(size, int))
    if not has or case.plan.model is None:
        return
    weights = sum(file.size for file in case.plan.model.files)
    context = case.spec.runtime.options.get("context")
    kv = case.facts.get("shape", {}).get("kv_bytes")
    slots = case.spec.arrivals.concurrency
    cache = kv * context * slots if isinstance(kv, int) and isinstance(context, int) else 0
    if isinstance(bound := case.spec.runtime.options.get("kv_cache_mib"), int):
        cache = bound << 20  # the runtime reserves so much, and no more
    what = f"{_bytes(weights)} of weights"
    what += f" and an estimated {_bytes(cache)} of KV cache" if cache else ""
    remedy = "take a smaller model, quantisation or context, or more GPUs"
    if case.spec.runtime.options.get("gpu_layers") is not None:
        yield ok("GPU_MEMORY", f"{what}, of which some layers are to be on the GPUs")
    elif weights > has:
        yield fail("GPU_MEMORY_LIMIT", f"{what}: the GPUs have {_bytes(has)}", remedy)
    elif weights + cache > has * MEMORY_SHARE:
        yield warn("GPU_MEMORY_LOW", f"{what}: the GPUs have {_bytes(has)}", remedy)
    else:
        yield ok("GPU_MEMORY", f"{what}, {_bytes(has)} on the GPUs")


_RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _engine,
    _image,
    _weights,
    _licence,
    _disk,
    _memory,
    _shm,
    _sharing,
    _cpus,
    _state,
    _other_runs,
    _port,
    _meters,
    _gpus,
    _gpu_memory,
)


def _bytes(count: int) -> str:
    """A count of bytes in a fitting unit: ``98.4 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _memory_size(count: int) -> str:
    """Memory in binary units, like the spec's limits: ``4 GiB``, ``64 MiB``."""
    mib = count / (1 << 20)
    return f"{mib / 1024:.3g} GiB" if mib >= 1024 else f"{mib:.3g} MiB"
