"""L1: the files are exactly those in the manifest, and the run's name is the manifest's hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kit.core import jsonio
from kit.core.errors import ArchiveRefused
from kit.core.model import Manifest, ManifestFile
from kit.judge.verify.verdict import Check, check, judged
from kit.record import archive
from kit.record import manifest as manifests
from kit.record.archive import MANIFEST, MAX_MANIFEST, ArchiveSource

_MOST = 3  # as many as the check's message names


def name_of(source: ArchiveSource) -> str:
    """The run's hash: that of the manifest's bytes, which are not parsed.

    Raises:
        ArchiveRefused: there is no manifest, or it is too large.
    """
    return manifests.run_hash(source.read(MANIFEST, MAX_MANIFEST))


def checks(source: ArchiveSource, data: bytes, manifest: Manifest) -> list[Check]:
    """Check the name, the set of files, every file's hash, and the hashes in the manifest."""
    absent = manifests.missing_files(source, manifest)
    lost = [f"{f.path} is missing" for f in absent if not f.withheld]
    unlisted = [f"{name} is not listed" for name in manifests.unlisted_files(source, manifest)]
    present = [f for f in manifest.files if f not in absent]
    return [
        _name(source, manifests.run_hash(data)),
        judged("EXTRA_FILE", unlisted, "no file beside those listed"),
        judged("LISTED_FILE_MISSING", lost, "every listed file is there"),
        judged("HASH_MISMATCH", _altered(source, present), f"{len(present)} files are as sealed"),
        judged("ROOT_HASHES", _roots(manifest), "spec, plan and results are those of the manifest"),
        *_withheld(absent, manifest),
    ]


def _name(source: ArchiveSource, name: str) -> Check:
    if source.top == name:
        return check("HASH_NAME", "PASS", "the run's name is the hash of its manifest")
    if jsonio.is_sha256(source.top):
        return check("HASH_NAME", "FAIL", f"it is named {source.top[:12]}… and is {name[:12]}…")
    return check("HASH_NAME", "WARN", f"the folder is not named by its hash, {name[:12]}…")


def _altered(source: ArchiveSource, files: list[ManifestFile]) -> Iterator[str]:
    for entry in files:
        try:
            manifests.check_listed(source, entry)
        except ArchiveRefused as refused:
            yield refused.message


def _roots(manifest: Manifest) -> Iterator[str]:
    hashes = {f.path: f.sha256 for f in manifest.files}
    roots = {
        "spec.json": manifest.spec_hash,
        "plan.json": manifest.plan_hash,
        "results.json": manifest.result_hash,
    }
    for name, sha256 in roots.items():
        if hashes.get(name) != sha256:
            yield f"{name} is listed under another hash"


def _withheld(absent: list[ManifestFile], manifest: Manifest) -> list[Check]:
    private = [f for f in manifest.files if f.withheld]
    if not private:
        return []
    hidden = [f for f in private if f in absent]
    if hidden:
        message = "host name and device UUIDs are committed by hash and withheld"
        return [check("IDENTITY", "WITHHELD", message)]
    return [check("IDENTITY", "PASS", "host name and device UUIDs are in this copy")]


# --- for a face: which files, and both hashes ---------------------------------------------------


class Altered(NamedTuple):
    """A file with its SHA-256 in the manifest, and its actual one."""

    path: str
    sealed: str
    actual: str


def altered(run: Path) -> tuple[Altered, ...]:
    """The first files of ``run`` whose hash differs from the manifest's; at most three.

    It is empty where the manifest cannot be read.

    Raises:
        UsageError: nothing is at ``run``, or it cannot be read.
        ArchiveRefused: the container is not safe to read.
    """
    with archive.open_source(run) as source:
        try:
            _, manifest = manifests.read(source)
            gone = {entry.path for entry in manifests.missing_files(source, manifest)}
            hashed = (
                Altered(entry.path, entry.sha256, _sha256(source, entry.path))
                for entry in manifest.files
                if entry.path not in gone
            )
            return tuple(islice((file for file in hashed if file.sealed != file.actual), _MOST))
        except ArchiveRefused:
            return ()  # the verdict already says what cannot be read


def _sha256(source: ArchiveSource, path: str) -> str:
    digest = hashlib.sha256()
    for piece in source.pieces(path):
        digest.update(piece)
    return digest.hexdigest()
