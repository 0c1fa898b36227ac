"""The measured block's energy above its baselines, with the drift between them.

Three baselines are measured: the host before the container (``idle``), and the loaded but idle
server before and after the block. A negative difference stays negative.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from kit.energy.reason import Reason
from kit.energy.results.document import NetEnergy, Phase, find
from kit.energy.results.windows import hypot
from kit.energy.scopes import SCOPES
from kit.energy.value import EnergyValue


class Baseline(NamedTuple):
    """A baseline's mean power and its scatter (W), the middle of its time (ns), and what is known
    of its sensor: relative error of gain, and error of offset (W)."""

    watts: float
    u: float
    middle: float
    gain: float
    offset_w: float


def nets(phases: tuple[Phase, ...]) -> dict[str, dict[str, NetEnergy]]:
    """By scope: above the idle host, and above the loaded idle server."""
    measured = find(phases, "measured", None)
    idle = [find(phases, "idle", "before")]
    loaded = [find(phases, "loaded_idle", "before"), find(phases, "loaded_idle", "after")]
    return {
        scope: {
            "above_idle": _above(measured, idle, scope),
            "above_loaded_idle": _above(measured, loaded, scope),
        }
        for scope in SCOPES
    }


def _above(measured: Phase | None, blocks: list[Phase | None], scope: str) -> NetEnergy:
    """Gross minus the baseline's power times the block's duration, or why it cannot be told."""
    if measured is None:
        return _unmeasured(Reason("no_block"))
    gross = measured.energy[scope]
    if gross.joules is None:
        return _unmeasured(gross.reason)
    there = [b for b in blocks if b is not None and b.duration_s > 0]
    if not there:
        return _unmeasured(Reason("of_baseline", reason=Reason("no_baseline")))
    for block in there:
        if block.energy[scope].joules is None:
            return _unmeasured(Reason("of_baseline", reason=block.energy[scope].reason))
    doubts = [why for b in (measured, *there) for why in b.energy[scope].doubts]
    difference = _difference(measured, [_baseline(b, scope) for b in there], scope)
    return msgspec.structs.replace(difference, doubts=tuple(dict.fromkeys(doubts)))


def _unmeasured(reason: Reason | None) -> NetEnergy:
    return NetEnergy(status="unmeasured", reason=reason)


def _baseline(block: Phase, scope: str) -> Baseline:
    energy, duration = block.energy[scope], block.duration_s
    return Baseline(
        (energy.joules or 0.0) / duration,
        (energy.u_reading or 0.0) / duration,
        (block.t0 + block.t1) / 2,
        *_sensor(energy, duration),
    )


def _sensor(energy: EnergyValue, duration_s: float) -> tuple[float, float]:
    """Relative error of gain (or of the model) and error of offset (W) of a block's energy."""
    terms, joules = energy.terms, abs(energy.joules or 0.0)
    gain = hypot([terms.get("gain", 0.0), terms.get("model", 0.0)]) / joules if joules else 0.0
    return gain, terms.get("offset", 0.0) / duration_s


def _difference(measured: Phase, baselines: list[Baseline], scope: str) -> NetEnergy:
    """The net with its uncertainty; two baselines are interpolated to the middle of the block.

    How the baseline went from one to the other is not known: it may have jumped at once or at the
    end, so that its mean lies anywhere between the two.
    """
    gross, duration = measured.energy[scope], measured.duration_s
    weights = _weights(baselines, (measured.t0 + measured.t1) / 2)
    watts = math.fsum(w * b.watts for w, b in zip(weights, baselines, strict=True))
    u_watts = hypot([w * b.u for w, b in zip(weights, baselines, strict=True)])
    first, last = baselines[0], baselines[-1]
    drift_w = last.watts - first.watts
    joules = (gross.joules or 0.0) - watts * duration
    drifts = len(baselines) > 1
    return NetEnergy(
        status=gross.status,
        joules=joules,
        baseline_w=watts,
        u_reading=hypot(
            [gross.u_reading or 0.0, duration * u_watts, duration * drift_w / math.sqrt(12)]
        ),
        u_sensor=_u_sensor(gross, duration, joules, watts, baselines),
        drift_w=drift_w if drifts else None,
        u_drift_w=hypot([first.u, last.u]) if drifts else None,
    )


def _u_sensor(
    gross: EnergyValue, duration: float, joules: float, watts: float, baselines: list[Baseline]
) -> float:
    """What the sensor's errors do to the difference, J.

    What block and baseline share acts on the difference (a gain), or drops out (an offset). What
    one of them has on top, such as a baseline below the powers that a card was calibrated for,
    stays by itself. So does what misplaces the block's edges.
    """
    own = (*_sensor(gross, duration), gross.joules or 0.0)
    below = (max(b.gain for b in baselines), max(b.offset_w for b in baselines), watts * duration)
    parts = (own, below)
    shared_gain, shared_w = min(own[0], below[0]), min(own[1], below[1])
    excess = [math.sqrt(max(g**2 - shared_gain**2, 0.0)) * energy for g, _, energy in parts]
    excess += [math.sqrt(max(w**2 - shared_w**2, 0.0)) * duration for _, w, _ in parts]
    edges = [gross.terms.get(name, 0.0) for name in ("delay", "lag")]
    return hypot([shared_gain * joules, *excess, *edges])


def _weights(baselines: list[Baseline], at: float) -> list[float]:
    """How much each baseline counts at time ``at`` on the straight line between two."""
    if len(baselines) == 1:
        return [1.0]
    first, last = baselines
    share = (at - first.middle) / (last.middle - first.middle)
    return [1 - share, share]
