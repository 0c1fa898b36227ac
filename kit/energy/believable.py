"""Leaves out, and counts, readings that no device can have given. Pure; before any arithmetic.

Each reading is held against its device's limits (`kit.core.limits`), each counter against its own
steps as well (`kit.energy.counted`). What is left out leaves a gap, which the curves treat as what
it is: a lost sample, or a hole with its reason. Readings that are possible one by one, and
contradict another view of the same device, are `kit.energy.views`' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kit.core import limits
from kit.core.arrays import np
from kit.core.facts import NO_FACTS
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import NS, QUANTITIES, scale_of
from kit.energy.counted import Bools, Counted, counted
from kit.energy.curve import Floats
from kit.energy.doubts import Doubt, spans_of
from kit.energy.reason import Reason
from kit.record.samples import Samples, Series

_SUSTAINED_NS, _SUSTAINED_READINGS = 1_000_000_000, 5
# The kernel counts CPU time in ticks of 10 ms, each CPU by itself.
_BUSY_ROOM_S, _BUSY_ROOM = 0.05, 1.1


class Sifted(NamedTuple):
    """Samples without what no device can have given.

    Attributes:
        samples: what is left.
        doubts: what was left out.
        jumps: by device and quantity, between which times (ns) a counter jumped.
    """

    samples: Samples
    doubts: tuple[Doubt, ...]
    jumps: dict[tuple[str, str], tuple[tuple[int, int], ...]]

    def dropped(self, device: str, quantity: str) -> tuple[Doubt, ...]:
        """What was left out of one quantity."""
        return tuple(d for d in self.doubts if (d.device, d.quantity) == (device, quantity))


def sift(samples: Samples, meters: Sequence[MeterPlan]) -> Sifted:
    """The samples without impossible readings."""
    series, doubts, jumps = dict(samples.series), list[Doubt](), {}
    for device in (device for meter in meters for device in meter.devices):
        for quantity in device.quantities:
            read = samples.get(device.device, quantity)
            if read is None or not len(read.raw) or not device.reads(quantity):
                continue
            judged = _judged(device, quantity, read, samples)
            bad = ~judged.keep
            if bad.any():
                series[device.device, quantity] = only(read, judged.keep)
            doubts += _doubts(device, quantity, read, judged)
            if judged.jumps:
                jumps[device.device, quantity] = judged.jumps
    if not doubts:
        return Sifted(samples, (), {})
    return Sifted(samples._replace(series=series), tuple(doubts), jumps)


def only(series: Series, keep: Bools) -> Series:
    """Some of a series' readings."""
    return series._replace(
        t=series.t[keep], raw=series.raw[keep], t0=series.t0[keep], t1=series.t1[keep]
    )


class _Judged(NamedTuple):
    """Which readings are kept; why the others are not, each reason with those that it is about."""

    keep: Bools
    reasons: tuple[tuple[Reason, Bools], ...]
    jumps: tuple[tuple[int, int], ...] = ()
    jump_reason: Reason = Reason("counter_jumped")


def _doubts(device: MeterDevice, quantity: str, read: Series, judged: _Judged) -> Iterator[Doubt]:
    for reason, bad in judged.reasons:
        if bad.any():
            spans = spans_of(read.t[bad], read.t[bad] + 1)
            count = int(np.count_nonzero(bad))
            yield Doubt(device.device, quantity, reason, Reason("left_out"), count, len(bad), spans)
    if judged.jumps:
        yield Doubt(device.device, quantity, judged.jump_reason, None, 0, 0, judged.jumps)


def _judged(device: MeterDevice, quantity: str, read: Series, samples: Samples) -> _Judged:
    facts = device.quantities[quantity]
    if quantity in limits.GPU_POWER_S:
        return _power(read, quantity, cap_w(device, samples), scale_of(quantity, facts))
    if quantity == "gpu_energy":
        cap = _counted_w(device, samples)
        period_s = limits.seconds_or(facts.period_s, limits.GPU_RENEWED_S)

        def most(seconds: Floats) -> Floats:
            over = np.array([limits.overshoot(s) for s in np.atleast_1d(seconds)])
            return cap * over * (seconds + period_s) / scale_of("gpu_energy", facts)

        return _counter(read, most, Reason("card_too_fast", cap_w=cap))
    if quantity == "cpu_energy":
        highest = limits.package_highest_w(facts)
        return _counter(
            read,
            lambda s: highest * (s + limits.PACKAGE_RENEWED_S) / scale_of("cpu_energy", facts),
            Reason("package_too_fast", highest_w=highest),
            wrap=facts.wrap or 0,
        )
    if quantity == "cpu_busy":
        cpus = float(facts.cpus or "inf")
        return _counter(
            read,
            lambda s: cpus * (s * _BUSY_ROOM + _BUSY_ROOM_S) / scale_of("cpu_busy", facts),
            Reason("cpus_too_busy", cpus=cpus),
            back=2 * _BUSY_ROOM_S * cpus / scale_of("cpu_busy", facts),
        )
    if quantity == "pdu_power":
        return _outlet(device, read)
    return _state(quantity, read)


