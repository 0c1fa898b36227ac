"""`kit images lock`: resolve a declaration, make the image, and write its identity.

Maintainers of a recipe do it, in a clone. Building never changes a lock.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio, resources
from kit.core.errors import ImageUnavailable, UsageError
from kit.machine.images import apt, baselayer
from kit.machine.images.locks import LOCK, BaseLock, Compile, ImageLock, Package
from kit.machine.images.make import made, nothing
from kit.machine.images.process import run
from kit.machine.images.recipe import Recipe, own_base, recipe, write_lock
from kit.machine.images.wheels import (
    INDEX,
    REMEDY,
    Progress,
    Say,
    keep,
    packages_dir,
    refuse_missing,
)

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def lock(name: str, say: Say = nothing, progress: Progress = nothing) -> ImageLock | BaseLock:
    """Resolve and make ``name`` (a recipe, or a base such as ``base``) and write its lock.

    Raises:
        UsageError: the recipes are in an installed package, where a lock may not be changed.
        ImageUnavailable: as `build`; also if a base has drifted, which must be locked first.
    """
    if not (resources.images_dir().parent / "pyproject.toml").is_file():
        raise UsageError("locks can be changed in a clone of kit only", "clone kit and lock there")
    folder = resources.images_dir() / name
    if (folder / LOCK).is_file() and not (folder / "Dockerfile").is_file():
        return _lock_base(name, say, progress)
    return _lock_recipe(recipe(name), say, progress)


def _lock_recipe(recipe: Recipe, say: Say, progress: Progress) -> ImageLock:
    folder = resources.images_dir() / recipe.name
    say(f"resolving the Python packages of {recipe.name}")
    resolved = msgspec.structs.replace(
        recipe.lock,
        wheels=_resolved(folder / "requirements.lock"),
        compile=_resolved_compile(recipe.lock.compile, folder),
        files={name: jsonio.digest(data) for name, data in recipe.files.items()},
    )
    with made(msgspec.structs.replace(recipe, lock=resolved), say, progress) as new:
        if new.drift:
            bases = ", ".join(f"`kit images lock {name}`" for name in recipe.lock.bases)
            raise ImageUnavailable(
                f"the parts of {recipe.name} are not the locked ones: {'; '.join(new.drift)}",
                f"lock them first: {bases}",
            )
        locked = msgspec.structs.replace(
            resolved, image_id=new.identity.image_id, diff_ids=new.identity.diff_ids
        )
    write_lock(recipe.name, locked)
    return locked


def _resolved(requirements: Path, *, source: bool = False) -> tuple[Package, ...]:
    return resolve(requirements, source=source) if requirements.is_file() else ()


def _resolved_compile(wanted: Compile | None, folder: Path) -> Compile | None:
    if wanted is None:
        return None
    (source,) = _resolved(folder / "source.lock", source=True)
    return msgspec.structs.replace(wanted, tools=_resolved(folder / "build.lock"), source=source)


def _lock_base(name: str, say: Say, progress: Progress) -> BaseLock:
    say(f"resolving the packages of {name}")
    with apt.today(own_base(name)) as archive:
        resolved = msgspec.structs.replace(archive.resolve(own_base(name)), diff_id="")
    layer = baselayer.ensure(resolved, name, say, progress, own=False).layer
    locked = msgspec.structs.replace(resolved, diff_id=layer.diff_id)
    write_lock(name, locked)
    return locked


def resolve(requirements: Path, *, source: bool = False) -> tuple[Package, ...]:
    """The files in a requirement file with hashes, chosen for the image's Python.

    With ``source`` the source archive, else the best wheel.

    Raises:
        ImageUnavailable: the index does not answer, or a package has no such file.
    """
    with tempfile.TemporaryDirectory(prefix="locking-", dir=packages_dir()) as work:
        output = run(
            [sys.executable, "-P", INDEX, work],
            failure="the Python packages could not be resolved",
            remedy=REMEDY,
            stdin=json.dumps([_wanted_file(line, source) for line in _requirements(requirements)]),
        )
        refuse_missing(output)
        facts = Path(work).glob("*.json")
        packages = [msgspec.json.decode(path.read_bytes(), type=Package) for path in facts]
        keep(Path(work) / package.sha256 for package in packages)
    return tuple(sorted(packages, key=lambda package: package.name))


def _requirements(path: Path) -> list[str]:
    text = path.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if _PINNED.match(line)]


def _wanted_file(line: str, source: bool) -> dict[str, Any]:
    match = _PINNED.match(line)
    assert match is not None, "only such lines are asked for"
    return {
        "name": re.sub(r"[-_.]+", "-", match[1]).lower(),
        "version": match[2],
        "hashes": _HASH.findall(line),
        "source": source,
    }
