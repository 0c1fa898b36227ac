"""Two runs side by side: what differs, ratios with intervals, and a verdict for each axis. Pure.

The margin is the one that the *original* registered in its spec. Energy and latency are judged by
two one-sided tests (TOST) on log values of launches: equivalent when the 90% interval of the
ratio lies inside the margin, different when it lies wholly outside, inconclusive otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kit import stats
from kit.host import is_absent
from kit.model import ImageIdentity, Record, Response
from kit.records import RunRecords

Verdict = Literal[
    "REPRODUCED", "EQUIVALENT", "DIFFERENT", "INCONCLUSIVE", "NOT-COMPARABLE", "FAILED"
]
Likeness = Literal["same_card", "same_model", "elsewhere", "other_model"]
Identity = Literal["IDENTICAL", "REWRAPPED", "DIFFERENT"]

GOOD: frozenset[str] = frozenset({"REPRODUCED", "EQUIVALENT"})
LATENCIES = ("ttft_p50", "tpot_p50", "e2e_p50")
# Readings of the moment in a fingerprint: any path with one of these as a segment is left out.
# Settings that bear on energy (power limits, maximum clocks, driver, VBIOS, ECC) are not here.
_VOLATILE = frozenset(
    {
        "load",
        "available_bytes",
        "swap_free_bytes",
        "maximum_error_us",
        "memory_used_bytes",
        "sm_clock_mhz",
        "memory_clock_mhz",
        "temperature_c",
        "memory_temperature_c",
        "ecc_corrected",
        "compute_processes",
        "pcie_generation",
        "pcie_width",
    }
)


class Axis(Record, frozen=True, kw_only=True):
    """The verdict on one metric.

    ``ratio`` is new over original, ``ci90`` its interval, ``margin`` the half-width allowed;
    ``launches_needed`` how many launches a side would settle an inconclusive one.
    """

    metric: str
    verdict: Verdict
    reason: str
    ratio: float | None = None
    ci90: tuple[float, float] | None = None
    margin: float | None = None
    estimated: bool = False
    launches_needed: int | None = None

    def line(self) -> str:
        """``ttft_p50 ×1.021 [0.998, 1.044], margin ±10% → EQUIVALENT``."""
        parts = [self.metric.replace("_", " ").replace("estimate ", "estimated ")]
        if self.ratio is not None:
            parts.append(f"×{self.ratio:.3f}")
        if self.ci90 is not None:
            parts.append(f"[{self.ci90[0]:.3f}, {self.ci90[1]:.3f}]")
        if self.margin is not None:
            parts[-1] += f", margin ±{self.margin:.0%}"
        tail = f" ({self.reason})" if self.reason else ""
        return f"{' '.join(parts)} → {self.verdict}{tail}"


class Comparison(Record, frozen=True, kw_only=True):
    """Everything that a replay decides, the primary metric's axis first."""

    primary: Axis
    axes: tuple[Axis, ...]
    image: Identity
    likeness: Likeness
    differences: tuple[tuple[str, str, str], ...]


def judge(
    original: RunRecords,
    original_results: Mapping[str, Any],
    new: RunRecords,
    new_results: Mapping[str, Any],
    *,
    same_card: bool | None = None,
) -> Comparison:
    """Judge ``new`` against ``original`` on every axis.

    Args:
        same_card: whether both ran on the very same cards, where the withheld identities of both
            are at hand; None where they are not.
    """
    alike = likeness(original.env_start, new.env_start, same_card)
    axes = tuple(_axes(original, original_results, new, new_results, alike))
    primary = original.spec.primary_metric
    first = next(a for a in axes if a.metric == primary)
    return Comparison(
        primary=first,
        axes=(first, *(a for a in axes if a.metric != primary)),
        image=image_identity(original.plan.image, new.plan.image),
        likeness=alike,
        differences=tuple(environments(original.env_start, new.env_start)),
    )


