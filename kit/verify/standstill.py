"""Stretches in which a machine, or a part of it, visibly stood still. Pure.

A virtual machine that is paused, a process that is stopped, a disk that does not answer: the engine
writes no event, or the samplers read nothing, for far longer than is usual for them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from kit.records import RunRecords
from kit.samples import Ints

# The engine's heart beats twice a second.
SILENT_S = 2.0
_READS, _UNREAD_S = 10, 0.5


def longest_s(records: RunRecords, a: int, b: int) -> float:
    """The longest part of ``a`` to ``b`` (ns) in which engine or samplers stood still, s."""
    events = np.array([e.t for e in records.events], np.int64)
    read = np.unique(np.concatenate([np.zeros(0, np.int64), *_reads(records)]))
    usual_s = float(np.median(np.diff(read))) * 1e-9 if len(read) > 1 else 0.0
    return max(
        _longest_s(events, a, b, SILENT_S), _longest_s(read, a, b, max(_UNREAD_S, _READS * usual_s))
    )


def _reads(records: RunRecords) -> list[Ints]:
    return [series.t0 for series in records.samples.series.values()]


def _longest_s(times: Ints, a: int, b: int, usual_s: float) -> float:
    """The longest gap between two ``times`` as far as it lies within; 0 where none is unusual."""
    low, high = np.searchsorted(times, a, "right") - 1, np.searchsorted(times, b) + 1
    near = times[max(0, low) : high].tolist()
    gaps = [(x, y) for x, y in pairwise(near) if (y - x) * 1e-9 > usual_s]
    return max((min(y, b) - max(x, a) for x, y in gaps), default=0) * 1e-9
