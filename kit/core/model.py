"""Frozen records that packages pass to one another; most are stored as JSON.

Times called ``t…`` are integer nanoseconds since the run's origin on CLOCK_MONOTONIC;
durations ending in ``_s`` are seconds. JSON names equal the field names.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from kit.core.facts import NO_FACTS, QuantityFacts

Level = Literal["ok", "warn", "fail"]
# Why a meter has no device, where a person can do something about it.
Cause = Literal["no_permission"]
# What a runtime makes, and a workload asks for.
Makes = Literal["text", "image"]
# What is claimed of outputs; the spec's schema says what each means.
Determinism = Literal["exact", "batch-invariant", "sampled"]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the records that are stored as JSON."""


# --- spec -----------------------------------------------------------------------------------


class RuntimeSpec(Record, frozen=True, kw_only=True):
    name: str
    options: dict[str, Any] = {}


class ImageSpec(Record, frozen=True, kw_only=True):
    """What the container is made of: a recipe of kit pinned by digest, or an upstream digest."""

    recipe: str | None = None
    digest: str | None = None
    reference: str | None = None


class WeightFile(Record, frozen=True, kw_only=True):
    path: str
    source: str
    sha256: str
    size: int


class Derivation(Record, frozen=True, kw_only=True):
    """How model files were made from others: by the program of one of kit's images.

    ``form`` is what they became, ``files`` what they were made from.
    """

    form: str
    recipe: str
    digest: str
    files: tuple[WeightFile, ...]


class WeightsSpec(Record, frozen=True, kw_only=True):
    """A model's files. ``derived`` says how to make them; not written where they were published."""

    repo: str
    revision: str
    files: tuple[WeightFile, ...]
    licence: str = ""
    derived: Derivation | UnsetType = UNSET


class WorkloadSpec(Record, frozen=True, kw_only=True):
    name: str
    options: dict[str, Any] = {}


class SamplingSpec(Record, frozen=True, kw_only=True):
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    ignore_eos: bool = True


class ArrivalsSpec(Record, frozen=True, kw_only=True):
    """When requests are sent; the spec's schema says which kind has which fields."""

    kind: Literal["closed", "constant", "poisson", "gamma", "bursts", "trace"] = "closed"
    concurrency: int = 1
    rate: float | None = None
    shape: float | None = None
    burst: int | None = None
    seed: int | None = None
    times_s: tuple[float, ...] | None = None


class SteadySpec(Record, frozen=True, kw_only=True):
    """How steady a GPU must be before a measured block, and how long to wait for that, s."""

    temperature_c_per_min: float = 0.5
    power_percent_per_min: float = 0.5
    window_s: float = 60.0
    limit_s: float = 600.0


class PhasesSpec(Record, frozen=True, kw_only=True):
    idle_s: float = 10.0
    loaded_idle_s: float = 10.0
    warmup_requests: int = 1
    steady: SteadySpec | None = None


class MeterSpec(Record, frozen=True, kw_only=True):
    name: str
    alias: str | None = None


class DevicesSpec(Record, frozen=True, kw_only=True):
    gpus: int = 0


class EnergyMargins(Record, frozen=True, kw_only=True):
    """Half-widths of the replay margin on a ratio, by how alike the two machines are."""

    same_card: float = 0.03
    same_model: float = 0.05
    elsewhere: float = 0.10


class ReplaySpec(Record, frozen=True, kw_only=True):
    energy: EnergyMargins = EnergyMargins()
    latency: float = 0.10
    throughput: float = 0.10


class LimitsSpec(Record, frozen=True, kw_only=True):
    ready_s: float = 120.0
    request_s: float = 120.0
    run_s: float = 3600.0
    memory_mib: int = 4096
    shm_mib: int = 64
    pids: int = 512


class RunSpec(Record, frozen=True, kw_only=True):
    """A run spec with its defaults filled in; `kit.schemas/run-spec.json` is the contract."""

    schema: str
    name: str
    runtime: RuntimeSpec
    image: ImageSpec
    weights: WeightsSpec | None
    workload: WorkloadSpec
    description: str = ""
    sampling: SamplingSpec = SamplingSpec()
    arrivals: ArrivalsSpec = ArrivalsSpec()
    phases: PhasesSpec = PhasesSpec()
    meters: tuple[MeterSpec, ...] = ()
    devices: DevicesSpec = DevicesSpec()
    launches: int = 3
    primary_metric: str = "outputs"
    determinism: Determinism = "exact"
    replay: ReplaySpec = ReplaySpec()
    limits: LimitsSpec = LimitsSpec()


