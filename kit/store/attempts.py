"""How often a spec was tried: an excerpt of the ledger that an export adds, outside the hash.

The exporter vouches for it. It shows that there were other attempts; nothing can show that there
were no more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.errors import KitError
from kit.core.model import Record
from kit.record.archive import ArchiveSource
from kit.record.manifest import ATTEMPTS
from kit.store.audit import OUTCOMES
from kit.store.ledger import Ledger

SCHEMA = "kit.attempts/1"
_REMEDY = "ask whoever made the run for one that `kit export` wrote"
MAX_BYTES = 4 << 20


class Attempt(Record, frozen=True, kw_only=True):
    """One attempt: its id, when it ended (UTC), and its outcome; empty without one."""

    id: str
    utc: str = ""
    status: str = ""
    run_hash: str = ""


class Excerpt(Record, frozen=True, kw_only=True):
    """One ledger's attempts at a spec; ``entries`` and ``head`` identify the whole ledger."""

    entries: int
    head: str
    attempts: tuple[Attempt, ...]


class Attempts(Record, frozen=True, kw_only=True):
    """Excerpts of the ledgers of all exporters of the run, oldest first."""

    schema: str
    spec_hash: str
    ledgers: tuple[Excerpt, ...]

    @property
    def every(self) -> dict[str, Attempt]:
        """Attempts by id; if two ledgers have one, the later entry."""
        return {attempt.id: attempt for ledger in self.ledgers for attempt in ledger.attempts}


def read(source: ArchiveSource) -> Attempts | None:
    """The attempts in a run's archive; None without any.

    Raises:
        KitError: the document does not have kit's form.
    """
    if ATTEMPTS not in source.names():
        return None
    document = jsonio.parse(source.read(ATTEMPTS, MAX_BYTES), ATTEMPTS)
    try:
        attempts = msgspec.convert(document, Attempts)
    except msgspec.ValidationError as error:
        raise KitError(f"{ATTEMPTS}: {error}", _REMEDY) from error
    if attempts.schema != SCHEMA:
        raise KitError(f"{ATTEMPTS} is not {SCHEMA}", _REMEDY)
    return attempts


def excerpt(ledger: Ledger, spec_hash: str) -> Excerpt | None:
    """The attempts at a spec in ``ledger``; None if it has none."""
    attempts: dict[str, Attempt] = {}
    for entry in ledger.entries:
        id_ = str(entry.get("id", ""))
        if entry.get("spec_hash") != spec_hash:
            continue
        if entry["kind"] == "registered":
            attempts[id_] = Attempt(id=id_, utc=entry.get("utc", ""))
        elif entry["kind"] in OUTCOMES:
            outcome = {key: entry.get(key, "") for key in ("utc", "status", "run_hash")}
            attempts[id_] = Attempt(id=id_, **outcome)
    if not attempts:
        return None
    return Excerpt(entries=ledger.lines, head=ledger.head, attempts=tuple(attempts.values()))


def added(before: Attempts | None, mine: Excerpt | None, spec_hash: str) -> bytes | None:
    """The document with ``mine`` added; it replaces the earlier excerpt of the same ledger."""
    others = before.ledgers if before and before.spec_hash == spec_hash else ()
    if mine:
        ids = {attempt.id for attempt in mine.attempts}
        others = tuple(e for e in others if not ids & {attempt.id for attempt in e.attempts})
    ledgers = (*others, *([mine] if mine else []))
    if not ledgers:
        return None
    document = Attempts(schema=SCHEMA, spec_hash=spec_hash, ledgers=ledgers)
    built: dict[str, Any] = msgspec.to_builtins(document)
    return jsonio.canonical(built)
