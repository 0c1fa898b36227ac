"""Image recipes: from ``images/`` of this kit, or sealed into a run; always wholly in memory.

A recipe is a folder with an ``image.json`` (see `kit.machine.images.locks`), the image's program,
requirement files for locking, and a ``Dockerfile`` that makes the same files with other builders.
Its base systems are folders next to it; in a run they are its sub-folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kit.core import jsonio, resources
from kit.core.errors import ImageUnavailable
from kit.core.nearest import one_of
from kit.machine.images.locks import LOCK, BaseLock, ImageLock, base_lock, image_lock

SHORT = 12


class Recipe(msgspec.Struct, frozen=True):
    """A recipe: its ``lock``, its ``bases`` by folder, and its own ``files`` by name.

    ``own``: it is this kit's; otherwise it was sealed into a run, perhaps by a stranger.
    """

    lock: ImageLock
    bases: dict[str, BaseLock]
    files: dict[str, bytes]
    own: bool = False

    @property
    def name(self) -> str:
        return self.lock.recipe

    @property
    def title(self) -> str:
        return self.lock.title

    @property
    def image_id(self) -> str:
        """The locked image id, ``sha256:…``; empty in a recipe that was never locked."""
        return self.lock.image_id

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The locked layers: sha256 of each one's uncompressed tar."""
        return self.lock.diff_ids

    @property
    def base(self) -> BaseLock:
        """The lock of the image's own base system."""
        return self.bases[self.lock.base]

    @property
    def reference(self) -> str:
        """The engine's name for the locked image: ``kit/<name>:<id's first 12>``."""
        return reference(self.name, self.image_id)

    @property
    def content(self) -> str:
        """SHA-256 of the whole recipe: its lock, its bases' locks, its files."""
        hashes = {name: jsonio.digest(data) for name, data in self.files.items()}
        locks = msgspec.to_builtins([self.lock, self.bases])
        return jsonio.hash_of([locks, hashes])


def reference(name: str, image_id: str) -> str:
    """``kit/<name>:<first 12 digits of the id>``, or ``:unlocked`` without an id."""
    return f"kit/{name}:{image_id.removeprefix('sha256:')[:SHORT] or 'unlocked'}"


def recipes() -> list[Recipe]:
    """Every recipe of this kit, by name."""
    return [recipe(name) for name in _names()]


def recipe(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        ImageUnavailable: this kit has no recipe of that name, or its lock is malformed.
    """
    if name not in _names():
        raise ImageUnavailable(f"there is no image recipe called {name!r}", one_of(name, _names()))
    folder = resources.images_dir() / name
    try:
        lock = image_lock((folder / LOCK).read_bytes(), f"{name}/{LOCK}")
        bases = {base: own_base(base) for base in lock.bases}
    except (msgspec.ValidationError, jsonio.JsonRefused) as error:
        raise ImageUnavailable(f"{name}/{LOCK}: {error}", "edit it, then lock it again") from error
    return Recipe(lock, bases, _own_files(folder), own=True)


def own_base(name: str) -> BaseLock:
    """The lock of this kit's base ``name``.

    Raises:
        ImageUnavailable: it is malformed.
    """
    try:
        return base_lock((resources.images_dir() / name / LOCK).read_bytes(), f"{name}/{LOCK}")
    except (msgspec.ValidationError, jsonio.JsonRefused) as error:
        raise ImageUnavailable(f"{name}/{LOCK}: {error}", "edit it, then lock it again") from error


def _names() -> list[str]:
    return sorted(path.parent.name for path in resources.images_dir().glob("*/Dockerfile"))


def _own_files(folder: Path) -> dict[str, bytes]:
    """The recipe's own files, by name; not its lock, nor ``*.in``, which only locking reads."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != LOCK and path.suffix != ".in"
    }


def edited_files(recipe: Recipe) -> list[str]:
    """Names of the files that changed after locking, sorted.

    ``image.json`` is among them if its fields give another image than the locked one.
    """
    from kit.machine.images.configuration import configuration, image_id

    locked = recipe.lock.files
    now = {name: jsonio.digest(data) for name, data in recipe.files.items()}
    edited = {name for name in locked.keys() | now.keys() if locked.get(name) != now.get(name)}
    diff_ids = recipe.diff_ids
    declared = image_id(configuration(recipe.lock, recipe.base, diff_ids))
    if declared != recipe.image_id or diff_ids[:1] != (recipe.base.diff_id,):
        edited.add(LOCK)
    return sorted(edited)


def context_files(name: str) -> dict[str, bytes]:
    """All files to rebuild the image of recipe ``name``, as sealed under ``inputs/image/``."""
    own = recipe(name)
    places = {LOCK: name, **{f"{base}/{LOCK}": base for base in own.lock.bases}}
    root = resources.images_dir()
    return {**own.files, **{at: (root / of / LOCK).read_bytes() for at, of in places.items()}}


def sealable_files(name: str, pin: str) -> dict[str, bytes]:
    """The files of recipe ``name`` to seal with a run of the image ``pin``: all, if locked at it.

    If the pin is older, this kit no longer has its recipe: then none, since the present recipe
    makes another image.
    """
    is_known = name in _names() and recipe(name).image_id == pin
    return context_files(name) if is_known else {}


def files_digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for a sealed recipe, from the SHA-256 of each of its files by name."""
    return jsonio.hash_of(dict(files))


def write_lock(name: str, lock: ImageLock | BaseLock) -> None:
    """Write a lock in a readable form: indented, keys as declared, one final newline."""
    text = msgspec.json.format(msgspec.json.encode(lock), indent=2).decode()
    (resources.images_dir() / name / LOCK).write_text(text + "\n", "utf-8")
