"""The measured block's energy above its baselines, with the drift between them.

Three baselines are measured: the host before the container (``idle``), and the loaded but idle
server before and after the block. A negative difference stays negative.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kit.energy import SCOPE_METERS
from kit.results.windows import find, hypot

Document = dict[str, Any]


class Baseline(NamedTuple):
    """A baseline's mean power and its scatter (W), and the middle of its time (ns)."""

    watts: float
    u: float
    middle: float


def nets(phases: list[Document]) -> Document:
    """By scope: above the idle host, and above the loaded idle server."""
    measured = find(phases, "measured", None)
    idle = [find(phases, "idle", "before")]
    loaded = [find(phases, "loaded_idle", "before"), find(phases, "loaded_idle", "after")]
    return {
        scope: {
            "above_idle": _above(measured, idle, scope),
            "above_loaded_idle": _above(measured, loaded, scope),
        }
        for scope in SCOPE_METERS
    }


def _above(measured: Document | None, blocks: list[Document | None], scope: str) -> Document:
    """Gross minus the baseline's power times the block's duration, or why it cannot be told."""
    if measured is None:
        return _unmeasured("there was no measured block")
    gross = measured["energy"][scope]
    if gross["status"] == "unmeasured":
        return _unmeasured(gross["reason"])
    there = [b for b in blocks if b is not None and b["duration_s"] > 0]
    if not there:
        return _unmeasured("baseline: there was no baseline block")
    for block in there:
        if block["energy"][scope]["status"] == "unmeasured":
            return _unmeasured(f"baseline: {block['energy'][scope]['reason']}")
    return _difference(measured, [_baseline(b, scope) for b in there], scope)


def _unmeasured(reason: str) -> Document:
    return {"status": "unmeasured", "reason": reason}


def _baseline(block: Document, scope: str) -> Baseline:
    energy, duration = block["energy"][scope], block["duration_s"]
    return Baseline(
        energy["joules"] / duration,
        energy["u_repeat"] / duration,
        (block["t0"] + block["t1"]) / 2,
    )


def _difference(measured: Document, baselines: list[Baseline], scope: str) -> Document:
    """The net with its uncertainty; two baselines are interpolated to the middle of the block.

    A gain error acts on the difference, and a constant offset of the sensor is in both and drops
    out; what misplaces the block's edges stays.
    """
    gross, duration = measured["energy"][scope], measured["duration_s"]
    weights = _weights(baselines, (measured["t0"] + measured["t1"]) / 2)
    watts = math.fsum(w * b.watts for w, b in zip(weights, baselines, strict=True))
    u_watts = hypot([w * b.u for w, b in zip(weights, baselines, strict=True)])
    joules = gross["joules"] - watts * duration
    share = abs(joules / gross["joules"]) if gross["joules"] else 0.0
    terms = gross["terms"]
    sensor = [share * terms.get("gain", 0.0), share * terms.get("model", 0.0)]
    found = {
        "status": gross["status"],
        "joules": joules,
        "baseline_w": watts,
        "u_repeat": hypot([gross["u_repeat"], duration * u_watts]),
        "u_sensor": hypot([*sensor, terms.get("delay", 0.0)]),
    }
    if len(baselines) > 1:
        first, last = baselines[0], baselines[-1]
        found |= {"drift_w": last.watts - first.watts, "u_drift_w": hypot([first.u, last.u])}
    return found


def _weights(baselines: list[Baseline], at: float) -> list[float]:
    """How much each baseline counts at time ``at`` on the straight line between two."""
    if len(baselines) == 1:
        return [1.0]
    first, last = baselines
    share = (at - first.middle) / (last.middle - first.middle)
    return [1 - share, share]
