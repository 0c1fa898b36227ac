"""Which of several views of one GPU is believed where they contradict one another. Pure.

A card tells its energy in up to four ways: the counter, the 20 ms samples, "average" and
"instant" power. They are views of one sensor, and agree within some percent (an H200's within
0.03% over a minute); instant power may alias, up to a half. Where two differ by more than that:

1. The one that a third view confirms is believed.
2. Within a stretch the counter loses only as counters fail: by a jump, or standing still.
3. Where no third view decides, the earlier of the order above: the counter is summed by the card
   itself all the time and cannot lose a sample; samples lie without a gap; an average misses
   nothing, but comes late; instant power sees a quarter of the time.

This is asked of the whole run (a unit, a scope, a stuck sensor) and of each stretch of about a
second between two ticks of the counter (a burst, a jump). Where the counter loses a stretch, the
energy by samples is put in its place; where the samples do, nothing is known inside but its sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from kit.core.arrays import np, npt
from kit.core.units import NS
from kit.energy.curve import Curve, Floats, even

Bools: TypeAlias = "npt.NDArray[np.bool_]"
ORDER = ("counter", "samples", "average", "instant")
QUANTITY = {
    "counter": "gpu_energy",
    "samples": "gpu_power_sample",
    "average": "gpu_power_average",
    "instant": "gpu_power_instant",
}
# Views of one sensor are not further apart; instant power aliases.
ALIKE, _ALIASED = 1.25, 1.67
_STRETCH_NS, _LEAST_S = 9e8, 5.0
# Between two ticks a second apart both views may be off by the power of some hundredths of it.
_EDGE_S, _SHARE = 0.05, 0.25
# A mean that trails by a second is off by an eighth of it at either end, where the power changed.
_SLOW_S, _SLOW_SHARE, SLOW_STRETCH_S = 0.25, 0.15, 5.0
_LOCAL, _STANDS, _CAP = 1.5, 0.1, 1.1


class Stretches(NamedTuple):
    """Pieces of time that views are compared over, and what each view says (J) of each.

    Attributes:
        begin: ns. Shape ``(n,)``.
        end: ns.
        joules: by view; NaN where it knows nothing. Each of shape ``(n,)``.
    """

    begin: Floats
    end: Floats
    joules: Mapping[str, Floats]

    @property
    def seconds(self) -> Floats:
        seconds: Floats = (self.end - self.begin) * NS
        return seconds


def of_ticks(t: Floats) -> tuple[Floats, Floats]:
    """Stretches of a second or so from tick to tick."""
    marks, last = [], -math.inf
    for tick in t.tolist():
        if tick - last >= _STRETCH_NS:
            marks.append(tick)
            last = tick
    if len(marks) > 1:
        marks[-1] = float(t[-1])
    edges = np.array(marks)
    return edges[:-1], edges[1:]


def of_time(first: float, last: float, length_s: float = 1.0) -> tuple[Floats, Floats]:
    """Stretches of even length, where nothing ticks."""
    marks = even(first, last, length_s / NS)
    if len(marks) > 1:
        marks[-1] = last
    return marks[:-1], marks[1:]


def energies(curve: Curve, begin: Floats, end: Floats) -> Floats:
    """A curve's energy (J) over stretches; NaN where it does not cover one."""
    joules: Floats = np.interp(end, curve.t, curve.joules) - np.interp(begin, curve.t, curve.joules)
    unknown = (begin < curve.t[0]) | (end > curve.t[-1])
    for hole in curve.holes:
        unknown |= (begin < hole.t1) & (end > hole.t0)
    joules[unknown] = np.nan
    return joules


class Rejected(NamedTuple):
    """A view that is not believed over the whole run: by how much it differs, and from what."""

    view: str
    ratio: float
    believed: str
    confirmed: tuple[str, ...]


