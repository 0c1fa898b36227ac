"""L4: the samplers report how often they read each tier. Removed rows contradict that count.

A tier is a group of quantities that are read together. It is read once when the sampler starts and
once when it stops, and the reads in between are counted. Missed deadlines are counted separately,
and show in the rows: the reads around them are late, or long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from kit.core.arrays import np
from kit.core.facts import QuantityFacts
from kit.core.limits import seconds_or
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import NS
from kit.judge.verify.verdict import Check, check, judged
from kit.record.records import RunRecords
from kit.record.samples import Series

_POWER = frozenset({"gpu_power_instant", "gpu_power_average"})
_PROCESSES = frozenset({"gpu_processes", "gpu_process_groups"})
_COUNTERS = ("nvml.counter", "nvml.counter-poll")
# At this pace the sampler looks after driver and GPUs, even where each quantity has another.
_WATCH = "nvml.state-1000ms"
# The first and the last read are not counted, and the stop may cut one off.
_EXTRA = 3
_CLOSING = 25  # the buffer is read repeatedly at the end, for 0.6 s
_LEAST_SHARE = 0.8
# Samplers start and stop one after another, and wait for their slowest device.
_START_S, _START_SHARE = 20.0, 0.05
_MISSED, _FEW = 0.02, 5
_STALLS, _STALLED = 0.01, 0.05
# Reads of each other stream that may lie at the two edges of a standstill.
_STRAY = 2


class Tier(NamedTuple):
    """One sampler's report on one tier, and the streams of that tier."""

    key: str
    reads: int
    overruns: int
    late_ns: int
    ran_s: tuple[float, float]
    series: dict[str, Series | None]
    period_s: float | None

    @property
    def missed(self) -> float:
        """Share of the deadlines that were missed."""
        return self.overruns / max(1, self.reads + self.overruns)


def checks(records: RunRecords, *, is_complete: bool) -> list[Check]:
    """Compare every tier's count with its rows, the clock and its lateness."""
    problems: list[str] = []
    try:
        tiers, unknown = _tiers(records)
    except (AttributeError, LookupError, TypeError, ValueError):
        return [check("READS_DIFFER", "FAIL", "a sampler's report is malformed")]
    lost = lost_times(records)
    doubts = list(unknown) if not is_complete else []
    problems += [] if not is_complete else unknown
    for tier in tiers:
        meter = _meter_of(tier.key)
        contradictions = [*_rows(tier), *_time(tier), *_pace(tier)]
        (doubts if meter in lost or not is_complete else problems).extend(contradictions)
        others = [t for t in tiers if t is not tier and _meter_of(t.key) == meter]
        problems += _unexplained_misses(tier, others)
        if tier.overruns > _FEW and tier.missed > _MISSED:
            doubts.append(f"{tier.key}: {tier.missed:.0%} of the deadlines passed unread")
    if doubts and not problems:
        return [check("READS_DIFFER", "WARN", "; ".join(doubts[:3]))]
    return [judged("READS_DIFFER", problems, f"{len(tiers)} tiers were read as often as reported")]


def lost_times(records: RunRecords) -> dict[str, list[int]]:
    """When the runner learned that a meter could not be read any more, ns, by meter."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for event in records.losses:
        times[str(event.data.get("meter"))].append(event.t)
    return times


# --- what the samplers report -------------------------------------------------------------------


def _tiers(records: RunRecords) -> tuple[list[Tier], list[str]]:
    """The tiers, and the problems: streams of no reported tier, reported tiers without streams."""
    reports = _reports(records)
    tiers, unknown = [], []
    for meter in records.plan.meters:
        own = {key: report for key, report in reports.items() if _meter_of(key) == meter.label}
        streams = _streams(records, meter, own)
        for key, series in streams.items():
            if key is None:
                unknown += [f"no sampler says how often it read {name}" for name in series]
                continue
            reads, overruns, late, ran_s = own[key]
            period = _period_s(meter, key)
            tiers.append(Tier(key, reads, overruns, late, ran_s, series, period))
        unread = set(own) - set(streams) - ({_WATCH} if meter.devices else set())
        unknown += [f"{key} was read, and the plan names nothing that it reads" for key in unread]
    return tiers, unknown


def _meter_of(key: str) -> str:
    """The meter of a tier's key, as in ``nvml`` of ``nvml.power-100ms``."""
    return key.rpartition(".")[0]


