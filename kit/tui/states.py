"""States of runs, checks and verdicts as a glyph and a word."""

from __future__ import annotations

from rich.text import Text

from kit.tui.base import mark

RUNS = {
    "complete": "ok",
    "failed": "fail",
    "aborted": "warn",
    "running": "running",
    "unsealed": "withheld",
    "broken": "fail",
}
CHECKS = {"PASS": "ok", "WARN": "warn", "FAIL": "fail", "SKIP": "skip", "WITHHELD": "withheld"}
VERDICTS = {
    "REPRODUCED": "ok",
    "EQUIVALENT": "ok",
    "DIFFERENT": "fail",
    "FAILED": "fail",
    "INCONCLUSIVE": "warn",
    "NOT-COMPARABLE": "skip",
}


def state_of(status: str) -> Text:
    """``✔ complete``: a run's state; an unknown one is told as it is, and doubted."""
    return mark(RUNS.get(status, "fail"), status[:12])


def check_of(status: str, word: str | None = None) -> Text:
    """``✔ pass``: a check's state."""
    return mark(CHECKS.get(status, "fail"), status.lower() if word is None else word)


def verdict_of(verdict: str) -> Text:
    """``✔ EQUIVALENT``: a verdict on a metric."""
    return mark(VERDICTS.get(verdict, "warn"), verdict)
