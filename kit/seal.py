"""Sealing: files → manifest → a run named by its hash. Also single files, and recovery.

``run_hash = SHA-256("kit-run-v1\\n" ‖ manifest bytes)``; the manifest is canonical JSON without
floats and lists every file with size and SHA-256. Signatures, exports, times of files and the
folder's name are no part of it. ``private/identity.json`` is listed by hash and withheld: it
stays on this machine unless it is exported on request.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec

from kit import __version__, archive, events, jsonio, records, results
from kit.errors import ArchiveRefused, DiskFull, KitError, RunFailed, UsageError
from kit.model import Event, Manifest, ManifestFile, Plan
from kit.store import InFlight, Store

SCHEMA = "kit.run/1"
PROFILE = "kit.check/1"
DOMAIN = b"kit-run-v1\n"
MANIFEST = "manifest.json"
MAX_MANIFEST = 8 << 20
SUFFIX = ".kit.zip"
SMALL_BYTES = 4096
WITHHELD = ("private/identity.json",)
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_MEDIA = {".json": "application/json", ".jsonl": "application/jsonl", ".csv": "text/csv"}
_ROLES = {
    "spec.json": "spec",
    "plan.json": "plan",
    "events.jsonl": "journal",
    "results.json": "results",
}


def run_hash(manifest: bytes) -> str:
    """The name of a run, from its manifest's bytes."""
    return hashlib.sha256(DOMAIN + manifest).hexdigest()


def seal(
    flight: InFlight, status: str, reason: str, parents: tuple[dict[str, str], ...] = ()
) -> Path:
    """Write the manifest, put everything on disk, and move the run to its hash.

    Raises:
        DiskFull: there is no room for the manifest; the run stays in flight, nothing is lost.
    """
    try:
        data = jsonio.canonical(manifest_of(flight, status, reason, parents))
        (flight.path / MANIFEST).write_bytes(data)
        name = run_hash(data)
        for path in sorted(flight.path.rglob("*"), reverse=True):
            sync(path)
        target = flight.store.root / name
        flight.path.rename(target)
        sync(target)
        sync(flight.store.root)
        flight.store.note(
            "sealed", id=flight.id, run_hash=name, status=status, utc=utc_now(), reason=reason
        )
    except OSError as error:
        raise storage_error(error) from error
    return target


def manifest_of(
    flight: InFlight, status: str, reason: str, parents: tuple[dict[str, str], ...]
) -> dict[str, Any]:
    """The manifest of a run in flight, as a JSON document."""
    folder = flight.path
    plan = msgspec.convert(jsonio.read(folder / "plan.json"), Plan, strict=False)
    journal = events.decode((folder / events.FILE).read_bytes())
    result = Manifest(
        schema=SCHEMA,
        profile=PROFILE,
        critical=(),
        status=status,  # type: ignore[arg-type]
        reason=reason,
        run_id=flight.id,
        kit={"version": __version__, "source_sha256": source_hash()},
        spec_hash=digest_of(folder / "spec.json"),
        plan_hash=digest_of(folder / "plan.json"),
        result_hash=digest_of(folder / "results.json"),
        parents=parents,
        image=plan.image,
        model=plan.model,
        clock={**_first_anchor(journal), "utc": str(journal[0].data.get("utc", ""))},
        files=tuple(_files(folder)),
    )
    document: dict[str, Any] = msgspec.to_builtins(result)
    return document


def _first_anchor(journal: list[Event]) -> dict[str, str]:
    anchors = [e.data for e in journal if e.kind == "clock.anchor"]
    return {key: str(value) for key, value in anchors[0].items()} if anchors else {}


def _files(folder: Path) -> list[ManifestFile]:
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return [
        ManifestFile(
            path=name,
            size=(folder / name).stat().st_size,
            sha256=digest_of(folder / name),
            role=_ROLES.get(name, name.split("/")[0]),
            media_type=_MEDIA.get(Path(name).suffix, "application/octet-stream"),
            withheld=name in WITHHELD,
        )
        for name in names
        if name != MANIFEST and not name.startswith("seal/")
    ]


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_hash() -> str:
    """SHA-256 over kit's own Python files: which kit exactly made a run."""
    package = Path(__file__).parent
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def sync(path: Path) -> None:
    """Put a file or folder on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError) -> KitError:
    """What a failed write means to a person."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "no space is left where the run is written",
            "free some space; `kit recover` then seals what was gathered",
        )
    return RunFailed(
        f"the run could not be written: {error.strerror or error}",
        "`kit recover` seals what was gathered",
    )


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# --- single files ---------------------------------------------------------------------------


