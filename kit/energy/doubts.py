"""Doubts about a run's readings, in one form for every number that depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kit.core.arrays import np
from kit.energy.reason import Reason
from kit.record.samples import Ints

_APART_NS = 1_000_000_000
Span = tuple[int, int]


class Doubt(NamedTuple):
    """Readings that are not believed.

    Attributes:
        device: whose they are.
        quantity: which.
        reason: why they are not believed.
        instead: what is used in their place; None where nothing is.
        readings: how many they are, of ``of``; 0 of 0 where it is about a stretch of time.
        spans: when (ns, ns).
        dropped: whether the readings are left out; else they are used, in doubt.
        settled: whether what was found leaves no number in doubt: another source was known to be
            right all along.
    """

    device: str
    quantity: str
    reason: Reason
    instead: Reason | None
    readings: int
    of: int
    spans: tuple[Span, ...]
    dropped: bool = True
    settled: bool = False

    def touches(self, t0: float, t1: float) -> bool:
        """Whether it is about readings in the window ``[t0, t1)`` (ns)."""
        return any(a < t1 and b > t0 for a, b in self.spans)

    def as_reason(self) -> Reason:
        """The doubt as a reason, beside a number or in a notice."""
        return Reason(
            "doubt",
            device=self.device,
            quantity=self.quantity,
            readings=self.readings if self.of else None,
            of=self.of or None,
            reason=self.reason,
            instead=self.instead,
        )


def spans_of(begin: Ints, end: Ints) -> tuple[Span, ...]:
    """When readings were made, those that lie close together as one stretch."""
    if not len(begin):
        return ()
    cut = np.flatnonzero(begin[1:] - end[:-1] > _APART_NS) + 1
    first, last = np.concatenate([[0], cut]), np.concatenate([cut - 1, [len(begin) - 1]])
    return tuple((int(begin[a]), int(end[b])) for a, b in zip(first, last, strict=True))


def bearing_on(
    doubts: Iterable[Doubt], devices: Sequence[str], quantities: frozenset[str], t0: int, t1: int
) -> tuple[Reason, ...]:
    """The doubts about these devices' quantities in a window."""
    return tuple(
        d.as_reason()
        for d in doubts
        if not d.settled and d.device in devices and d.quantity in quantities and d.touches(t0, t1)
    )
