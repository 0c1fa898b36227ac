"""What a replay would do on this machine, from archive, engine and host. Nothing is changed.

Everything that the archive names has passed a closed schema before it is looked up here. No
network is used, no meter is read, and nothing is written, not even a cached hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kit.core import jsonio
from kit.core.errors import (
    ArchiveRefused,
    Blocked,
    ImageUnavailable,
    PreflightFailed,
    WeightsUnavailable,
)
from kit.core.model import Finding, LaunchPlan, MeterSpec, RunSpec, WeightFile
from kit.core.units import NS
from kit.machine import containers, host, images, weights
from kit.machine.containers.command import command_line
from kit.machine.images.sealed import FOLDER
from kit.machine.weights.fetch import has_token, reaches
from kit.record import archive, events
from kit.record.manifest import REPLAY, run_hash
from kit.run import launch, preflight, rehearsal
from kit.run import plan as planning
from kit.run.runner import Order
from kit.spec import spec as specs
from kit.spec import workloads
from kit.spec.meters import is_aliased
from kit.store.store import Store

_LOCAL = {
    "nvml": "this machine's NVIDIA driver",
    "amdsmi": "this machine's AMD driver",
    "rapl": "this machine's CPU energy counters",
    "estimate": "this machine's CPU time",
    "codecarbon": "CodeCarbon in a separate process, set to be offline",
}


class ImagePart(NamedTuple):
    """The image: ``here``, to be rebuilt from ``recipe``, or ``absent`` (``error`` says why).

    ``match`` is how well the engine's image is the pinned one, see `kit.machine.images.resolve`.
    """

    state: Literal["here", "rebuild", "absent"]
    name: str
    digest: str
    match: str = ""
    recipe: images.Recipe | None = None
    error: ImageUnavailable | None = None

    @property
    def bytes(self) -> int:
        """The size of what a rebuild fetches, bytes."""
        return images.parts_bytes(self.recipe) if self.recipe else 0


class FilePart(NamedTuple):
    """A model file: ``here`` at ``path``, to be fetched from ``reaches``, or ``absent``.

    ``token`` says whether the person's hub token is sent there.
    """

    state: Literal["here", "fetch", "absent"]
    file: WeightFile
    path: Path | None = None
    reaches: str = ""
    token: bool = False
    error: WeightsUnavailable | None = None


class MeterPart(NamedTuple):
    """A meter: which device or service it reads, and whose credentials it uses (empty: none)."""

    name: str
    reaches: str
    credentials: str = ""


@dataclass(frozen=True)
class Undertaking:
    """Everything that a replay would do, before it does anything.

    Attributes:
        original: the sealed run.
        command: the container of the first launch as a `docker run` command line; empty where
            the engine cannot make it (``findings`` say so).
        network: ``internal``, ``loopback`` or ``host``, as the engine will provide it.
        requests: measured requests of a launch.
        least_s: the total of the waiting times in the spec, s.
        took_s: how long this spec took in this store, s; else the original, by its journal.
        run_bytes: the most that the run writes, bytes.
        findings: names and hashes of model files that do not belong together.
    """

    order: Order
    original: Path
    image: ImagePart
    files: tuple[FilePart, ...]
    meters: tuple[MeterPart, ...]
    launch: LaunchPlan
    command: tuple[str, ...]
    requests: int
    least_s: float
    took_s: float | None
    took_here: bool
    run_bytes: int
    findings: tuple[Finding, ...]

    @property
    def spec(self) -> RunSpec:
        return self.order.spec

    @property
    def obstacle(self) -> Blocked | None:
        """Why a yes would not help: a missing image or file that nothing listed here provides."""
        errors: list[Blocked | None] = [self.image.error, *(file.error for file in self.files)]
        if any(finding.level == "fail" for finding in self.findings):
            errors.append(PreflightFailed(self.findings))
        return next((error for error in errors if error), None)

    @property
    def fetched_bytes(self) -> int:
        """The size of all downloads, bytes: model files, and parts of an image to rebuild."""
        return self.image.bytes + sum(p.file.size for p in self.files if p.state == "fetch")


def order_of(original: Path) -> Order:
    """The order that runs ``original`` again: the same spec, with ``original`` as the parent.

    Raises:
        SpecInvalid: this kit does not accept the sealed spec.
        ArchiveRefused: the spec is not the one that the manifest lists.
    """
    with archive.open_source(original) as source:
        manifest = source.read(archive.MANIFEST)
        data = source.read("spec.json", specs.MAX_BYTES)
        if jsonio.digest(data) != jsonio.parse(manifest, archive.MANIFEST).get("spec_hash"):
            why = "spec.json is not the one that the manifest lists"
            raise ArchiveRefused("HASH_MISMATCH", why)
        spec = specs.parse(data, "the sealed spec")
        parent = {"run_hash": run_hash(manifest), "relation": REPLAY}
        return Order(spec=spec, parents=(parent,), recipe=_recipe_files(source, spec))


def _recipe_files(source: archive.ArchiveSource, spec: RunSpec) -> dict[str, bytes]:
    """The files of the sealed recipe, if it is valid and makes the pinned image."""
    try:
        recipe = images.sealed(source)
    except (ArchiveRefused, ImageUnavailable):
        return {}
    if (recipe.name, recipe.image_id) != (spec.image.recipe, spec.image.digest):
        return {}
    places = [name for name in source.names() if name.startswith(FOLDER)]
    return {name.removeprefix(FOLDER): source.read(name) for name in places}


def undertake(
    original: Path, store: Store, *, rebuild: bool = False, folder: Path | None = None
) -> Undertaking:
    """List what a replay of ``original`` would do here, and do none of it.

    Args:
        store: the store of the new run.
        rebuild: build a missing image from the recipe that is sealed in the run.
        folder: where to look for model files, besides host.toml's folders.

    Raises:
        SpecInvalid: this kit does not accept the sealed spec.
        ArchiveRefused: the image must be rebuilt, and the sealed recipe breaks a rule.
        EngineUnavailable: no container engine answers.
    """
    order = order_of(original)
    spec, config = order.spec, host.HostConfig.load()
    folders = (*([folder] if folder else []), *config.weights_folders)
    files = tuple(_files(spec, folders))
    with containers.connect() as engine:
        facts = engine.facts()
        image = _image(original, spec, engine, rebuild)
    planned = planning.launch_plan(spec, facts, host.cpu_split())
    took_s = rehearsal.last_took_s(spec, store)
    requests = len(workloads.get(spec.workload.name).prompts(spec.workload.options))
    return Undertaking(
        order=order,
        original=original,
        image=image,
        files=files,
        meters=tuple(_meter(meter, config) for meter in spec.meters),
        launch=planned,
        command=_command(facts, image, planned, files),
        requests=requests,
        least_s=planning.duration_s(spec),
        took_s=_length_s(original) if took_s is None else took_s,
        took_here=took_s is not None,
        run_bytes=preflight.run_bytes(spec, len(spec.meters), requests),
        findings=tuple(_findings(spec, folders)),
    )


def _findings(spec: RunSpec, folders: tuple[Path, ...]) -> Iterator[Finding]:
    doubts = weights.doubts(spec.weights, folders, remember=False) if spec.weights else []
    return (doubt.finding for doubt in doubts)


# --- image ----------------------------------------------------------------------------------------


def _image(original: Path, spec: RunSpec, engine: containers.Engine, rebuild: bool) -> ImagePart:
    wanted = spec.image
    digest = wanted.digest or (wanted.reference or "").partition("@")[2]
    part = ImagePart("here", wanted.recipe or wanted.reference or digest, digest)
    try:
        reference, match = images.resolve(wanted, engine.image)
        return part._replace(name=reference.reference, match=match)
    except ImageUnavailable as missing:
        if not wanted.recipe:
            return part._replace(state="absent", error=missing)
        if rebuild:
            return _rebuilt(original, part, missing)
        remedy = f"{missing.remedy}, or add --rebuild to build the recipe that is sealed in the run"
        return part._replace(state="absent", error=ImageUnavailable(missing.message, remedy))


def _rebuilt(original: Path, part: ImagePart, missing: ImageUnavailable) -> ImagePart:
    """The sealed recipe, if its lock names the image that the spec pins."""
    try:
        with archive.open_source(original) as source:
            recipe = images.sealed(source)
    except (ImageUnavailable, ArchiveRefused) as why:
        if isinstance(why, ArchiveRefused) and why.code != "RECIPE_MISSING":
            raise
        error = ImageUnavailable(f"{missing.message}, and {why.message}", missing.remedy)
        return part._replace(state="absent", error=error)
    if recipe.image_id != part.digest or recipe.name != part.name:
        raise ArchiveRefused(
            "RECIPE_IDENTITY",
            f"the sealed recipe makes {recipe.name} {recipe.image_id}, and the spec pins "
            f"{part.name} {part.digest}",
            "ask whoever made the run for one that kit sealed",
        )
    return part._replace(state="rebuild", recipe=recipe)


# --- weights --------------------------------------------------------------------------------------


def _files(spec: RunSpec, folders: tuple[Path, ...]) -> Iterator[FilePart]:
    for file in spec.weights.files if spec.weights else ():
        try:
            yield _file(file, folders, bool(spec.weights and spec.weights.derived))
        except WeightsUnavailable as error:
            yield FilePart("absent", file, error=error)


def _file(file: WeightFile, folders: tuple[Path, ...], is_derived: bool) -> FilePart:
    source = weights.parse(file.source, file.path)
    path = weights.here(file, folders, remember=False)
    if path:
        return FilePart("here", file, path)
    if source.kind == "file":
        error = WeightsUnavailable(
            f"{file.path} with sha256 {file.sha256} is in none of your weights folders",
            "derive it here: `kit weights add` with the run's spec.json"
            if is_derived
            else "get the file, then name its folder with --weights or in host.toml",
        )
        return FilePart("absent", file, error=error)
    return FilePart(
        "fetch", file, reaches=reaches(source), token=source.kind == "hf" and has_token()
    )


# --- meters, container, time ----------------------------------------------------------------------


def _meter(meter: MeterSpec, config: host.HostConfig) -> MeterPart:
    name = f"{meter.name} {meter.alias}" if meter.alias else meter.name
    if not is_aliased(meter.name):
        return MeterPart(name, _LOCAL.get(meter.name) or "what this installed meter reads")
    where = f"[{meter.name}.{meter.alias}]"
    section = config.section(meter.name, meter.alias)
    if section is None:
        return MeterPart(name, f"nothing: host.toml has no {where}")
    whose = f"{section.whose} of {where} in host.toml" if section.whose else ""
    return MeterPart(name, section.reached, whose)


def _command(
    engine: dict[str, Any], image: ImagePart, planned: LaunchPlan, files: Iterable[FilePart]
) -> tuple[str, ...]:
    """The container's command line; a file to fetch is shown at its future path."""
    store = weights.store_dir()
    mounts = {
        f"{planning.WEIGHTS_DIR}/{part.file.path}": part.path or store / part.file.sha256
        for part in files
    }
    network = launch.network_name(planned, "ID", 0)
    try:
        config = launch.container_config(engine, image.digest, planned, "ID", 0, network, mounts)
    except Blocked:
        return ()  # a GPU that the engine cannot hand out: preflight says so
    return command_line(config._replace(labels={}))


def _length_s(original: Path) -> float | None:
    """How long the original took by its journal, s."""
    with archive.open_source(original) as source:
        lines = source.read(events.FILE).splitlines()
    try:
        return float(jsonio.parse(lines[-1], events.FILE)["t"]) * NS
    except (jsonio.JsonRefused, LookupError, TypeError, ValueError):
        return None
