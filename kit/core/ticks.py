"""Round ticks for the axis of any plot: steps of 1, 2 or 5 times a power of ten."""

from __future__ import annotations

import math
from itertools import pairwise

_STEPS = (1.0, 2.0, 5.0, 10.0)


def step(span: float, most: int) -> float:
    """The least round step of which ``most`` reach over ``span``; 1 for a span that is none."""
    if not (math.isfinite(span) and span > 0):
        return 1.0
    rough = span / max(most, 1)
    ten = 10.0 ** math.floor(math.log10(rough))
    return next(s * ten for s in (*_STEPS, 20.0) if s * ten >= rough * (1 - 1e-9))


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round values from ``low`` to ``high``, at most ``most`` + 1 of them.

    Args:
        whole: only whole numbers, of a quantity that is read as such.
    """
    by = step(high - low, most)
    if whole:
        by = max(1.0, by)
    first, last = math.ceil(low / by - 1e-9), math.floor(high / by + 1e-9)
    return [n * by for n in range(first, last + 1)]


def from_zero(top: float, most: int) -> list[float]:
    """0 and round values up to ``top``: at least one more, for an axis with one number says
    nothing."""
    tried = (ticks(0.0, top, n) for n in range(most, 2 * most + 2))
    return next((found for found in tried if len(found) > 1), [0.0])


def apart(values: list[float], top: float, rows: int) -> list[float]:
    """Those of ``values`` that stand on lines of their own, of ``rows`` lines from 0 to ``top``.

    Of two numbers on one line a plot draws now one, now the other.
    """
    lines: dict[int, float] = {}
    for value in values:
        lines.setdefault(round(value / top * max(0, rows - 1)), value)
    return list(lines.values())


def labels(values: list[float]) -> list[str]:
    """Ticks as text, with the decimals that their step needs: ``0``, ``20``; ``0.0``, ``0.5``."""
    gaps = [b - a for a, b in pairwise(values)] or [abs(v) for v in values]
    least = min((g for g in gaps if g > 0), default=1.0)
    places = max(0, -math.floor(math.log10(least) + 1e-9))
    return [f"{value + 0.0:.{places}f}" for value in values]