class Problem(NamedTuple):
    """One thing wrong with a spec: where (JSON path), what, and what to do.

    ``key`` is the key at ``path`` that it is about where that one is missing (``missing``) or
    unknown; else empty.
    """

    path: str
    message: str
    remedy: str
    key: str = ""
    missing: bool = False


# --- plan -----------------------------------------------------------------------------------


class ImageIdentity(Record, frozen=True, kw_only=True):
    """Every name that an image has; which one an engine shows as its Id depends on its store."""

    reference: str
    recipe: str | None
    image_id: str
    diff_ids: tuple[str, ...]
    platform: str
    config_digest: str | None = None
    manifest_digest: str | None = None
    index_digest: str | None = None
    source: Literal["recipe", "registry", "archive"] = "recipe"


class ScheduledRequest(Record, frozen=True, kw_only=True):
    """One line of ``inputs/schedule.jsonl``: the exact request, before anything ran.

    ``at_ns`` is the intended send time since the stage began; None under a closed loop.
    ``expect_tokens`` is the output length asked for, None where the runtime cannot fix it.
    ``expect_images`` and ``expect_steps``, the denoising steps of all of them, are written where
    images are asked for and not texts.
    """

    index: int
    stage: Literal["warmup", "measured"]
    item: str
    path: str
    body: dict[str, Any]
    at_ns: int | None = None
    expect_tokens: int | None = None
    expect_images: int | UnsetType = UNSET
    expect_steps: int | UnsetType = UNSET


class Mount(Record, frozen=True, kw_only=True):
    """A read-only file mounted into the container; the host's path is never sealed."""

    target: str
    sha256: str


class GpuRequest(Record, frozen=True, kw_only=True):
    driver: Literal["cdi", "nvidia"]
    count: int


