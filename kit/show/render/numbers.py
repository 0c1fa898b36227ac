"""Numbers as text: four significant digits, and never a zero for an unknown value."""

from __future__ import annotations

from kit.show import rounding
from kit.show.rounding import four as number

__all__ = ("measured", "number", "watts")


def measured(value: rounding.Energy) -> str:
    """``915.2 ± 3 ± 26``: joules of one window, reading noise, sensor."""
    if value.joules is None:
        return "–"
    errors = [u for u in (value.u_reading, value.u_sensor) if u is not None]
    parts = [number(value.joules), *(f"± {rounding.number(u, 2)}" for u in errors)]
    return " ".join([*parts, *([rounding.IN_DOUBT] if value.doubts else [])])


def watts(energy: rounding.Energy, seconds: float) -> str:
    """The mean power of a window of ``seconds``."""
    if energy.joules is None or not seconds:
        return "–"
    return number(energy.joules / seconds)
