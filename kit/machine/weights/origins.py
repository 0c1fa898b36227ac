"""Known pairs of source and hash: from the specs that kit ships, and from fetches here.

A fetch that gave the pinned bytes is noted under ``<cache>/sources/<sha256>.json``. Versions of
packages and commits do not change, so that a note stays true; for a branch it was true once. What a
derivation gave is noted under ``<cache>/derived/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from kit.core import jsonio, resources
from kit.core.model import Derivation


class Origin(NamedTuple):
    """``source`` gives the bytes with ``sha256`` (and ``size``, if known), according to ``by``."""

    source: str
    sha256: str
    size: int | None
    by: str


def note(source: str, sha256: str) -> None:
    """Note that ``source`` gave the bytes with ``sha256`` here."""
    path = _folder() / f"{sha256}.json"
    sources = sorted({source, *_noted(path)})
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonio.write(path, sources)


def of_hash(sha256: str) -> tuple[Origin, ...]:
    """Every source that is known to give the bytes with ``sha256``."""
    noted = (_fetched(s, sha256) for s in _noted(_folder() / f"{sha256}.json"))
    return (*(pair for pair in shipped() if pair.sha256 == sha256), *noted)


def of_source(source: str) -> Origin | None:
    """The known hash of ``source``; None if unknown."""
    match = next((pair for pair in shipped() if pair.source == source), None)
    if match or not _folder().is_dir():
        return match
    for path in sorted(_folder().glob("*.json")):
        if source in _noted(path):
            return _fetched(source, path.stem)
    return None


def note_derived(derived: Derivation, files: Mapping[str, str]) -> None:
    """Note the files (name: SHA-256) that a derivation gave here, beside those noted before."""
    path = _derived(derived)
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonio.write(path, {**of_derivation(derived), **files})


def of_derivation(derived: Derivation) -> dict[str, str]:
    """The files (name: SHA-256) that a derivation gave here; empty if it was never done."""
    try:
        files = jsonio.read(_derived(derived))
    except (OSError, jsonio.JsonRefused):
        return {}
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}


def _derived(derived: Derivation) -> Path:
    return (
        resources.cache_dir() / "derived" / f"{jsonio.hash_of(msgspec.to_builtins(derived))}.json"
    )


def shipped() -> tuple[Origin, ...]:
    """The model files of the specs that kit ships: their hashes were checked there."""
    return _shipped(resources.specs_dir())


@cache
def _shipped(folder: Path) -> tuple[Origin, ...]:
    return tuple(
        Origin(file["source"], file["sha256"], file["size"], f"specs/{path.name}")
        for path in sorted(folder.glob("*.json"))
        for file in _files(jsonio.read(path))
    )


def _files(spec: Any) -> Iterator[dict[str, Any]]:
    yield from (spec.get("weights") or {}).get("files", ())


def _fetched(source: str, sha256: str) -> Origin:
    return Origin(source, sha256, None, "an earlier fetch here")


def _folder() -> Path:
    return resources.cache_dir() / "sources"


def _noted(path: Path) -> list[str]:
    """The sources in a note; a damaged note counts as none."""
    try:
        sources = jsonio.read(path)
    except (OSError, jsonio.JsonRefused):
        return []
    return [s for s in sources if isinstance(s, str)] if isinstance(sources, list) else []