def image_identity(a: ImageIdentity, b: ImageIdentity) -> Identity:
    """Whether two runs used one image: by a digest they share, or by equal layers."""
    digests = [{i.image_id, i.config_digest, i.manifest_digest} - {None} for i in (a, b)]
    if digests[0] & digests[1]:
        return "IDENTICAL"
    return "REWRAPPED" if a.diff_ids == b.diff_ids else "DIFFERENT"


def likeness(a: Mapping[str, Any], b: Mapping[str, Any], same_card: bool | None) -> Likeness:
    """How alike two machines are, as far as energy and speed go.

    Machines with GPUs are compared by GPU model, power limit and driver; others by CPU model.
    """
    cards_a, cards_b = _cards(a), _cards(b)
    model_a = [c.get("name") for c in cards_a] or _of(a, "cpu", "model")
    model_b = [c.get("name") for c in cards_b] or _of(b, "cpu", "model")
    if model_a != model_b:
        return "other_model"
    if same_card:
        return "same_card"
    settings_a = ([c.get("power_limit_w") for c in cards_a], _of(a, "nvidia", "driver"))
    settings_b = ([c.get("power_limit_w") for c in cards_b], _of(b, "nvidia", "driver"))
    same = settings_a == settings_b and _of(a, "cpu", "threads") == _of(b, "cpu", "threads")
    return "same_model" if same else "elsewhere"