class LaunchPlan(Record, frozen=True, kw_only=True):
    """What every launch's container is given.

    ``scratch_bytes`` is the size of a /tmp from which programs may run; not written where /tmp is
    the usual one.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    port: int
    mounts: tuple[Mount, ...]
    network: Literal["internal", "loopback", "host"]
    egress: str
    runtime_cpus: str
    driver_cpus: str
    sampler_cpus: str
    memory_bytes: int
    shm_bytes: int
    pids: int
    gpus: GpuRequest | None = None
    scratch_bytes: int | UnsetType = UNSET


class MeterDevice(Record, frozen=True, kw_only=True):
    """A device that a meter reads, under its alias, with what verify needs to recompute.

    ``quantities`` maps each quantity to its facts: how it is read, or the reason why it is not.
    """

    device: str
    description: str
    quantities: dict[str, QuantityFacts]

    def facts(self, quantity: str) -> QuantityFacts:
        """What is known of a quantity; `NO_FACTS` of one that the device does not have."""
        return self.quantities.get(quantity, NO_FACTS)

    def reads(self, quantity: str) -> bool:
        """Whether the device has a quantity, and it is read."""
        return quantity in self.quantities and self.quantities[quantity].is_read


def meter_label(name: str, alias: str | None) -> str:
    """How a meter is called in file names and events: ``nvml``, ``pdu-rack1``."""
    return f"{name}-{alias}" if alias else name


class MeterPlan(Record, frozen=True, kw_only=True):
    """What a meter found at planning: its devices, or why it has none.

    ``cause`` is a code of that reason that kit acts on, not written where there is none; ``scope``
    the energy scope that it feeds (`kit.core.units.Scope`), empty in older plans.
    """

    name: str
    alias: str | None
    devices: tuple[MeterDevice, ...]
    reason: str = ""
    cause: Cause | UnsetType = UNSET
    scope: str = ""

    @property
    def label(self) -> str:
        """Its `meter_label`."""
        return meter_label(self.name, self.alias)


class Repeat(Record, frozen=True, kw_only=True):
    """What a repeat on the same machine gives, with the same seed at temperature 0.

    ``kind``: ``exact``, the same texts, one request at a time; ``batch-invariant``, whatever runs
    beside it; ``sampled``, nothing is promised. ``why`` says who measured or promises it.
    """

    kind: Determinism
    why: str

    @property
    def text(self) -> str:
        """What to expect, and why."""
        return f"{_REPEATS[self.kind]}. {self.why}"


_REPEATS = {
    "exact": "the same texts or images, one request at a time",
    "batch-invariant": "the same texts or images, whatever runs beside a request",
    "sampled": "the same texts or images are not promised",
}


class Plan(Record, frozen=True, kw_only=True):
    """What the spec resolved to on one machine; nothing in it names that machine.

    ``image_recipe_sha256`` is that of the recipe sealed under ``inputs/image/``: of the canonical
    JSON of {name: sha256 of the file}. None where no recipe is sealed, and in older plans.
    ``repeat`` is what the runtime states of itself; not written in older plans.
    """

    schema: str
    spec_hash: str
    kit_version: str
    image: ImageIdentity
    image_pinned: str
    image_match: Literal["identical", "rewrapped", "different"]
    model: WeightsSpec | None
    launch: LaunchPlan
    meters: tuple[MeterPlan, ...]
    schedule_sha256: str
    requests: int
    launches: int
    notes: tuple[str, ...] = ()
    image_recipe_sha256: str | None = None
    repeat: Repeat | UnsetType = UNSET


class Finding(Record, frozen=True, kw_only=True):
    """What preflight says of one aspect of plan and host."""

    code: str
    level: Level
    message: str
    remedy: str = ""


# --- what a run records ---------------------------------------------------------------------


class Event(Record, frozen=True, kw_only=True):
    """A line of the hash-chained journal ``events.jsonl``; ``prev`` hashes the line before."""

    seq: int
    t: int
    kind: str
    data: dict[str, Any]
    prev: str


class Sample(NamedTuple):
    """A row of ``samples/*.csv``: read between ``t0`` and ``t1``; ``raw`` is None on error.

    ``t_dev`` is the device's own time of the reading, mapped to the run's clock (ns), where the
    device gives one. ``rc`` is the device's return code, 0 for success.
    """

    seq: int
    t0: int
    t1: int
    t_dev: int | None
    device: str
    quantity: str
    rc: int
    raw: int | None


class Request(Record, frozen=True, kw_only=True):
    """A line of ``requests.jsonl``: what happened to one scheduled request. Times in ns.

    ``error`` is what went wrong, with its evidence, in one line; ``code`` is its reason code
    (`kit.measure.drive.answer`), absent in runs before formulas 4. ``first_token`` and
    ``last_token`` are the first and last chunk that held a token; None where the answer does not
    show them. ``images`` and ``steps``, the server's count of denoising steps over all of them, are
    written where images were asked for.
    """

    index: int
    stage: str
    item: str
    intended: int
    sent: int | None
    first_byte: int | None
    first_token: int | None
    last_token: int | None
    done: int
    status: Literal["ok", "error", "timeout", "aborted"]
    http_status: int | None
    error: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    finish_reason: str | None
    code: str | None = None
    images: int | UnsetType = UNSET
    steps: int | UnsetType | None = UNSET


class ImageFile(Record, frozen=True, kw_only=True):
    """An image of an answer: the PNG file beside the records, its hash and sides (pixels)."""

    file: str
    sha256: str
    width: int
    height: int


class Response(Record, frozen=True, kw_only=True):
    """A line of ``responses.jsonl``: the text, its chunk times (ns) and the server's own count.

    ``images`` is written where images were asked for; the text is then empty.
    """

    index: int
    stage: str
    text: str
    text_sha256: str
    chunk_times: tuple[int, ...]
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    token_ids: tuple[int, ...] | None = None
    images: tuple[ImageFile, ...] | UnsetType = UNSET


class PromptTokens(Record, frozen=True, kw_only=True):
    """A line of ``prompts.jsonl``: the token ids that the server makes of a measured prompt.

    ``ids_sha256`` is of the canonical JSON of the list; ``ids`` is kept of the first prompts.
    """

    index: int
    count: int
    ids_sha256: str
    ids: tuple[int, ...] | None = None


class Phase(Record, frozen=True, kw_only=True):
    """A stretch of one launch, ``[t0, t1)``. ``part`` tells two of one name apart."""

    launch: int
    name: str
    part: Literal["before", "after"] | None
    t0: int
    t1: int


class ManifestFile(Record, frozen=True, kw_only=True):
    path: str
    size: int
    sha256: str
    role: str
    media_type: str
    withheld: bool = False


class Manifest(Record, frozen=True, kw_only=True):
    """The only root of a sealed run; see `kit.store.seal` for the format."""

    schema: str
    profile: str
    critical: tuple[str, ...]
    status: Literal["complete", "failed", "aborted"]
    reason: str
    run_id: str
    kit: dict[str, str]
    spec_hash: str
    plan_hash: str
    result_hash: str
    parents: tuple[dict[str, str], ...]
    image: ImageIdentity | None
    model: WeightsSpec | None
    clock: dict[str, str]
    files: tuple[ManifestFile, ...]
