"""The texts or images of two runs, compared by the original's determinism class.

``exact``: every answer is the same, or the runs differ. Otherwise the replay's answers must agree
with the original's as well as the original's own launches agree with one another. An image is the
same where its file is, byte for byte.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations

from msgspec import UNSET

from kit.core.model import Makes, Response
from kit.judge.compare.axis import Axis, Equivalence
from kit.record.records import RunRecords

Answers = dict[int, tuple[str, ...]]  # by request: its text, or the hash of each of its images
# With three equal launches a side, all cross agreements lie below all own ones by chance once in
# twenty orderings; with fewer launches it happens by chance too often.
_LEAST_LAUNCHES = 3


def outputs(original: RunRecords, new: RunRecords) -> Axis:
    """The verdict on the answers."""
    trouble = _trouble(original, new)
    if trouble:
        return _axis(*trouble)
    reference, answers, makes = _answers(original), _answers(new), original.makes
    rates = [_agreement(a, b) for a in reference for b in answers]
    if original.spec.determinism != "exact":
        return _axis(*_held_to_own(reference, answers, rates, makes))
    own = [_agreement(reference[0], other) for other in reference[1:]]
    if min([*rates, *own]) == 1.0:
        return _axis("REPRODUCED", f"every {makes} is the same")
    return _axis("DIFFERENT", _divergence(reference[0], answers, makes))


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


def _answers(records: RunRecords) -> list[Answers]:
    """Measured answers by launch and request."""
    return [
        {r.index: _given(r) for r in records.responses[launch] if r.stage == "measured"}
        for launch in sorted(records.responses)
    ]


def _given(answer: Response) -> tuple[str, ...]:
    if answer.images is UNSET:
        return (answer.text,)
    return tuple(image.sha256 for image in answer.images)


def _agreement(a: Answers, b: Answers) -> float:
    """Share of requests with equal answers in two launches."""
    return statistics.fmean(b.get(index) == given for index, given in a.items())


def _held_to_own(
    reference: list[Answers], answers: list[Answers], rates: list[float], makes: Makes
) -> tuple[Equivalence, str]:
    """The replay's agreement with the original, against that among the original's launches."""
    agree = statistics.fmean(rates)
    if agree == 1.0:
        return "REPRODUCED", f"every {makes} is the same"
    own = [_agreement(a, b) for a, b in combinations(reference, 2)]
    if not own:
        return "INCONCLUSIVE", (
            f"{agree:.0%} of {makes}s agree; the original has one launch: its own agreement is "
            "not known"
        )
    reason = (
        f"{agree:.0%} of {makes}s agree; the original agrees with itself in "
        f"{statistics.fmean(own):.0%}"
    )
    if agree >= statistics.fmean(own):
        return "REPRODUCED", reason
    enough = min(len(reference), len(answers)) >= _LEAST_LAUNCHES
    if enough and max(rates) < min(own):
        return "DIFFERENT", f"{reason}; {_divergence(reference[0], answers, makes)}"
    return "INCONCLUSIVE", reason


def _divergence(reference: Answers, others: list[Answers], makes: Makes) -> str:
    """The first request with other answers, and how many answers agree."""
    rate = statistics.fmean(_agreement(reference, other) for other in others)
    for number, launch in enumerate(others):
        for index, mine in reference.items():
            given = launch.get(index, ("",))
            if given != mine:
                return (
                    f"{rate:.0%} of {makes}s agree; launch {number}, request {index} "
                    f"parts at {_parting(mine, given, makes)}"
                )
    return "the original's launches do not agree among themselves"


def _parting(mine: tuple[str, ...], given: tuple[str, ...], makes: Makes) -> str:
    """Where two answers part: a text's character, or the number of an image."""
    if makes == "image":
        return f"image {_first_difference(mine, given) + 1}"
    return f"character {_first_difference(mine[0], given[0])}"


def _first_difference(a: Sequence[str], b: Sequence[str]) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
