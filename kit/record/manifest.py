"""The manifest, the root of a sealed run: run hash, strict parsing, list of files.

``run_hash = SHA-256("kit-run-v1\\n" ‖ manifest bytes)``. The manifest is canonical JSON
(RFC 8785) without floats, so that one run has one manifest and one hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.errors import ArchiveRefused
from kit.core.model import Manifest, ManifestFile
from kit.record.archive import MANIFEST, MAX_BYTES, MAX_MANIFEST, SEAL, SEAL_SUFFIXES, ArchiveSource

SCHEMA = "kit.run/1"
PROFILE = "kit.check/1"
CRITICAL: frozenset[str] = frozenset()
PRIVATE = "private/"
# A run's relation to a parent: it runs it again, or holds its records with other results.
REPLAY, RECOMPUTED = "replay-of", "recomputed-from"
RELATIONS = frozenset({REPLAY, RECOMPUTED})
DOMAIN = b"kit-run-v1\n"
# Attempts at the same spec by the exporter's ledger: added to the run, outside its hash.
ATTEMPTS = f"{SEAL}attempts.json"
# A JSON document is parsed whole, and takes many times its size in memory.
MAX_DOCUMENT = 64 << 20
_REMEDY = "ask whoever made it for an archive written by `kit export`"


def parent(document: Any, relation: str) -> str:
    """The hash of a manifest's parent run, or empty; the manifest may be from anywhere.

    The hash may become a path in a store, so that any other text counts as empty.
    """
    parents = document.get("parents") if isinstance(document, dict) else None
    for entry in parents if isinstance(parents, list) else ():
        if isinstance(entry, dict) and entry.get("relation") == relation:
            name = str(entry.get("run_hash", ""))
            return name if jsonio.is_sha256(name) else ""
    return ""


def run_hash(data: bytes) -> str:
    """The name of a run, from its manifest's bytes."""
    return hashlib.sha256(DOMAIN + data).hexdigest()


def read(source: ArchiveSource) -> tuple[bytes, Manifest]:
    """The manifest's bytes and its content.

    Raises:
        ArchiveRefused: ``MISSING_FILE``, ``TOO_LARGE`` or a code of `parse`.
    """
    data = source.read(MANIFEST, MAX_MANIFEST)
    return data, parse(data)


def parse(data: bytes) -> Manifest:
    """Read a manifest strictly.

    Raises:
        ArchiveRefused: ``JSON_…``; ``MANIFEST_INTEGER`` (2^53 or more) or ``MANIFEST_FLOAT``;
            ``MANIFEST_NOT_CANONICAL``; ``MANIFEST_UNSUPPORTED`` (other schema, or an unknown
            name in ``critical``); ``MANIFEST_INVALID``.
    """
    try:
        document = jsonio.parse(data, MANIFEST)
    except jsonio.JsonRefused as error:
        code = "MANIFEST_INTEGER" if error.code == "JSON_INTEGER" else error.code
        raise ArchiveRefused(code, error.message, _REMEDY) from error
    _refuse_floats(document)
    if not is_canonical(document, data):
        raise _refused("MANIFEST_NOT_CANONICAL", "manifest.json is not in its canonical form")
    _refuse_unsupported(document)
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise _refused("MANIFEST_INVALID", f"manifest.json: {error}") from error
    _refuse_list(manifest.files)
    return manifest


def is_canonical(document: Any, data: bytes) -> bool:
    """Whether ``data`` is the canonical form of ``document`` (RFC 8785)."""
    try:
        return jsonio.canonical(document) == data
    except (
        ValueError
    ):  # half a character, an infinity, an integer of 2^53 or more: no canonical form
        return False


def _refused(code: str, message: str) -> ArchiveRefused:
    return ArchiveRefused(code, message, _REMEDY)


def _refuse_floats(value: Any) -> None:
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, float):
        raise _refused("MANIFEST_FLOAT", "manifest.json holds a number that is not whole")
    for child in children if isinstance(value, dict | list) else ():
        _refuse_floats(child)


