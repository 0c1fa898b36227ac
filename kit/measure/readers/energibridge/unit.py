"""The unit of a RAPL counter in an EnergiBridge CSV, inferred from its numbers.

The counter is a 32-bit count of 2^-14 J (Intel since Haswell) or 2^-16 J (Intel before, AMD). The
titles say joules, and AMD's always are. Of Intel's that depends on the version, because the older
ones read the time unit's bits in place of the energy unit's (facts from its source):

    0.0.7                        joules: every value lies on the grid of 2^-14 J (2^-16 J)
    0.0.5, 0.0.6   unit 2^-14    counts / 10^6: decimals down to 10^-6, 61 times too low
                   unit 2^-16    joules / 10^6
    0.0.3, 0.0.4   unit 2^-14    counts: whole numbers, 16,384 times too high
                   unit 2^-16    joules

The four cannot be confused: some dozen random values on one grid do not lie on another by chance.
Numbers on no grid were rounded by another program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kit.core.limits import PACKAGE_W
from kit.measure.readers.energibridge.table import refuse

LEAST_W = 0.3  # the least power of a package over a longer time
COUNT_J = 2.0**-14
_COUNTS = 2**32
_PER_MICRO = 1e6
_GRIDS = (14, 16)
_ROUNDED = 6e-7  # half of the sixth decimal, and a bit
_COARSE = 10  # the error of cut decimals in every step
_ENOUGH = 4


class Unit(NamedTuple):
    """Joules of one unit of the file, the counter's range (J) if known, and a note."""

    factor: float = 1.0
    range_j: float | None = None
    note: str = ""


_HASWELL = "taken as 2^-14 J, as on Intel since Haswell"


def of(title: str, values: Sequence[float], seconds: Sequence[float], name: str) -> Unit:
    """The unit of a counter.

    Args:
        values: its readings. Shape ``(n,)``.
        seconds: when they were read, s. Shape ``(n,)``.

    Raises:
        UsageError: it cannot be decided whether these are joules.
    """
    watts = _watts(values, seconds)
    if all(value.is_integer() for value in values):
        if watts <= PACKAGE_W:
            return Unit()
        return _counts(1.0, f"{title} holds counts, as before version 0.0.5: one is {_HASWELL}")
    if _on_binary_grid(values):
        return Unit()
    if _are_micro_counts(values) and watts * _PER_MICRO * COUNT_J <= PACKAGE_W:
        note = f"{title} holds counts / 10^6, as of versions 0.0.5 and 0.0.6: one is {_HASWELL}"
        return _counts(_PER_MICRO, note)
    if _are_micro_joules(values):
        note = f"{title} holds joules / 10^6, as of versions 0.0.5 and 0.0.6"
        return Unit(_PER_MICRO, _COUNTS * 2.0**-16, note)
    return _rounded(title, watts, name)


def _counts(scale: float, note: str) -> Unit:
    return Unit(scale * COUNT_J, _COUNTS * COUNT_J, note)


def _watts(values: Sequence[float], seconds: Sequence[float]) -> float:
    """The usual growth in a second, in the file's own unit."""
    pairs = zip(pairwise(values), pairwise(seconds), strict=True)
    powers = [(b - a) / (t1 - t0) for (a, b), (t0, t1) in pairs if b > a and t1 > t0]
    return median(powers) if powers else 0.0


def _on_binary_grid(values: Sequence[float]) -> bool:
    """Whether they are joules in steps of the counter, exactly or to six decimals."""
    if all((value * 2.0**18).is_integer() for value in values):
        return True
    if len(set(values)) < _ENOUGH:
        return False
    grids = ([value * 2.0**k for value in values] for k in _GRIDS)
    return any(
        all(abs(v - round(v)) <= _ROUNDED * 2.0**k for v in grid)
        for k, grid in zip(_GRIDS, grids, strict=True)
    )


def _are_micro_counts(values: Sequence[float]) -> bool:
    counts = [round(value * _PER_MICRO) for value in values]
    if any(count / _PER_MICRO != value for count, value in zip(counts, values, strict=True)):
        return False
    steps = [abs(b - a) for a, b in pairwise(counts)]
    return min(counts) >= 0 and max(counts) < _COUNTS and math.gcd(*steps) % _COARSE != 0


def _are_micro_joules(values: Sequence[float]) -> bool:
    counts = [value * _PER_MICRO * 2.0**16 for value in values]
    return max(counts) < _COUNTS and all(abs(c - round(c)) < 1e-3 for c in counts)


def _rounded(title: str, watts: float, name: str) -> Unit:
    note = f"{title} lies on no grid of a RAPL counter: another program rounded it"
    if 0 < watts < LEAST_W:
        refuse(
            f"{name}: {note}, and {watts:.2g} W is less than a CPU draws: whether these are joules "
            "or the counts of versions 0.0.5 and 0.0.6, 61 times less, cannot be decided"
        )
    doubt = "; the counts of versions 0.0.5 and 0.0.6, 61 times less, would look the same"
    return Unit(note=note + (doubt if watts * _PER_MICRO * COUNT_J < PACKAGE_W else ""))
