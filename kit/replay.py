"""A sealed run → the same spec → a new run → a verdict.

A sealed spec is a request to run code from elsewhere. It passes through the same schema as any
spec; there are no free Docker arguments in it; the container gets no network, no capability and
no path of the host but read-only weights found by hash. The person is shown image, model and
privileges first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kit import archive, compare, containers, host, images, jsonio, records, results, weights
from kit import spec as specs
from kit.compare import Comparison
from kit.engine import Order
from kit.errors import EXIT_DIFFERENT, EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, ImageUnavailable
from kit.manifest import REPLAY, run_hash
from kit.model import RunSpec

Say = Callable[[str], None]
IMAGE_FOLDER = "inputs/image/"


def order_of(original: Path) -> Order:
    """The order that runs ``original`` again: its very spec, with it as the parent.

    Raises:
        SpecInvalid: this kit does not accept the sealed spec.
    """
    source = archive.open_source(original)
    spec = specs.parse(source.read("spec.json", specs.MAX_BYTES), "the sealed spec")
    parent = {"run_hash": run_hash(source.read(archive.MANIFEST)), "relation": REPLAY}
    return Order(spec=spec, parents=(parent,))


def provide(original: Path, spec: RunSpec, *, rebuild: bool, folder: Path | None, say: Say) -> None:
    """Bring image and weights to this machine, as far as that was allowed.

    Args:
        rebuild: build a missing image from the recipe that is sealed in the run.
        folder: where to look for model files, besides the usual places.

    Raises:
        ImageUnavailable, WeightsUnavailable: what is missing, with the way to get it.
    """
    _provide_image(original, spec, rebuild, say)
    folders = (*([folder] if folder else []), *host.HostConfig.load().weights_folders)
    for file in spec.weights.files if spec.weights else ():
        weights.ensure(file, folders, say)


def _provide_image(original: Path, spec: RunSpec, rebuild: bool, say: Say) -> None:
    engine = containers.connect()
    try:
        images.resolve(spec.image, engine.image)
    except ImageUnavailable as missing:
        if not (rebuild and spec.image.recipe):
            raise ImageUnavailable(
                missing.message, f"{missing.remedy}, or add --rebuild to build the sealed recipe"
            ) from missing
        _rebuild(original, say)


def _rebuild(original: Path, say: Say) -> None:
    """Build the image from the run's own recipe, in a folder of its own."""
    source = archive.open_source(original)
    with tempfile.TemporaryDirectory(prefix="kit-recipe-") as work:
        for name in source.names():
            if name.startswith(IMAGE_FOLDER):
                path = Path(work) / name.removeprefix(IMAGE_FOLDER)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(source.read(name))
        images.build_recipe(images.at(Path(work)), say)


def judge(original: Path, new: Path) -> Comparison:
    """The verdict of the run ``new`` on ``original``; both numbers are recomputed, not believed."""
    ours, theirs = computed(new), computed(original)
    return compare.judge(*theirs, *ours, same_card=same_cards(original, new))


def exit_code(judged: Comparison) -> int:
    """0 when the primary metric held, 5 different, 6 not to be decided, 1 failed."""
    verdict = judged.primary.verdict
    if verdict in compare.GOOD:
        return EXIT_OK
    codes = {"DIFFERENT": EXIT_DIFFERENT, "FAILED": EXIT_FAILED}
    return codes.get(verdict, EXIT_INCONCLUSIVE)


def as_dict(judged: Comparison) -> dict[str, Any]:
    """The comparison as a JSON document."""
    found: dict[str, Any] = msgspec.to_builtins(judged)
    return found


def hash_of(run: Path) -> str:
    """The run hash, from the manifest's bytes and not from a folder's name."""
    return run_hash(archive.open_source(run).read(archive.MANIFEST))


def computed(run: Path) -> tuple[records.RunRecords, dict[str, Any]]:
    """A run's records, and its results computed from them anew."""
    loaded = records.load(archive.open_source(run))
    return loaded, results.compute(loaded)


def same_cards(a: Path, b: Path) -> bool | None:
    """By the withheld identities, which only the machines' owners have; None without them."""
    known = []
    for run in (a, b):
        source = archive.open_source(run)
        if "private/identity.json" not in source.names():
            return None
        identity = jsonio.parse(source.read("private/identity.json"))
        known.append((identity.get("host"), identity.get("gpus")))
    return bool(known[0] == known[1])
