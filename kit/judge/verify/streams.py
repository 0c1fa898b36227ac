"""L4, samples: every stream that the plan names is there, whole, from begin to end of the run.

What failed is a row with a code, and the sampler complains once when it begins to fail. That
explains the stretch in which the rows fail; it never explains rows that are not there, nor a
stream of which nothing was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from kit.core.limits import seconds_of
from kit.core.model import Manifest
from kit.core.units import NS, QUANTITIES
from kit.judge.verify.reads import lost_times
from kit.judge.verify.verdict import Check, check, judged
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords
from kit.record.samples import Ints, Series

_SLACK_S = 1.0
_PERIODS = 5
_UNEVEN_S = 15.0  # the sampler lets ten seconds pass between two reads of a counter
# Reads that may be missing unexplained: edges, and a clock's rounding.
_FEW, _SHARE = 5, 0.02
# Times of the buffer's samples: how old the newest of a read may be, and how many may be missing.
_STALE_S, _HOLE, _HOLES = 0.1, 1.75, 0.01


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """Presence and cover of every stream, then rows lost between them."""
    whole = manifest.status == "complete"
    missing, faint = _presence(records, whole)
    present = judged("STREAM_MISSING", missing, "every device was read from begin to end")
    if not missing and faint:
        present = check("STREAM_MISSING", "WARN", "; ".join(faint[:3]))
    return [present, _gaps(records, source, whole)]


def _presence(records: RunRecords, whole: bool) -> tuple[list[str], list[str]]:
    """Streams that are missing, and those that are not whole and say why."""
    missing: list[str] = []
    faint: list[str] = []
    lost = lost_times(records)
    for meter in records.plan.meters:
        complaints = lost.get(meter.label, [])
        for device in meter.devices:
            for quantity, facts in device.quantities.items():
                if "reason" in facts:
                    continue
                series = records.samples.get(device.device, quantity)
                name = f"{device.device} {quantity}"
                gone, doubt = _judged(records, series, facts, complaints)
                (missing if whole else faint).extend(f"{name}: {problem}" for problem in gone)
                faint += [f"{name}: {problem}" for problem in doubt]
    return missing, faint


def _judged(
    records: RunRecords, series: Series | None, facts: dict[str, object], complaints: list[int]
) -> tuple[list[str], list[str]]:
    """What is missing of one stream without an explanation, and what with one."""
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
    records: RunRecords, series: Series, facts: dict[str, object]
) -> Iterator[tuple[str, int, int]]:
    """Stretches at begin and end of the run without a reading: words, from when to when."""
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
    """Whether reads went on failing there: at least a few, up to the stretch's far half."""
    failed = series.error_times[(series.error_times >= begin) & (series.error_times <= end)]
    return len(failed) > 0 and int(failed.max()) > (begin + end) // 2


def _slack_ns(series: Series, facts: dict[str, object]) -> float:
    """How far a stream may end from the run's edges: its own pace, five times, or a second."""
    told = [seconds_of(facts, key, 0.0) for key in ("period_s", "poll_s")]
    gaps = np.diff(series.t)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return max(_SLACK_S / NS, _PERIODS * max(usual, *(s / NS for s in told)))


def _gaps(records: RunRecords, source: ArchiveSource, whole: bool) -> Check:
    found = [*records.samples.gaps, *_rows(records, source), *_unread(records), *_at_once(records)]
    if found and not whole:
        return check("SAMPLES_GAP", "WARN", "; ".join(found[:3]))
    if not found and (holes := list(_holes(records))):
        return check("SAMPLES_GAP", "WARN", "; ".join(holes[:3]))
    return judged("SAMPLES_GAP", found, "no row of samples is missing")


def _rows(records: RunRecords, source: ArchiveSource) -> Iterator[str]:
    """The samplers said how many rows they wrote."""
    stopped = [e.data for e in records.events if e.kind == "sampler.stopped"]
    started = sum(e.kind == "sampler.started" for e in records.events)
    told = [said["rows"] for said in stopped if isinstance(said.get("rows"), int)]
    if len(told) < started:
        yield f"{started - len(told)} of {started} samplers did not say how many rows they wrote"
        return
    names = [n for n in source.names() if n.startswith("samples/")]
    rows = sum(piece.count(b"\n") for name in names for piece in source.pieces(name)) - len(names)
    if rows != sum(told):
        yield f"{rows} rows, the samplers wrote {sum(told)}"


def _unread(records: RunRecords) -> Iterator[str]:
    """Deadlines of even reading that have no row, and that the sampler did not say it missed.

    Each deadline is either read or counted as an overrun, so that rows picked out show even where
    they were numbered and counted again.
    """
    missed = _missed(records)
    for meter in records.plan.meters:
        for device in meter.devices:
            for quantity, facts in device.quantities.items():
                series = records.samples.get(device.device, quantity)
                name = f"{device.device} {quantity}"
                if series is not None and "slots" in facts:
                    yield from (f"{name}: {problem}" for problem in _buffered(series))
                expected = _deadlines(series, quantity, facts)
                absent = expected - (len(series.t) + series.errors if series else 0)
                if absent > missed.get(meter.label, 0) + max(_FEW, _SHARE * expected):
                    yield f"{name}: {absent} of {expected} reads are missing"


def _buffered(series: Series) -> Iterator[str]:
    """Samples that the driver takes by itself lie evenly, and are handed out while they are new.

    A whole read that came too late leaves one wide hole; samples that were picked out leave many.
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
    """A stream is read by one thread, one read after another, until its sampler stops."""
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
    """Overruns that the samplers told of, by meter."""
    found: Counter[str] = Counter()
    for event in records.events:
        told = event.data.get("overruns") if event.kind == "sampler.stopped" else None
        for tier, number in told.items() if isinstance(told, dict) else ():
            if isinstance(number, int):
                found[str(tier).rpartition(".")[0]] += number
    return found


def _deadlines(series: Series | None, quantity: str, facts: dict[str, object]) -> int:
    """How often a quantity was due between its first row and its last; 0 without an even pace."""
    pace = seconds_of(facts, "period_s" if quantity == "cpu_busy" else "poll_s", 0.0)
    if series is None or len(series.t) < 2 or "slots" in facts or not pace:
        return 0
    return round(float(series.t0[-1] - series.t0[0]) * NS / pace) + 1


def _holes(records: RunRecords) -> Iterator[str]:
    """Stretches without a read, far longer than the stream's own pace."""
    for (device, quantity), series in records.samples.series.items():
        gaps = np.diff(series.t)
        if len(gaps) < _PERIODS:
            continue
        widest = float(gaps.max()) * NS
        if widest > _longest_s(gaps, quantity, _facts(records, device, quantity)):
            yield f"{device} {quantity} was not read for {widest:.1f} s"


def _longest_s(gaps: Ints, quantity: str, facts: dict[str, object]) -> float:
    """How long a stream may go unread, s.

    A counter without a pace is read in bursts and by single reads up to ten seconds apart: how
    its reads are usually spaced says nothing of how far apart they may be.
    """
    known = QUANTITIES.get(quantity)  # a forger may name anything
    if known and known.kind == "counter" and "poll_s" not in facts:
        return _UNEVEN_S
    return max(_SLACK_S, 2 * _PERIODS * float(np.median(gaps)) * NS)


def _facts(records: RunRecords, device: str, quantity: str) -> dict[str, object]:
    for meter in records.plan.meters:
        for found in meter.devices:
            if found.device == device and quantity in found.quantities:
                return found.quantities[quantity]
    return {}
