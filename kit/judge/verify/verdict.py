"""The answer of `kit verify`: one line a check, and what may be claimed from all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from kit.core.errors import EXIT_OK, EXIT_VERIFY
from kit.core.model import Record
from kit.core.text import clean
from kit.judge.verify.codes import LEVELS, MEANING, level_of

Status = Literal["PASS", "WARN", "FAIL", "SKIP", "WITHHELD"]
_LIMIT = 400
CLAIM = (
    "consistent; no signature checked; registration unproven. Every number follows from the raw "
    "records; that the records are true is not shown: whoever scales every stream together "
    "passes; a replay, time stamps from elsewhere or a second meter would raise this"
)
# What no data in an archive can show.
UNSHOWN = (
    "that all readings, the journal's too, were not scaled together",
    "that all times were not stretched or shifted together, or an old run sealed as a new one",
    "that the run was not chosen from many, or launches and requests left out everywhere at once",
    "that spec and margins stood before the run",
    "that the answers are the model's: text is checked by its hash alone",
    "that image and weights of these hashes ran, on a machine as described",
    "that programs of others were not hidden from the readings",
    "that a calibration is true: it is its author's word",
)
TOO_NEW = "nothing: this kit is too old to judge the run; a newer one may"
UNSUPPORTED = frozenset({"MANIFEST_UNSUPPORTED"})
_WORST_FIRST = ("FAIL", "WARN", "PASS", "WITHHELD", "SKIP")
REFUSED = "nothing: at least one check failed, so no number of this run should be used"


class Check(Record, frozen=True, kw_only=True):
    """One check: its level, stable code, status and message."""

    level: str
    code: str
    status: Status
    message: str


class Verdict(Record, frozen=True, kw_only=True):
    """All checks of one run. ``run_hash`` is None where no manifest could be read.

    ``claim`` is what may be claimed of the run; ``status`` is the run's own: complete, failed or
    aborted.
    """

    run_hash: str | None
    status: str | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(check.status == "FAIL" for check in self.checks)

    @property
    def outcome(self) -> Literal["PASS", "FAIL", "UNSUPPORTED"]:
        """``UNSUPPORTED`` where this kit is too old to judge the run."""
        if any(check.code in UNSUPPORTED for check in self.failures):
            return "UNSUPPORTED"
        return "PASS" if self.passed else "FAIL"

    @property
    def levels(self) -> dict[str, str]:
        """The worst status of each level; ``NOT_REACHED`` for one that was not checked."""
        worst = dict.fromkeys(LEVELS, "NOT_REACHED")
        for level in LEVELS:
            statuses = {check.status for check in self.checks if check.level == level}
            worst[level] = next((s for s in _WORST_FIRST if s in statuses), "NOT_REACHED")
        return worst

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.passed else EXIT_VERIFY

    @property
    def claim(self) -> str:
        return {"PASS": CLAIM, "FAIL": REFUSED, "UNSUPPORTED": TOO_NEW}[self.outcome]

    @property
    def unshown(self) -> str:
        """What no passing verdict can show, whatever the archive holds; else empty."""
        return "; ".join(UNSHOWN) if self.passed else ""

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == "FAIL")

    def as_dict(self) -> dict[str, Any]:
        """The verdict as a JSON document."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return {
            **document,
            "outcome": self.outcome,
            "passed": self.passed,
            "levels": self.levels,
            "claim": self.claim,
            "not_shown": list(UNSHOWN) if self.passed else [],
        }


def check(code: str, status: Status, message: str = "") -> Check:
    """Make a check; without a message it has the code's meaning. Long messages are cut."""
    text = clean(message or MEANING[code])
    if len(text) > _LIMIT:
        text = text[: _LIMIT - 1] + "…"
    return Check(level=level_of(code), code=code, status=status, message=text)


def judged(code: str, problems: Iterable[str], fine: str, doubts: Iterable[str] = ()) -> Check:
    """FAIL with the first three problems, else WARN with the first three doubts, else PASS with
    ``fine``."""
    messages, status = list(problems), "FAIL"
    if not messages:
        messages, status = list(doubts), "WARN"
    if not messages:
        return check(code, "PASS", fine)
    more = f" (and {len(messages) - 3} more)" if len(messages) > 3 else ""
    return check(code, "FAIL" if status == "FAIL" else "WARN", "; ".join(messages[:3]) + more)
