"""L4: three clocks were read together every ten seconds. They must agree with one another.

Each ``clock.anchor`` of the journal holds CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW and the wall clock.
If a time axis was stretched, shifted or cut, it contradicts anchors that were not edited with it.

A machine may stand still for any time: a paused virtual machine, a stopped process, a disk that
does not answer. Then the runner writes nothing, and later continues where it stopped. So lateness
alone is a doubt, stated in seconds. What no standstill explains is a contradiction: an anchor that
was read before the preceding event, a heartbeat without anchors, clocks that run at different
rates. A wall clock may be set by any amount, or leap after the machine slept; that is rare, and
elsewhere it runs with the other clocks.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from kit.core.model import Event, Manifest, Phase
from kit.judge.verify.verdict import Check, check, judged
from kit.record.records import RunRecords
from kit.run.watch import ANCHOR_EVERY_S

_S = 1_000_000_000
_CLOCKS = ("monotonic", "monotonic_raw", "realtime")
# A time service slews by 500 ppm; chrony by up to a twelfth while it corrects seconds, and then
# the wall clock runs with the run's own. Beyond 1% no clock keeps time without (seen: 27 µs).
_SLEW, _RUNAWAY, _FASTEST = 500e-6, 0.01, 1 / 12
_FEW_NS, _STEP_NS = 1_000_000, 1_000_000_000
# The anchor is read, then journalled; a longer delay is reported.
_LATE_NS = 2_000_000_000
_REGISTERED_NS = 5_000_000_000
_LATE_PACES = 1.8  # times the usual pace
# Phases with a heartbeat; while it makes or stops a container the runner waits for Docker.
WATCHED = frozenset({"idle", "loaded_idle", "warmup", "measured"})


class Anchor(NamedTuple):
    """One instant on three clocks, and when it was journalled; ns."""

    t: int
    monotonic: int
    monotonic_raw: int
    realtime: int


class Step(NamedTuple):
    """From one anchor, journalled at ``at``, to the next, on each clock; ns."""

    at: int
    own: int
    raw: int
    wall: int

    @property
    def leap(self) -> int:
        """By how much the wall clock departed from the run's own, ns."""
        return self.wall - self.own

    @property
    def leaps(self) -> bool:
        """Whether the wall clock departed by more than any clock drifts."""
        return abs(self.leap) > _STEP_NS + _RUNAWAY * self.own

    @property
    def races(self) -> bool:
        """Whether the run's own clock stands still, runs backwards, or diverges from the raw one
        by more than any time service causes."""
        together = abs(self.leap) <= _FEW_NS + _RUNAWAY * abs(self.own)
        most = (_FASTEST if together else _RUNAWAY) * self.raw
        return self.own <= 0 or abs(self.raw - self.own) > _FEW_NS + most


def checks(records: RunRecords, manifest: Manifest) -> list[Check]:
    """Compare the anchors with one another, with the journal and with the manifest."""
    try:
        anchors = [_anchor(e) for e in records.events if e.kind == "clock.anchor"]
    except (KeyError, TypeError, ValueError):
        return [check("CLOCK_DIFFERS", "FAIL", "an anchor of the clocks is malformed")]
    is_complete = manifest.status == "complete"
    steps = [_step(a, b) for a, b in pairwise(anchors)]
    jumps = [
        f"the wall clock moved by {s.wall / _S:.3f} s in the {s.own / _S:.3f} s after "
        f"{s.at / _S:.1f} s"
        for s in steps
        if s.leaps
    ]
    often = 2 * len(jumps) >= len(steps)
    problems = [
        *_misplaced(records.events),
        *_racing(steps),
        *(jumps if often else ()),
        *_manifest_clock(records, manifest),
        *_registration_date(records, anchors),
        *(_missing_anchors(records.events) if is_complete else ()),
    ]
    doubts = [
        *jumps,
        *_late_anchors(anchors),
        *_uneven(steps),
        *(_runner_pauses(records, anchors) if is_complete else ()),
    ]
    fine = f"{len(anchors)} anchors of three clocks go together"
    return [judged("CLOCK_DIFFERS", problems, fine, doubts)]


def _anchor(event: Event) -> Anchor:
    return Anchor(event.t, *(int(event.data[name]) for name in _CLOCKS))


def _step(a: Anchor, b: Anchor) -> Step:
    return Step(
        a.t,
        b.monotonic - a.monotonic,
        b.monotonic_raw - a.monotonic_raw,
        b.realtime - a.realtime,
    )


def _misplaced(events: Sequence[Event]) -> Iterator[str]:
    """Anchors out of order: the runner reads each one after the preceding event, then writes it."""
    before = 0
    for event in events:
        if event.kind == "clock.anchor":
            read = int(event.data["monotonic"])
            if not before <= read <= event.t:
                read_s, at_s = read / _S, event.t / _S
                yield f"an anchor of {read_s:.1f} s stands in the journal at {at_s:.1f} s"
                return
        before = event.t