def _reports(records: RunRecords) -> dict[str, tuple[int, int, int, tuple[float, float]]]:
    """By tier: reads, overruns, lateness (ns, 99th percentile), running time of the sampler
    (s, at least and at most).

    A sampler starts and stops before the journal's event of it, and after the preceding event: a
    runner that stood still in between journals it late.
    """
    begun: dict[Any, tuple[int, int]] = {}
    reports = {}
    for before, event in pairwise(records.events):
        if event.kind == "sampler.started":
            begun[event.data.get("meter")] = before.t, event.t
        if event.kind != "sampler.stopped" or not isinstance(event.data.get("tiers"), dict):
            continue
        earliest, latest = begun.get(event.data.get("meter"), (event.t, event.t))
        ran_s = max(0.0, (before.t - latest) * NS), (event.t - earliest) * NS
        overruns = event.data.get("overruns", {})
        for key, counts in event.data["tiers"].items():
            numbers = counts["reads"], overruns.get(key, 0), counts.get("late_p99_ns") or 0
            if not all(type(number) is int for number in numbers):
                raise ValueError(key)
            reports[str(key)] = (*numbers, ran_s)
    return reports


def _streams(
    records: RunRecords, meter: MeterPlan, own: Mapping[str, Any]
) -> dict[str | None, dict[str, Series | None]]:
    """The streams of a meter by tier; streams of no known tier under None."""
    streams: defaultdict[str | None, dict[str, Series | None]] = defaultdict(dict)
    for device in meter.devices:
        for quantity, facts in device.quantities.items():
            if not facts.is_read:
                continue
            key = _key(meter, device, quantity, own)
            series = records.samples.get(device.device, quantity)
            if key is None and _is_unsure(meter, quantity, facts):
                key = _nearest(series, _kind(quantity), own)
                if key is None:
                    continue
            streams[key][f"{device.device} {quantity}"] = series
    return streams


def _key(
    meter: MeterPlan, device: MeterDevice, quantity: str, own: Mapping[str, Any]
) -> str | None:
    """The tier that reads a quantity. Only NVML has several, named by what they read."""
    if meter.name != "nvml":
        return next(iter(own)) if len(own) == 1 else None
    if quantity == "gpu_energy":  # polled where the GPU has no samples; older kits had one tier
        samples = device.quantities.get("gpu_power_sample")
        counters = _COUNTERS if samples and samples.is_read else _COUNTERS[::-1]
        return next((key for key in counters if key in own), None)
    pace_s = seconds_or(device.quantities[quantity].poll_s, 0.0)
    key = f"nvml.{_kind(quantity)}-{round(pace_s * 1e3)}ms"
    key = "nvml.processes" if quantity in _PROCESSES else key
    key = "nvml.samples" if quantity == "gpu_power_sample" else key
    return key if key in own else None


def _is_unsure(meter: MeterPlan, quantity: str, facts: QuantityFacts) -> bool:
    """Whether the plan leaves the pace of a tier open."""
    even = quantity != "gpu_energy" and quantity not in _PROCESSES
    return meter.name == "nvml" and even and facts.poll_s is None


def _nearest(series: Series | None, kind: str, own: Mapping[str, Any]) -> str | None:
    """The tier that may have read a quantity whose pace the plan leaves open: of those of its kind
    the one with the nearest count, so that rows that were left out show in any."""
    of_kind = [key for key in own if key.startswith(f"nvml.{kind}-")]
    rows = _reads_of(series, batches=False)
    return min(of_kind, key=lambda key: abs(own[key][0] - rows), default=None)


def _kind(quantity: str) -> str:
    """What NVML's tiers of several paces are called by."""
    return "power" if quantity in _POWER else "state"


def _period_s(meter: MeterPlan, key: str) -> float | None:
    """A tier's pace by the plan's facts; None if the tier sets its own."""
    if key in (*_COUNTERS, "nvml.processes"):
        return None
    if meter.name == "nvml":
        digits = key.rpartition("-")[2].removesuffix("ms")
        return int(digits) * 1e-3 if digits.isdecimal() else 1.0
    facts = [f for d in meter.devices for f in d.quantities.values() if f.is_read]
    paces = [seconds_or(f.poll_s, 0.0) or seconds_or(f.period_s, 0.0) for f in facts]
    stated = [pace for pace in paces if pace]
    return min(stated) if stated and len(stated) == len(paces) else None


# --- against the rows ---------------------------------------------------------------------------


