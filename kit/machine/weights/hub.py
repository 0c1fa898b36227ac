"""What the Hugging Face hub's own cache on this machine knows: which commit, and which files.

Nothing is asked of the network. A folder of the cache looks like this::

    models--ORG--REPO/refs/main                 the commit that the branch was when it was fetched
    models--ORG--REPO/snapshots/COMMIT/FILE     a file of that commit
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from kit.core import jsonio
from kit.machine.weights import source as sources
from kit.machine.weights.files import is_file

_SOURCE = re.compile(r"hf:(?P<repo>[^@]+/[^@]+)@(?P<revision>[^/]+)/(?P<file>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Source(NamedTuple):
    """A source ``hf:REPO@REVISION/FILE`` in its parts."""

    repo: str
    revision: str
    file: str

    def at(self, commit: str) -> str:
        """The same source at a commit."""
        return f"hf:{self.repo}@{commit}/{self.file}"


def source(text: str) -> Source | None:
    """The parts of a source; None where it is none of the hub's."""
    found = _SOURCE.fullmatch(text)
    # A spec may come from anyone: it does not lead out of the cache.
    if not found or {"", ".."} & {*found["repo"].split("/"), *found["file"].split("/")}:
        return None
    return Source(found["repo"], found["revision"], found["file"])


def commit_of(wanted: Source) -> str | None:
    """The commit that the revision is, or was when this machine fetched it."""
    if _COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    try:
        said = (_folder(wanted) / "refs" / wanted.revision).read_text().strip()
    except (OSError, ValueError):
        return None
    return said if _COMMIT.fullmatch(said) else None


def cached(wanted: Source, commit: str) -> Path | None:
    """The file of this commit, where the cache has it."""
    path = _folder(wanted) / "snapshots" / commit / wanted.file
    return path if is_file(path) else None


def cached_file(wanted: sources.Source) -> Path | None:
    """The file of a spec's source, where the cache has it; None for other kinds of sources."""
    if wanted.kind != "hf":
        return None
    return cached(Source(wanted.origin, wanted.revision, wanted.name), wanted.revision)


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which stays what it is; a branch or a tag moves."""
    return bool(_COMMIT.fullmatch(revision))


def is_sha256(name: str) -> bool:
    """Whether the cache's file of this name is named by its content's SHA-256."""
    return jsonio.is_sha256(name)


def _folder(wanted: Source) -> Path:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
    return cache / f"models--{wanted.repo.replace('/', '--')}"
