"""Energy of a window from raw samples, with its uncertainty. Pure, so that verify does it again.

Every device's readings become a curve of energy over time (`kit.energy.curve`), by the best way
that they allow (`kit.energy.scopes`). A window that no curve covers is
*unmeasured*, with the reason: a sampler that stopped is never interpolated over.

Uncertainty after the GUM, every term in joules and by name:

    edge, ticks, sampling, resolution
                              noise when the same stretch is read again: ``u_reading``
    gain, offset, delay, lag  the sensor's own error, the same every time: ``u_sensor``
    model                     the error of an estimate, in ``u_sensor``

Repeats add in squares over devices; sensors' errors add up, since cards of one make may share them.
Outlets of one PDU are read in one answer: what its time does to one it does to all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec

from kit.core.arrays import np
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import NS, QUANTITIES
from kit.energy import scopes, twins
from kit.energy.believable import Sifted, sift
from kit.energy.curve import Floats, Part, Unmeasured
from kit.energy.doubts import Doubt, bearing_on
from kit.energy.gpu import TwoViews, agreement, two_views
from kit.energy.reason import Reason
from kit.energy.scopes import Scope
from kit.energy.scopes.contract import Ways
from kit.energy.value import EnergyValue
from kit.record.samples import Ints, Samples

__all__ = ("SENSOR_TERMS", "Doubt", "Energy", "power_series", "sift")

SENSOR_TERMS = ("gain", "offset", "delay", "lag", "model")
_OF_ONE_ANSWER = ("edge", "sampling")
_SHORTEST_NS = 1000


class Energy:
    """The energy of any window of one run; a device's curves are made when first asked for.

    Readings that no device can have given are left out first (`kit.energy.believable`).
    """

    def __init__(self, samples: Samples, meters: Sequence[MeterPlan]) -> None:
        self._samples, self._meters = samples, tuple(meters)
        self._ways: dict[tuple[str, str], Ways] = {}
        self._views: dict[str, TwoViews] = {}

    @property
    def believed(self) -> Samples:
        """The run's samples without what no device can have given."""
        return self._sifted.samples

    @cached_property
    def _sifted(self) -> Sifted:
        return sift(self._samples, self._meters)

    @cached_property
    def _twins(self) -> dict[str, str]:
        packages = [d for m in self._meters for d in m.devices if scopes.is_summed("cpu", d)]
        return twins.twins(packages, self.believed)

    def doubts(self) -> tuple[Doubt, ...]:
        """What is in doubt of the run's readings, whatever window it is about."""
        judged = [
            doubt
            for meter in self._meters
            if (scope := scopes.SCOPES.get(scopes.of_meter(meter)))
            for device in meter.devices
            for doubt in self._of(scope, device).doubts
        ]
        repeated = twins.doubts(self._twins, self.believed)
        return (*self._sifted.doubts, *repeated, *judged)

    def of(self, t0: int, t1: int) -> tuple[EnergyValue, ...]:
        """The window ``[t0, t1)`` (ns): one value per scope that the plan has a meter for."""
        every = (*scopes.SCOPES.values(), *scopes.COMPARATORS.values())
        asked = [(s, [m for m in self._meters if scopes.of_meter(m) == s.name]) for s in every]
        return tuple(self._scope(scope, meters, t0, t1) for scope, meters in asked if meters)

    def agreement(self, gpu: MeterDevice, t0: int, t1: int) -> float | None:
        """Power over counter of a GPU in a window (ns); see `gpu.agreement`."""
        if gpu.device not in self._views:
            self._views[gpu.device] = two_views(gpu, self.believed)
        return agreement(self._views[gpu.device], t0, t1)

    def _scope(self, scope: Scope, meters: Sequence[MeterPlan], t0: int, t1: int) -> EnergyValue:
        devices = [d for m in meters for d in m.devices if scopes.is_summed(scope.name, d)]
        devices = [d for d in devices if d.device not in self._twins]
        reasons = [Reason("said", said=m.reason) for m in meters if m.reason]
        if not devices:
            return _unmeasured(scope, reasons or [Reason("no_device")])
        if twice := scopes.mixed((m.name for m in meters if m.devices), scope.name):
            return _unmeasured(scope, [twice])
        parts = {d.device: self._device(scope, d, t0, t1) for d in devices}
        missing = [
            Reason("of_device", device=name, reason=p.reason)
            for name, p in parts.items()
            if isinstance(p, Unmeasured)
        ]
        if missing or reasons:
            return _unmeasured(scope, [*missing, *reasons])
        measured = {name: p for name, p in parts.items() if isinstance(p, Part)}
        total = msgspec.structs.replace(
            _summed(scope, measured),
            doubts=tuple(
                w for name, p in measured.items() for w in self._doubted(scope, name, p, t0, t1)
            ),
        )
        return scope.stated(total, devices) if scope.stated else total

    def _device(self, scope: Scope, device: MeterDevice, t0: int, t1: int) -> Part | Unmeasured:
        """The best way that covers the window; the reason of the best one if none does."""
        reasons = []
        for curve in self._of(scope, device).curves:
            energy = curve.between(t0, t1)
            if isinstance(energy, Part):
                return energy
            reasons.append(energy)
        return reasons[0] if reasons else Unmeasured(self._why_no_curve(scope, device))

    def _of(self, scope: Scope, device: MeterDevice) -> Ways:
        key = (scope.name, device.device)
        if key not in self._ways:
            self._ways[key] = scope.ways(device, self._sifted)
        return self._ways[key]

    def _doubted(
        self, scope: Scope, device: str, part: Part, t0: int, t1: int
    ) -> tuple[Reason, ...]:
        """What is in doubt of a device's energy: of the readings that it is made of, and of views
        that contradict them."""
        ways = self._ways[scope.name, device]
        used = scope.main | {name for name in scope.power if name.endswith(f"_{part.method}")}
        left_out = bearing_on(self._sifted.doubts, (device,), used, t0, t1)
        return (*left_out, *bearing_on(ways.doubts, (device,), frozenset(QUANTITIES), t0, t1))

    def _why_no_curve(self, scope: Scope, device: MeterDevice) -> Reason:
        if why := device.facts(scope.source).reason:
            return Reason("said", said=why)
        for doubt in self._sifted.doubts:
            if doubt.device == device.device and QUANTITIES[doubt.quantity].scope == scope.name:
                return Reason("none_believed", quantity=doubt.quantity, reason=doubt.reason)
        read = self.believed.get(device.device, scope.source)
        failed = (read.errors or None) if read is not None else None
        return Reason("none_read", quantity=scope.source, failed=failed)


