"""The Hugging Face hub's own cache on this machine: commits and files.

No network is used. A folder of the cache looks like this::

    models--ORG--REPO/refs/main                 the branch's commit when it was fetched
    models--ORG--REPO/snapshots/COMMIT/FILE     a file of that commit
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from kit.core import jsonio
from kit.machine.weights.files import is_file
from kit.machine.weights.source import WeightSource

_COMMIT = re.compile(r"[0-9a-f]{40}")


def commit_of(wanted: WeightSource) -> str | None:
    """The commit of the revision, now or when this machine fetched it."""
    if is_commit(wanted.revision):
        return wanted.revision
    try:
        commit = (_folder(wanted) / "refs" / wanted.revision).read_text().strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def cached_file(wanted: WeightSource) -> Path | None:
    """The file of an ``hf:`` source at its revision, if the cache has it; else None."""
    if wanted.kind != "hf":
        return None
    path = snapshot(wanted) / wanted.name
    return path if is_file(path) else None


def snapshot(wanted: WeightSource) -> Path:
    """The cache's folder of the revision's files, whether it is there or not."""
    return _folder(wanted) / "snapshots" / wanted.revision


def snapshots() -> list[WeightSource]:
    """Every commit that the cache has files of, without a file's name; by repository."""
    found = []
    for folder in sorted(_cache().glob("models--*--*/snapshots/*")):
        origin = folder.parts[-3].removeprefix("models--").replace("--", "/", 1)
        if is_commit(folder.name):
            found.append(WeightSource("hf", origin, folder.name, ""))
    return found


def source_of(path: Path) -> WeightSource | None:
    """The source of a file in the cache by its place there; None of any other file."""
    try:
        repo, snapshots_, commit, *name = path.absolute().relative_to(_cache().absolute()).parts
    except ValueError:
        return None
    if not repo.startswith("models--") or snapshots_ != "snapshots" or not is_commit(commit):
        return None
    origin = repo.removeprefix("models--").replace("--", "/", 1)
    return WeightSource("hf", origin, commit, "/".join(name))


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which is fixed, and no branch or tag, which may move."""
    return bool(_COMMIT.fullmatch(revision))


def is_sha256(name: str) -> bool:
    """Whether this name of a file in the cache is its content's SHA-256."""
    return jsonio.is_sha256(name)


def _cache() -> Path:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()


def _folder(wanted: WeightSource) -> Path:
    return _cache() / f"models--{wanted.origin.replace('/', '--')}"