def environments(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What differs between two fingerprints: path, there, here. What always moves is left out."""
    left, right = dict(_leaves(a)), dict(_leaves(b))
    for path in sorted(left.keys() | right.keys()):
        if not _VOLATILE.isdisjoint(path.split(".")):
            continue
        if left.get(path) != right.get(path):
            yield path, _shown(left.get(path)), _shown(right.get(path))


# --- axes -----------------------------------------------------------------------------------


def _axes(
    original: RunRecords,
    original_results: Mapping[str, Any],
    new: RunRecords,
    new_results: Mapping[str, Any],
    alike: Likeness,
) -> Iterator[Axis]:
    margins = original.spec.replay
    energy = {"other_model": None, **{k: getattr(margins.energy, k) for k in _ENERGY}}[alike]
    for metric, theirs in original_results["metrics"].items():
        ours = new_results["metrics"].get(metric)
        if metric == "outputs":
            yield _outputs(original, new, theirs, ours)
        elif metric in LATENCIES:
            yield _axis(metric, theirs, ours, None if alike == "other_model" else margins.latency)
        elif metric == "output_throughput":
            margin = None if alike == "other_model" else margins.throughput
            yield _axis(metric, theirs, ours, margin)
        else:
            yield _axis(metric, theirs, ours, energy)


_ENERGY = ("same_card", "same_model", "elsewhere")


def _axis(
    metric: str,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any] | None,
    margin: float | None,
) -> Axis:
    """TOST on launches, where the two can be compared at all."""
    if theirs["status"] == "unmeasured" or ours is None or ours["status"] == "unmeasured":
        side = "original" if theirs["status"] == "unmeasured" else "replay"
        said = (theirs if side == "original" else ours or {}).get("reason", "not reported")
        return Axis(metric=metric, verdict="NOT-COMPARABLE", reason=f"{side} unmeasured: {said}")
    a, b = theirs["launches"], ours["launches"]
    if min(*a, *b) <= 0:
        return Axis(metric=metric, verdict="NOT-COMPARABLE", reason="a launch is not positive")
    found = stats.ratio(a, b)
    if "estimated" in (theirs["status"], ours["status"]):
        return Axis(
            metric=metric,
            verdict="NOT-COMPARABLE",
            reason="estimated, not measured",
            ratio=found.ratio,
            ci90=found.ci90,
            estimated=True,
        )
    if margin is None:
        reason = "another model of GPU or CPU: only ratios between runs of one machine compare"
        return Axis(metric=metric, verdict="NOT-COMPARABLE", reason=reason, ratio=found.ratio)
    verdict, reason, needed = _tost(found, margin, a, b)
    return Axis(
        metric=metric,
        verdict=verdict,
        reason=reason,
        ratio=found.ratio,
        ci90=found.ci90,
        margin=margin,
        launches_needed=needed,
    )


def _tost(
    found: stats.Ratio, margin: float, a: Sequence[float], b: Sequence[float]
) -> tuple[Verdict, str, int | None]:
    low, high = 1 / (1 + margin), 1 + margin
    if found.ci90 is None:
        inside = low < found.ratio < high
        word = "consistent with the original" if inside else "away from the original"
        side = "the original has" if len(a) < 2 else "the replay has"
        return "INCONCLUSIVE", f"{word}, but {side} one launch and no interval", None
    if low < found.ci90[0] and found.ci90[1] < high:
        return "EQUIVALENT", "", None
    if found.ci90[1] < low or found.ci90[0] > high:
        return "DIFFERENT", "", None
    needed = stats.launches_needed(_spread(a, b), margin)
    if needed <= min(len(a), len(b)):
        return "INCONCLUSIVE", "the ratio lies too near the margin to tell", None
    return "INCONCLUSIVE", f"about {needed} launches a side would tell", needed


def _spread(a: Sequence[float], b: Sequence[float]) -> float:
    """Pooled launch-to-launch coefficient of variation, from log values."""
    import statistics

    variances = [statistics.variance([math.log(v) for v in side]) for side in (a, b)]
    return math.sqrt(statistics.fmean(variances))


def _outputs(
    original: RunRecords,
    new: RunRecords,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any] | None,
) -> Axis:
    """Texts compared as the spec's determinism class says."""
    if ours is None or "unmeasured" in (theirs["status"], ours["status"]):
        return Axis(
            metric="outputs", verdict="FAILED", reason="a side has launches without answers"
        )
    reference, answers = _texts(original), _texts(new)
    matches = _match_rate(reference[0], answers)
    if original.spec.determinism == "exact":
        if matches == 1.0 and theirs["agree"]:
            return Axis(metric="outputs", verdict="REPRODUCED", reason="every text is the same")
        return Axis(
            metric="outputs", verdict="DIFFERENT", reason=_divergence(reference[0], answers)
        )
    own = _match_rate(reference[0], reference[1:]) if len(reference) > 1 else None
    if own is None:
        reason = "the original has one launch: its own agreement is not known"
        return Axis(metric="outputs", verdict="INCONCLUSIVE", reason=reason, ratio=None)
    said = f"{matches:.0%} of texts agree; the original agrees with itself in {own:.0%}"
    verdict: Verdict = "REPRODUCED" if matches >= own - 1e-12 else "INCONCLUSIVE"
    return Axis(metric="outputs", verdict=verdict, reason=said)


def _texts(records: RunRecords) -> list[dict[int, Response]]:
    """Measured answers by launch and request."""
    return [
        {r.index: r for r in records.responses[launch] if r.stage == "measured"}
        for launch in sorted(records.responses)
    ]


def _match_rate(reference: dict[int, Response], others: list[dict[int, Response]]) -> float:
    pairs = [
        (reference[i].text, launch[i].text if i in launch else None)
        for launch in others
        for i in reference
    ]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0


def _divergence(reference: dict[int, Response], others: list[dict[int, Response]]) -> str:
    """Where the texts part first, and how many agree."""
    rate = _match_rate(reference, others)
    for number, launch in enumerate(others):
        for index, mine in reference.items():
            text = launch[index].text if index in launch else ""
            if text != mine.text:
                at = next(
                    (i for i, (x, y) in enumerate(zip(mine.text, text, strict=False)) if x != y),
                    min(len(mine.text), len(text)),
                )
                return (
                    f"{rate:.0%} of texts agree; launch {number}, request {index} "
                    f"parts at character {at}"
                )
    return "the original's launches do not agree among themselves"


# --- fingerprints ---------------------------------------------------------------------------


def _cards(env: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    gpus = env.get("gpus", {})
    if not isinstance(gpus, Mapping) or is_absent(gpus):
        return []
    return [card for card in gpus.values() if isinstance(card, Mapping)]


def _of(env: Mapping[str, Any], *path: str) -> Any:
    found: Any = env
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and not is_absent(value):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(value: Any) -> str:
    if value is None:
        return "not recorded"
    if is_absent(value):
        return f"absent: {value['absent']}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
