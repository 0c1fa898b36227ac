"""EnergiBridge's CSV (github.com/tdurieux/EnergiBridge), versions 0.0.3 to 0.0.7.

From Linux and Windows with a CPU of Intel or AMD, and NVIDIA's GPUs. Columns are ``NAME (unit)``:

    PACKAGE_ENERGY (J), CPU_ENERGY (J)   RAPL's counter, of one socket: Intel, AMD
    PP0_, PP1_, DRAM_ENERGY (J)          parts of the socket, and the memory
    GPU0_POWER (mWatts)                  nvmlDeviceGetPowerUsage, a trailing mean of about 1 s
    GPU0_USAGE, GPU0_TEMPERATURE         %, °C
    GPU0_MEMORY_USED, _TOTAL             MiB

Until 0.0.4 Intel's package is spelled PACAKGE and the power has no unit. The unit of Intel's
numbers depends on the version (`kit.measure.readers.energibridge.unit`). macOS's files hold powers
with an undocumented averaging: kit makes no energy of them. Versions 0.0.1 and 0.0.2, which call
energy watts, are refused.

One bad row does not spoil a counter, which holds the energy of all rows before: it is left out with
a note. Ambiguous files are refused: a column of energy per interval instead of the counter, two
recordings in one file, another unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec.structs import replace

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan, Sample
from kit.energy.scopes.cpu import HOLE_POLLS
from kit.measure.readers import Recording
from kit.measure.readers.energibridge import clock, columns
from kit.measure.readers.energibridge.columns import ENERGY, PACKAGE, POWER, Read
from kit.measure.readers.energibridge.table import Table
from kit.measure.readers.energibridge.table import read as read_table

_MS = 1_000_000
_AVERAGE_NS = 500_000_000  # half of NVML's averaging window
_LATEST_NS = (
    5_000_000_000  # the window does not wait for a device whose readings begin later than this
)
_SHORTEST_NS = 5_000_000_000  # as in kit.energy.gpu: a mean of a second makes no energy of less


def read(text: str, name: str) -> Recording:
    """The recording in ``text``; ``name`` is the file's, for messages.

    Raises:
        UsageError: it is not EnergiBridge's, or its numbers cannot be what they should.
    """
    table = read_table(text, name, lambda title: bool(columns.meaning(title)))
    series, unused = columns.find(table, name)
    times = _times(table, series, name)
    series = [c._replace(values=[c.values[i] for i in times.rows]) for c in series]
    lines = [table.lines[i] for i in times.rows]
    good, notes = columns.checked(series, times.ms, lines, table, name)
    t = [ms * _MS for ms in times.ms]
    return Recording(
        csv=_samples(good, t),
        meters=tuple(_meters(good, t)),
        window=_window(good, t),
        began_ms=int(table.numbers("Time")[0]),
        rows=len(table.rows),
        unused=tuple(unused),
        notes=(*table.notes, *times.notes, *notes),
        gaps=_gaps(good, t),
    )


def _times(table: Table, columns: Sequence[Read], name: str) -> clock.Times:
    """When the rows were read; the clock is checked against a counter, if there is one."""
    counters = [c.values for c in columns if c.column.quantity == ENERGY]
    package = [c.values for c in columns if c.device == PACKAGE]
    evidence = [*package, *counters, [math.nan] * len(table.rows)][0]
    return clock.read(table.numbers("Time"), table.numbers("Delta"), evidence, table.lines, name)


def _spans(columns: Sequence[Read], t: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last time (ns) of each energy; a trailing mean belongs to its middle."""
    for c in columns:
        times = [t[i] for i, value in enumerate(c.values) if not math.isnan(value)]
        back = _AVERAGE_NS if c.column.quantity == POWER else 0
        if c.makes_energy and times and (not back or times[-1] - times[0] > _SHORTEST_NS + back):
            yield times[0] + _MS - back, times[-1] - back


def _window(columns: Sequence[Read], t: Sequence[int]) -> tuple[int, int]:
    """The window in which the energy of every device is known."""
    spans = list(_spans(columns, t)) or [(t[0] + _MS, t[-1])]
    begin = max(first for first, _ in spans if first <= t[0] + _LATEST_NS or len(spans) == 1)
    end = min(last for _, last in spans if last >= t[-1] - _LATEST_NS or len(spans) == 1)
    return max(begin, t[0] + _MS), max(end, begin, t[0] + _MS)


def _gaps(columns: Sequence[Read], t: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Intervals (ns) over which only a counter's total is known."""
    spans: list[tuple[int, int]] = []
    for c in columns:
        if c.makes_energy and c.facts.bridge_s is not None:
            times = [t[i] for i, value in enumerate(c.values) if not math.isnan(value)]
            least = max(HOLE_POLLS * _poll_ns(times), _AVERAGE_NS)
            spans += [(a, b) for a, b in pairwise(times) if b - a > least]
    return tuple(spans)


# --- kit's own form -------------------------------------------------------------------------


def _poll_ns(t: Sequence[int]) -> int:
    steps = sorted(b - a for a, b in pairwise(t))
    return max(steps[len(steps) // 2], _MS) if steps else _MS


def _meters(columns: Sequence[Read], t: Sequence[int]) -> Iterator[MeterPlan]:
    for meter in ("rapl", "nvml"):
        own = [c for c in columns if c.column.meter == meter]
        devices = tuple(
            _device(device, [c for c in own if c.device == device], _poll_ns(t) * 1e-9)
            for device in dict.fromkeys(c.device for c in own)
        )
        if devices:
            yield MeterPlan(name=meter, alias=None, devices=devices)


def _device(device: str, own: Sequence[Read], poll_s: float) -> MeterDevice:
    quantities: dict[str, QuantityFacts] = {}
    for c in own:
        quantities[c.column.quantity] = replace(c.facts, poll_s=poll_s)
        if c.column.quantity == POWER and not c.facts.is_read:
            quantities["gpu_energy"] = QuantityFacts(reason=c.facts.reason)
    titles = ", ".join(c.title for c in own)
    one = ", one socket alone" if device == PACKAGE else ""
    return MeterDevice(
        device=device,
        description=f"imported from EnergiBridge: {titles}{one}",
        quantities=quantities,
    )


def _samples(columns: Sequence[Read], t: Sequence[int]) -> bytes:
    """kit's rows; each value was read within the millisecond after its time."""
    lines = [",".join(Sample._fields)]
    for at, begin in enumerate(t):
        for c in columns:
            if not math.isnan(c.values[at]):
                raw = round(c.values[at] * c.column.factor)
                key = f"{c.device},{c.column.quantity}"
                lines.append(f"{len(lines) - 1},{begin},{begin + _MS},,{key},0,{raw}")
    return ("\n".join(lines) + "\n").encode()