def export(run: Path, out: Path, *, with_withheld: bool = False) -> Path:
    """Pack a sealed run into ``<hash>.kit.zip``; the same run gives the same bytes.

    Args:
        out: the folder or file to write.
        with_withheld: include host name and device UUIDs.
    """
    if not (run / MANIFEST).is_file():
        raise UsageError(f"{run} is not a sealed folder", "`kit ls` lists the runs")
    source = archive.open_source(run)
    name = run_hash(source.read(MANIFEST))
    target = out / f"{name}{SUFFIX}" if out.is_dir() else out
    temporary = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(temporary, "w") as packed:
            for member in source.names():
                if with_withheld or member not in WITHHELD:
                    _pack(packed, f"{name}/{member}", source.read(member))
        temporary.replace(target)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror}", "name another folder"
        ) from error
    return target


def _pack(packed: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Deflate, or store what would compress so far that a reader must take it for a bomb."""
    info = zipfile.ZipInfo(name, _ZIP_DATE)
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    small = len(data) <= SMALL_BYTES
    fair = small or len(data) <= archive.MAX_RATIO * len(zlib.compress(data, 6)) // 2
    info.compress_type = zipfile.ZIP_DEFLATED if fair else zipfile.ZIP_STORED
    packed.writestr(info, data, compresslevel=6)


def import_(file: Path, store: Store) -> Path:
    """Check a single-file run and put it into the store under its hash.

    Raises:
        ArchiveRefused: it is unsafe, or its files are not those of its manifest.
    """
    source = archive.open_source(file)
    name = check_integrity(source)
    target = store.root / name
    if target.is_dir():
        return target
    staging = store.inflight / f"import-{name[:12]}.scratch"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for member in source.names():
            path = staging / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read(member))
        staging.rename(target)
        sync(store.root)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise storage_error(error) from error
    store.note("imported", run_hash=name, utc=utc_now())
    return target


def check_integrity(source: archive.Source) -> str:
    """The run hash of a source whose files are exactly those of its manifest.

    Raises:
        ArchiveRefused: with the code of the first thing that is wrong.
    """
    data = source.read(MANIFEST, MAX_MANIFEST)
    try:
        document = jsonio.parse(data, MANIFEST)
        manifest = msgspec.convert(document, Manifest, strict=False)
    except jsonio.JsonRefused as error:
        raise ArchiveRefused(error.code, error.message) from error
    except msgspec.ValidationError as error:
        raise ArchiveRefused("MANIFEST_INVALID", f"manifest.json: {error}") from error
    listed = {f.path: f for f in manifest.files}
    there = {n for n in source.names() if n != MANIFEST and not n.startswith("seal/")}
    for name in sorted(there - listed.keys()):
        raise ArchiveRefused("EXTRA_FILE", f"{name} is not in the manifest")
    for name, entry in listed.items():
        if name not in there:
            if entry.withheld:
                continue
            raise ArchiveRefused("MISSING_FILE", f"{name} is missing")
        if jsonio.digest(source.read(name, entry.size)) != entry.sha256:
            raise ArchiveRefused("HASH_MISMATCH", f"{name} is not what was sealed")
    return run_hash(data)


# --- recovery -------------------------------------------------------------------------------


def recover(store: Store) -> list[Path]:
    """Seal every run that nobody works on any more, as aborted; remove what never began."""
    sealed = []
    for id_ in store.leftovers():
        flight = store.adopt(store.inflight / id_)
        try:
            if _mend(flight.path):
                sealed.append(seal(flight, "aborted", "its engine died; recovered"))
                store.forget_scratch(id_)
            else:
                store.discard(id_)
        finally:
            flight.release()
    return sealed


def _mend(folder: Path) -> bool:
    """Make a torn run readable again; False when it had not begun."""
    path = folder / events.FILE
    kept = events.valid_prefix(path.read_bytes()) if path.is_file() else b""
    if not kept:
        return False
    _close_journal(path, kept)
    for torn in [*folder.glob("samples/*.csv"), *folder.glob("launches/*/*.jsonl")]:
        data = torn.read_bytes()
        torn.write_bytes(data[: data.rfind(b"\n") + 1])
    for temporary in folder.rglob("*.tmp"):
        temporary.unlink()
    (folder / MANIFEST).unlink(missing_ok=True)
    computed = results.compute(records.load(archive.open_source(folder)))
    jsonio.write(folder / "results.json", computed)
    return True


def _close_journal(path: Path, kept: bytes) -> None:
    """Cut the journal at its last sound line and end it properly, unless it had ended."""
    lines = kept.splitlines()
    last = events.decode(kept)[-1]
    if last.kind != "run.end":
        data = {"status": "aborted", "reason": "its engine died; recovered"}
        prev = jsonio.digest(lines[-1])
        event = {"seq": last.seq + 1, "t": last.t, "kind": "run.end", "data": data, "prev": prev}
        kept += jsonio.canonical(event) + b"\n"
    path.write_bytes(kept)
