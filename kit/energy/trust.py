"""Compares one GPU's counter and power readings: what to believe, and what is in doubt. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from kit.core.arrays import np
from kit.energy import views
from kit.energy.curve import Curve, Floats, Hole
from kit.energy.doubts import Doubt
from kit.energy.reason import Reason
from kit.energy.ticks import CounterTicks

Spans = Sequence[tuple[float, float]]


class Trust(NamedTuple):
    """Which views of one GPU are believed.

    Attributes:
        rejected: views that are not believed at all.
        counter: (ns, ns) in which the counter's growth is not believed.
        samples: the same of the samples.
        doubts: why.
    """

    rejected: frozenset[str] = frozenset()
    counter: Spans = ()
    samples: Spans = ()
    doubts: tuple[Doubt, ...] = ()


def trusted(
    device: str,
    cap_w: float,
    ticks: CounterTicks | None,
    grown: Floats,
    curves: Mapping[str, Curve],
    jumps: Spans,
) -> Trust:
    """Decide which views of one GPU to believe.

    Args:
        grown: energy since the first tick (J). Shape as ``ticks.t``.
        curves: the views by power: samples, average, instant.
        jumps: (ns, ns) in which the counter is known to be wrong.
    """
    stretches = _stretches(ticks, grown, curves)
    if stretches is None:
        return Trust()
    broken = _overlap(stretches, jumps)
    lost = views.rejected(_without(stretches, broken))
    names = frozenset(r.view for r in lost)
    doubts = tuple(_rejection(device, r, stretches) for r in lost)
    if ticks is None and {"samples", "average"} <= curves.keys() - names:
        return _of_power(device, cap_w, curves, names, doubts)
    counts = "counter" in stretches.joules
    if not counts or "samples" not in stretches.joules or names & {"counter", "samples"}:
        wrong = views.runs(stretches.begin, stretches.end, broken) if counts else ()
        return Trust(names, wrong, (), doubts)
    usable = {k: v for k, v in stretches.joules.items() if k not in names}
    contradictions = views.contradicted(stretches._replace(joules=usable), cap_w)
    counter = views.runs(stretches.begin, stretches.end, contradictions.counter | broken)
    samples = views.runs(stretches.begin, stretches.end, contradictions.samples & ~broken)
    shown = views.runs(stretches.begin, stretches.end, contradictions.counter & ~broken)
    local = [_local(device, s, stretches, "counter", "samples") for s in shown]
    local += [_local(device, s, stretches, "samples", "counter") for s in samples]
    return Trust(names, counter, samples, (*doubts, *local))


def _of_power(
    device: str,
    cap_w: float,
    curves: Mapping[str, Curve],
    names: frozenset[str],
    doubts: tuple[Doubt, ...],
) -> Trust:
    """A card without a counter: samples against average power, five seconds at a time."""
    pair = (curves["samples"], curves["average"])
    first, last = max(c.t[0] for c in pair), min(c.t[-1] for c in pair)
    begin, end = views.of_time(float(first), float(last), views.SLOW_STRETCH_S)
    joules = {n: views.energies(c, begin, end) for n, c in curves.items() if n not in names}
    stretches = views.Stretches(begin, end, joules)
    contradictions = views.apart(stretches, cap_w)
    wrong = views.runs(begin, end, contradictions.samples)
    local = [_local(device, s, stretches, "samples", "average") for s in wrong]
    for span in views.runs(begin, end, contradictions.undecided):
        doubt = _local(device, span, stretches, "samples", "average")
        local.append(doubt._replace(instead=Reason("undecided"), dropped=False))
    return Trust(names, (), wrong, (*doubts, *local))


def _stretches(
    ticks: CounterTicks | None, grown: Floats, curves: Mapping[str, Curve]
) -> views.Stretches | None:
    """What there is to compare, over stretches between ticks, or of a second."""
    if ticks is not None and len(ticks.t) > 1:
        begin, end = views.of_ticks(ticks.t)
    elif len(curves) > 1:
        first, last = max(c.t[0] for c in curves.values()), min(c.t[-1] for c in curves.values())
        begin, end = views.of_time(float(first), float(last))
    else:
        return None
    if not len(begin):
        return None
    joules = {name: views.energies(curve, begin, end) for name, curve in curves.items()}
    if ticks is not None and len(ticks.t) > 1:
        joules["counter"] = np.diff(np.interp(np.append(begin, end[-1:]), ticks.t, grown))
        for reset in ticks.resets:
            joules["counter"][(begin < reset[1]) & (end > reset[0])] = np.nan
    return views.Stretches(begin, end, joules)


def _overlap(stretches: views.Stretches, spans: Spans) -> views.Bools:
    overlaps = np.zeros(len(stretches.begin), bool)
    for a, b in spans:
        overlaps |= (stretches.begin < b) & (stretches.end > a)
    return overlaps


def _without(stretches: views.Stretches, broken: views.Bools) -> views.Stretches:
    keep = ~broken
    joules = {name: values[keep] for name, values in stretches.joules.items()}
    return views.Stretches(stretches.begin[keep], stretches.end[keep], joules)


def _rejection(device: str, lost: views.Rejected, stretches: views.Stretches) -> Doubt:
    reason = Reason(
        "view_rejected",
        ratio=float(lost.ratio),
        believed=lost.believed,
        confirmed=tuple(lost.confirmed),
    )
    span = (int(stretches.begin[0]), int(stretches.end[-1]))
    instead = Reason("view_used", view=lost.believed)
    return Doubt(device, views.QUANTITY[lost.view], reason, instead, 0, 0, (span,))


def _local(
    device: str, span: tuple[float, float], stretches: views.Stretches, lost: str, believed: str
) -> Doubt:
    inside = (stretches.begin >= span[0]) & (stretches.end <= span[1])
    joules = {n: float(np.nansum(stretches.joules[n][inside])) for n in (lost, believed)}
    reason = Reason(
        "view_differs",
        seconds=float(span[1] - span[0]) * 1e-9,
        joules=joules[lost],
        believed_j=joules[believed],
        believed=believed,
    )
    spans = ((int(span[0]), int(span[1])),)
    instead = Reason("view_used", view=believed)
    return Doubt(device, views.QUANTITY[lost], reason, instead, 0, 0, spans)


def holes(spans: Spans, view: str) -> tuple[Hole, ...]:
    """Stretches of a view that are not believed, as holes of a curve."""
    return tuple(Hole(a, b, Reason("view_contradicted", view=view), True) for a, b in spans)


def explained(curve: Curve, dropped: Sequence[Doubt]) -> Curve:
    """The curve, with impossible readings as the reason of the holes in which they lay."""

    def with_reason(hole: Hole) -> Hole:
        why = next((d.reason for d in dropped if d.touches(hole.t0, hole.t1)), None)
        if why is None:
            return hole
        return hole._replace(
            reason=Reason("unbelieved", hole=hole.reason, reason=why), doubted=True
        )

    return replace(curve, holes=tuple(with_reason(h) for h in curve.holes)) if dropped else curve