def cap_w(device: MeterDevice, samples: Samples) -> float:
    """A card's cap (W): what the plan says, else the highest that was in effect for a while."""
    stated = [device.facts(quantity) for quantity in (*limits.GPU_POWER_S, "gpu_energy")]
    facts = next((f for f in stated if f.limit_w is not None), NO_FACTS)
    read = samples.get(device.device, "gpu_power_limit")
    enforced = None
    if read is not None and len(read.raw):
        watts = read.raw[_within("gpu_power_limit", read)] * QUANTITIES["gpu_power_limit"].scale
        values, times = np.unique(watts, return_counts=True)
        often = values[times > 1] if (times > 1).any() else values
        enforced = float(often.max()) if len(often) else None
    return limits.gpu_cap_w(facts, enforced)


def _counted_w(device: MeterDevice, samples: Samples) -> float:
    """The cap (W) of what a counter may count: a module's CPU draws as much again."""
    return cap_w(device, samples) * (2 if device.reads("gpu_module_power") else 1)


def _power(read: Series, quantity: str, cap: float, scale: float) -> _Judged:
    """Power readings: none above what the card can draw for so short a time, nor for a second."""
    watts: Floats = read.raw.astype(np.float64) * scale
    highest = limits.gpu_highest_w(cap, limits.GPU_POWER_S[quantity])
    void = _is_sentinel(read, limits.WIDE_SENTINELS)
    above = (watts > highest) & ~void
    good = ~void & ~above
    lasting = np.zeros(len(watts), bool)
    longest = limits.gpu_highest_w(cap, _SUSTAINED_NS * NS)
    if (watts[good] > longest).any():
        lasting[good] = _sustained(read.t[good], watts[good], longest)
    return _Judged(
        good & ~lasting,
        (
            (Reason("no_value"), void),
            (Reason("above_card", highest_w=highest, cap_w=cap), above),
            (Reason("above_card_for_long", highest_w=longest, cap_w=cap), lasting),
        ),
    )


def _sustained(t: np.typing.NDArray[np.int64], watts: Floats, longest: float) -> Bools:
    """Readings above ``longest`` in a second whose mean is above it, too."""
    total = np.concatenate([[0.0], np.cumsum(watts)])
    first = np.searchsorted(t, t - _SUSTAINED_NS, side="right")
    last = np.arange(len(t)) + 1
    # One or two readings in a second are moments, and no second.
    is_full = (t - t[0] >= _SUSTAINED_NS * 0.9) & (last - first >= _SUSTAINED_READINGS)
    over = is_full & (total[last] - total[first] > longest * (last - first))
    spoilt = np.zeros(len(t) + 1, np.int64)
    np.add.at(spoilt, first[over], 1)
    np.add.at(spoilt, last[over], -1)
    sustained: Bools = (np.cumsum(spoilt)[:-1] > 0) & (watts > longest)
    return sustained


def _counter(
    read: Series,
    most: Callable[[Floats], Floats],
    why: Reason,
    *,
    wrap: int = 0,
    back: float = 0.0,
) -> _Judged:
    counts: Counted = counted(read, most, wrap=wrap, back=back)
    return _Judged(
        counts.keep,
        ((Reason("no_counter", reason=why), ~counts.keep),),
        counts.jumps,
        Reason("counter_jumped", reason=why),
    )


def _outlet(device: MeterDevice, read: Series) -> _Judged:
    facts = device.quantities["pdu_power"]
    highest = limits.outlet_highest_w(device.device, facts)
    void = _is_sentinel(read, limits.SENTINELS)
    above = (read.raw * scale_of("pdu_power", facts) > highest) & ~void
    return _Judged(
        ~void & ~above,
        ((Reason("no_value"), void), (Reason("above_outlet", highest_w=highest), above)),
    )


def _state(quantity: str, read: Series) -> _Judged:
    if quantity not in limits.STATES:
        return _Judged(np.ones(len(read.raw), bool), ())
    good = _within(quantity, read)
    low, high = limits.STATES[quantity]
    reason = Reason("out_of_range", low=low, high=high, unit=QUANTITIES[quantity].unit)
    return _Judged(good, ((reason, ~good),))


def _within(quantity: str, read: Series) -> Bools:
    low, high = limits.STATES[quantity]
    value = read.raw * QUANTITIES[quantity].scale
    inside: Bools = (value >= low) & (value <= high)
    return inside


def _is_sentinel(read: Series, words: frozenset[int]) -> Bools:
    is_sentinel: Bools = np.isin(read.raw, [w for w in words if abs(w) < 2**63]) | (read.raw < 0)
    return is_sentinel
