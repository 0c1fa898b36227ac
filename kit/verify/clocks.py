"""L4: three clocks were read together every ten seconds. They must go together, and be as sealed.

CLOCK_MONOTONIC, its raw twin and the wall clock stand in each ``clock.anchor`` of the journal. A
time axis that was stretched, shifted or cut shows where the anchors were not edited with it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from kit.measure import ANCHOR_EVERY_S
from kit.model import Event, Manifest, Phase
from kit.records import RunRecords
from kit.verify.verdict import Check, check, judged

_S = 1_000_000_000
_CLOCKS = ("monotonic", "monotonic_raw", "realtime")
# A time service slews by 500 ppm; beyond 1% no clock keeps time (seen on honest runs: 27 µs).
_SLEW, _RUNAWAY = 500e-6, 0.01
_FEW_NS, _STEP_NS = 1_000_000, 1_000_000_000
# A time service that finds the clock wrong sets it, once: seen where enough other steps are even.
_SET_NS, _SEEN = 10_000_000_000, 4
# The anchor is read, then journalled: on a slow disk that takes a while.
_WRITTEN_NS = 2_000_000_000
_REGISTERED_NS = 5_000_000_000
_LATE = 1.8  # times the usual pace
# In these the engine's heart beats; making and stopping a container it waits for the engine.
WATCHED = frozenset({"idle", "loaded_idle", "warmup", "measured"})


class Anchor(NamedTuple):
    """One instant on three clocks, and when it was journalled; ns."""

    t: int
    monotonic: int
    monotonic_raw: int
    realtime: int


def checks(records: RunRecords, listed: Manifest) -> list[Check]:
    """The anchors against one another, the journal and the manifest."""
    try:
        found = [_anchor(e) for e in records.events if e.kind == "clock.anchor"]
    except (KeyError, TypeError, ValueError):
        return [check("CLOCK_DIFFERS", "FAIL", "an anchor of the clocks is malformed")]
    problems = [
        *_runaway(found),
        *_sealed(records, listed),
        *_dated(records, found),
        *(_seldom(records, found) if listed.status == "complete" else ()),
    ]
    doubts = list(_uneven(found))
    if doubts and not problems:
        return [check("CLOCK_DIFFERS", "WARN", "; ".join(doubts[:3]))]
    fine = f"{len(found)} anchors of three clocks go together"
    return [judged("CLOCK_DIFFERS", problems, fine)]


def _anchor(event: Event) -> Anchor:
    return Anchor(event.t, *(int(event.data[name]) for name in _CLOCKS))


def _runaway(found: Sequence[Anchor]) -> Iterator[str]:
    for anchor in found:
        if not 0 <= anchor.t - anchor.monotonic <= _WRITTEN_NS:
            at, said = anchor.t / _S, anchor.monotonic / _S
            yield f"an anchor of {said:.1f} s was journalled at {at:.1f} s"
            break
    for a, b in pairwise(found):
        step = b.monotonic - a.monotonic
        raw = b.monotonic_raw - a.monotonic_raw
        if step <= 0 or abs(raw - step) > _FEW_NS + _RUNAWAY * step:
            yield f"{step / _S:.3f} s on the run's clock are {raw / _S:.3f} s on the raw one"
    yield from _jumped(found)


def _jumped(found: Sequence[Anchor]) -> Iterator[str]:
    """A wall clock that leaves the others; set once, and by little, it was a time service."""
    steps = [(b.realtime - a.realtime, b.monotonic - a.monotonic) for a, b in pairwise(found)]
    jumps = [(w, s) for w, s in steps if abs(w - s) > _STEP_NS + _RUNAWAY * s]
    if len(jumps) == 1 and len(steps) >= _SEEN and abs(jumps[0][0] - jumps[0][1]) <= _SET_NS:
        return
    for wall, step in jumps:
        yield f"the wall clock moved by {wall / _S:.3f} s in {step / _S:.3f} s"


def _uneven(found: Sequence[Anchor]) -> Iterator[str]:
    """What a time service may do to clocks, and what makes durations doubtful all the same."""
    for a, b in pairwise(found):
        step = b.monotonic - a.monotonic
        raw, wall = b.monotonic_raw - a.monotonic_raw, b.realtime - a.realtime
        if abs(raw - step) > _FEW_NS + _SLEW * step:
            yield f"the run's clock was slewed by {(step - raw) / _S:.4f} s in {step / _S:.1f} s"
        elif abs(wall - step) > _FEW_NS + _SLEW * step:
            yield f"the wall clock was set by {(wall - step) / _S:.3f} s at {a.t / _S:.1f} s"


def _sealed(records: RunRecords, listed: Manifest) -> Iterator[str]:
    """The manifest tells the first anchor and when the run was registered."""
    data = [e.data for e in records.events if e.kind == "clock.anchor"]
    told = {key: str(value) for key, value in data[0].items()} if data else {}
    told["utc"] = str(records.events[0].data.get("utc", "")) if records.events else ""
    for key in sorted({*told, *listed.clock} - {"boot"}):
        if listed.clock.get(key) != told.get(key):
            yield f"the manifest's {key[:20]} of the clock is not the journal's"


def _dated(records: RunRecords, found: Sequence[Anchor]) -> Iterator[str]:
    """The date of the registration, by the wall clock of the first anchor."""
    if not found or not records.events:
        return
    try:
        utc = datetime.datetime.fromisoformat(str(records.events[0].data.get("utc")))
        said = round(utc.timestamp() * _S)
    except (ValueError, OverflowError):
        yield "the registration has no date"
        return
    meant = found[0].realtime - found[0].monotonic + records.events[0].t
    if abs(said - meant) > _REGISTERED_NS:
        yield f"registered {(said - meant) / _S:.0f} s off the wall clock of the first anchor"


def _seldom(records: RunRecords, found: Sequence[Anchor]) -> Iterator[str]:
    """Where the engine's heart beat, anchors lie ten seconds apart."""
    for a, b in gaps(records.phases, [a.t for a in found], _LATE * ANCHOR_EVERY_S):
        yield f"no anchor of the clocks between {a / _S:.0f} s and {b / _S:.0f} s"
        return


def gaps(
    phases: Sequence[Phase], times: Sequence[int], longest_s: float
) -> Iterator[tuple[int, int]]:
    """Stretches between two ``times`` in which more than ``longest_s`` of watched phases lie."""
    watched = [(p.t0, p.t1) for p in phases if p.name in WATCHED]
    if not watched:
        return
    edges = [min(t0 for t0, _ in watched), *times, max(t1 for _, t1 in watched)]
    for a, b in pairwise(sorted(edges)):
        if b - a > longest_s * _S:
            inside = sum(max(0, min(b, t1) - max(a, t0)) for t0, t1 in watched)
            if inside > longest_s * _S:
                yield a, b
