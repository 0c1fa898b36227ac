"""Every way to one GPU's energy that can be believed, best first.

The views are made in `kit.energy.gpu`, held against one another in `kit.energy.trust`; here what
is not believed is taken out of them: a view as a whole, a stretch of the counter (the energy by
samples goes in its place), a stretch of the samples (a hole; the counter knows the sum across it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from kit.core.arrays import np
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import NS
from kit.energy.believable import Sifted, cap_w
from kit.energy.curve import HELD_EDGE, Curve, Hole, Sensor, gaps
from kit.energy.doubts import Doubt
from kit.energy.gpu import (
    combined,
    corrected,
    counter_curve,
    counter_ticks,
    gauges,
    grown,
    punctual,
    samples_curve,
)
from kit.energy.module import Covered, covered
from kit.energy.reason import Reason
from kit.energy.ticks import CounterTicks
from kit.energy.trust import Spans, Trust, explained, holes, trusted
from kit.energy.views import QUANTITY, energies
from kit.record.samples import Samples

_SPARSE_HOLE_S = 15.0
_QUANTITIES = {**QUANTITY, "counter+samples": "gpu_energy"}
_JUMPED = Reason("counter_disbelieved")
_RESET = Reason("driver_reloaded")


def ways(
    device: MeterDevice, sifted: Sifted, sensor: Callable[[QuantityFacts], Sensor]
) -> tuple[tuple[Curve, ...], tuple[Doubt, ...]]:
    """The curves that can be believed, best first, and what is in doubt of the readings.

    A counter that went backwards means a driver that was reloaded: no way tells such a window.
    Views that contradict one another are judged by `kit.energy.trust`.

    Args:
        sensor: the errors of the card's sensor by a quantity's facts.
    """
    material, cover = _of_gpu(device, sifted.samples, _material(device, sifted))
    believed = _believed(device, sifted, material)
    sensors = [(c, device.quantities[_QUANTITIES[c.method]]) for c in _ordered(material, believed)]
    ticks = material.ticks if "counter" not in believed.rejected else None
    resets = tuple(Hole(a, b, _RESET) for a, b in ticks.resets) if ticks else ()
    found_by = (
        corrected(replace(curve, holes=(*resets, *curve.holes)), facts, sensor(facts))
        for curve, facts in sensors
    )
    return tuple(found_by), (*cover.doubts, *believed.doubts)


class _Material(NamedTuple):
    """A device's views: the counter's ticks, and curves of power by name; whether some of the
    power's readings were left out."""

    ticks: CounterTicks | None
    power: dict[str, Curve]
    lacking: bool


def _material(device: MeterDevice, sifted: Sifted) -> _Material:
    samples = sifted.samples
    ticks = counter_ticks(device, samples)
    if ticks:
        jumps = sifted.jumps.get((device.device, "gpu_energy"), ())
        ticks = ticks._replace(jumps=tuple(j for j in jumps if j not in ticks.resets))
    shape = samples_curve(device, samples, ticks)
    power = {"samples": shape} if shape else {}
    power |= dict(gauges(device, samples))
    for name, curve in power.items():
        dropped = sifted.dropped(device.device, _QUANTITIES[name])
        power[name] = explained(curve, dropped)
    return _Material(ticks, power, bool(sifted.dropped(device.device, "gpu_power_sample")))


def _of_gpu(
    device: MeterDevice, samples: Samples, material: _Material
) -> tuple[_Material, Covered]:
    """The views without those that cover more than the GPU, as far as another one is left."""
    ticks, power = material.ticks, dict(material.power)
    cover = covered(device, samples, ticks, grown(ticks) if ticks else np.zeros(0), power)
    for view in (view for view, what in cover.views.items() if what != "gpu"):
        power.pop(view, None)
        ticks = None if view == "counter" else ticks
    lacking = material.lacking or bool(cover.doubts)
    return material._replace(ticks=ticks, power=power, lacking=lacking), cover


def _believed(device: MeterDevice, sifted: Sifted, material: _Material) -> Trust:
    ticks = material.ticks
    energy = grown(ticks) if ticks else np.zeros(0)
    jumps = ticks.jumps if ticks else ()
    cap = cap_w(device, sifted.samples)
    return trusted(device.device, cap, ticks, energy, material.power, jumps)


def _ordered(material: _Material, believed: Trust) -> Iterator[Curve]:
    """The curves by every way that is believed, best first."""
    power = {name: c for name, c in material.power.items() if name not in believed.rejected}
    ticks = material.ticks if "counter" not in believed.rejected else None
    shape = power.pop("samples", None)
    if shape:
        shape = replace(shape, holes=(*shape.holes, *holes(believed.samples, "samples")))
    if ticks:
        ticks, unknown = _rebased(ticks, believed.counter, shape)
        yield from _counting(ticks, shape, unknown)
        if material.lacking or believed.doubts or ticks.jumps:
            yield from _sparse(ticks, unknown)
    yield from [shape] if shape else []
    yield from power.values()


def _rebased(
    ticks: CounterTicks, wrong: Spans, shape: Curve | None
) -> tuple[CounterTicks, tuple[Hole, ...]]:
    """The ticks with the samples' energy where the counter is not believed; else a hole there."""
    raw, keep, unknown = ticks.raw.copy(), np.ones(len(ticks.t), bool), []
    for begin, end in wrong:
        first, last = np.searchsorted(ticks.t, [begin, end])
        drawn = math.nan
        if shape is not None:
            drawn = float(energies(shape, np.array([begin]), np.array([end]))[0])
        if math.isnan(drawn):
            unknown.append(Hole(begin, end, _JUMPED, True))
            drawn = 0.0
        keep[first + 1 : last] = False
        raw[last:] += round(drawn / ticks.scale) - (raw[last] - raw[first])
    moved = ticks._replace(t=ticks.t[keep], u=ticks.u[keep], raw=raw[keep])
    return (moved if wrong else ticks), tuple(unknown)


def _counting(
    ticks: CounterTicks, shape: Curve | None, unknown: tuple[Hole, ...]
) -> Iterator[Curve]:
    both = combined(punctual(ticks, shape), shape, unknown) if shape else None
    if both:
        yield both
    if len(ticks.t) > 1:
        curve = counter_curve(ticks)
        yield replace(curve, holes=(*unknown, *curve.holes))


def _sparse(ticks: CounterTicks, unknown: tuple[Hole, ...]) -> Iterator[Curve]:
    """The counter alone where nothing else is believed: straight lines between ticks that lie
    seconds apart. What happens in between may lie anywhere there."""
    if len(ticks.t) < 2:
        return
    curve = counter_curve(ticks)
    apart_s = float(np.quantile(np.diff(ticks.t), 0.9)) * NS
    far = gaps(ticks.t, _SPARSE_HOLE_S, "tick")
    yield replace(curve, step_s=max(apart_s, curve.step_s), edge=HELD_EDGE, holes=(*unknown, *far))
