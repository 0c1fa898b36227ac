"""Make the image of a recipe from its locked parts, load it, and compare it with the lock.

Three layers, each made from locked parts alone: the base system's packages, the Python packages,
the recipe's own program. Their hashes and the recipe's declared fields give the configuration, and
with it the image's id. No code of a recipe runs, except that source archives are compiled in a
sandbox (`kit.machine.images.sandbox`).

A sealed recipe gives its locked image or none: no part of it is replaced, and nothing is loaded or
recorded before its id is the locked one.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kit.core import resources
from kit.core.errors import ImageUnavailable
from kit.core.model import ImageIdentity
from kit.machine import containers
from kit.machine.images import baselayer, bundle, record, sandbox, tree, wheels
from kit.machine.images.configuration import HOME, configuration, image_id
from kit.machine.images.identity import with_recipe
from kit.machine.images.locks import Compile
from kit.machine.images.recipe import Recipe, edited_files, recipe, reference
from kit.machine.images.tree import Layer, Tree
from kit.machine.images.wheels import Progress, Say

_STALE_S = 24 * 3600
# CMake leaves these with a compiled package; they name temporary folders, and nothing uses them.
_OF_CMAKE = ("bin/", "include/", "lib/")


class BuildResult(NamedTuple):
    """The image now in the engine; ``drift`` says why it is not the locked one, if so."""

    identity: ImageIdentity
    matches_lock: bool
    drift: tuple[str, ...]


class Made(NamedTuple):
    """An image archive, not yet loaded: its identity, its configuration, its drift."""

    path: Path
    identity: ImageIdentity
    config: bytes
    drift: tuple[str, ...]


def nothing(*_: object) -> None:
    """A ``say`` or ``progress`` that does nothing."""


def build(
    name: str, say: Say = nothing, progress: Progress = nothing, *, anew: bool = False
) -> BuildResult:
    """Load the image of recipe ``name`` into the engine; build it if it is not there.

    ``say`` gets messages for the person, ``progress`` (task, done, total or None). With
    ``anew`` an existing image is built again.

    Raises:
        ImageUnavailable, EngineUnavailable: with what is missing and a remedy.
    """
    return build_recipe(recipe(name), say, progress, anew=anew)


def build_recipe(
    recipe: Recipe, say: Say = nothing, progress: Progress = nothing, *, anew: bool = False
) -> BuildResult:
    """Like `build`, for a recipe of this kit or a sealed one.

    A sealed recipe gives exactly its locked image. Otherwise `ImageUnavailable` is raised and
    nothing remains: no image, no name in the engine, no record.
    """
    with containers.connect() as engine:
        image = None if anew else _present(recipe, engine.image)
        if image:
            say(f"{image.identity.reference} is already in the engine")
            return image
        with made(recipe, say, progress) as new:
            if not recipe.own:
                _refuse_other(recipe, new)
            say(f"loading {new.identity.reference} into the engine")
            engine.load(new.path)
            built = _compared(recipe, new, say)
            here = engine.image(built.identity.reference)  # its id is the store's own
            return built._replace(identity=with_recipe(here, recipe.name)) if here else built


@contextmanager
def made(recipe: Recipe, say: Say = nothing, progress: Progress = nothing) -> Iterator[Made]:
    """Build the archive of ``recipe``, without loading it; it is deleted at the context's end."""
    _refuse_foreign_machine(recipe)
    with _workspace(recipe.name) as work:
        layers, drift = _layers(recipe, work, say, progress)
        diff_ids = tuple(layer.diff_id for layer in layers)
        config = configuration(recipe.lock, recipe.base, diff_ids)
        own_id = image_id(config)
        name = reference(recipe.name, own_id)
        path = work / "image.tar"
        bundle.write(path, name, config, layers)
        yield Made(path, _identity(recipe, own_id, name, diff_ids), config, drift)


@contextmanager
def layers_of(
    recipe: Recipe, say: Say = nothing, progress: Progress = nothing
) -> Iterator[list[Layer]]:
    """The layers of ``recipe``, made from its locked parts; deleted at the context's end."""
    _refuse_foreign_machine(recipe)
    with _workspace(recipe.name) as work:
        yield _layers(recipe, work, say, progress)[0]


