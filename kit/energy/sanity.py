"""Checks that a wall meter must pass whatever it is: against the parts of the host, and in itself.

Pure, for preflight (what the probe read) and for results (what a run measured).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kit.core.model import EnergyValue

_PARTS = ("gpu", "cpu")
# A finding must be certain: three standard uncertainties.
_SURE = 3.0
# Voltage, current and power factor are read one after the other, while the load goes on.
_TOLERANCE = 0.15
# Below that a current of a few digits, or a power factor of a standby load, tells nothing.
_LEAST_AMPERES = 0.3
# No single-phase outlet of a rack has more; with it, amperes alone bound the watts.
_HIGHEST_VOLTS = 264.0


def wall_below_parts(values: Sequence[EnergyValue]) -> str:
    """Why the wall's energy of a window is impossible; empty where it is not, or is unmeasured.

    What GPUs and CPU packages draw comes through the outlets: the wall can never show less.
    """
    measured = {v.scope: v for v in values if v.status == "measured" and v.joules is not None}
    wall = measured.get("wall")
    parts = [measured[scope] for scope in _PARTS if scope in measured]
    if wall is None or wall.joules is None or not parts:
        return ""
    inside = math.fsum(part.joules or 0.0 for part in parts)
    doubt = _SURE * math.hypot(*(_uncertainty(value) for value in (wall, *parts)))
    if wall.joules + doubt >= inside:
        return ""
    names = " and ".join(part.scope.upper() for part in parts)
    return (
        f"the wall shows {wall.joules:.4g} J where {names} alone drew {inside:.4g} J: impossible, "
        "so an outlet or a supply is missing, or the PDU's numbers are not watts"
    )


def power_below_parts(wall_w: float, gain: float, parts_w: float) -> str:
    """The same check on instantaneous power; ``gain`` is the wall meter's relative half-width."""
    if parts_w <= 0 or wall_w * (1 + gain) >= parts_w * (1 - _TOLERANCE):
        return ""
    return (
        f"the outlets show {wall_w:.4g} W where the GPUs alone draw {parts_w:.4g} W: impossible, "
        "so an outlet or a supply is missing, or the PDU's numbers are not watts"
    )


def against_itself(probe: Mapping[str, Any], resolution_w: float = 1.0) -> str:
    """Why watts do not fit voltage, current and power factor; empty where they do.

    Args:
        probe: what was read at one moment: ``watts``, ``amperes``, and where the PDU tells them
            ``volts`` and ``power_factor``.
    """
    watts, amperes = probe.get("watts"), probe.get("amperes")
    if watts is None or amperes is None or amperes < _LEAST_AMPERES:
        return ""
    if "volts" in probe and "power_factor" in probe:
        expected = float(probe["volts"]) * amperes * float(probe["power_factor"])
        if abs(watts - expected) <= _TOLERANCE * max(watts, expected) + resolution_w:
            return ""
        return (
            f"{watts:.4g} W do not fit {probe['volts']:.4g} V × {amperes:.4g} A × power factor "
            f"{probe['power_factor']:.3g} = {expected:.4g} W: unit or scale may be wrong"
        )
    highest = float(probe.get("volts", _HIGHEST_VOLTS)) * amperes
    if watts <= highest * (1 + _TOLERANCE) + resolution_w:
        return ""
    return (
        f"{watts:.4g} W are more than {amperes:.4g} A can carry ({highest:.4g} VA): unit or scale "
        "may be wrong"
    )


def _uncertainty(value: EnergyValue) -> float:
    return math.hypot(value.u_reading or 0.0, value.u_sensor or 0.0)