def rejected(stretches: Stretches) -> tuple[Rejected, ...]:
    """The views that contradict the one that is believed, over all that they have in common."""
    names = [n for n in ORDER if n in stretches.joules]
    is_known = np.ones(len(stretches.begin), bool)
    for name in names:
        is_known &= np.isfinite(stretches.joules[name])
    if len(names) < 2 or float(stretches.seconds[is_known].sum()) < _LEAST_S:
        return ()
    total = {name: float(stretches.joules[name][is_known].sum()) for name in names}
    friends = {a: [b for b in names if b != a and _alike(a, b, total)] for a in names}
    believed = max(names, key=lambda n: (len(friends[n]), -names.index(n)))
    return tuple(
        Rejected(n, total[n] / total[believed], believed, tuple(friends[believed]))
        for n in names
        if n != believed and n not in friends[believed]
    )


def _alike(a: str, b: str, total: Mapping[str, float]) -> bool:
    limit = _ALIASED if "instant" in (a, b) else ALIKE
    x, y = total[a], total[b]
    return x > 0 and y > 0 and 1 / limit < x / y < limit


class Contradicted(NamedTuple):
    """Stretches in which counter and samples cannot both be right.

    Attributes:
        counter: those in which the counter is not believed. Shape ``(n,)``.
        samples: those in which the samples are not.
    """

    counter: Bools
    samples: Bools


def contradicted(stretches: Stretches, cap_w: float) -> Contradicted:
    """In which stretches counter and samples differ by more than both may, and which loses."""
    counter, samples = stretches.joules["counter"], stretches.joules["samples"]
    room = _SHARE * np.fmax(counter, samples) + _EDGE_S * cap_w
    apart = np.abs(counter - samples) > room
    third = _third(stretches)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = [np.abs(np.log(np.maximum(x, 1e-9) / third)) for x in (counter, samples)]
    decided = np.isfinite(third) & (np.minimum(*far) < math.log(_LOCAL))
    # A counter fails by jumping or by standing still. One that goes on, slower than power says, is
    # not what failed; nor is power right that lies above the cap all the time.
    failed = (counter > samples) | (counter < _STANDS * samples)
    possible = samples <= _CAP * cap_w * stretches.seconds
    wrong_counter = apart & decided & (far[0] > far[1]) & failed & possible
    return Contradicted(wrong_counter, apart & ~wrong_counter)


class Apart(NamedTuple):
    """Stretches in which samples and average power, without a counter, cannot both be right.

    Attributes:
        samples: those in which instant power says that the samples are wrong. Shape ``(n,)``.
        undecided: the others.
    """

    samples: Bools
    undecided: Bools


def apart(stretches: Stretches, cap_w: float) -> Apart:
    """`contradicted` for a card without a counter: samples against average power."""
    samples, average = stretches.joules["samples"], stretches.joules["average"]
    room = _SLOW_SHARE * np.fmax(samples, average) + _SLOW_S * cap_w
    differ = np.abs(samples - average) > room
    instant = stretches.joules.get("instant", np.full(len(samples), np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = [np.abs(np.log(np.maximum(x, 1e-9) / instant)) for x in (samples, average)]
    wrong = differ & (far[1] < math.log(_LOCAL)) & (far[0] > far[1])
    return Apart(wrong, differ & ~wrong)


def _third(stretches: Stretches) -> Floats:
    """What the other views say: a mean of a second where the stretch is long, else the moment."""
    third = np.full(len(stretches.begin), np.nan)
    for name, shortest_s in (("instant", 0.0), ("average", _LEAST_S)):
        joules = stretches.joules.get(name)
        if joules is not None:
            use = np.isfinite(joules) & (joules > 0) & (stretches.seconds >= shortest_s)
            third[use] = joules[use]
    return third


def runs(begin: Floats, end: Floats, which: Bools) -> Sequence[tuple[float, float]]:
    """The stretches chosen, neighbours joined."""
    spans: list[tuple[float, float]] = []
    for i in np.flatnonzero(which):
        first = spans.pop()[0] if spans and spans[-1][1] == begin[i] else float(begin[i])
        spans.append((first, float(end[i])))
    return spans
