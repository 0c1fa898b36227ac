"""The check of a store's ledger by `kit verify --store`; its faults in `kit ls` and `recover`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from kit.show.render.console import plain, put, stderr, stdout, with_badge

if TYPE_CHECKING:
    from kit.store.audit import Audit, AuditCheck

_BADGES = {"PASS": "ok", "WARN": "warn", "FAIL": "fail"}
_CLAIM = (
    "the keeper of this store vouches for the ledger: its chain shows edits and deletions, not "
    "that it was never rewritten. `kit verify RUN` checks a run"
)


def audit(ledger_audit: Audit) -> None:
    """Print the findings, and what may be claimed from them."""
    word = "SOUND" if ledger_audit.passed else "NOT SOUND"
    head = with_badge(
        "ok" if ledger_audit.passed else "fail", plain("the ledger of this store"), word
    )
    claim = Text("\n").append_text(plain(_CLAIM, "quiet"))
    put(stdout(), Group(head, *map(_line, ledger_audit.findings), claim))


def ledger_doubts(ledger_audit: Audit) -> None:
    """Print the ledger's faults on stderr; nothing if it is valid."""
    for doubt in ledger_audit.doubts:
        put(stderr(), _line(doubt))
    if ledger_audit.doubts:
        put(stderr(), plain("`kit verify --store` says more", "quiet"))


def _line(doubt: AuditCheck) -> Table:
    line = plain(doubt.message).append_text(plain(f"  {doubt.code}", "quiet"))
    return with_badge(_BADGES[doubt.status], line, doubt.status.lower())
