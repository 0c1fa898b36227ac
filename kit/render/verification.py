"""`kit verify`'s answer, level by level: what passed is counted, what did not is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kit.render.console import Mark, count, facts, grid, marked, plain, put, stdout

if TYPE_CHECKING:
    from kit.verify import Check, Verdict

_MARKS = {"PASS": "ok", "WARN": "warn", "FAIL": "fail", "SKIP": "skip", "WITHHELD": "withheld"}
# A level is the first of these that one of its checks is: what was withheld does not spoil it.
_ORDER = ("FAIL", "WARN", "PASS", "WITHHELD", "SKIP")


def verdict(found: Verdict, *, details: bool = False) -> None:
    """The verdict on stdout, and what it entitles to say.

    Args:
        details: also list the checks that passed.
    """
    from kit.verify import LEVELS

    table = grid({"no_wrap": True, "style": "quiet"}, {"no_wrap": True}, {"overflow": "fold"})
    for level, text in LEVELS.items():
        _add_level(table, level, text, found, details)
    claim = facts([("claim", found.claim), ("run", found.run_hash)])
    put(stdout(), _headline(found), Text(), table, Text(), claim)


def _headline(found: Verdict) -> Table:
    """``✔ VERIFIED  complete run, 2 notes``."""
    failed = len(found.failures)
    notes = sum(check.status not in ("PASS", "FAIL") for check in found.checks)
    said = [f"{found.status} run" if found.status else "a run that cannot be read"]
    said += [count(failed, "failure")] if failed else []
    said += [count(notes, "note")] if notes else []
    word = "VERIFIED" if found.passed else "NOT VERIFIED"
    return marked("ok" if found.passed else "fail", plain(", ".join(said)), word)


def _add_level(table: Table, level: str, text: str, found: Verdict, details: bool) -> None:
    checks = [check for check in found.checks if check.level == level]
    if not checks:
        said = "nothing to check" if found.passed else "not reached"
        table.add_row(level, Mark("skip"), plain(text).append_text(plain(f"  {said}", "quiet")))
        return
    passed = sum(check.status == "PASS" for check in checks)
    heading = plain(text).append_text(plain(f"  {passed} of {len(checks)} pass", "quiet"))
    table.add_row(level, _mark(_worst(checks)), heading)
    for check in checks:
        if details or check.status != "PASS":
            line = plain(check.message).append_text(plain(f"  {check.code}", "quiet"))
            table.add_row("", "", marked(_MARKS[check.status], line, _word(check.status)))


def _worst(checks: Sequence[Check]) -> str:
    return next(status for status in _ORDER if any(c.status == status for c in checks))


def _mark(status: str) -> Mark:
    return Mark(_MARKS[status], _word(status))


def _word(status: str) -> str:
    return status.lower()
