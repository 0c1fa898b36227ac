"""The answer of `kit verify` by level: passed checks are counted, others are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kit.show.render.console import Badge, count, facts, grid, plain, put, stdout, with_badge

if TYPE_CHECKING:
    from kit.judge.verify import Check, Verdict
    from kit.judge.verify.integrity import Altered

_BADGES = {"PASS": "ok", "WARN": "warn", "FAIL": "fail", "SKIP": "skip", "WITHHELD": "withheld"}
# A level has the first of these states that a check of it has; withheld files do not spoil it.
_ORDER = ("FAIL", "WARN", "PASS", "WITHHELD", "SKIP")


def verdict(verdict: Verdict, *, details: bool = False) -> None:
    """Print the verdict, and what may be claimed from it.

    Args:
        details: also list the checks that passed.
    """
    put(stdout(), verdict_view(verdict, details=details))


def verdict_view(verdict: Verdict, *, details: bool = False) -> Group:
    """The verdict to draw.

    Args:
        details: also list the checks that passed.
    """
    from kit.judge.verify import LEVELS

    table = grid({"no_wrap": True, "style": "quiet"}, {"no_wrap": True}, {"overflow": "fold"})
    for level, text in LEVELS.items():
        _add_level(table, level, text, verdict, details)
    state = "ok" if verdict.passed else "fail"
    headline = with_badge(state, plain(summary(verdict)), verdict_word(verdict))
    unshown = [unshown_view(verdict), Text()] if verdict.unshown else []
    return Group(headline, Text(), table, Text(), *unshown, claim_view(verdict))


def claim_view(verdict: Verdict) -> Table:
    """What may be claimed of the run."""
    return facts([("claim", verdict.claim), ("run", verdict.run_hash)])


def unshown_view(verdict: Verdict) -> Text:
    """What no check of an archive can show; empty if the run may not be used."""
    return plain(f"no archive can show {verdict.unshown}" if verdict.unshown else "", "quiet")


def verdict_word(verdict: Verdict) -> str:
    """``VERIFIED`` or ``NOT VERIFIED``."""
    return "VERIFIED" if verdict.passed else "NOT VERIFIED"


def summary(verdict: Verdict) -> str:
    """``complete run, 2 notes``."""
    failed = len(verdict.failures)
    notes = sum(check.status not in ("PASS", "FAIL") for check in verdict.checks)
    parts = [f"{verdict.status} run" if verdict.status else "a run that cannot be read"]
    parts += [count(failed, "failure")] if failed else []
    parts += [count(notes, "note")] if notes else []
    return ", ".join(parts)


def level_view(verdict: Verdict, level: str, text: str, *, details: bool) -> Group:
    """One level: its badge and words, and below them failed checks, or all of them."""
    checks = [check for check in verdict.checks if check.level == level]
    result = _tally(checks) or ("nothing to check" if verdict.passed else "not reached")
    words = plain(f"{level}  {text}").append_text(plain(f"  {result}", "quiet"))
    head = with_badge(_BADGES[_worst(checks)], words, _word(_worst(checks))) if checks else None
    shown = [_check_line(c) for c in checks if details or c.status in ("FAIL", "WARN")]
    return Group(
        head or with_badge("skip", words), *(Padding(line, (0, 0, 0, 4)) for line in shown)
    )


def _tally(checks: Sequence[Check]) -> str:
    """``5 of 6 pass, 1 withheld``."""
    if not checks:
        return ""
    parts = [f"{sum(c.status == 'PASS' for c in checks)} of {len(checks)} pass"]
    for status in ("FAIL", "WARN", "WITHHELD", "SKIP"):
        number = sum(c.status == status for c in checks)
        parts += [f"{number} {_word(status)}"] if number else []
    return ", ".join(parts)


def _check_line(check: Check) -> Table:
    line = plain(check.message).append_text(plain(f"  {check.code}", "quiet"))
    return with_badge(_BADGES[check.status], line, _word(check.status))


def _add_level(table: Table, level: str, text: str, verdict: Verdict, details: bool) -> None:
    checks = [check for check in verdict.checks if check.level == level]
    if not checks:
        result = "nothing to check" if verdict.passed else "not reached"
        table.add_row(level, Badge("skip"), plain(text).append_text(plain(f"  {result}", "quiet")))
        return
    passed = sum(check.status == "PASS" for check in checks)
    heading = plain(text).append_text(plain(f"  {passed} of {len(checks)} pass", "quiet"))
    table.add_row(level, _badge(_worst(checks)), heading)
    for check in checks:
        if details or check.status != "PASS":
            table.add_row("", "", _check_line(check))


def _worst(checks: Sequence[Check]) -> str:
    return next(status for status in _ORDER if any(c.status == status for c in checks))


def _badge(status: str) -> Badge:
    return Badge(_BADGES[status], _word(status))


def _word(status: str) -> str:
    return status.lower()


def altered_table(files: Sequence[Altered]) -> Table:
    """Each file, and below it both hashes in full."""
    table = grid({"no_wrap": True, "style": "quiet"}, {"overflow": "fold"})
    for file in files:
        table.add_row("file", plain(file.path))
        table.add_row("sealed", plain(file.sealed))
        table.add_row("found", plain(file.actual, "bad"))
    return table
