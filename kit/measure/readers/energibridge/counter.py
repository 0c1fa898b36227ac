"""A RAPL counter of an EnergiBridge CSV: its range, its bad readings, the gaps it bridges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from kit.core.facts import QuantityFacts
from kit.core.limits import PACKAGE_W
from kit.energy.scopes.cpu import HOLE_POLLS, SHORTEST_HOLE_S
from kit.measure.readers.energibridge.table import refuse

_LEAST_RANGE = 12  # 2^12 J: the smallest range of any RAPL counter
_SHORTEST_S = 0.1  # rows may be closer than the counter's own updates
_FEW, _SHARE = 3, 0.05  # the most bad readings
_LEAST = 2


class Counter(NamedTuple):
    """A counter that was read.

    Attributes:
        joules: its readings; NaN without one. Shape ``(n,)``.
        facts: facts for `kit.energy`, or the ``reason`` why it cannot be used.
        notes: which readings are left out.
    """

    joules: list[float]
    facts: QuantityFacts
    notes: list[str]


def read(
    title: str,
    joules: Sequence[float],
    seconds: Sequence[float],
    lines: Sequence[int],
    range_j: float | None,
    name: str,
) -> Counter:
    """Read a column of energy.

    Args:
        range_j: the counter's range, J; None: the next power of two above its readings, as a
            larger one would give an impossible growth.

    Raises:
        UsageError: it is no counter.
    """
    places = [i for i, value in enumerate(joules) if not math.isnan(value)]
    negative = next((i for i, value in enumerate(joules) if value < 0), None)
    if negative is not None:
        refuse(
            f"{name} line {lines[negative]}: {title} is {joules[negative]:.6g}, and a counter is "
            "never negative: the column is energy per interval"
        )
    notes = _missing(title, joules, lines)
    if len(places) < _LEAST:
        return Counter(list(joules), QuantityFacts(reason=f"{title} has no readings"), notes)
    if len({joules[i] for i in places}) == 1:
        reason = f"{title} stands still: it is not measured on this machine"
        return Counter(list(joules), QuantityFacts(reason=reason), notes)
    wrap = range_j or _range(joules[i] for i in places)
    rows = _good(title, joules, seconds, lines, places, wrap, name)
    dropped = sorted(set(places) - set(rows))
    notes += [
        f"line {lines[i]}: {title} is {joules[i]:.6g}, which does not fit its neighbours: left out"
        for i in dropped
    ]
    clean = [value if i in set(rows) else math.nan for i, value in enumerate(joules)]
    if len(rows) < _LEAST:
        reason = f"{title} has too few readings that fit one another"
        return Counter(clean, QuantityFacts(reason=reason), notes)
    facts = QuantityFacts(wrap=round(wrap * 1e6), bridge_s=_bridge_s(clean, seconds, wrap))
    return Counter(clean, facts, notes)


def _range(values: Any) -> float:
    return float(2.0 ** max(_LEAST_RANGE, math.ceil(math.log2(max(*values, 1.0)))))


def _missing(title: str, joules: Sequence[float], lines: Sequence[int]) -> list[str]:
    empty = [lines[i] for i, value in enumerate(joules) if math.isnan(value)]
    if not empty:
        return []
    return [f"{title} has no number in {len(empty)} rows (the first is line {empty[0]})"]


def _good(
    title: str,
    joules: Sequence[float],
    seconds: Sequence[float],
    lines: Sequence[int],
    places: Sequence[int],
    wrap: float,
    name: str,
) -> list[int]:
    """Readings without single ones that are impossible between their neighbours."""

    def fits(a: int, b: int) -> bool:
        return _fits(joules[a], joules[b], seconds[b] - seconds[a], wrap)

    places = (
        places[1:] if not fits(*places[:2]) and all(map(fits, places[1:3], places[2:4])) else places
    )
    rows = [places[0]]
    bad = 0
    for at, i in enumerate(places[1:], 1):
        if fits(rows[-1], i):
            rows.append(i)
            continue
        bad += 1
        isolated = at + 1 == len(places) or fits(rows[-1], places[at + 1])
        if not isolated or bad > max(_FEW, _SHARE * len(places)):
            before = rows[-1]
            refuse(
                f"{name} line {lines[i]}: {title} goes from {joules[before]:.6g} to "
                f"{joules[i]:.6g} J in {seconds[i] - seconds[before]:.3g} s, which is no counter's "
                "growth or wrap: it was reset, or the column is energy per interval",
            )
    return rows


def _fits(before: float, after: float, seconds: float, wrap: float) -> bool:
    grown = after - before + (wrap if after < before else 0.0)
    return 0 <= grown <= PACKAGE_W * max(seconds, _SHORTEST_S)


def _bridge_s(joules: Sequence[float], seconds: Sequence[float], wrap: float) -> float | None:
    """The longest gap between two readings (s) over which the counter is reliable, None
    where there is none.

    Over a longer one it may have wrapped more than once, or was reset while the machine slept.
    """
    places = [i for i, value in enumerate(joules) if not math.isnan(value)]
    steps = [(seconds[b] - seconds[a], joules[b] - joules[a]) for a, b in pairwise(places)]
    usual = max(SHORTEST_HOLE_S, HOLE_POLLS * sorted(s for s, _ in steps)[len(steps) // 2])
    long = [(s, s * PACKAGE_W < wrap and grown > 0) for s, grown in steps if s > usual]
    unsafe = min((s for s, safe in long if not safe), default=math.inf)
    bridged = [s for s, safe in long if safe and s < unsafe]
    return max(bridged, default=None)
