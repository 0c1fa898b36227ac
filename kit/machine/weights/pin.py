"""Completing the weights of a spec: what the hub says of commit, files, sizes, hashes and licence.

Only what a spec lacks is filled in. What it has already must be what the hub has: nothing that was
pinned is ever replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kit.core import jsonio
from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.text import clean
from kit.machine.weights import hub, listing, own, pipelines, shards
from kit.machine.weights.fetch import Progress, nothing
from kit.machine.weights.listing import Listing
from kit.machine.weights.source import WeightSource

NEWEST = "main"  # the branch that a template means
_MOST = 512  # files of a spec
_PINS = ("source", "sha256", "size")


def is_pinned(weights: Mapping[str, Any]) -> bool:
    """Whether nothing lacks in a spec's ``weights``."""
    files = weights.get("files")
    whole = bool(files) and all(key in file for file in files or () for key in _PINS)
    return whole and "revision" in weights


def completed(weights: Mapping[str, Any], progress: Progress = nothing) -> dict[str, Any]:
    """A spec's ``weights`` with all that it lacked, as the hub has it now.

    Without ``files`` the whole model is taken: one .gguf file, or config, tokenizer and
    safetensors, or a pipeline's parts. A file may be named by its ``path`` alone. Small files are
    fetched to be hashed.

    Args:
        weights: with ``repo`` at least, of the right form as far as it goes.

    Raises:
        UsageError: the hub cannot have it, what it has is no model, or differs from what is there.
        WeightsUnavailable: the hub cannot be asked, or gives what cannot be.
    """
    given = weights.get("files", ())
    if "derived" in weights or any(
        not file.get("source", "hf:").startswith("hf:") for file in given
    ):
        raise UsageError(
            "files that do not come from the hub are not pinned there",
            "`kit init --model` or `kit weights derive` pin files that are here",
        )
    repo, revision = weights["repo"], weights.get("revision", NEWEST)
    listed = listing.listing(repo, revision)
    if hub.is_commit(revision) and listed.commit != revision:
        raise _other("weights.revision", revision, listed.commit)
    known = {file["path"]: file for file in given}
    names = list(known) or _whole(listed)
    if len(names) > _MOST:
        raise UsageError(f"{repo} has {len(names)} files of a model", "name those that are needed")
    files = [_file(listed, name, known.get(name, {}), progress) for name in names]
    licence = weights.get("licence") or listed.licence
    stated = {"licence": licence} if licence else {}
    return {"repo": repo, "revision": listed.commit, **stated, "files": files}


def _whole(listed: Listing) -> list[str]:
    """Names of the model's files where the spec names none."""
    sizes = {name: file.size for name, file in listed.files.items()}
    if pipelines.INDEX in sizes:
        return pipelines.files_of(sizes, _json(listed, pipelines.INDEX), listed.repo)
    sizes = {name: size for name, size in sizes.items() if "/" not in name}
    ggufs = sorted(name for name in sizes if name.lower().endswith(".gguf"))
    if own.CONFIG in sizes and any(name.endswith(".safetensors") for name in sizes):
        index = _json(listed, shards.INDEX) if shards.INDEX in sizes else None
        return own.model_files(sizes, index, listed.repo)
    if len(ggufs) == 1:
        return ggufs
    shown = ", ".join(clean(name)[:80] for name in ggufs[:4]) + (", …" if len(ggufs) > 4 else "")
    has = f"{len(ggufs)} models: {shown}" if ggufs else f"no {own.CONFIG} beside safetensors"
    raise UsageError(
        f"{listed.repo} has {has}", 'name the file: "files": [{"path": "NAME.gguf"}] in weights'
    )


def _json(listed: Listing, name: str) -> dict[str, Any]:
    """A small file of the repository that says which others belong together."""
    try:
        document = jsonio.parse(listing.content(listed, name), name, any_integer=True)
    except jsonio.JsonRefused as error:
        raise WeightsUnavailable(
            f"{name} of {listed.repo} {error.what}", "name the files that are needed"
        ) from error
    return document if isinstance(document, dict) else {}


def _file(
    listed: Listing, name: str, given: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """The entry of one file; what was given stays, and must agree."""
    if name not in listed.files:
        raise UsageError(
            f"{listed.repo} has no file {clean(name)} at {listed.commit[:12]}",
            "correct weights.files: a path has one folder at most",
        )
    if not shards.is_plain_path(name):
        raise UsageError(f"{name!a} of {listed.repo} cannot stand in a spec", "name other files")
    size, sha256 = listed.files[name]
    progress(name, 0, size)
    fresh = {
        "path": name,
        "source": str(WeightSource("hf", listed.repo, listed.commit, name)),
        "sha256": sha256 or hashlib.sha256(listing.content(listed, name)).hexdigest(),
        "size": size,
    }
    progress(name, size, size)
    for key, value in given.items():
        if fresh[key] != value:
            raise _other(f"{key} of {name}", value, fresh[key])
    return fresh


def _other(what: str, given: Any, found: Any) -> UsageError:
    return UsageError(
        f"{what} is {given} in the spec and {found} on the hub",
        "leave out what shall be pinned anew; what is pinned is never replaced",
    )
