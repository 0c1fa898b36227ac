"""Numbers as text: rounded by their uncertainty, which follows them."""

from __future__ import annotations

import math

from kit.energy.reasons import sentence
from kit.energy.results.document import NetEnergy
from kit.energy.value import EnergyValue

Energy = EnergyValue | NetEnergy


def four(value: float) -> str:
    """Four significant digits without an exponent: ``0.1923``, ``71.42``, ``3,388``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 9)}f}"


def number(value: float, digits: int = 4) -> str:
    """A value to ``digits`` significant digits, without exponent if that is readable."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else f"{value}"
    shown = f"{value:.{digits}g}"
    if "e" not in shown or not 1e-9 < abs(value) < 1e9:
        return shown
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def share(part: float | None) -> str:
    """A share of the variance as text; a small share is never shown as 0."""
    if part is None:
        return "–"
    return "< 0.1%" if part < 0.001 else f"{100 * part:.1f}%"


def with_u(value: float, u: float) -> str:
    """``-0.028 ± 0.023``: both to the place of the uncertainty's second digit."""
    if not (math.isfinite(value) and math.isfinite(u) and u > 0):
        return number(value)
    places = 1 - math.floor(math.log10(u))
    if places > 9:
        return f"{value:.4g} ± {u:.2g}"
    value, u = round(value, places) + 0.0, round(u, places)
    return f"{value:.{max(0, places)}f} ± {u:.{max(0, places)}f}"


def digits_left(value: float, u: float) -> int:
    """Significant digits of ``value`` down to the second one of ``u``, 3 to 6; 4 without ``u``."""
    if not (value and u and math.isfinite(value) and math.isfinite(u)):
        return 4
    places = math.floor(math.log10(abs(value))) - math.floor(math.log10(abs(u)))
    return min(6, max(3, places + 2))


# A number with rejected readings: the notices say which ones, and why.
IN_DOUBT = "(readings in doubt)"


def spread(value: Energy, scale: float = 1.0) -> list[str]:
    """``["± 3 (reading noise)", "± 26 (sensor)"]``; an estimate's second is ``(model)``."""
    if value.u_sensor is None:
        return ["uncertainty not stated"]
    second = "model" if value.status == "estimated" else "sensor"
    words = ((value.u_reading, "reading noise"), (value.u_sensor, second))
    parts = [f"± {number(u * scale, 2)} ({word})" for u, word in words if u is not None]
    return [*parts, *([IN_DOUBT] if value.doubts else [])]


def joules(value: Energy) -> tuple[str, str, list[str]] | None:
    """Value, unit and uncertainties of one window's energy, in millijoules where joules would
    begin with zeros; None where it is unmeasured."""
    joules = value.joules
    if joules is None:
        return None
    scale, unit = (1000.0, "mJ") if 0 < abs(joules) < 0.1 else (1.0, "J")
    largest = max(value.u_reading or 0.0, value.u_sensor or 0.0)
    return fixed(joules * scale, digits_left(joules, largest)), unit, spread(value, scale)


def fixed(value: float, digits: int) -> str:
    """``digits`` significant digits with the zeros that belong to them: ``450.0``, ``1,213.02``."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(0, places)}f}"


def in_line(value: Energy) -> str:
    """``915 J ± 3 (reading noise) ± 26 (sensor)``, or ``unmeasured: why``."""
    digits = joules(value)
    if digits is None:
        return f"unmeasured: {sentence(value.reason or 'no reason recorded')}"
    shown, unit, shares = digits
    guessed = " estimated" if value.status == "estimated" else ""
    return " ".join([f"{shown} {unit}", *shares]) + guessed