def _rows(tier: Tier) -> Iterator[str]:
    """Check that there are as many rows as reads; a buffer or counter may give several or none.

    A read of `nvml.counter` is a burst of one GPU, the one that is due: all of them count together.
    """
    counts = {
        name: _reads_of(series, batches=tier.key == "nvml.samples")
        for name, series in tier.series.items()
    }
    if tier.key == _COUNTERS[0]:
        counts = {" and ".join(counts): sum(counts.values())}
    for name, rows in counts.items():
        least, most = float(tier.reads), tier.reads + _EXTRA
        if tier.key == "nvml.samples":
            least, most = _LEAST_SHARE * tier.reads, tier.reads + _CLOSING
        elif tier.key in _COUNTERS:
            least, most = _LEAST_SHARE * tier.reads, max(most, rows)
        if not least <= rows <= most:
            yield f"{name}: {rows} reads have rows, the sampler read {tier.reads} times"


def _reads_of(series: Series | None, *, batches: bool) -> int:
    if series is None:
        return 0
    return len(np.unique(series.t0)) if batches else len(series.t) + series.errors


def _time(tier: Tier) -> Iterator[str]:
    """Check that the reads at this pace take as long as the sampler ran."""
    least, most = tier.ran_s
    if tier.period_s is None or most <= 0:
        return
    deadlines_s = (tier.reads + tier.overruns) * tier.period_s
    room = _START_S + _START_SHARE * most
    if not least - room <= deadlines_s <= most + room:
        yield (
            f"{tier.key}: {tier.reads + tier.overruns} deadlines each {tier.period_s:g} s are "
            f"{deadlines_s:.0f} s, its sampler ran for {most:.0f} s"
        )


def _pace(tier: Tier) -> Iterator[str]:
    """Check that rows usually lie as far apart as the plan says, missed deadlines apart."""
    if tier.period_s is None or tier.key == "nvml.samples":
        return
    for name, series in tier.series.items():
        if series is None or len(series.t0) < _FEW:
            continue
        usual = float(np.median(np.diff(series.t0))) * NS
        longest = 2 * tier.period_s / max(0.1, 1 - tier.missed)
        if not tier.period_s / 2 <= usual <= longest:
            yield f"{name} was read each {usual:.3g} s, the plan says {tier.period_s:.3g} s"


def _unexplained_misses(tier: Tier, others: Sequence[Tier]) -> Iterator[str]:
    """Check missed deadlines: late or long reads cause them, and must show in the rows.

    Args:
        others: the other tiers of the meter, which the same process reads.
    """
    if tier.period_s is None or tier.overruns <= _FEW or tier.missed <= _MISSED:
        return
    half_ns = tier.period_s / 2 / NS
    is_visible = tier.late_ns >= half_ns or _longest_ns(tier) >= half_ns
    if not is_visible and tier.overruns > _stalled(tier, tier.period_s, others) + _FEW:
        yield (
            f"{tier.key}: {tier.overruns} deadlines are said to have passed unread, and no read "
            "was late or long"
        )


def _stalled(tier: Tier, period_s: float, others: Sequence[Tier]) -> int:
    """Deadlines missed during a few stalled reads, too few to show in a percentile.

    If they are a large part of the run, only stalls count in which nothing else was read: then
    the whole process stood still, and no rows of a single tier were removed.
    """
    streams = [s for t in others for s in t.series.values() if s is not None]
    read = np.sort(np.concatenate([np.zeros(0, np.int64), *(s.t0 for s in streams)]))
    missed = []
    for series in tier.series.values():
        if series is not None and len(series.t0) > 1:
            t0 = np.sort(series.t0)
            apart = np.diff(t0).astype(np.float64) * NS
            passed = np.maximum(np.round(apart / period_s) - 1, 0.0)
            if tier.missed > _STALLED:
                inside = np.searchsorted(read, t0[1:]) - np.searchsorted(read, t0[:-1], "right")
                passed = np.where(inside > _STRAY * (1 + len(streams)), 0.0, passed)
            few = 1 + int(_STALLS * len(passed))
            missed.append(int(np.sort(passed)[-few:].sum()))
    return max(missed, default=0)


def _longest_ns(tier: Tier) -> float:
    """Duration of a tier's reads, ns: 98th percentile over all its streams.

    0 if the streams have different numbers of rows: then no read is known as a whole.
    """
    streams = [s for s in tier.series.values() if s is not None and len(s.t0)]
    if not streams or len({len(s.t0) for s in streams}) != 1:
        return 0.0
    durations_ns = np.max([s.t1 for s in streams], axis=0) - np.min([s.t0 for s in streams], axis=0)
    return float(np.quantile(durations_ns, 1 - _MISSED))
