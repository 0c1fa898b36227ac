"""Recordings of other tools, converted to kit's samples and meter facts.

A reader is a module here. Its result goes through the same `kit.energy` functions as a run of kit,
so that a stranger's recording gets the same checks and an uncertainty.
"""

from __future__ import annotations

from typing import NamedTuple

from kit.core.model import MeterPlan


class Recording(NamedTuple):
    """A recording of another tool.

    Attributes:
        csv: kit's sample rows (see `kit.record.samples`), times in ns since its first row.
        meters: devices and quantities, with the facts that energy needs, and their origin.
        window: first and last time (ns) between which the energy is known.
        began_ms: wall clock of its first row, milliseconds since 1970 (UTC).
        rows: how many readings it has.
        unused: columns of the file that kit does not use, and why.
        notes: readings that were left out or corrected, and why.
        gaps: intervals (ns) over which only a counter's total is known: a window may contain
            one, but neither begin nor end in it.
    """

    csv: bytes
    meters: tuple[MeterPlan, ...]
    window: tuple[int, int]
    began_ms: int
    rows: int
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
