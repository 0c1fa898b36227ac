"""A sealed recipe: read into memory, and checked before it is used.

The archive may be a stranger's. Nothing is written, fetched or executed here, and every field of
the result was checked against the closed schema of `kit.machine.images.locks`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kit.core import jsonio
from kit.core.errors import ArchiveRefused
from kit.machine.images.configuration import configuration, image_id
from kit.machine.images.locks import LOCK, MAX_FILE, MAX_FILES, base_lock, image_lock
from kit.machine.images.recipe import Recipe
from kit.record.archive import ArchiveSource

FOLDER = "inputs/image/"
MAX_PARTS = 16 << 30
CODES = {
    "RECIPE_MISSING": "no recipe is sealed in the run",
    "RECIPE_INVALID": "the sealed recipe breaks its closed schema",
    "RECIPE_FILES": "the sealed recipe's files are not those that its lock names",
    "RECIPE_IDENTITY": "the sealed recipe cannot have the image id that its lock claims",
}


def sealed(source: ArchiveSource) -> Recipe:
    """The recipe under ``inputs/image/`` of a run, checked, in memory.

    Guaranteed afterwards: every field obeys the closed schema; the files are exactly those in the
    lock, with their hashes; and ``image_id`` is the hash of the configuration from the lock's
    fields and layers, so that a lock cannot claim the id of another image. Whether its packages
    give those layers, only a build can show.

    Args:
        source: an opened archive (`kit.record.archive.open_source`).

    Returns:
        A `Recipe`, which `kit.machine.images.build_recipe` takes. Its ``lock.wheels``,
        ``lock.compile`` and ``bases[…].packages`` list every part that a rebuild would fetch, each
        with name, version, sha256 and size (bytes).

    Raises:
        ArchiveRefused: a code of `CODES`, or of the archive's own rules.
        ImageUnavailable: the recipe has the format of an older kit; it cannot be rebuilt, and
            nothing is wrong with the run.
    """
    names = [name.removeprefix(FOLDER) for name in source.names() if name.startswith(FOLDER)]
    if LOCK not in names:
        raise refuse("RECIPE_MISSING", f"{FOLDER}{LOCK}")
    if len(names) > MAX_FILES:
        raise refuse("RECIPE_FILES", f"more than {MAX_FILES} files")
    return checked({name: source.read(FOLDER + name, MAX_FILE) for name in sorted(names)})


def checked(files: Mapping[str, bytes]) -> Recipe:
    """The recipe in these files, by name relative to its folder; raises as `sealed`."""
    try:
        lock = image_lock(files[LOCK], "the sealed image.json")
        wanted = {LOCK, *lock.files, *(f"{base}/{LOCK}" for base in lock.bases)}
        if wanted != files.keys():
            raise refuse("RECIPE_FILES", ascii(sorted(wanted ^ files.keys())[0]))
        bases = {name: base_lock(files[f"{name}/{LOCK}"], f"{name}/{LOCK}") for name in lock.bases}
    except (msgspec.ValidationError, jsonio.JsonRefused) as error:
        raise refuse("RECIPE_INVALID", ascii(str(error))[:300]) from error
    recipe = Recipe(lock, bases, {name: files[name] for name in sorted(lock.files)})
    _refuse_inconsistent(recipe)
    return recipe


def _refuse_inconsistent(recipe: Recipe) -> None:
    """Raise if lock, files and bases contradict one another."""
    lock, bases = recipe.lock, recipe.bases
    for name, data in recipe.files.items():
        if jsonio.digest(data) != lock.files[name]:
            raise refuse("RECIPE_FILES", f"{name} has another hash")
    if not set(lock.program) <= lock.files.keys():
        raise refuse("RECIPE_FILES", "a program file is not among the files")
    if parts_bytes(recipe) > MAX_PARTS:
        raise refuse("RECIPE_INVALID", f"its parts have more than {MAX_PARTS >> 30} GiB")
    if not lock.diff_ids or lock.diff_ids[0] != bases[lock.base].diff_id:
        raise refuse("RECIPE_IDENTITY", "the base is not the image's first layer")
    if lock.image_id != image_id(configuration(lock, bases[lock.base], lock.diff_ids)):
        raise refuse("RECIPE_IDENTITY", "image_id is not the hash of its configuration")


def parts_bytes(recipe: Recipe) -> int:
    """The size (bytes) of every package that a rebuild would fetch."""
    lock = recipe.lock
    compiled = [*lock.compile.tools, lock.compile.source] if lock.compile else []
    python = [*lock.wheels, *(part for part in compiled if part)]
    debian = [deb for base in recipe.bases.values() for deb in base.packages.values()]
    return sum(part.size for part in python) + sum(deb.size for deb in debian)


def refuse(code: str, detail: str) -> ArchiveRefused:
    """The error for one rule of `CODES`."""
    return ArchiveRefused(
        code, f"{CODES[code]}: {detail}", "ask whoever made the run for one that kit sealed"
    )
