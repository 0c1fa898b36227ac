"""The verdict of a replay on each axis: two one-sided tests on launches, and their conditions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from kit.core import stats
from kit.core.model import Record, ReplaySpec
from kit.energy.reasons import sentence
from kit.energy.results.document import Metric, Results
from kit.judge.compare import design, work
from kit.judge.compare.axis import GOOD, Axis, Equivalence, side_of
from kit.judge.compare.likeness import (
    Difference,
    Identity,
    Likeness,
    absences,
    environments,
    fields,
    image_identity,
    is_work,
    likeness,
    specs,
)
from kit.judge.compare.outputs import outputs
from kit.judge.compare.work import Work
from kit.record.records import RunRecords

__all__ = ["GOOD", "Axis", "Comparison", "Equivalence", "judge"]

LATENCIES = ("ttft_p50", "tpot_p50", "e2e_p50")


class Comparison(Record, frozen=True, kw_only=True):
    """Everything that a replay decides, the primary metric's axis first.

    ``differences`` are those of the two environments, ``asked`` those of the two specs; ``absent``
    names the facts among the differences that one of the machines has no such thing for.
    ``by`` are the fields that were meant to differ, ``by_design`` the differences in them.
    """

    primary: Axis
    axes: tuple[Axis, ...]
    image: Identity
    likeness: Likeness
    differences: tuple[Difference, ...]
    asked: tuple[Difference, ...] = ()
    absent: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    by_design: tuple[Difference, ...] = ()
    work: Work | None = None


@dataclass(frozen=True)
class _Ground:
    """What all axes of one comparison share.

    Attributes:
        alike: how alike the machines are; the margin of energy depends on it.
        margins: the original's registered margins.
        fault: a verdict and its reason that hold for every axis, where a run did not complete.
        other_prompts: how the prompts' token ids differ; no design can ask for that. Empty if
            they are the same, or not known.
        other_work: the first field in which the specs ask for other work, and not by design;
            empty without one.
        is_other_model: whether the machines are other models, and not by design.
    """

    alike: Likeness
    margins: ReplaySpec
    fault: tuple[Equivalence, str] | None
    other_work: str
    other_prompts: str
    is_other_model: bool

    def margin(self, metric: str) -> float:
        """Allowed half-width of the ratio; for energy it depends on how alike the machines are."""
        if metric in LATENCIES:
            return self.margins.latency
        if metric in ("output_throughput", "image_throughput"):
            return self.margins.throughput
        alike = "elsewhere" if self.alike == "other_model" else self.alike
        return float(getattr(self.margins.energy, alike))

    def no_margin(self) -> str:
        """Why no margin applies; empty if one does."""
        if self.other_prompts:
            return f"not the same work: {self.other_prompts}"
        if self.other_work:
            return f"the specs ask for other work ({self.other_work})"
        if self.is_other_model:
            return (
                "another model of GPU or CPU, or another power cap: "
                "only ratios between runs of one machine compare"
            )
        return ""


def judge(
    original: RunRecords,
    original_results: Results,
    new: RunRecords,
    new_results: Results,
    *,
    same_card: bool | None = None,
    by: Sequence[str] = (),
) -> Comparison:
    """Judge ``new`` against ``original`` on every axis.

    Args:
        by: fields that differ by design (`kit.judge.compare.design`).
        same_card: whether both ran on the same physical cards; None where the withheld identities
            of one run are missing.

    Raises:
        UsageError: the runs have no such field as one of ``by``.
    """
    by = design.named(by, fields(original.spec, new.spec, original.env_start, new.env_start))
    asked = tuple(specs(original.spec, new.spec))
    differing = tuple(environments(original.env_start, new.env_start))
    alike = likeness(original.env_start, new.env_start, same_card)
    done = work.compare(original, new)
    unmeant = [one for one in asked if not design.covers(by, one[0])]
    ground = _Ground(
        alike=alike,
        margins=original.spec.replay,
        fault=_fault(original, new),
        other_work=next((path for path, *_ in filter(is_work, unmeant)), ""),
        other_prompts=done.ids_differ,
        is_other_model=alike == "other_model"
        and not design.covers_model(by, (path for path, *_ in differing)),
    )
    axes = [_outputs(original, new, ground)]
    axes += _numbers(ground, original_results, new_results)
    first = next(a for a in axes if a.metric == original.spec.primary_metric)
    lacking = absences(original.env_start, new.env_start)
    return Comparison(
        primary=first,
        axes=(first, *(a for a in axes if a is not first)),
        image=image_identity(original.plan.image, new.plan.image),
        likeness=ground.alike,
        differences=differing,
        asked=asked,
        absent=tuple(path for path, *_ in differing if path in lacking),
        by=by,
        by_design=(
            *(one for one in asked if design.covers(by, one[0])),
            *(one for one in differing if design.covers_machine(by, one[0])),
        ),
        work=done,
    )


def _fault(original: RunRecords, new: RunRecords) -> tuple[Equivalence, str] | None:
    """A run that did not complete proves nothing, whatever its first launches say."""
    if reason := _incomplete(new):
        return "FAILED", f"the replay {reason}"
    if reason := _incomplete(original):
        return "NOT-COMPARABLE", f"the original {reason}"
    return None


def _incomplete(records: RunRecords) -> str:
    last = records.events[-1] if records.events else None
    if last is None or last.kind != "run.end":
        return "never ended"
    status, reason = str(last.data.get("status")), str(last.data.get("reason", ""))
    if status == "complete":
        return ""
    return {"aborted": "was aborted"}.get(status, status) + (f": {reason}" if reason else "")


def _outputs(original: RunRecords, new: RunRecords, ground: _Ground) -> Axis:
    if ground.fault:
        return Axis(metric="outputs", verdict=ground.fault[0], reason=ground.fault[1])
    return outputs(original, new)


def _numbers(ground: _Ground, original: Results, new: Results) -> Iterator[Axis]:
    for metric, theirs in original.metrics.items():
        ours = new.metrics.get(metric)
        u_gain = _u_gain(metric, original, new) if ground.alike != "same_card" else 0.0
        axis = _axis(metric, theirs, ours, ground, u_gain)
        yield msgspec.structs.replace(axis, original=side_of(theirs), new=side_of(ours))


def _axis(
    metric: str,
    theirs: Metric,
    ours: Metric | None,
    ground: _Ground,
    u_gain: float,
) -> Axis:
    """TOST on launches, if the two can be compared at all."""
    if theirs.status == "unmeasured" or ours is None or ours.status == "unmeasured":
        return _silent(metric, theirs, ours, ground)
    a, b = theirs.values, ours.values
    if min(*a, *b) <= 0:
        return Axis(metric=metric, verdict="NOT-COMPARABLE", reason="a launch is not positive")
    ratio = stats.ratio(a, b, u_gain)
    estimated = "estimated" in (theirs.status, ours.status)
    margin, needed = None, None
    if ground.fault:
        verdict, reason = ground.fault
    elif estimated:
        verdict, reason = "NOT-COMPARABLE", "estimated, not measured"
    elif why := ground.no_margin():
        verdict, reason = "NOT-COMPARABLE", why
    elif why := _doubted(theirs, ours):
        verdict, reason = "INCONCLUSIVE", why
    else:
        margin = ground.margin(metric)
        verdict, reason, needed = _tost(ratio, margin, a, b, u_gain)
    return Axis(
        metric=metric,
        verdict=verdict,
        reason=reason,
        ratio=ratio.ratio,
        ci90=ratio.ci90,
        margin=margin,
        estimated=estimated,
        u_gain=u_gain or None,
        launches_needed=needed,
    )


def _doubted(theirs: Metric, ours: Metric) -> str:
    """The side with rejected readings; empty without one."""
    for side, metric in (("original", theirs), ("replay", ours)):
        if doubts := metric.doubts:
            more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
            return f"readings of the {side} are in doubt: {sentence(doubts[0])}{more}"
    return ""


def _silent(metric: str, theirs: Metric, ours: Metric | None, ground: _Ground) -> Axis:
    """An axis on which a side has no number: which side, and why."""
    if ground.fault and theirs.status != "unmeasured":
        return Axis(metric=metric, verdict=ground.fault[0], reason=ground.fault[1])
    lacks = theirs.status == "unmeasured"
    side, lacking = ("original", theirs) if lacks else ("replay", ours)
    reason = sentence((lacking and lacking.reason) or "not reported")
    return Axis(metric=metric, verdict="NOT-COMPARABLE", reason=f"{side} unmeasured: {reason}")


def _tost(
    ratio: stats.Ratio, margin: float, a: Sequence[float], b: Sequence[float], u_gain: float
) -> tuple[Equivalence, str, int | None]:
    low, high = 1 / (1 + margin), 1 + margin
    if ratio.ci90 is None:
        inside = low < ratio.ratio < high
        word = "consistent with the original" if inside else "away from the original"
        side = "the original has" if len(a) < 2 else "the replay has"
        return "INCONCLUSIVE", f"{word}, but {side} one launch and no interval", None
    if low < ratio.ci90[0] and ratio.ci90[1] < high:
        return "EQUIVALENT", "", None
    if ratio.ci90[1] < low or ratio.ci90[0] > high:
        return "DIFFERENT", "", None
    needed = stats.launches_needed(_spread(a, b), margin, u_common=u_gain)
    if needed is None:
        return "INCONCLUSIVE", _gain_hides(u_gain), None
    if needed <= min(len(a), len(b)):
        return "INCONCLUSIVE", "the ratio lies too near the margin to tell", None
    return "INCONCLUSIVE", f"about {needed} launches a side would tell", needed


def _gain_hides(u_gain: float) -> str:
    return (
        f"the sensors of two machines may differ by ±{u_gain:.1%} (standard uncertainty of their "
        "gains), too much for this margin however many launches: calibrate them against one "
        "another, or replay on the same machine"
    )


def _spread(a: Sequence[float], b: Sequence[float]) -> float:
    """Pooled launch-to-launch coefficient of variation, from log values."""
    variances = [statistics.variance([math.log(v) for v in side]) for side in (a, b)]
    return math.sqrt(statistics.fmean(variances))


def _u_gain(metric: str, *results: Results) -> float:
    """Relative standard uncertainty of an energy ratio, from the gains of the two sides' sensors.

    The two are independent: cards that were never compared may err in opposite directions.
    """
    scope, _, energy = metric.partition("_energy_per_")
    if not energy:
        return 0.0
    return math.hypot(*(_side_gain(result, scope) for result in results))


def _side_gain(results: Results, scope: str) -> float:
    """The measured block's relative gain and offset uncertainty together, mean over launches.

    0 where there is none. The uncertainty of an estimate or of a delay does not belong here.
    """
    values = [launch.measured.energy[scope] for launch in results.launches if launch.measured]
    gains = [_sensor_j(v.terms) / abs(v.joules) for v in values if v.joules]
    return statistics.fmean(gains) if gains else 0.0


def _sensor_j(terms: Mapping[str, float]) -> float:
    return math.hypot(terms.get("gain", 0.0), terms.get("offset", 0.0))
