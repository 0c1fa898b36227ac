"""Sealing: files → manifest → a run named by its hash. Also single files, and recovery."""

from __future__ import annotations

from kit.record.manifest import run_hash
from kit.store.seal.recomputation import recompute
from kit.store.seal.recovery import recover, tidy
from kit.store.seal.sealer import entries, manifest_of, seal, storage_error, utc_now
from kit.store.seal.singlefile import check_integrity, export, import_

__all__ = (
    "check_integrity",
    "entries",
    "export",
    "import_",
    "manifest_of",
    "recompute",
    "recover",
    "run_hash",
    "seal",
    "storage_error",
    "tidy",
    "utc_now",
)
