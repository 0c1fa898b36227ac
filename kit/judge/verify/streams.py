"""L4, samples: every stream of the plan is there and complete, from begin to end of the run.

A failed read is a row with a code, and the sampler reports the first failure once. That explains
the interval of failed rows. It never explains missing rows, nor a stream without any reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kit.core.arrays import np
from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.limits import seconds_or
from kit.core.model import Manifest
from kit.core.units import NS, QUANTITIES
from kit.judge.verify.reads import lost_times
from kit.judge.verify.verdict import Check, check, judged
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords
from kit.record.samples import Ints, Series

_SLACK_S = 1.0
_PERIODS = 5
_UNEVEN_S = 15.0  # the sampler may wait ten seconds between two reads of a counter
# Reads that may be missing unexplained: edges, and a clock's rounding.
_FEW, _SHARE = 5, 0.02
# Samples of the buffer: the greatest age of the newest one in a read, and how many may be missing.
_STALE_S, _HOLE, _HOLES = 0.1, 1.75, 0.01


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """Check that every stream is present and covers the run, and that no row is missing."""
    is_complete = manifest.status == "complete"
    missing, doubts = _presence(records, is_complete)
    present = judged("STREAM_MISSING", missing, "every device was read from begin to end")
    if not missing and doubts:
        present = check("STREAM_MISSING", "WARN", "; ".join(doubts[:3]))
    return [present, _gaps(records, source, is_complete)]


def _presence(records: RunRecords, is_complete: bool) -> tuple[list[str], list[str]]:
    """Problems and doubts: what is missing is a doubt if it is explained, or the run incomplete."""
    missing: list[str] = []
    doubts: list[str] = []
    lost = lost_times(records)
    for meter in records.plan.meters:
        complaints = lost.get(meter.label, [])
        for device in meter.devices:
            for quantity, facts in device.quantities.items():
                if not facts.is_read:
                    continue
                series = records.samples.get(device.device, quantity)
                name = f"{device.device} {quantity}"
                gone, doubt = _judged(records, series, facts, complaints)
                (missing if is_complete else doubts).extend(
                    f"{name}: {problem}" for problem in gone
                )
                doubts += [f"{name}: {problem}" for problem in doubt]
    return missing, doubts


def _judged(
    records: RunRecords, series: Series | None, facts: QuantityFacts, complaints: list[int]
) -> tuple[list[str], list[str]]:
    """Missing parts of one stream: without an explanation, and with one."""
    if series is None or not len(series.t):
        failed = f"each of {series.errors} reads failed" if series and series.errors else ""
        return [failed or "no reading"], []
    gone, doubt = [], []
    after = series.error_times[series.error_times > series.t[0]]
    if len(after) and not complaints:
        gone.append(f"{len(after)} reads failed, and the sampler did not complain")
    elif len(after) > _SHARE * len(series.t):
        doubt.append(f"{len(after)} of {len(series.t) + series.errors} reads failed")
    for problem, begin, end in _edges(records, series, facts):
        explained = complaints and _covered(series, begin, end)
        (doubt if explained else gone).append(problem)
    return gone, doubt


def _edges(
    records: RunRecords, series: Series, facts: QuantityFacts
) -> Iterator[tuple[str, int, int]]:
    """Intervals without a reading at the begin and the end of the run: words, begin, end (ns)."""
    blocks = records.phases
    if not blocks:
        return
    slack = _slack_ns(series, facts)
    first, last = min(p.t0 for p in blocks), max(p.t1 for p in blocks)
    begin, end = int(series.t[0]), int(series.t[-1])
    if begin - first > slack:
        yield f"begins {(begin - first) * NS:.1f} s after the first phase", first, begin
    if last - end > slack:
        yield f"ends {(last - end) * NS:.1f} s before the last phase does", end, last


def _covered(series: Series, begin: int, end: int) -> bool:
    """Whether the interval's later half holds a failed read, which explains it."""
    failed = series.error_times[(series.error_times >= begin) & (series.error_times <= end)]
    return len(failed) > 0 and int(failed.max()) > (begin + end) // 2


def _slack_ns(series: Series, facts: QuantityFacts) -> float:
    """How far a stream may end from the run's edges (ns): five periods, at least a second."""
    periods_s = [seconds_or(stated, 0.0) for stated in (facts.period_s, facts.poll_s)]
    gaps = np.diff(series.t)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return max(_SLACK_S / NS, _PERIODS * max(usual, *(s / NS for s in periods_s)))


def _gaps(records: RunRecords, source: ArchiveSource, is_complete: bool) -> Check:
    problems = [
        *records.samples.gaps,
        *_rows(records, source),
        *_unread(records),
        *_at_once(records),
    ]
    if problems and not is_complete:
        return check("SAMPLES_GAP", "WARN", "; ".join(problems[:3]))
    if not problems and (holes := list(_holes(records))):
        return check("SAMPLES_GAP", "WARN", "; ".join(holes[:3]))
    return judged("SAMPLES_GAP", problems, "no row of samples is missing")


