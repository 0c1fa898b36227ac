"""Recordings of other tools, read into kit's own form: samples and the facts of their meters.

A reader is a file here. What it returns goes through the same `kit.energy` functions as a run of
kit's own, so that a stranger's recording gets the same checks and an uncertainty.
"""

from __future__ import annotations

from typing import NamedTuple

from kit.core.model import MeterPlan


class Recording(NamedTuple):
    """A recording of another tool.

    Attributes:
        csv: kit's sample rows (see `kit.record.samples`), times in ns since its first row.
        meters: what was read, with the facts that energy needs and where it comes from.
        window: first and last time (ns) between which the energy is known.
        began_ms: wall clock of its first row, milliseconds since 1970 (UTC).
        rows: how many readings it has.
        unused: what is in the file and is not energy to kit, and why.
        notes: which readings were left out or corrected, and why.
        gaps: stretches of time (ns) over which a counter is known in sum alone: a window may hold
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
