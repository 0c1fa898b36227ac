"""The texts of two runs, compared by the original's determinism class.

``exact``: every text is the same, or the runs differ. Otherwise the replay's texts must agree with
the original's as well as the original's own launches agree with one another.
"""

from __future__ import annotations

import statistics
from itertools import combinations

from kit.judge.compare.axis import Axis, Equivalence
from kit.record.records import RunRecords

Texts = dict[int, str]
# With three equal launches a side, all cross agreements lie below all own ones by chance once in
# twenty orderings; with fewer launches it happens by chance too often.
_LEAST_LAUNCHES = 3


def outputs(original: RunRecords, new: RunRecords) -> Axis:
    """The verdict on the texts."""
    trouble = _trouble(original, new)
    if trouble:
        return _axis(*trouble)
    reference, answers = _texts(original), _texts(new)
    rates = [_agreement(a, b) for a in reference for b in answers]
    if original.spec.determinism != "exact":
        return _axis(*_held_to_own(reference, answers, rates))
    own = [_agreement(reference[0], other) for other in reference[1:]]
    if min([*rates, *own]) == 1.0:
        return _axis("REPRODUCED", "every text is the same")
    return _axis("DIFFERENT", _divergence(reference[0], answers))


def _axis(verdict: Equivalence, reason: str) -> Axis:
    return Axis(metric="outputs", verdict=verdict, reason=reason)


def _trouble(original: RunRecords, new: RunRecords) -> tuple[Equivalence, str] | None:
    """Why the texts cannot be compared: other requests, failed requests, or no answers."""
    if _asked(original) != _asked(new):
        return "NOT-COMPARABLE", "the two were asked other requests"
    if reason := _unanswered(new):
        return "FAILED", f"the replay {reason}"
    if reason := _unanswered(original):
        return "NOT-COMPARABLE", f"the original {reason}"
    return None


def _asked(records: RunRecords) -> list[tuple[int, str]]:
    return [(r.index, r.item) for r in records.schedule if r.stage == "measured"]


def _unanswered(records: RunRecords) -> str:
    """How many requests of all launches got no complete answer; empty for none."""
    asked = len(_asked(records)) * max(records.spec.launches, len(records.requests))
    measured = (r for of in records.requests.values() for r in of if r.stage == "measured")
    answered = sum(r.status == "ok" for r in measured)
    missing = asked - answered
    return f"has no answer to {missing} of {asked} requests" if missing or not asked else ""


def _texts(records: RunRecords) -> list[Texts]:
    """Measured answers by launch and request."""
    return [
        {r.index: r.text for r in records.responses[launch] if r.stage == "measured"}
        for launch in sorted(records.responses)
    ]


def _agreement(a: Texts, b: Texts) -> float:
    """Share of requests with equal answers in two launches."""
    return statistics.fmean(b.get(index) == text for index, text in a.items())


def _held_to_own(
    reference: list[Texts], answers: list[Texts], rates: list[float]
) -> tuple[Equivalence, str]:
    """The replay's agreement with the original, against that among the original's launches."""
    agree = statistics.fmean(rates)
    if agree == 1.0:
        return "REPRODUCED", "every text is the same"
    own = [_agreement(a, b) for a, b in combinations(reference, 2)]
    if not own:
        return "INCONCLUSIVE", (
            f"{agree:.0%} of texts agree; the original has one launch: its own agreement is "
            "not known"
        )
    reason = (
        f"{agree:.0%} of texts agree; the original agrees with itself in "
        f"{statistics.fmean(own):.0%}"
    )
    if agree >= statistics.fmean(own):
        return "REPRODUCED", reason
    enough = min(len(reference), len(answers)) >= _LEAST_LAUNCHES
    if enough and max(rates) < min(own):
        return "DIFFERENT", f"{reason}; {_divergence(reference[0], answers)}"
    return "INCONCLUSIVE", reason


def _divergence(reference: Texts, others: list[Texts]) -> str:
    """The first request with other texts, and how many texts agree."""
    rate = statistics.fmean(_agreement(reference, other) for other in others)
    for number, launch in enumerate(others):
        for index, mine in reference.items():
            text = launch.get(index, "")
            if text != mine:
                return (
                    f"{rate:.0%} of texts agree; launch {number}, request {index} "
                    f"parts at character {_parting(mine, text)}"
                )
    return "the original's launches do not agree among themselves"


def _parting(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
