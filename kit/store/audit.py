"""The check of a store's ledger: its hash chain, and the runs against its entries.

An entry without a run is normal: people delete runs, and the ledger keeps the attempt. A run
without an entry, a broken chain, and an entry that contradicts its run are faults: somebody edited
the ledger, or added the run without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from kit.core import regular
from kit.core.errors import EXIT_OK, EXIT_VERIFY, KitError
from kit.core.model import Record
from kit.record import manifest
from kit.record.archive import MANIFEST, MAX_MANIFEST
from kit.store.ledger import Entry, Ledger
from kit.store.store import Store

Status = Literal["PASS", "WARN", "FAIL"]
# Kinds of entries that hold the outcome of an attempt in this store.
OUTCOMES = frozenset({"sealed", "recovered"})
_COMPARED = ("id", "spec_hash", "plan_hash", "status")
_LISTED = 3
_SEALING_S = 0.5
_ORIGIN = "Came with a clone, was copied here, or its entry was cut out; `kit recover` notes it"


class AuditCheck(Record, frozen=True):
    """One check of the store: its code, status and message."""

    code: str
    status: Status
    message: str


class Audit(Record, frozen=True):
    """All checks of a store."""

    findings: tuple[AuditCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.status == "FAIL" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.passed else EXIT_VERIFY

    @property
    def doubts(self) -> tuple[AuditCheck, ...]:
        """The failed checks, which `kit ls` and `kit recover` show too."""
        return tuple(finding for finding in self.findings if finding.status == "FAIL")

    def as_dict(self) -> dict[str, Any]:
        """The audit as a JSON document."""
        listed = [{"code": f.code, "status": f.status, "message": f.message} for f in self.findings]
        return {"passed": self.passed, "findings": listed}


def chain(store: Store) -> Audit:
    """Check the chain alone."""
    return Audit((_chain(store.ledger_read()),))


def quick(store: Store) -> Audit:
    """Check the chain, and the names of the runs; no run is read."""
    ledger = store.ledger_read()
    return Audit((_chain(ledger), _listed(store, ledger)))


def full(store: Store) -> Audit:
    """Also compare every run's manifest with its name and entry, and report attempts."""
    ledger = store.ledger_read()
    runs = store.runs()
    entries = {e["run_hash"]: e for e in ledger.entries if "run_hash" in e}
    return Audit(
        (
            _chain(ledger),
            _listed(store, ledger),
            _judged(
                "LEDGER_REGISTERED", _unregistered(ledger), "each was registered before it ran"
            ),
            _judged(
                "LEDGER_ENTRIES", _contradicted(runs, entries), f"{len(runs)} fit their entries"
            ),
            _attempts(store, ledger),
            *_strangers(store),
        )
    )


def _chain(ledger: Ledger) -> AuditCheck:
    message = f"{ledger.lines} entries follow one another"
    if ledger.torn and not ledger.faults:
        message += "; the last one was cut by a crash and is left out"
    return _judged("LEDGER_CHAIN", (text for _, text in ledger.faults), message)


def _listed(store: Store, ledger: Ledger) -> AuditCheck:
    missing = _missing(store, ledger)
    if missing and store.is_busy():  # a run gets its name a moment before its entry
        time.sleep(_SEALING_S)
        missing = _missing(store, store.ledger_read())
    if not missing:
        return AuditCheck("LEDGER_RUNS", "PASS", "every run that is here is in the ledger")
    runs = "1 run is" if len(missing) == 1 else f"{len(missing)} runs are"
    names = _first_few([name[:12] for name in missing], ", ")
    message = f"{runs} not in the ledger: {names}. {_ORIGIN}"
    return AuditCheck("LEDGER_RUNS", "FAIL", message)


def _missing(store: Store, ledger: Ledger) -> list[str]:
    noted = {entry.get("run_hash") for entry in ledger.entries}
    return store.hashes(but=noted)


def _unregistered(ledger: Ledger) -> Iterator[str]:
    begun: set[Any] = set()
    for entry in ledger.entries:
        if entry["kind"] == "registered":
            begun.add(entry.get("id"))
        elif entry["kind"] in OUTCOMES and entry.get("id") not in begun:
            yield f"run {entry.get('run_hash', '')[:12]} was sealed, and no entry registers it"


def _contradicted(runs: Iterable[Path], entries: dict[str, Entry]) -> Iterator[str]:
    for run in runs:
        try:
            data = regular.content(run / MANIFEST, MAX_MANIFEST)
            if manifest.run_hash(data) != run.name:
                yield f"run {run.name[:12]} is not the one that its name says"
                continue
            content = manifest.parse(data)
        except (KitError, OSError) as error:
            yield f"run {run.name[:12]}: {getattr(error, 'message', error)}"
            continue
        facts = {"id": content.run_id, "status": content.status}
        facts |= {"spec_hash": content.spec_hash, "plan_hash": content.plan_hash}
        entry = entries.get(run.name, {})
        for key in _COMPARED:
            if key in entry and entry[key] != facts[key]:
                yield f"the ledger has another {key} of run {run.name[:12]} than its manifest"


def _attempts(store: Store, ledger: Ledger) -> AuditCheck:
    """Report the number of attempts, and those without an outcome."""
    begun = [e.get("id") for e in ledger.entries if e["kind"] == "registered"]
    ended = {e.get("id") for e in ledger.entries if e["kind"] in OUTCOMES}
    in_flight = set(store.ids())
    open_ = [str(id_) for id_ in begun if id_ not in ended and id_ not in in_flight]
    gone = {e["run_hash"] for e in ledger.entries if "run_hash" in e}
    gone -= set(store.hashes())
    message = f"{len(begun)} attempts registered"
    message += f", {len(gone)} runs no longer here" if gone else ""
    if open_:
        return AuditCheck(
            "LEDGER_ATTEMPTS", "WARN", f"{message}; no outcome of {_first_few(open_)}"
        )
    return AuditCheck("LEDGER_ATTEMPTS", "PASS", message)


def _strangers(store: Store) -> Iterator[AuditCheck]:
    names = [ascii(name) for name in store.others()]
    if names:
        message = f"not named by a hash, so not among the runs: {_first_few(names)}"
        yield AuditCheck("STORE_OTHERS", "WARN", message)


def _judged(code: str, problems: Iterable[str], fine: str) -> AuditCheck:
    messages = list(problems)
    return (
        AuditCheck(code, "FAIL", _first_few(messages))
        if messages
        else AuditCheck(code, "PASS", fine)
    )


def _first_few(texts: list[str], between: str = "; ") -> str:
    more = f" (and {len(texts) - _LISTED} more)" if len(texts) > _LISTED else ""
    return between.join(texts[:_LISTED]) + more
