"""Make the image of a recipe: gather what goes in, build, load, and say how it compares.

What was built is remembered in a build record under the cache (see `kit.images.record`), never
in the lock: the lock changes by `lock` alone.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kit import containers, jsonio, resources
from kit.errors import ImageUnavailable, UsageError
from kit.images import base, builder, record, wheels
from kit.images.base import Progress, Say
from kit.images.identity import named
from kit.images.recipe import (
    LOCK,
    Recipe,
    edited_files,
    own_files,
    recipe,
    write_lock,
)
from kit.model import ImageIdentity

INSTALLER = "installer"
_STALE_S = 24 * 3600


class BuildResult(NamedTuple):
    """The image now in the engine; ``drift`` says why where it is not the locked one."""

    identity: ImageIdentity
    matches_lock: bool
    drift: tuple[str, ...]


class Made(NamedTuple):
    """An image archive, not yet loaded: its identity, what drifted, and its parts."""

    archive: builder.Archive
    drift: tuple[str, ...]
    bases: dict[str, str]


def nothing(*_: Any) -> None:
    """A ``say`` or ``progress`` that tells nobody."""


def build(
    name: str, say: Say = nothing, progress: Progress = nothing, *, anew: bool = False
) -> BuildResult:
    """Bring the image of recipe ``name`` into the engine, building it where it is not there.

    ``say`` gets sentences for the person, ``progress`` (task, done, total or None). With
    ``anew`` an image that is already there is built again.

    Raises:
        ImageUnavailable, EngineUnavailable: with what is missing and the remedy.
    """
    return build_recipe(recipe(name), say, progress, anew=anew)


def build_recipe(
    found: Recipe, say: Say = nothing, progress: Progress = nothing, *, anew: bool = False
) -> BuildResult:
    """As `build`, for a recipe that may lie anywhere, such as one sealed into a run."""
    engine = containers.connect()
    there = None if anew else _present(found, engine.image)
    if there:
        say(f"{there.identity.reference} is already in the engine")
        return there
    with made(found, say, progress) as new:
        say(f"loading {new.archive.identity.reference} into the engine")
        engine.load(new.archive.path)
        return _compared(found, new, say)


@contextmanager
def made(found: Recipe, say: Say = nothing, progress: Progress = nothing) -> Iterator[Made]:
    """Build the archive of ``found`` without an engine; it is gone when the block ends."""
    _refuse_foreign(found)
    work_root = resources.cache_dir() / "work"
    work_root.mkdir(parents=True, exist_ok=True)
    _sweep(work_root)
    with tempfile.TemporaryDirectory(prefix=f"{found.name}-", dir=work_root) as work:
        context = Path(work) / "context"
        bases, drift = _gather(found, context, say, progress)
        say(f"building {found.title}")
        archive = builder.build(
            context,
            found.name,
            found.platform,
            _epoch(found),
            lambda done, total: progress(f"image {found.name}", done, total),
        )
        yield Made(archive, drift, bases)


def lock(name: str, say: Say = nothing, progress: Progress = nothing) -> dict[str, Any]:
    """Make ``name`` (a recipe, or a base such as ``base``) anew and write its lock.

    Raises:
        UsageError: the recipes lie in an installed package, where a lock may not be changed.
        ImageUnavailable: as `build`; also when a base has drifted, which is locked first.
    """
    folder = resources.images_dir() / name
    if not (resources.images_dir().parent / "pyproject.toml").is_file():
        raise UsageError("locks can be changed in a clone of kit only", "clone kit and lock there")
    if (folder / "Dockerfile").is_file():
        return _lock_recipe(recipe(name), say, progress)
    if (folder / LOCK).is_file():
        return _lock_base(folder, progress)
    recipe(name)
    raise AssertionError("recipe() refuses an unknown name")


def _lock_recipe(found: Recipe, say: Say, progress: Progress) -> dict[str, Any]:
    with made(found, say, progress) as new:
        if new.drift:
            raise ImageUnavailable(
                f"the parts of {found.name} are not the locked ones: {'; '.join(new.drift)}",
                f"lock them first: {', '.join(f'`kit images lock {b}`' for b in new.bases)}",
            )
        identity = new.archive.identity
        locked = {
            **found.lock,
            "base": new.bases,
            "files": {key: jsonio.digest(data) for key, data in own_files(found).items()},
            "image_id": identity.image_id,
            "config_digest": identity.config_digest,
            "diff_ids": list(identity.diff_ids),
            "builder": new.archive.builder,
        }
    write_lock(found.dir, locked)
    return locked


def _lock_base(folder: Path, progress: Progress) -> dict[str, Any]:
    old = jsonio.read(folder / LOCK)
    built = base.build(old, folder.name, progress)
    locked = {
        **old,
        "release": built.release,
        "rootfs_sha256": built.sha256,
        "tools": built.tools,
        "packages": built.packages,
    }
    base.store(built)
    write_lock(folder, locked)
    return dict(locked)


def _present(found: Recipe, find: Callable[[str], ImageIdentity | None]) -> BuildResult | None:
    """The image if the engine has it: as locked, or as an earlier build here recorded it."""
    if edited_files(found):
        return None
    there = find(found.reference)
    if there and there.diff_ids == found.diff_ids:
        return BuildResult(named(there, found.name), True, ())
    known = record.read(found.name, found.image_id)
    there = find(known.reference) if known and known.cause in ("parts", "builder") else None
    return BuildResult(named(there, found.name), False, known.drift) if known and there else None


def _compared(found: Recipe, new: Made, say: Say) -> BuildResult:
    """Compare what was built with the lock, remember it, and say a difference."""
    identity = new.archive.identity
    known = record.of(found, new.archive, edited_files(found), new.drift)
    record.write(known)
    if known.cause == "equal":
        return BuildResult(identity, True, ())
    say(f"{identity.reference} is not the locked image {found.reference}:")
    for line in known.drift:
        say(f"  {line}")
    return BuildResult(identity, False, known.drift)


def _gather(
    found: Recipe, context: Path, say: Say, progress: Progress
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Lay the build context: the recipe's files, its base systems and its wheelhouse."""
    context.mkdir(parents=True)
    for name, data in own_files(found).items():
        (context / name).write_bytes(data)
        (context / name).chmod(0o644)
    bases, drift = {}, []
    for file, folder in found.lock["bases"].items():
        rootfs = base.ensure(found.base_dir(folder), say, progress)
        wheels.link(rootfs.path, context / file)
        bases[folder] = rootfs.sha256
        drift += [f"{folder}: {line}" for line in rootfs.drift]
    for requirements in _wheel_files(found):
        drift += wheels.collect(requirements, context / "wheels", say, progress)
    for requirements in (found.dir / name for name in found.lock.get("sources", ())):
        drift += wheels.collect(requirements, context / "wheels", say, progress, source=True)
    return bases, tuple(drift)


def _wheel_files(found: Recipe) -> list[Path]:
    """The recipe's requirement files, and pip's own, which the base system does not have."""
    own = [found.dir / name for name in found.lock.get("wheels", ())]
    return [*own, found.base_dir(INSTALLER) / "requirements.lock"] if own else []


def _epoch(found: Recipe) -> int:
    """SOURCE_DATE_EPOCH of the recipe's base."""
    folder = found.base_dir(next(iter(found.lock["bases"].values())))
    return int(jsonio.read(folder / LOCK)["source_date_epoch"])


def _sweep(folder: Path) -> None:
    """Remove what a killed build left behind a day ago or more."""
    for left in folder.iterdir():
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _refuse_foreign(found: Recipe) -> None:
    import platform

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    if found.platform != f"linux/{machine}":
        raise ImageUnavailable(
            f"{found.name} is locked for {found.platform}, and this machine is linux/{machine}",
            f"use a {found.platform} machine, or name an upstream image by digest in the spec",
        )
