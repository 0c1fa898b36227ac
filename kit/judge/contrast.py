"""Any number of sealed runs compared with one of them: verdicts pair by pair, and differences.

`kit.judge.replay` loads numpy and more. Functions here import it themselves, so that a face can
call them outside its event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core.errors import KitError
from kit.judge import admission
from kit.judge.compare import Comparison, Meaning, Ranked, judge, ranked

if TYPE_CHECKING:
    from kit.energy.results import Results
    from kit.record.records import RunRecords


@dataclass(frozen=True)
class Side:
    """One run of a comparison: its records, or why it cannot be read.

    Attributes:
        altered: it can be read, but does not verify.
    """

    path: Path
    letter: str
    records: RunRecords | None = None
    results: Results | None = None
    fault: str = ""
    altered: bool = False


@dataclass(frozen=True)
class Contrast:
    """The sides with the baseline, and the verdict on each other side that can be read."""

    sides: tuple[Side, ...]
    baseline: Side
    judged: dict[str, Comparison]

    @property
    def others(self) -> tuple[Side, ...]:
        """The sides that were judged against the baseline."""
        return tuple(side for side in self.sides if side.letter in self.judged)


@dataclass(frozen=True)
class Difference:
    """A fact in which a side differs from the baseline: values by letter, and the meaning."""

    fact: str
    values: dict[str, str]
    meaning: Meaning
    is_whole: bool


def side_of(path: Path, letter: str) -> Side:
    """Read and recompute a run; one that does not verify has no numbers."""
    from kit.judge import replay as replaying

    try:
        if not admission.verify(path).passed:
            return Side(path, letter, fault="does not verify", altered=True)
        return Side(path, letter, *replaying.computed(path))
    except KitError as error:
        return Side(path, letter, fault=error.message)
    except (OSError, ValueError) as error:
        return Side(path, letter, fault=f"cannot be read: {error}")


def contrast(sides: Sequence[Side], baseline: Side, by: Sequence[str] = ()) -> Contrast:
    """Judge every other readable side against ``baseline``.

    Args:
        by: fields that differ by design (`kit.judge.compare.design`).
    """
    others = [side for side in sides if side is not baseline]
    judged = {
        side.letter: judgement for side in others if (judgement := _judged(baseline, side, by))
    }
    return Contrast(tuple(sides), baseline, judged)


def _judged(baseline: Side, side: Side, by: Sequence[str]) -> Comparison | None:
    """The verdict on ``side`` from what was read of both; None where either cannot be read."""
    from kit.judge import replay as replaying

    if not (baseline.records and baseline.results and side.records and side.results):
        return None
    return judge(
        baseline.records,
        baseline.results,
        side.records,
        side.results,
        same_card=replaying.same_cards(baseline.path, side.path),
        by=by,
    )


def differences(contrast: Contrast) -> list[Difference]:
    """Differences of all sides, the most important first (`kit.judge.compare.ranked`)."""
    merged: dict[tuple[Any, str], tuple[Ranked, dict[str, str]]] = {}
    for letter, judged in contrast.judged.items():
        for difference in ranked(judged):
            new = (difference, {contrast.baseline.letter: difference.original})
            merged.setdefault((difference.weight, difference.fact), new)[1][letter] = difference.new
    return [
        Difference(one.fact, values, one.meaning, one.is_whole)
        for _, (one, values) in sorted(merged.items(), key=lambda item: item[0])
    ]
