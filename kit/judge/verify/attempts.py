"""L2: attempts at the same spec that the exporter's ledger knew. They prove nothing."""

from __future__ import annotations

from kit.core.errors import KitError
from kit.core.model import Manifest
from kit.judge.verify.verdict import Check, check
from kit.record.archive import ArchiveSource
from kit.record.manifest import ATTEMPTS
from kit.store import attempts


def checks(source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """The excerpt of the ledger, if the run has one."""
    try:
        excerpt = attempts.read(source)
    except KitError as error:
        return [check("ATTEMPTS", "WARN", f"{error.message}: it is not read")]
    if excerpt is None:
        return []
    if excerpt.spec_hash != manifest.spec_hash:
        return [check("ATTEMPTS", "WARN", f"{ATTEMPTS} is of another spec: it is not read")]
    entries = list(excerpt.every.values())
    complete = sum(entry.status == "complete" for entry in entries)
    attempts_ = "attempt" if len(entries) == 1 else "attempts"
    message = (
        f"{len(entries)} {attempts_} of this spec are known to the exporter's ledger, {complete} "
        "complete; the exporter's word, outside the hash: there may have been more"
    )
    return [check("ATTEMPTS", "SKIP", message)]
