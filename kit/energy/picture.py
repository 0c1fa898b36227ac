"""Power over time as it is drawn: in bins, thinned, or of several runs over one axis. Pure.

No peak is ever lost to the width of a screen, and none is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kit.core.arrays import np
from kit.core.model import MeterPlan, Phase
from kit.core.units import NS
from kit.energy import names, power_series, scopes
from kit.energy.curve import Floats
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords
from kit.record.samples import Ints, Samples

# Twice the columns of a wide terminal: a plot never shows more.
BINS = 400


@dataclass(frozen=True)
class Trace:
    """One device's watts, in bins: the times (s) of their middles, least, mean and greatest."""

    device: str
    t: Floats
    low: Floats
    mean: Floats
    high: Floats


@dataclass(frozen=True)
class Band:
    """A block of a launch on the time axis (s)."""

    name: str
    launch: int
    t0: float
    t1: float


@dataclass(frozen=True)
class Picture:
    """Everything that a plot shows, and the steps behind it (ns, W) where they are kept."""

    traces: tuple[Trace, ...] = ()
    bands: tuple[Band, ...] = ()
    series: Mapping[str, tuple[Ints, Floats]] = field(default_factory=dict, compare=False)

    @property
    def span(self) -> tuple[float, float]:
        """The first and the last moment (s) that is drawn."""
        ends = [x for tr in self.traces for x in (float(tr.t[0]), float(tr.t[-1]))]
        ends += [x for band in self.bands for x in (band.t0, band.t1)]
        return (min(ends), max(ends)) if ends else (0.0, 1.0)

    @property
    def zero(self) -> float | None:
        """When the first measured block began (s); None without one."""
        return min((band.t0 for band in self.bands if band.name == "measured"), default=None)

    def within(self, begin: float, end: float, bins: int) -> Picture:
        """The part from ``begin`` to ``end`` (s), drawn from the steps where they are kept."""
        if self.series:
            parts = {device: _part(*of, begin, end) for device, of in self.series.items()}
            traces = [_trace(d, *of, bins) for d, of in sorted(parts.items()) if len(of[0]) > 1]
        else:
            inside = [(tr, (tr.t >= begin) & (tr.t <= end)) for tr in self.traces]
            traces = [
                Trace(tr.device, tr.t[at], tr.low[at], tr.mean[at], tr.high[at])
                for tr, at in inside
                if at.any()
            ]
        return Picture(tuple(traces), self.bands, self.series)

    def at(self, t: float) -> dict[str, float]:
        """Every device's watts at ``t`` (s): of the step that holds it, or else of the bin."""
        watts: dict[str, float] = {}
        for trace in self.traces:
            times, values = self.series.get(trace.device, (None, trace.mean))
            if times is None:
                place = int(np.abs(trace.t - t).argmin())
            else:
                place = min(int(np.searchsorted(times, t / NS)), len(times) - 1)
            watts[trace.device] = float(values[place])
        return watts


def _part(t: Ints, watts: Floats, begin: float, end: float) -> tuple[Ints, Floats]:
    """The steps from ``begin`` to ``end`` (s), and one more at either side."""
    first, last = np.searchsorted(t, [begin / NS, end / NS])
    part = slice(max(0, int(first) - 1), int(last) + 1)
    return t[part], watts[part]


def picture(
    samples: Samples,
    meters: Iterable[MeterPlan],
    phases: Iterable[Phase],
    bins: int = BINS,
    *,
    keep: bool = False,
) -> Picture:
    """Every device's power over the whole run, and the blocks behind it.

    Args:
        keep: keep the steps too, to look at parts of the run closely.
    """
    series = power_series(samples, meters)
    names = {name for name, _ in BLOCKS}
    return Picture(
        tuple(_trace(device, t, watts, bins) for device, (t, watts) in sorted(series.items())),
        tuple(Band(p.name, p.launch, p.t0 * NS, p.t1 * NS) for p in phases if p.name in names),
        series if keep else {},
    )


def _trace(device: str, t: Ints, watts: Floats, bins: int) -> Trace:
    """Bins of equal time; an empty one is left out, so that no peak is ever lost or made up."""
    seconds = t * NS
    edges = np.linspace(seconds[0], seconds[-1], bins + 1)
    of = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, bins - 1)
    starts = np.flatnonzero(np.r_[True, np.diff(of) > 0])
    counts = np.diff(np.r_[starts, len(of)])
    return Trace(
        device,
        np.add.reduceat(seconds, starts) / counts,
        np.minimum.reduceat(watts, starts),
        np.add.reduceat(watts, starts) / counts,
        np.maximum.reduceat(watts, starts),
    )


# --- several runs over one axis ---------------------------------------------------------------


class Curve(NamedTuple):
    """One run's power: seconds since its first measured block, and watts."""

    letter: str
    scope: str
    seconds: Floats
    watts: Floats


def curve_of(letter: str, records: RunRecords) -> Curve | None:
    """The power of the run's best scope, its devices added up; None without any power.

    Time 0 is the start of the first measured block, or of the run where none was reached.
    """
    zero = min((p.t0 for p in records.phases if p.name == "measured"), default=0)
    for scope in scopes.SCOPES:
        meters = [m for m in records.plan.meters if scopes.of_meter(m) == scope]
        drawn = power_series(records.samples, meters)
        devices = [d for m in meters for d in m.devices if scopes.is_summed(scope, d)]
        series = [drawn[d.device] for d in devices if d.device in drawn]
        if series:
            t, watts = _added(series)
            return Curve(
                letter,
                names.scope(scope, short=True),
                np.asarray((t - zero) * NS, np.float64),
                watts,
            )
    return None


def _added(series: Sequence[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    """Each value holds until its own time, so that the sum at t takes every device's next one."""
    if len(series) == 1:
        return series[0]
    begin, end = max(t[0] for t, _ in series), min(t[-1] for t, _ in series)
    t = np.unique(np.concatenate([times for times, _ in series]))
    t = t[(t >= begin) & (t <= end)]
    summed: Floats = np.sum([watts[np.searchsorted(times, t)] for times, watts in series], axis=0)
    return t, summed


# --- fewer points -------------------------------------------------------------------------------


def thinned(t: Any, values: Any, most: int) -> tuple[Any, Any]:
    """At most ``most`` points of a series, the least and the greatest of each stretch among them.

    Every n-th point alone would draw another set of peaks for every length of run. A hole (NaN) in
    a stretch stays one.
    """
    size = -(-2 * len(t) // most)
    if size <= 2:
        return t, values
    starts = np.arange(0, len(t), size)
    parts = [values[a : a + size] for a in starts]
    chosen = [a + at for a, part in zip(starts, parts, strict=True) for at in _extremes(part)]
    keep = np.unique(np.array(chosen))
    return t[keep], values[keep]


def _extremes(part: Any) -> list[int]:
    """Where the least and the greatest are, and the first hole, if there is one."""
    unknown = np.isnan(part)
    places = [np.where(unknown, np.inf, part).argmin(), np.where(unknown, -np.inf, part).argmax()]
    return [int(at) for at in [*places, *np.flatnonzero(unknown)[:1]]]
