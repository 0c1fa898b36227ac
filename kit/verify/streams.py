"""L4, samples: every stream that the plan names is there, whole, from begin to end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from kit.archive import Source
from kit.model import Manifest
from kit.records import RunRecords
from kit.samples import Ints, Series
from kit.units import QUANTITIES
from kit.verify.verdict import Check, check, judged

_NS = 1e-9
_SLACK_S = 1.0
_PERIODS = 5
_UNEVEN_S = 15.0  # the sampler lets ten seconds pass between two reads of a counter
# Reads that may be missing unexplained: edges, and a clock's rounding.
_FEW, _SHARE = 5, 0.02


def checks(records: RunRecords, source: Source, listed: Manifest) -> list[Check]:
    """Presence and cover of every stream, then rows lost between them."""
    whole = listed.status == "complete"
    missing, faint = _presence(records, whole)
    present = judged("STREAM_MISSING", missing, "every device was read from begin to end")
    if not missing and faint:
        present = check("STREAM_MISSING", "WARN", "; ".join(faint[:3]))
    return [present, _gaps(records, source, whole)]


def _presence(records: RunRecords, whole: bool) -> tuple[list[str], list[str]]:
    """Streams that are missing, and those that are not whole and say why."""
    missing: list[str] = []
    faint: list[str] = []
    lost = {str(e.data.get("meter")) for e in records.events if e.kind == "sampler.lost"}
    for meter in records.plan.meters:
        label = f"{meter.name}-{meter.alias}" if meter.alias else meter.name
        for device in meter.devices:
            for quantity, facts in device.quantities.items():
                series = records.samples.get(device.device, quantity)
                problem = None if "reason" in facts else _problem(records, series, facts, whole)
                if problem:
                    explained = label in lost or (series is not None and series.errors)
                    name = f"{device.device} {quantity}: {problem}"
                    (faint if explained or not whole else missing).append(name)
    return missing, faint


def _problem(
    records: RunRecords, series: Series | None, facts: dict[str, object], whole: bool
) -> str | None:
    if series is None or not len(series.t):
        return "no reading"
    blocks = records.phases
    if not whole or not blocks:
        return None
    slack = _slack_ns(series, facts)
    late = int(series.t[0]) - min(p.t0 for p in blocks)
    early = max(p.t1 for p in blocks) - int(series.t[-1])
    if late > slack:
        return f"begins {late * _NS:.1f} s after the first phase"
    if early > slack:
        return f"ends {early * _NS:.1f} s before the last phase does"
    return None


def _slack_ns(series: Series, facts: dict[str, object]) -> float:
    """How far a stream may end from the run's edges: its own pace, five times, or a second."""
    told = [float(v) for k in ("period_s", "poll_s") if isinstance(v := facts.get(k), int | float)]
    gaps = np.diff(series.t)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return max(_SLACK_S / _NS, _PERIODS * max(usual, *(s / _NS for s in told), 0.0))


def _gaps(records: RunRecords, source: Source, whole: bool) -> Check:
    found = [*records.samples.gaps, *_rows(records, source), *_unread(records)]
    if found and not whole:
        return check("SAMPLES_GAP", "WARN", "; ".join(found[:3]))
    if not found and (holes := list(_holes(records))):
        return check("SAMPLES_GAP", "WARN", "; ".join(holes[:3]))
    return judged("SAMPLES_GAP", found, "no row of samples is missing")


def _rows(records: RunRecords, source: Source) -> Iterator[str]:
    """The samplers said how many rows they wrote."""
    stopped = [e.data for e in records.events if e.kind == "sampler.stopped"]
    started = sum(e.kind == "sampler.started" for e in records.events)
    told = [said["rows"] for said in stopped if isinstance(said.get("rows"), int)]
    if len(told) < started:
        yield f"{started - len(told)} of {started} samplers did not say how many rows they wrote"
        return
    names = [n for n in source.names() if n.startswith("samples/")]
    rows = sum(source.read(name).count(b"\n") - 1 for name in names)
    if rows != sum(told):
        yield f"{rows} rows, the samplers wrote {sum(told)}"


def _unread(records: RunRecords) -> Iterator[str]:
    """Deadlines of even reading that have no row, and that the sampler did not say it missed.

    Each deadline is either read or counted as an overrun, so that rows picked out show even where
    they were numbered and counted again.
    """
    missed = _missed(records)
    lost = {str(e.data.get("meter")) for e in records.events if e.kind == "sampler.lost"}
    for meter in records.plan.meters:
        label = f"{meter.name}-{meter.alias}" if meter.alias else meter.name
        for device in meter.devices if label not in lost else ():
            for quantity, facts in device.quantities.items():
                series = records.samples.get(device.device, quantity)
                expected = _deadlines(series, quantity, facts)
                absent = expected - (len(series.t) + series.errors if series else 0)
                if absent > missed.get(label, 0) + max(_FEW, _SHARE * expected):
                    yield f"{device.device} {quantity}: {absent} of {expected} reads are missing"


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
    pace = facts.get("period_s") if quantity == "cpu_busy" else facts.get("poll_s")
    if series is None or len(series.t) < 2 or "slots" in facts:
        return 0
    if not isinstance(pace, int | float) or not pace > 0:
        return 0
    return round(float(series.t0[-1] - series.t0[0]) * _NS / pace) + 1


def _holes(records: RunRecords) -> Iterator[str]:
    """Stretches without a read, far longer than the stream's own pace."""
    for (device, quantity), series in records.samples.series.items():
        gaps = np.diff(series.t)
        if len(gaps) < _PERIODS:
            continue
        widest = float(gaps.max()) * _NS
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
    return max(_SLACK_S, 2 * _PERIODS * float(np.median(gaps)) * _NS)


def _facts(records: RunRecords, device: str, quantity: str) -> dict[str, object]:
    for meter in records.plan.meters:
        for found in meter.devices:
            if found.device == device and quantity in found.quantities:
                return found.quantities[quantity]
    return {}