def _racing(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        if step.races:
            own, raw = step.own / _S, step.raw / _S
            yield f"{own:.3f} s on the run's clock are {raw:.3f} s on the raw one"


def _late_anchors(anchors: Sequence[Anchor]) -> Iterator[str]:
    for anchor in anchors:
        if (late_ns := anchor.t - anchor.monotonic) > _LATE_NS:
            at = anchor.monotonic / _S
            yield f"an anchor read at {at:.1f} s was journalled {late_ns / _S:.1f} s later"


def _uneven(steps: Sequence[Step]) -> Iterator[str]:
    """Changes of clocks that a time service may make, but that put durations in doubt."""
    for at, own, raw, wall in steps:
        if abs(raw - own) > _FEW_NS + _SLEW * own:
            yield f"the run's clock was slewed by {(own - raw) / _S:.4f} s in {own / _S:.1f} s"
        elif abs(wall - own) > _FEW_NS + _SLEW * own:
            yield f"the wall clock was set by {(wall - own) / _S:.3f} s at {at / _S:.1f} s"


def _manifest_clock(records: RunRecords, manifest: Manifest) -> Iterator[str]:
    """The manifest repeats the first anchor and the time of registration."""
    data = [e.data for e in records.events if e.kind == "clock.anchor"]
    journalled = {key: str(value) for key, value in data[0].items()} if data else {}
    journalled["utc"] = str(records.events[0].data.get("utc", "")) if records.events else ""
    for key in sorted({*journalled, *manifest.clock} - {"boot"}):
        if manifest.clock.get(key) != journalled.get(key):
            yield f"the manifest's {key[:20]} of the clock is not the journal's"


def _registration_date(records: RunRecords, anchors: Sequence[Anchor]) -> Iterator[str]:
    """The date of registration against the wall clock of the first anchor."""
    if not anchors or not records.events:
        return
    try:
        utc = datetime.datetime.fromisoformat(str(records.events[0].data.get("utc")))
        registered = round(utc.timestamp() * _S)
    except (ValueError, OverflowError):
        utc, registered = None, 0
    if utc is None or utc.utcoffset() is None:  # without one the time differs everywhere
        yield "the registration has no date"
        return
    expected = anchors[0].realtime - anchors[0].monotonic + records.events[0].t
    if abs(registered - expected) > _REGISTERED_NS:
        off_s = (registered - expected) / _S
        yield f"registered {off_s:.0f} s off the wall clock of the first anchor"


def _missing_anchors(events: Sequence[Event]) -> Iterator[str]:
    """Heartbeats without anchors, though each first writes an anchor that is due; or no anchor.

    A slow write of the preceding event is no such evidence, nor is a standstill.
    """
    last = before = next((e.t for e in events if e.kind == "launch.begin"), 0)
    if not any(e.kind == "clock.anchor" for e in events):
        yield "there is no anchor of the clocks"
        return
    for event in events:
        beats = event.kind == "live" or (
            event.kind == "phase.end" and event.data.get("phase") == "idle"
        )
        if beats and before - last > _LATE_PACES * ANCHOR_EVERY_S * _S:
            yield f"no anchor of the clocks between {last / _S:.0f} s and {event.t / _S:.0f} s"
            return
        last = event.t if event.kind == "clock.anchor" else last
        before = event.t


def _runner_pauses(records: RunRecords, anchors: Sequence[Anchor]) -> Iterator[str]:
    """Intervals in which the runner stood still."""
    for a, b in gaps(records.phases, [a.t for a in anchors], _LATE_PACES * ANCHOR_EVERY_S):
        yield f"for {(b - a) / _S:.0f} s from {a / _S:.0f} s on, the runner read no clocks"


def gaps(
    phases: Sequence[Phase], times: Sequence[int], longest_s: float
) -> Iterator[tuple[int, int]]:
    """Intervals between two ``times`` that hold more than ``longest_s`` of watched phases."""
    watched = [(p.t0, p.t1) for p in phases if p.name in WATCHED]
    if not watched:
        return
    begins, ends = _Ramp(t0 for t0, _ in watched), _Ramp(t1 for _, t1 in watched)
    edges = [min(t0 for t0, _ in watched), *times, max(t1 for _, t1 in watched)]
    for a, b in pairwise(sorted(edges)):
        inside = begins.until(b) - ends.until(b) - begins.until(a) + ends.until(a)
        if inside > longest_s * _S:
            yield a, b


class _Ramp:
    """The summed age of many times, as a function of the present one."""

    def __init__(self, times: Iterable[int]) -> None:
        self._times = sorted(times)
        self._sums = [0, *accumulate(self._times)]

    def until(self, t: int) -> int:
        """The sum of ``t - x`` over each time ``x`` before ``t``, ns."""
        count = bisect_left(self._times, t)
        return count * t - self._sums[count]
