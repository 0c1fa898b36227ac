"""Image recipes as they lie in ``images/``: a Dockerfile, what goes in, and the lock.

A recipe is a folder with a ``Dockerfile`` and an ``image.json``, the lock::

    schema        "kit.image/1"
    recipe title  names, for people
    platform      "linux/amd64"
    bases         {file in the build context: folder of the base beside this one}
    wheels        [requirement files whose wheels go into the context]
    --- written by `kit images lock`, from here on ---
    base          {base folder: sha256 of its root filesystem}
    files         {file of the recipe: sha256}
    image_id      the image's id in a classic Docker store, equal to ``config_digest``
    config_digest sha256 of the image's configuration
    diff_ids      sha256 of each layer's uncompressed tar
    builder       the programs that built it, with their versions

A recipe sealed into a run has its bases as sub-folders; in the clone they stand beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kit import jsonio, resources
from kit.errors import ImageUnavailable

LOCK = "image.json"
SHORT = 12


class Recipe(NamedTuple):
    """One recipe: its name, its folder, and its lock as parsed from ``image.json``."""

    name: str
    dir: Path
    lock: dict[str, Any]

    @property
    def reference(self) -> str:
        """The name that the locked image gets in the engine: ``kit/<name>:<id's first 12>``."""
        return reference(self.name, self.image_id)

    @property
    def image_id(self) -> str:
        """The locked image id, ``sha256:…``; empty in a recipe that was never locked."""
        return str(self.lock.get("image_id", ""))

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The locked layers: sha256 of each one's uncompressed tar."""
        return tuple(self.lock.get("diff_ids", ()))

    @property
    def title(self) -> str:
        return str(self.lock.get("title", self.name))

    @property
    def platform(self) -> str:
        return str(self.lock.get("platform", "linux/amd64"))

    def base_dir(self, base: str) -> Path:
        """The folder of the base called ``base``: inside a sealed recipe, else beside it."""
        sealed = self.dir / base
        return sealed if sealed.is_dir() else self.dir.parent / base


def reference(name: str, image_id: str) -> str:
    """``kit/<name>:<first 12 digits of the id>``, or ``:unlocked`` where there is no id."""
    return f"kit/{name}:{image_id.removeprefix('sha256:')[:SHORT] or 'unlocked'}"


def recipes() -> list[Recipe]:
    """Every recipe that this kit carries, by name."""
    found = (path.parent for path in resources.images_dir().glob("*/Dockerfile"))
    return [at(folder) for folder in sorted(found)]


def recipe(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        ImageUnavailable: this kit has no recipe of that name.
    """
    folder = resources.images_dir() / name
    known = {path.parent.name for path in resources.images_dir().glob("*/Dockerfile")}
    if name not in known:
        raise ImageUnavailable(
            f"there is no image recipe called {name!r}",
            f"choose one of: {', '.join(sorted(known))}",
        )
    return at(folder)


def at(folder: Path) -> Recipe:
    """The recipe in ``folder``, which may be one that was sealed into a run."""
    lock = jsonio.read(folder / LOCK)
    return Recipe(str(lock.get("recipe", folder.name)), folder, lock)


def own_files(found: Recipe) -> dict[str, bytes]:
    """The recipe's own files, by name: what makes its image.

    Not among them: its lock, and ``*.in``, which only say what was asked for when locking.
    """
    return {
        path.name: path.read_bytes()
        for path in sorted(found.dir.iterdir())
        if path.is_file() and path.name != LOCK and path.suffix != ".in"
    }


def edited_files(found: Recipe) -> list[str]:
    """Names of the files that differ from what the lock was made from, sorted."""
    locked: dict[str, str] = found.lock.get("files", {})
    now = {name: jsonio.digest(data) for name, data in own_files(found).items()}
    return sorted(name for name in locked.keys() | now.keys() if locked.get(name) != now.get(name))


def context_files(name: str) -> dict[str, bytes]:
    """Everything that rebuilds the image of recipe ``name``: sealed under ``inputs/image/``."""
    found = recipe(name)
    files = {LOCK: (found.dir / LOCK).read_bytes(), **own_files(found)}
    for base in sorted({*found.lock.get("bases", {}).values(), "installer"}):
        folder = found.base_dir(base)
        files |= {f"{base}/{p.name}": p.read_bytes() for p in folder.iterdir() if p.is_file()}
    return files


def sealable_files(name: str, pin: str) -> dict[str, bytes]:
    """What of recipe ``name`` a run of the image ``pin`` may seal: all, if it is locked at ``pin``.

    The pin may be an older one, whose recipe this kit no longer has: then nothing, since the
    recipe at hand makes another image.
    """
    known = [found for found in recipes() if found.name == name and found.image_id == pin]
    return context_files(name) if known else {}


def files_digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for a sealed recipe, from the SHA-256 of each of its files by name."""
    return jsonio.hash_of(dict(files))


def write_lock(folder: Path, lock: dict[str, Any]) -> None:
    """Write a lock the way people read it: indented, keys as they stand, one final newline."""
    (folder / LOCK).write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n", "utf-8")
