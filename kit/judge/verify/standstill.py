"""Intervals in which a machine, or a part of it, visibly stood still. Pure.

A paused virtual machine, a stopped process, a disk that does not answer: the runner writes no
event, or the samplers read nothing, for far longer than usual.
"""

from __future__ import annotations

from functools import cached_property

from kit.core.arrays import np
from kit.record.records import RunRecords
from kit.record.samples import Ints

# The runner's heartbeat comes twice a second.
SILENT_S = 2.0
_READS, _UNREAD_S = 10, 0.5


class Standstills:
    """Where a run's runner or its samplers stood still."""

    def __init__(self, records: RunRecords) -> None:
        self._records = records

    def longest_s(self, a: int, b: int) -> float:
        """The longest part of ``a`` to ``b`` (ns) in which runner or samplers stood still, s."""
        events, read, unread_s = self._times
        return max(_longest_s(events, a, b, SILENT_S), _longest_s(read, a, b, unread_s))

    @cached_property
    def _times(self) -> tuple[Ints, Ints, float]:
        """When events were written and meters read (ns), and what gap of reads is unusual (s)."""
        events = np.array([e.t for e in self._records.events], np.int64)
        reads = [series.t0 for series in self._records.samples.series.values()]
        read = np.unique(np.concatenate([np.zeros(0, np.int64), *reads]))
        usual_s = float(np.median(np.diff(read))) * 1e-9 if len(read) > 1 else 0.0
        return events, read, max(_UNREAD_S, _READS * usual_s)


def _longest_s(times: Ints, a: int, b: int, usual_s: float) -> float:
    """The longest unusual gap between two ``times``, cut to the interval; 0 without one."""
    low, high = np.searchsorted(times, a, "right") - 1, np.searchsorted(times, b) + 1
    near = times[max(0, low) : high]
    long = np.diff(near) * 1e-9 > usual_s
    inside = np.minimum(near[1:], b) - np.maximum(near[:-1], a)
    return float(inside[long].max()) * 1e-9 if long.any() else 0.0