def _rows(records: RunRecords, source: ArchiveSource) -> Iterator[str]:
    """Compare the rows with the samplers' count of them."""
    stopped = [e.data for e in records.events if e.kind == "sampler.stopped"]
    started = sum(e.kind == "sampler.started" for e in records.events)
    counts = [report["rows"] for report in stopped if isinstance(report.get("rows"), int)]
    if len(counts) < started:
        yield f"{started - len(counts)} of {started} samplers did not say how many rows they wrote"
        return
    names = [n for n in source.names() if n.startswith("samples/")]
    rows = sum(piece.count(b"\n") for name in names for piece in source.pieces(name)) - len(names)
    if rows != sum(counts):
        yield f"{rows} rows, the samplers wrote {sum(counts)}"


def _unread(records: RunRecords) -> Iterator[str]:
    """Deadlines of an even pace without a row that the sampler did not report as missed.

    Each deadline has a row or counts as an overrun. So removed rows show even if the rest was
    numbered and counted again.
    """
    missed = _missed(records)
    for meter in records.plan.meters:
        for device in meter.devices:
            for quantity, facts in device.quantities.items():
                series = records.samples.get(device.device, quantity)
                name = f"{device.device} {quantity}"
                if series is not None and facts.slots is not None:
                    yield from (f"{name}: {problem}" for problem in _buffered(series))
                expected = _deadlines(series, quantity, facts)
                absent = expected - (len(series.t) + series.errors if series else 0)
                if absent > missed.get(meter.label, 0) + max(_FEW, _SHARE * expected):
                    yield f"{name}: {absent} of {expected} reads are missing"


def _buffered(series: Series) -> Iterator[str]:
    """Check that the driver's own samples lie evenly, and were read while they were new.

    A read that came too late leaves one wide hole; removed samples leave many.
    """
    if len(series.t) < _PERIODS:
        return
    gaps = np.diff(series.t)
    usual = float(np.median(gaps))
    holes = int(((gaps > _HOLE * usual) & (gaps < _PERIODS * usual)).sum())
    if usual > 0 and holes > max(_FEW, _HOLES * len(gaps)):
        yield f"{holes} holes between {len(gaps) + 1} samples of the driver's buffer"
    batches, index = np.unique(series.t0, return_inverse=True)
    newest = np.zeros(len(batches), np.int64)
    np.maximum.at(newest, index, series.t)
    age_s = float(np.median(batches - newest)) * NS
    if age_s > _STALE_S + _PERIODS * usual * NS:
        yield f"the newest samples were {age_s:.2f} s old when they were read"
    if (series.t > series.t1).any():
        yield "a sample is younger than its reading"


def _at_once(records: RunRecords) -> Iterator[str]:
    """Check that reads of a stream do not overlap: one thread reads until its sampler stops."""
    stopped = [e.t for e in records.events if e.kind == "sampler.stopped"]
    for (device, quantity), series in records.samples.series.items():
        order = np.argsort(series.t0, kind="stable")
        t0, t1 = series.t0[order], series.t1[order]
        apart = np.diff(t0) > 0  # rows of one read share its time
        if (t1[:-1][apart] > t0[1:][apart]).any():
            yield f"{device} {quantity}: two reads at once"
        if stopped and len(t1) and int(t1.max()) > max(stopped):
            yield f"{device} {quantity} was read after the samplers stopped"


def _missed(records: RunRecords) -> Counter[str]:
    """Overruns that the samplers reported, by meter."""
    missed: Counter[str] = Counter()
    for event in records.events:
        overruns = event.data.get("overruns") if event.kind == "sampler.stopped" else None
        for tier, number in overruns.items() if isinstance(overruns, dict) else ():
            if isinstance(number, int):
                missed[str(tier).rpartition(".")[0]] += number
    return missed


def _deadlines(series: Series | None, quantity: str, facts: QuantityFacts) -> int:
    """The number of deadlines between first and last row; 0 without an even pace."""
    pace = seconds_or(facts.period_s if quantity == "cpu_busy" else facts.poll_s, 0.0)
    if series is None or len(series.t) < 2 or facts.slots is not None or not pace:
        return 0
    return round(float(series.t0[-1] - series.t0[0]) * NS / pace) + 1


def _holes(records: RunRecords) -> Iterator[str]:
    """Intervals without a read, far longer than the stream's pace."""
    for (device, quantity), series in records.samples.series.items():
        gaps = np.diff(series.t)
        if len(gaps) < _PERIODS:
            continue
        widest = float(gaps.max()) * NS
        if widest > _longest_s(gaps, quantity, _facts(records, device, quantity)):
            yield f"{device} {quantity} was not read for {widest:.1f} s"


def _longest_s(gaps: Ints, quantity: str, facts: QuantityFacts) -> float:
    """The longest allowed interval without a read, s.

    A counter without a pace is read in bursts and by single reads up to ten seconds apart: the
    usual distance of its reads does not bound the longest one.
    """
    definition = QUANTITIES.get(quantity)  # a forger may name anything
    if definition and definition.kind == "counter" and facts.poll_s is None:
        return _UNEVEN_S
    return max(_SLACK_S, 2 * _PERIODS * float(np.median(gaps)) * NS)


def _facts(records: RunRecords, device: str, quantity: str) -> QuantityFacts:
    for meter in records.plan.meters:
        for planned in meter.devices:
            if planned.device == device and quantity in planned.quantities:
                return planned.quantities[quantity]
    return NO_FACTS
