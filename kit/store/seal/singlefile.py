"""Single-file runs: export packs a sealed run reproducibly, import checks and unpacks it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from kit.core import jsonio, onestep
from kit.core.errors import ArchiveRefused, KitError, UsageError
from kit.core.model import Manifest
from kit.record import archive
from kit.record import manifest as manifests
from kit.record.archive import MANIFEST, SUFFIX, ArchiveSource
from kit.record.manifest import ATTEMPTS
from kit.store import attempts
from kit.store.ledger import Ledger
from kit.store.seal.sealer import note, storage_error, sync, sync_tree
from kit.store.store import InFlight, Store

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_SMALL_BYTES = 4096


def export(
    run: Path, out: Path, *, with_withheld: bool = False, ledger: Ledger | None = None
) -> Path:
    """Pack a sealed run into ``<hash>.kit.zip``; the same run gives the same bytes.

    Args:
        run: the sealed run's folder.
        out: the folder or file to write.
        with_withheld: include host name and device UUIDs.
        ledger: the ledger; its attempts at the same spec are added, outside the hash.

    Raises:
        UsageError: ``run`` is not a sealed folder, or ``out`` cannot be written.
        ArchiveRefused: the run is not what was sealed.
    """
    if not (run / MANIFEST).is_file():
        raise UsageError(
            f"{run} is no folder of a sealed run", "`kit import` adds a .kit.zip to the runs first"
        )
    with archive.open_source(run) as source:
        return _exported(source, out, with_withheld, ledger)


def _exported(source: ArchiveSource, out: Path, with_withheld: bool, ledger: Ledger | None) -> Path:
    name, manifest = check_integrity(source)
    withheld = {f.path for f in manifest.files if f.withheld and not with_withheld}
    members = [m for m in source.names() if m not in {*withheld, ATTEMPTS}]
    target = out / f"{name}{SUFFIX}" if out.is_dir() else out
    onestep.outside_runs(target)
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is there and is no file", "name another file or folder")
    try:
        with tempfile.TemporaryDirectory(prefix=".kit-", dir=target.parent) as beside:
            part = Path(beside) / target.name
            with zipfile.ZipFile(part, "w") as packed:
                for member in members:
                    _pack(packed, f"{name}/{member}", source, member)
                if excerpts := _attempts(source, manifest.spec_hash, ledger):
                    packed.writestr(_info(f"{name}/{ATTEMPTS}"), excerpts)
            sync(part)
            part.replace(target)
    except OSError as error:
        raise onestep.cannot_write(target, error, "name another folder") from error
    return target


def _attempts(source: ArchiveSource, spec_hash: str, ledger: Ledger | None) -> bytes | None:
    """The attempts in the run and those of this ledger; a malformed document is left out."""
    before = None
    with contextlib.suppress(KitError):
        before = attempts.read(source)
    mine = attempts.excerpt(ledger, spec_hash) if ledger else None
    return attempts.added(before, mine, spec_hash)


def _info(name: str) -> zipfile.ZipInfo:
    """A member's header, a function of its name alone."""
    info = zipfile.ZipInfo(name, _ZIP_DATE)
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _pack(packed: zipfile.ZipFile, name: str, source: ArchiveSource, member: str) -> None:
    """Deflate a file; store it if it compresses so far that a reader must refuse it as a bomb."""
    info = _info(name)
    info.file_size = source.size(member)
    fair = info.file_size <= _SMALL_BYTES or _is_fair(source, member)
    info.compress_type = zipfile.ZIP_DEFLATED if fair else zipfile.ZIP_STORED
    with packed.open(info, "w") as out:
        for piece in source.pieces(member):
            out.write(piece)


def _is_fair(source: ArchiveSource, member: str) -> bool:
    """Whether a file compresses to more than a fiftieth, safely above the limit for bombs."""
    engine = zlib.compressobj()
    size = sum(len(engine.compress(piece)) for piece in source.pieces(member))
    size += len(engine.flush())
    return source.size(member) <= archive.MAX_RATIO // 2 * size


def import_(file: Path, store: Store) -> Path:
    """Check a run from elsewhere and add it to the store under its hash.

    Returns:
        The run's folder; a run that is already in the store is not changed.

    Raises:
        ArchiveRefused: it is unsafe, or its files are not those of its manifest; or the store's
            own copy is not what was sealed.
        RunFailed: it could not be written.
    """
    with archive.open_source(file) as source:
        name, manifest = check_integrity(source)
        target = store.root / name
        if os.path.lexists(target):
            _compare(target, name)
        elif _unpack(source, store, target):
            note(store, "imported", name, manifest)
    return target


def _compare(target: Path, name: str) -> None:
    """Refuse the import if the store's own copy of the run is not what was sealed."""
    try:
        check_run(target)
    except ArchiveRefused as altered:
        raise ArchiveRefused(
            altered.code,
            f"the store holds run {name[:12]} already, and altered: {altered.message}",
            f"move {target} away and import again",
        ) from altered


def _unpack(source: ArchiveSource, store: Store, target: Path) -> bool:
    """Write the run among the runs in flight, check the files, then move it to its name.

    Returns:
        Whether the run was added; false if another import was faster.
    """
    flight = InFlight(store, f"import-{secrets.token_hex(4)}")
    try:
        flight.take()  # a lock, so that after a crash the folder counts as abandoned
        staging = flight.scratch("run")
        for member in source.names():
            write_out(staging / member, source.pieces(member))
        check_run(staging)
        sync_tree(staging)
        return moved(staging, target)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        flight.release()
        store.forget_scratch(flight.id)


def write_out(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.writelines(pieces)


def moved(staging: Path, target: Path) -> bool:
    """Move a folder to its name; returns false if another process was faster."""
    try:
        staging.rename(target)
    except OSError:
        if target.is_dir():
            return False
        raise
    sync(target.parent)
    return True


def check_run(run: Path) -> None:
    """Open the run at ``run`` and check it; raises as `check_integrity` does."""
    with archive.open_source(run) as source:
        check_integrity(source)


def check_integrity(source: ArchiveSource) -> tuple[str, Manifest]:
    """Check that a source's files are exactly those of its manifest; returns run hash and manifest.

    Raises:
        ArchiveRefused: with the code of the first thing that is wrong.
    """
    data, manifest = manifests.read(source)
    name = manifests.run_hash(data)
    if jsonio.is_sha256(source.top) and source.top != name:
        raise ArchiveRefused("HASH_NAME", "the run is not the one that its name says")
    for unlisted in manifests.unlisted_files(source, manifest):
        raise ArchiveRefused("EXTRA_FILE", f"{unlisted} is not in the manifest")
    absent = manifests.missing_files(source, manifest)
    for entry in absent:
        if not entry.withheld:
            raise ArchiveRefused("MISSING_FILE", f"{entry.path} is missing")
    for entry in manifest.files:
        if entry not in absent:
            manifests.check_listed(source, entry)
    return name, manifest
