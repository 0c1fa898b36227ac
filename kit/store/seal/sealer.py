"""The manifest of a run in flight, and the move to its hash.

Order matters for a power loss: every file and folder is on disk before the run gets its name, and
the name before the entry in the ledger. `kit.store.seal.recover` completes what was cut short.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import os
from functools import cache
from pathlib import Path

import msgspec

import kit
from kit.core import jsonio
from kit.core.errors import DiskFull, KitError, RunFailed
from kit.core.model import Event, Manifest, ManifestFile, Plan
from kit.record import events
from kit.record.archive import MANIFEST, SEAL, strays
from kit.record.manifest import PROFILE, SCHEMA, run_hash
from kit.store.store import InFlight, Store

WITHHELD_ROLE = "private"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_REASON_LIMIT = 4096
_MEDIA = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".log": "text/plain",
    ".png": "image/png",
}
_ROLES = {
    "spec.json": "spec",
    "plan.json": "plan",
    "events.jsonl": "journal",
    "results.json": "results",
}
_FOLDER_ROLES = frozenset({"inputs", "env", "samples", "launches", WITHHELD_ROLE})


def seal(
    flight: InFlight,
    status: str,
    reason: str,
    parents: tuple[dict[str, str], ...] = (),
    *,
    kind: str = "sealed",
) -> Path:
    """Write the manifest, sync everything to disk, and move the run to its hash.

    Args:
        kind: the run's outcome in the ledger, ``sealed`` or ``recovered``.

    Returns:
        The sealed run's folder.

    Raises:
        DiskFull: the manifest does not fit on the disk; the run stays in flight, nothing is lost.
        RunFailed: it could not be written for another reason.
    """
    try:
        manifest = manifest_of(flight, status, reason, parents)
        data = jsonio.canonical(msgspec.to_builtins(manifest))
        (flight.path / MANIFEST).write_bytes(data)
        target = flight.store.root / run_hash(data)
        sync_tree(flight.path)
        flight.path.rename(target)
        sync(flight.store.inflight)
        sync(flight.store.root)
        note(flight.store, kind, target.name, manifest)
    except OSError as error:
        raise storage_error(error) from error
    return target


def note(store: Store, kind: str, name: str, manifest: Manifest) -> None:
    """Add a run's outcome to the ledger: ``sealed``, ``recovered`` or ``imported``."""
    store.note(
        kind,
        id=manifest.run_id,
        run_hash=name,
        spec_hash=manifest.spec_hash,
        plan_hash=manifest.plan_hash,
        status=manifest.status,
        reason=manifest.reason,
        utc=utc_now(),
    )


def manifest_of(
    flight: InFlight, status: str, reason: str, parents: tuple[dict[str, str], ...]
) -> Manifest:
    """The manifest of a run in flight.

    Raises:
        OSError: a file cannot be read.
        KeyError: the spec, the plan or the results are missing.
    """
    files = entries(flight.path)
    hashes = {f.path: f.sha256 for f in files}
    plan = msgspec.convert(jsonio.read(flight.path / "plan.json"), Plan, strict=False)
    journal = events.decode((flight.path / events.FILE).read_bytes())
    return Manifest(
        schema=SCHEMA,
        profile=PROFILE,
        critical=(),
        status=status,  # type: ignore[arg-type]
        reason=reason[:_REASON_LIMIT],
        run_id=flight.id,
        kit={"version": kit.__version__, "source_sha256": source_hash()},
        spec_hash=hashes["spec.json"],
        plan_hash=hashes["plan.json"],
        result_hash=hashes["results.json"],
        parents=parents,
        image=plan.image,
        model=plan.model,
        clock=_clock(journal, flight.id),
        files=tuple(files),
    )


def _clock(journal: list[Event], id_: str) -> dict[str, str]:
    """The first anchor, the time of registration, and an id of the boot for which they hold."""
    anchors = [e.data for e in journal if e.kind == "clock.anchor"]
    clock = {key: str(value) for key, value in anchors[0].items()} if anchors else {}
    clock["utc"] = str(journal[0].data.get("utc", ""))
    if _BOOT_ID.is_file():
        # Hashed with the run's id, so that it cannot link two runs to one machine.
        clock["boot"] = jsonio.digest(f"{id_}\n{_BOOT_ID.read_text().strip()}".encode())
    return clock


def entries(folder: Path) -> list[ManifestFile]:
    """The manifest's entries of a run's files, by path; without manifest and signatures."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return [
        _entry(folder / name, name)
        for name in names
        if name != MANIFEST and not name.startswith(SEAL) and not strays.of_path(name)
    ]


def _entry(path: Path, name: str) -> ManifestFile:
    first, _, rest = name.partition("/")
    role = first if rest and first in _FOLDER_ROLES else _ROLES.get(name, "other")
    return ManifestFile(
        path=name,
        size=path.stat().st_size,
        sha256=digest_of(path),
        role=role,
        media_type=_MEDIA.get(path.suffix, "application/octet-stream"),
        withheld=role == WITHHELD_ROLE,
    )


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def source_hash() -> str:
    """SHA-256 over kit's own Python files, which identifies the kit that made a run."""
    package = Path(kit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def sync_tree(folder: Path) -> None:
    """Sync a folder and everything below it to disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Sync a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError) -> KitError:
    """The error of a failed write, with a remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "no space is left where the run is written",
            "free some space; `kit recover` then seals the records until then",
        )
    return RunFailed(
        f"the run could not be written: {error.strerror or type(error).__name__}",
        "`kit recover` seals the records until then",
    )


def utc_now() -> str:
    """Now, as ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
