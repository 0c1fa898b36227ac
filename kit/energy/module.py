"""What a GPU's readings cover where the GPU is part of a module with a CPU (GH200, GB200). Pure.

NVML tells the power of the GPU and that of its module as two scopes of one field; a card without a
module says that it has none. Which of the two the energy counter counts, and the sample buffer
holds, NVML does not say, and drivers differ. So each is held against both, over the whole run:
what lies clearly nearer to the module's power counts the CPU, too, and is no energy of the GPU.
What lies near neither of them is of unknown cover, and is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from kit.core.arrays import np
from kit.core.model import MeterDevice
from kit.core.units import NS, QUANTITIES
from kit.energy.curve import Curve, Floats
from kit.energy.doubts import Doubt
from kit.energy.reason import Reason
from kit.energy.ticks import CounterTicks
from kit.energy.views import QUANTITY
from kit.record.samples import Samples, Series

MODULE = "gpu_module_power"
Cover = Literal["gpu", "module", "unknown"]
_FEWEST, _LEAST_S = 8, 5.0
# A module that draws no more than its GPU does: what is read of either is right for both.
_MOOT = 1.03
# Nearer to one than to the other by so much, and no further from it than two views of one sensor.
_CLEARLY, _NEAR = 3.0, 1.12


class Covered(NamedTuple):
    """What each view covers.

    Attributes:
        views: cover by view; empty for a card without a module, or where both draw alike.
        doubts: what was found, for a reader.
    """

    views: Mapping[str, Cover]
    doubts: tuple[Doubt, ...]


def covered(
    device: MeterDevice,
    samples: Samples,
    ticks: CounterTicks | None,
    grown: Floats,
    power: Mapping[str, Curve],
) -> Covered:
    """What the counter and the samples of one GPU cover.

    Args:
        grown: energy since the first tick (J). Shape as ``ticks.t``.
        power: curves by view. Average and instant power are asked for the GPU by name of scope.
    """
    module = samples.get(device.device, MODULE)
    own = _own(device, samples)
    if module is None or own is None or len(module.t) < _FEWEST:
        return Covered({}, ())
    begin, end = float(max(module.t[0], own.t[0])), float(min(module.t[-1], own.t[-1]))
    views: dict[str, tuple[Floats, Floats]] = {}
    if ticks is not None and len(ticks.t) > 1:
        views["counter"] = ticks.t, grown
    if "samples" in power:
        views["samples"] = power["samples"].t, power["samples"].joules
    for t, _ in views.values():
        begin, end = max(begin, float(t[0])), min(end, float(t[-1]))
    if (end - begin) * NS < _LEAST_S:
        return Covered({}, ())
    gpu_w, module_w = _mean_w(own, begin, end), _mean_w(module, begin, end)
    if not 0 < gpu_w * _MOOT < module_w:
        return Covered({}, ())
    seconds = (end - begin) * NS
    mean_w = {n: float(np.diff(np.interp([begin, end], *v))[0]) / seconds for n, v in views.items()}
    nearer = {name: _nearer(watts, gpu_w, module_w) for name, watts in mean_w.items()}
    span = (int(begin), int(end))
    doubts = tuple(
        _doubt(device.device, name, cover, mean_w[name], gpu_w, module_w, span)
        for name, cover in nearer.items()
        if cover != "gpu"
    )
    return Covered(nearer, doubts)


def _own(device: MeterDevice, samples: Samples) -> Series | None:
    """The GPU's own power, asked for by its scope: averaged as the module's is, else the moment."""
    for quantity in ("gpu_power_average", "gpu_power_instant"):
        source = device.facts(quantity).source or ""
        series = samples.get(device.device, quantity)
        if series is not None and len(series.t) >= _FEWEST and source.startswith("field"):
            return series
    return None


def _mean_w(series: Series, begin: float, end: float) -> float:
    """Mean of evenly read power over a time, W."""
    inside = (series.t >= begin) & (series.t <= end) & (series.raw > 0)
    return float(series.raw[inside].mean() * QUANTITIES[MODULE].scale) if inside.any() else 0.0


def _nearer(watts: float, gpu_w: float, module_w: float) -> Cover:
    if watts <= 0:
        return "unknown"
    far = {"gpu": abs(math.log(watts / gpu_w)), "module": abs(math.log(watts / module_w))}
    near: Cover = "gpu" if far["gpu"] < far["module"] else "module"
    other = "module" if near == "gpu" else "gpu"
    sure = far[near] * _CLEARLY < far[other] and far[near] < math.log(_NEAR)
    return near if sure else "unknown"


def _doubt(
    device: str,
    view: str,
    cover: Cover,
    watts: float,
    gpu_w: float,
    module_w: float,
    span: tuple[int, int],
) -> Doubt:
    is_known = cover == "module"
    code = "covers_module" if is_known else "cover_unknown"
    reason = Reason(code, watts=watts, gpu_w=gpu_w, module_w=module_w)
    instead = Reason("own_power")
    return Doubt(device, QUANTITY[view], reason, instead, 0, 0, (span,), settled=is_known)
