"""Numbers as text: four significant digits, and never a zero for an unknown value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.show.report import rounding
from kit.show.report.rounding import four as number

__all__ = ("is_number", "measured", "number", "spread", "watts")


def measured(value: Mapping[str, Any]) -> str:
    """``915.2 ± 3 ± 26``: joules of one window, reading noise, sensor."""
    if not isinstance(value.get("joules"), int | float):
        return "–"
    return " ".join([number(value["joules"]), *spread(value)])


def spread(value: Mapping[str, Any]) -> list[str]:
    """``["± 3", "± 26"]``: reading noise, then sensor, to two digits, as far as known."""
    known = [value[key] for key in ("u_reading", "u_sensor") if is_number(value, key)]
    told = [f"± {rounding.number(u, 2)}" for u in known]
    return [*told, *([rounding.IN_DOUBT] if value.get("doubts") else [])]


def is_number(value: Mapping[str, Any], key: str) -> bool:
    """Whether ``value`` holds a number under ``key``."""
    return isinstance(value.get(key), int | float)


def watts(energy: Mapping[str, Any], seconds: float) -> str:
    """The mean power of a window of ``seconds``."""
    if not is_number(energy, "joules") or not seconds:
        return "–"
    return number(energy["joules"] / seconds)
