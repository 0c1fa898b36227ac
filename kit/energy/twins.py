"""Finds zones that show the same counter, from their course over a run. Pure.

Names do not say it: the kernel may list a package twice, by two drivers or two names. One counter's
two views differ by the same amount whenever they are read together, but for what it grows between
the two reads. Two packages do that never for long, unless nothing happens at all:

- views of one counter mostly hold the same value as well;
- where they do not, power that varies and is matched step by step decides;
- where power does not vary either, nothing is decided, and both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from kit.core.arrays import np
from kit.core.model import MeterDevice
from kit.core.units import NS, QUANTITIES
from kit.energy.curve import Floats
from kit.energy.doubts import Doubt
from kit.energy.reason import Reason
from kit.record.samples import Samples, Series

_TOGETHER_NS, _SKEW_S = 20_000_000, 0.01
_FEWEST, _LEAST_J = 20, 1.0
_VARIES, _MATCHED = 0.05, 0.2
_NEAR = 0.9  # share of the reads that must show it: now and then one is made late


def twins(devices: Sequence[MeterDevice], samples: Samples) -> dict[str, str]:
    """Devices that show another one's counter, and whose; all are of one scope."""
    pairs: dict[str, str] = {}
    read = [(d, s) for d in devices if (s := samples.get(d.device, "cpu_energy")) is not None]
    for i, (first, a) in enumerate(read):
        for second, b in read[i + 1 :]:
            if first.device not in pairs and second.device not in pairs:
                wrap = float(first.facts("cpu_energy").wrap or 0)
                other = float(second.facts("cpu_energy").wrap or 0)
                if wrap == other and _is_one(a, b, wrap):
                    pairs[second.device] = first.device
    return pairs


def doubts(pairs: dict[str, str], samples: Samples) -> tuple[Doubt, ...]:
    """The doubt about each counter that is shown twice; it is counted once."""
    reasons = []
    for second, first in pairs.items():
        series = samples.series[second, "cpu_energy"]
        span = (int(series.t[0]), int(series.t[-1]))
        reason, instead = Reason("shown_twice", device=first), Reason("counted_once")
        doubt = Doubt(second, "cpu_energy", reason, instead, 0, 0, (span,), settled=True)
        reasons.append(doubt)
    return tuple(reasons)


def _is_one(a: Series, b: Series, wrap: float) -> bool:
    at = np.clip(np.searchsorted(a.t, b.t), 1, max(1, len(a.t) - 1))
    if len(a.t) < 2:
        return False
    at -= (b.t - a.t[at - 1]) < (a.t[at] - b.t)
    together = np.abs(a.t[at] - b.t) <= _TOGETHER_NS
    first, second, t = a.raw[at][together], b.raw[together], b.t[together]
    if len(t) < _FEWEST:
        return False
    scale = QUANTITIES["cpu_energy"].scale
    grown = _unwrapped(first, wrap) * scale
    apart = _centred((second - first).astype(np.float64), wrap) * scale
    if grown[-1] < _LEAST_J:
        return False
    watts = np.diff(grown) / (np.maximum(np.diff(t), 1) * NS)
    room = max(float(np.quantile(watts, _NEAR)), 1e-3) * _SKEW_S
    middle = float(np.median(apart))
    if np.mean(np.abs(apart - middle) <= room) < _NEAR:
        return False
    return abs(middle) <= room or _is_matched(watts, np.diff(_unwrapped(second, wrap)) * scale, t)


def _is_matched(watts: Floats, other: Floats, t: np.typing.NDArray[np.int64]) -> bool:
    """Whether power varies, and both zones show the same."""
    against: Floats = other / (np.maximum(np.diff(t), 1) * NS)
    return bool(
        watts.std() > _VARIES * watts.mean() and (against - watts).std() < _MATCHED * watts.std()
    )


def _unwrapped(raw: np.typing.NDArray[np.int64], wrap: float) -> Floats:
    steps = np.diff(raw).astype(np.float64)
    steps = np.where(steps < 0, steps + wrap, steps)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _centred(apart: Floats, wrap: float) -> Floats:
    """Differences of two counters, where one has begun again and the other not yet."""
    return np.mod(apart + wrap / 2, wrap) - wrap / 2 if wrap else apart