def _layers(
    recipe: Recipe, work: Path, say: Say, progress: Progress
) -> tuple[list[Layer], tuple[str, ...]]:
    """Base, Python packages, program; without empty layers."""
    bottom = baselayer.ensure(recipe.base, recipe.lock.base, say, progress, own=recipe.own)
    layers, drift = [bottom.layer], [*bottom.drift]
    epoch = recipe.base.source_date_epoch
    with tempfile.TemporaryFile(dir=work) as spool:
        packages, program = Tree(spool), Tree(spool)
        files = wheels.collect(recipe.lock.wheels, say, progress)
        for name, path in files.items():
            wheels.unpack(path, name, packages, record=recipe.lock.records)
        if recipe.lock.compile:
            drift += _compile(recipe, recipe.lock.compile, packages, work, say, progress)
        for name in recipe.lock.program:
            program.data(f"{HOME}/{name}", recipe.files[name])
        for name, part in (("packages", packages), ("program", program)):
            if part.entries:
                layers.append(tree.write(part, work / f"{name}.tar", epoch))
    return layers, tuple(drift)


def _compile(
    recipe: Recipe, wanted: Compile, into: Tree, work: Path, say: Say, progress: Progress
) -> tuple[str, ...]:
    """Compile in the sandbox and unpack the result; returns the builder base's drift."""
    if wanted.source is None:
        raise ImageUnavailable(f"{recipe.name} is not locked", f"`kit images lock {recipe.name}`")
    lock = recipe.bases[wanted.builder]
    builder = baselayer.ensure(lock, wanted.builder, say, progress, own=recipe.own)
    files = wheels.collect((*wanted.tools, wanted.source), say, progress)
    name, wheel = sandbox.compiled(wanted, (lock, builder.layer), files, work, say, progress)
    wheels.unpack(wheel, name, into, keep=wanted.keep, leave_out=() if wanted.keep else _OF_CMAKE)
    return builder.drift


def _identity(recipe: Recipe, own_id: str, name: str, diff_ids: tuple[str, ...]) -> ImageIdentity:
    return ImageIdentity(
        reference=name,
        recipe=recipe.name,
        image_id=own_id,
        diff_ids=diff_ids,
        platform=recipe.lock.platform,
        config_digest=own_id,
    )


# --- what came out ------------------------------------------------------------------------------


def _present(recipe: Recipe, find: Callable[[str], ImageIdentity | None]) -> BuildResult | None:
    """The image, if the engine has it: the locked one, or that of an earlier build here."""
    if recipe.own and edited_files(recipe):
        return None
    image = find(recipe.reference)
    if image and image.diff_ids == recipe.diff_ids:
        return BuildResult(with_recipe(image, recipe.name), True, ())
    earlier = record.read(recipe) if recipe.own else None
    image = find(earlier.reference) if earlier else None
    if earlier and image and image.diff_ids == earlier.diff_ids:
        return BuildResult(with_recipe(image, recipe.name), False, earlier.drift)
    return None


def _refuse_other(recipe: Recipe, new: Made) -> None:
    """Raise if a sealed recipe gives another image than its lock names."""
    if new.identity.image_id != recipe.image_id:
        raise ImageUnavailable(
            f"the sealed recipe of {recipe.name} gives {new.identity.image_id}, and the run pins "
            f"{recipe.image_id}: it was not used",
            "ask whoever made the run for the image itself (`docker save`), and load it",
        )


def _compared(recipe: Recipe, new: Made, say: Say) -> BuildResult:
    """Compare the built image with the lock, record it, and report a difference."""
    identity = new.identity
    if identity.image_id == recipe.image_id:
        record.keep(new.config)
        return BuildResult(identity, True, ())
    cause, lines = _cause(recipe, new.drift)
    record.write(record.substitute(recipe, identity, cause, lines))
    say(f"{identity.reference} is not the locked image {recipe.reference}:")
    for line in lines:
        say(f"  {line}")
    return BuildResult(identity, False, lines)


def _cause(recipe: Recipe, drift: tuple[str, ...]) -> tuple[record.Cause, tuple[str, ...]]:
    edited = edited_files(recipe)
    if edited:
        lines = tuple(f"{name}: changed since the image was locked" for name in edited)
        return "edited", (*lines, *drift)
    if drift:
        return "parts", drift
    return "compiled", ("the same parts, and compiling them gave other bytes than when locked",)


# --- the folder it happens in -------------------------------------------------------------------


@contextmanager
def _workspace(name: str) -> Iterator[Path]:
    root = resources.cache_dir() / "work"
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=root) as work:
        yield Path(work)


def _sweep(folder: Path) -> None:
    """Remove leftovers of builds that were killed a day ago or earlier."""
    for left in folder.iterdir():
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _refuse_foreign_machine(recipe: Recipe) -> None:
    import platform

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    locked_for = recipe.lock.platform
    if locked_for != f"linux/{machine}":
        raise ImageUnavailable(
            f"{recipe.name} is locked for {locked_for}; this machine is linux/{machine}",
            f"use a {locked_for} machine, or name an upstream image by digest in the spec",
        )
