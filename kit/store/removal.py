"""Deleting a sealed run of a store; the ledger keeps the attempt, and notes that it was deleted."""

from __future__ import annotations

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from kit.core import jsonio
from kit.core.errors import KitError, UsageError
from kit.record import archive
from kit.store import notes
from kit.store.store import Store

_GONE = ".removed-"


def remove(store: Store, run: Path) -> None:
    """Delete the run in the folder ``run``, which is a folder of the store itself.

    It first gets a hidden name, so that no half of it is ever listed. Of a link to a run elsewhere
    only the link is deleted.

    Raises:
        UsageError: it is no run of this store, or it cannot be deleted; the run is then still
            here, or the error names the folder that has the rest of it.
    """
    run = run.absolute()
    if not store.is_run(run):
        raise UsageError(
            f"{run.name[:80]!a} is no sealed run of the store {store.root}",
            "only runs of the store are deleted: `kit ls` lists them",
        )
    store.require_ledger()
    status = _status(run)
    hidden = store.root / f"{_GONE}{run.name[:12]}-{secrets.token_hex(4)}"
    try:
        run.rename(hidden)
        try:
            utc = datetime.now(UTC).isoformat(timespec="seconds")
            store.note("removed", run_hash=run.name, status=status, utc=utc)
        except (OSError, KitError):
            hidden.rename(run)
            raise
    except OSError as error:
        raise UsageError(
            f"cannot delete run {run.name[:12]}: {error.strerror}", "check who may write there"
        ) from error
    notes.forget(store, run.name)
    try:
        if hidden.is_symlink():
            hidden.unlink()
        else:
            shutil.rmtree(hidden)
    except OSError as error:
        raise UsageError(
            f"run {run.name[:12]} is out of the store, but not all of it is deleted: "
            f"{error.strerror}",
            f"delete {hidden} by hand",
        ) from error


def _status(run: Path) -> str:
    """The status by its manifest; ``broken`` if that cannot be read."""
    try:
        with archive.open_source(run) as source:
            data = source.read(archive.MANIFEST, archive.MAX_MANIFEST)
            return str(jsonio.parse(data)["status"])[:40]
    except (KitError, OSError, LookupError, TypeError, ValueError):
        return "broken"
