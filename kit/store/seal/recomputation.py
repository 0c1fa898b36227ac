"""`kit recompute`: seal a run's records with results by this kit's formulas, as a new run.

Raw records outlive the formulas of their first results. They are not changed: every file but
``results.json`` keeps its hash, as the manifests of both runs show, and the new run has the old one
as a parent.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from kit import __version__
from kit.core import jsonio
from kit.core.errors import ArchiveRefused, UsageError
from kit.core.model import Manifest
from kit.energy import results
from kit.record import archive, records
from kit.record.archive import MANIFEST, SEAL
from kit.record.manifest import ATTEMPTS, RECOMPUTED, run_hash
from kit.store.seal.sealer import note, source_hash, storage_error, sync_tree
from kit.store.seal.singlefile import check_integrity, check_run, moved, write_out
from kit.store.store import InFlight, Store

RESULTS = "results.json"


def recompute(run: Path, store: Store) -> Path:
    """Seal the records of ``run`` with results by the present formulas.

    Returns:
        The new run's folder in ``store``.

    Raises:
        ArchiveRefused: the run is not what was sealed, or its records cannot be computed.
        UsageError: its results are by the present formulas already.
        RunFailed: the new run could not be written.
    """
    with archive.open_source(run) as source:
        name, old = check_integrity(source)
        stored = jsonio.parse(source.read(RESULTS), RESULTS)
        if isinstance(stored, dict) and stored.get("formulas") == results.FORMULAS:
            raise UsageError(
                f"its results are by the present formulas ({results.FORMULAS}) already",
                f"check them: `kit verify {name[:12]}`",
            )
        data = jsonio.canonical(_computed(source))
        new = _manifest(name, old, data)
        return _written(source, store, new, data)


def _computed(source: archive.ArchiveSource) -> object:
    try:
        return results.to_document(results.compute(records.load(source)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArchiveRefused(
            "FILE_INVALID",
            f"its records cannot be computed ({type(error).__name__})",
            "see what `kit verify` says of it",
        ) from error


def _manifest(name: str, old: Manifest, data: bytes) -> Manifest:
    """The old run's manifest with new results, this kit's version, and the old run as a parent."""
    digest = jsonio.digest(data)
    files = tuple(
        msgspec.structs.replace(f, size=len(data), sha256=digest) if f.path == RESULTS else f
        for f in old.files
    )
    return msgspec.structs.replace(
        old,
        kit={"version": __version__, "source_sha256": source_hash()},
        result_hash=digest,
        parents=(
            *(p for p in old.parents if p.get("relation") != RECOMPUTED),
            {"run_hash": name, "relation": RECOMPUTED},
        ),
        files=files,
    )


def _written(source: archive.ArchiveSource, store: Store, new: Manifest, data: bytes) -> Path:
    """Write the run among the runs in flight, check the files, then move it to its name."""
    document = jsonio.canonical(msgspec.to_builtins(new))
    own = {RESULTS: data, MANIFEST: document}
    target = store.root / run_hash(document)
    flight = InFlight(store, f"recompute-{secrets.token_hex(4)}")
    try:
        flight.take()  # a lock, so that after a crash the folder counts as abandoned
        staging = flight.scratch("run")
        for member in source.names():
            if member == ATTEMPTS or not member.startswith(
                SEAL
            ):  # a signature belongs to the old run
                pieces = [own[member]] if member in own else source.pieces(member)
                write_out(staging / member, pieces)
        check_run(staging)
        sync_tree(staging)
        if not target.is_dir() and moved(staging, target):
            note(store, "recomputed", target.name, new)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        flight.release()
        store.forget_scratch(flight.id)
    return target
