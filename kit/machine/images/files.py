"""Files in kit's cache that are known by their hash."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def same_file(path: Path, sha256: str) -> bool:
    """Whether ``path`` is a file with this hash; a damaged one is deleted."""
    if not path.is_file():
        return False
    if file_sha256(path) == sha256:
        return True
    path.unlink()
    return False
