"""Checks that a wall meter must pass whatever it is: against the parts of the host, and in itself.

Pure, for preflight (what the probe read) and for results (what a run measured).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kit.core.facts import Probe, known
from kit.energy.reason import Reason
from kit.energy.value import EnergyValue

_PARTS = ("gpu", "cpu")
# A finding must be certain: three standard uncertainties.
_SURE = 3.0
# Voltage, current and power factor are read one after the other, while the load goes on.
_TOLERANCE = 0.15
# Below that a current of a few digits, or a power factor of a standby load, tells nothing.
_LEAST_AMPERES = 0.3
# No single-phase outlet of a rack has more; with it, amperes alone bound the watts.
_HIGHEST_VOLTS = 264.0


def wall_below_parts(values: Sequence[EnergyValue]) -> Reason | None:
    """Why the wall's energy of a window is impossible; None where it is not, or is unmeasured.

    What GPUs and CPU packages draw comes through the outlets: the wall can never show less.
    """
    measured = {v.scope: v for v in values if v.status == "measured" and v.joules is not None}
    wall = measured.get("wall")
    parts = [measured[scope] for scope in _PARTS if scope in measured]
    if wall is None or wall.joules is None or not parts:
        return None
    inside = math.fsum(part.joules or 0.0 for part in parts)
    doubt = _SURE * math.hypot(*(_uncertainty(value) for value in (wall, *parts)))
    if wall.joules + doubt >= inside:
        return None
    names = [part.scope for part in parts]
    return Reason("below_parts", wall_j=wall.joules, parts=names, parts_j=inside)


def power_below_parts(wall_w: float, gain: float, parts_w: float) -> Reason | None:
    """The same check on instantaneous power; ``gain`` is the wall meter's relative half-width."""
    if parts_w <= 0 or wall_w * (1 + gain) >= parts_w * (1 - _TOLERANCE):
        return None
    return Reason("power_below_parts", wall_w=wall_w, parts_w=parts_w)


def against_itself(probe: Probe, resolution_w: float = 1.0) -> Reason | None:
    """Why watts do not fit voltage, current and power factor; None where they do.

    Args:
        probe: what was read at one moment.
    """
    watts, amperes = probe.watts, probe.amperes
    if watts is None or amperes is None or amperes < _LEAST_AMPERES:
        return None
    if probe.volts is not None and probe.power_factor is not None:
        expected = probe.volts * amperes * probe.power_factor
        if abs(watts - expected) <= _TOLERANCE * max(watts, expected) + resolution_w:
            return None
        return Reason(
            "power_factor_differs",
            watts=watts,
            volts=probe.volts,
            amperes=amperes,
            power_factor=probe.power_factor,
            expected_w=expected,
        )
    highest = known(probe.volts, _HIGHEST_VOLTS) * amperes
    if watts <= highest * (1 + _TOLERANCE) + resolution_w:
        return None
    return Reason("current_exceeded", watts=watts, amperes=amperes, highest_va=highest)


def _uncertainty(value: EnergyValue) -> float:
    return math.hypot(value.u_reading or 0.0, value.u_sensor or 0.0)