def _summed(scope: Scope, parts: dict[str, Part]) -> EnergyValue:
    """Devices added up: sensors' errors linearly (they may share a cause), scatter in squares."""
    names = sorted({term for part in parts.values() for term in part.terms})
    terms = {name: _term(name, parts) for name in names}
    return EnergyValue(
        scope=scope.name,
        status="estimated" if scope.status == "estimated" else "measured",
        joules=math.fsum(part.joules for part in parts.values()),
        u_reading=math.hypot(*(v for k, v in terms.items() if k not in SENSOR_TERMS)),
        u_sensor=math.hypot(*(v for k, v in terms.items() if k in SENSOR_TERMS)),
        terms=terms,
        method=", ".join(sorted({part.method for part in parts.values()})),
        period_s=max(part.period_s for part in parts.values()),
        devices={name: part.joules for name, part in parts.items()},
    )


def _term(name: str, parts: dict[str, Part]) -> float:
    """One term of the sum of devices, J."""
    values = {device: part.terms.get(name, 0.0) for device, part in parts.items()}
    if name in SENSOR_TERMS:
        return math.fsum(values.values())
    if name not in _OF_ONE_ANSWER:
        return math.hypot(*values.values())
    answers: dict[str, float] = {}
    for device, value in values.items():
        answer = device.rpartition(":")[0] or device  # pdu:rack1:3 is outlet 3 of pdu:rack1
        answers[answer] = answers.get(answer, 0.0) + value
    return math.hypot(*answers.values())


def _unmeasured(scope: Scope, reasons: Sequence[Reason]) -> EnergyValue:
    reason = reasons[0] if len(reasons) == 1 else Reason("several", reasons=tuple(reasons))
    return EnergyValue(scope=scope.name, status="unmeasured", reason=reason)


# --- for pictures ---------------------------------------------------------------------------


def power_series(
    samples: Samples, meters: Iterable[MeterPlan], *, holes: bool = False
) -> dict[str, tuple[Ints, Floats]]:
    """Watts over time by device, for a report: times in ns, each the end of its step.

    GPUs by their power samples, or the next best; counters by their growth. Steps of which nothing
    is known are left out, or NaN where ``holes`` are asked for, so that no line crosses them.
    """
    series: dict[str, tuple[Ints, Floats]] = {}
    plans = tuple(meters)
    sifted = sift(samples, plans)
    for meter in plans:
        scope = scopes.SCOPES.get(scopes.of_meter(meter))
        for device in meter.devices if scope else ():
            drawn = _drawn(scope, device, sifted, holes) if scope else None
            if drawn is not None:
                series[device.device] = drawn
    return series


def _drawn(
    scope: Scope, device: MeterDevice, sifted: Sifted, holes: bool
) -> tuple[Ints, Floats] | None:
    curves = scope.ways(device, sifted).curves
    ways = {curve.method: curve for curve in reversed(curves)}  # the best of each method
    best = ways.get("samples") or next(iter(curves), None)
    if best is None or len(best.t) < 2:
        return None
    steps = np.diff(best.t)
    watts: Floats = np.diff(best.joules) / (np.maximum(steps, 1.0) * NS)
    for hole in best.holes:
        watts[(best.t[:-1] < hole.t1) & (best.t[1:] > hole.t0)] = np.nan
    # A moved curve may begin and end with steps of no length.
    keep = (steps >= _SHORTEST_NS) & (holes | ~np.isnan(watts))
    return (best.t[1:][keep].astype(np.int64), watts[keep]) if keep.any() else None