def _refuse_unsupported(document: Any) -> None:
    """Refuse a manifest that only a newer kit can judge: by schema, profile or a critical name."""
    if not isinstance(document, dict):
        raise _refused("MANIFEST_INVALID", "manifest.json is not an object")
    if document.get("schema") != SCHEMA or document.get("profile") != PROFILE:
        schema = f"{document.get('schema')!a} with {document.get('profile')!a}"
        raise _refused("MANIFEST_UNSUPPORTED", f"this kit reads {SCHEMA}, the run is {schema}")
    critical = document.get("critical")
    names = critical if isinstance(critical, list) else []
    unknown = [n for n in names if not isinstance(n, str) or n not in CRITICAL]
    if unknown:
        raise _refused(
            "MANIFEST_UNSUPPORTED", f"the run needs {unknown[0]!a}, which this kit lacks"
        )


def _refuse_list(files: tuple[ManifestFile, ...]) -> None:
    paths = [f.path for f in files]
    if paths != sorted(set(paths)):
        raise _refused("MANIFEST_INVALID", "manifest.json does not list its files once, in order")
    if any(f.withheld and not f.path.startswith(PRIVATE) for f in files):
        raise _refused("MANIFEST_INVALID", f"manifest.json withholds more than {PRIVATE}")


# --- files against the list -----------------------------------------------------------------


def unlisted_files(source: ArchiveSource, manifest: Manifest) -> list[str]:
    """Files of the source that are neither in the manifest nor known files of the seal."""
    listed = {MANIFEST, *(f.path for f in manifest.files)}
    return [n for n in source.names() if n not in listed and not _is_seal(n)]


def missing_files(source: ArchiveSource, manifest: Manifest) -> list[ManifestFile]:
    """Entries of the manifest without a file; withheld files may be absent."""
    present = set(source.names())
    return [f for f in manifest.files if f.path not in present]


def _is_seal(name: str) -> bool:
    kind = name.startswith(SEAL) and name.count("/") == 1 and name.endswith(SEAL_SUFFIXES)
    return kind or name == ATTEMPTS


def pieces_listed(source: ArchiveSource, entry: ManifestFile) -> Iterator[bytes]:
    """A listed file piece by piece; its hash is checked after the last one.

    Raises:
        ArchiveRefused: ``HASH_MISMATCH``, or a fault in reading it.
    """
    if source.size(entry.path) != entry.size:
        raise _refused("HASH_MISMATCH", f"{entry.path} is not as long as when it was sealed")
    digest = hashlib.sha256()
    for piece in source.pieces(entry.path):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != entry.sha256:
        raise _refused("HASH_MISMATCH", f"{entry.path} is not what was sealed")


def check_listed(source: ArchiveSource, entry: ManifestFile) -> None:
    """Hash a listed file without keeping it; raises as `pieces_listed` does."""
    for _ in pieces_listed(source, entry):
        pass


def read_listed(source: ArchiveSource, entry: ManifestFile) -> bytes:
    """A listed file's bytes, with their hash checked; raises as `pieces_listed` does."""
    return b"".join(pieces_listed(source, entry))


class Intact(ArchiveSource):
    """A source that returns only bytes with the manifest's hash."""

    def __init__(self, source: ArchiveSource, manifest: Manifest) -> None:
        self._source = source
        self._entries = {f.path: f for f in manifest.files}
        self.kind, self.top, self.remarks = source.kind, source.top, source.remarks

    def names(self) -> list[str]:
        return [n for n in self._source.names() if n in self._entries]

    def size(self, name: str) -> int:
        return self._source.size(name)

    def pieces(self, name: str) -> Iterator[bytes]:
        return pieces_listed(self._source, self._entry(name))

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        limit = min(limit, MAX_DOCUMENT if name.endswith(".json") else MAX_BYTES)
        if self._entry(name).size > limit:
            raise _refused("TOO_LARGE", f"{name} is larger than {limit} bytes")
        return read_listed(self._source, self._entries[name])

    def _entry(self, name: str) -> ManifestFile:
        if name not in self._entries:
            raise _refused("MISSING_FILE", f"{name} is not in the manifest")
        return self._entries[name]

    def close(self) -> None:
        self._source.close()
