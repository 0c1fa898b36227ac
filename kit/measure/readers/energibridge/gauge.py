"""A GPU's power in an EnergiBridge CSV, without readings that no card can draw.

EnergiBridge starts NVML for every row, and the first readings of a card that slept are sometimes
wrong: an idle card of 8 GB at 590 W. A reading is left out if it is more than any board with this
memory draws, or far above its neighbours while the card is idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# The most that boards with up to so much memory (MiB) draw, W: the highest limit that a maker sells
# (8 GB: 290 W, 16 GB: 360 W, 48 GB: 600 W, beyond: 1,400 W), and a third for boards tuned further.
_BOARDS_W = ((8_600, 400.0), (17_000, 500.0), (50_000, 800.0))
_HIGHEST_W = 1900.0
_FIRST = 10  # the most readings of a card that wakes up
_AFTER = 5  # readings after them that show its true power
_REST = 5.0  # %: a card with no more use than this is idle
_TIMES, _ABOVE_MW = 2.5, 100_000.0  # how far above its neighbours a wrong reading is
_SHARE = 0.2  # with more than this the sensor is no good


class Gauge(NamedTuple):
    """A card's power.

    Attributes:
        milliwatts: its readings; NaN for one that is left out. Shape ``(n,)``.
        reason: why it cannot be used; empty if it can.
        notes: which readings are left out.
    """

    milliwatts: list[float]
    reason: str
    notes: list[str]


def read(
    title: str,
    milliwatts: Sequence[float],
    busy: Sequence[float] | None,
    memory_mib: float,
    lines: Sequence[int],
) -> Gauge:
    """Read a column of power.

    Args:
        busy: the card's use, %. Shape ``(n,)``.
        memory_mib: the card's memory, MiB; NaN if unknown.
    """
    numbers = [value for value in milliwatts if not math.isnan(value)]
    if not any(numbers):
        reason = f"{title} is 0 throughout: no reading" if numbers else f"{title} has no readings"
        return Gauge(list(milliwatts), reason, [])
    limit_w = next((w for most, w in _BOARDS_W if memory_mib <= most), _HIGHEST_W)
    odd = {i for i, v in enumerate(milliwatts) if not 0 <= v <= limit_w * 1e3}
    odd |= _awakening(milliwatts, busy, odd)
    odd |= _spikes(milliwatts, busy, odd)
    odd = {i for i in odd if not math.isnan(milliwatts[i])}
    if len(odd) > _SHARE * len(milliwatts) + 1:
        reason = f"{len(odd)} of {len(milliwatts)} readings of {title} are more than a card draws"
        return Gauge(list(milliwatts), reason, [])
    clean = [math.nan if i in odd else value for i, value in enumerate(milliwatts)]
    return Gauge(clean, "", _notes(title, milliwatts, sorted(odd), lines))


def _notes(
    title: str, milliwatts: Sequence[float], odd: Sequence[int], lines: Sequence[int]
) -> list[str]:
    if not odd:
        return []
    first = f"line {lines[odd[0]]}: {milliwatts[odd[0]] / 1e3:.6g} W"
    count = "1 reading" if len(odd) == 1 else f"{len(odd)} readings"
    return [f"{title}: {count} left out as garbage ({first})"]


def _at_rest(busy: Sequence[float] | None, at: range) -> bool:
    """Whether the card is idle in these rows; false if its use is unknown."""
    return busy is not None and all(busy[i] <= _REST for i in at if i < len(busy))


def _awakening(
    milliwatts: Sequence[float], busy: Sequence[float] | None, odd: set[int]
) -> set[int]:
    """First readings of an idle card that are far above all later ones."""
    for first in range(min(_FIRST, len(milliwatts) - _AFTER), 0, -1):
        after = [milliwatts[i] for i in range(first, first + _AFTER) if i not in odd]
        before = [milliwatts[i] for i in range(first) if i not in odd]
        if before and after and _is_above(min(before), max(after)):
            return set(range(first)) if _at_rest(busy, range(first + _AFTER)) else set()
    return set()


def _spikes(milliwatts: Sequence[float], busy: Sequence[float] | None, odd: set[int]) -> set[int]:
    """Single readings of an idle card that are far above both neighbours."""
    return {
        i
        for i in range(1, len(milliwatts) - 1)
        if not {i - 1, i + 1} & odd
        and _is_above(milliwatts[i], max(milliwatts[i - 1], milliwatts[i + 1]))
        and _at_rest(busy, range(i - 1, i + 2))
    }


def _is_above(value: float, others: float) -> bool:
    return value > _TIMES * others and value > others + _ABOVE_MW
