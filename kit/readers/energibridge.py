"""EnergiBridge's CSV (github.com/tdurieux/EnergiBridge), versions 0.0.1 to 0.0.7, from Linux.

A row is written one interval after its values were read: ``Time`` (ms since 1970) is when they were
read, ``Delta`` (ms) how long that was ago when the row was written, so that ``Time + Delta`` is the
next row's ``Time``. Columns are named ``NAME (unit)``:

    PACKAGE_ENERGY (J), CPU_ENERGY (J)   RAPL's counter as it stands, of one socket: Intel, AMD
    PP0_, PP1_, DRAM_ENERGY (J)          parts of the socket, and the memory beside it
    GPU0_POWER (mWatts)                  nvmlDeviceGetPowerUsage, a trailing mean of about 1 s
    GPU0_USAGE, GPU0_TEMPERATURE         %, °C
    GPU0_MEMORY_USED                     MiB

Mistakes that such files invite are refused here: a column of energy per interval in place of the
counter, two recordings in one file, a wall clock that was set meanwhile, another unit.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from kit.errors import UsageError
from kit.model import MeterDevice, MeterPlan, Sample
from kit.readers import Recording

_REMEDY = "give kit the file as EnergiBridge wrote it"
_MS = 1_000_000
_HIGHEST_W = 1000.0  # as in kit.energy.host: what grows faster was reset
_AVERAGE_NS = 500_000_000  # half of the window over which NVML's power is averaged
_CLOCK_MS, _CLOCK_SHARE = 150.0, 0.25
_LEAST_RANGE = 12  # 2^12 J: the smallest range of any RAPL counter
_SHORTEST_S = 0.1  # rows may stand closer than the counter's own updates
_MOST_RAW = 10**18  # `kit.samples` holds integers of 18 digits
_LAST_MS = 253_402_300_799_999  # the end of the year 9999


class _Column(NamedTuple):
    """What a column means to kit: raw = value × factor."""

    pattern: str
    unit: str
    meter: str
    device: str
    quantity: str
    factor: float


_COLUMNS = (
    _Column(r"(?:PACKAGE|CPU)_ENERGY", "J", "rapl", "cpu0-package", "cpu_energy", 1e6),
    _Column(r"PP0_ENERGY", "J", "rapl", "cpu0-core", "cpu_energy", 1e6),
    _Column(r"PP1_ENERGY", "J", "rapl", "cpu0-uncore", "cpu_energy", 1e6),
    _Column(r"DRAM_ENERGY", "J", "rapl", "cpu0-dram", "cpu_energy", 1e6),
    _Column(r"GPU([0-9]+)_POWER", "mWatts", "nvml", "gpu{}", "gpu_power_average", 1.0),
    _Column(r"GPU([0-9]+)_USAGE", "", "nvml", "gpu{}", "gpu_utilisation", 1.0),
    _Column(r"GPU([0-9]+)_TEMPERATURE", "", "nvml", "gpu{}", "gpu_temperature", 1.0),
    _Column(r"GPU([0-9]+)_MEMORY_USED", "", "nvml", "gpu{}", "gpu_memory_used", float(1 << 20)),
)
_NO_ENERGY = {
    r"(CPU|SYSTEM)_POWER": "a power whose averaging nobody states: kit makes no energy of it",
    r"CORE[0-9]+_ENERGY": "cores lie inside the package and are not added to it",
}


class _Read(NamedTuple):
    """A column of the file with what it means here."""

    title: str
    column: _Column
    device: str
    values: list[float]


def read(text: str, name: str) -> Recording:
    """The recording in ``text``; ``name`` is the file's, for messages.

    Raises:
        UsageError: it is not EnergiBridge's, or its numbers cannot be what they should.
    """
    header, rows = _table(text, name)
    times = _times(header, rows, name)
    columns, unused = _columns(header, rows, name)
    if not any("energy" in c.column.quantity or "power" in c.column.quantity for c in columns):
        told = f" ({'; '.join(unused)})" if unused else ""
        raise UsageError(
            f"{name} has no column of energy that kit can use{told}",
            "record on Linux with RAPL readable, and with --gpu where there is a GPU",
        )
    meters = tuple(_meters(columns, times, name))
    end = times[-1] - (_AVERAGE_NS if any(m.name == "nvml" for m in meters) else 0)
    return Recording(
        csv=_samples(columns, times),
        meters=meters,
        window=(times[0] + _MS, max(end, times[0] + _MS)),
        began_ms=int(rows[0][header.index("Time")]),
        rows=len(rows),
        unused=tuple(unused),
    )


# --- the table ------------------------------------------------------------------------------


def _table(text: str, name: str) -> tuple[list[str], list[list[float]]]:
    text = text.removeprefix("\ufeff")
    lines = text.splitlines()
    separator = _separator(lines[0] if lines else "", name)
    if not text.endswith("\n"):
        _refuse(f"{name} line {len(lines)} is cut short: it has no end")
    try:
        records = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV: {error}", _REMEDY) from error
    header = [title.strip() for title in records[0]]
    if len(set(header)) < len(header):
        _refuse(f"{name} has a column twice")
    known = [_range(title) for title in header]
    rows = [
        _numbers(cells, header, known, f"{name} line {at}")
        for at, cells in enumerate(records[1:], 2)
        if cells
    ]
    if len(rows) < 3:
        _refuse(f"{name} has {len(rows)} readings: too few for an energy")
    return header, rows


def _separator(first: str, name: str) -> str:
    match = re.match(r"Delta([^\w\s\".+-]|\t)Time(?:\1|$)", first)
    if match is None:
        _refuse(f"{name} does not begin with EnergiBridge's columns Delta and Time")
    return match.group(1)


def _range(title: str) -> tuple[float, float]:
    """The values that kit can hold of a column; any number where it does not use it."""
    if title == "Time":
        return 0.0, _LAST_MS
    plain = title.partition(" (")[0]
    factors = [c.factor for c in _COLUMNS if re.fullmatch(c.pattern, plain)]
    most = _MOST_RAW / factors[0] * (1 - 1e-12) if factors else math.inf
    return -most, most


def _numbers(
    cells: Sequence[str],
    header: Sequence[str],
    known: Sequence[tuple[float, float]],
    where: str,
) -> list[float]:
    if len(cells) != len(header):
        what = "is cut short" if len(cells) < len(header) else "is too long"
        _refuse(f"{where} {what}: {len(cells)} of {len(header)} cells")
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise UsageError(f"{where}: {error}", _REMEDY) from error
    if not all(map(math.isfinite, values)):
        _refuse(f"{where} has a value that is no number")
    for title, value, (least, most) in zip(header, values, known, strict=True):
        if not least <= value <= most:
            _refuse(f"{where}: {title} is {value:g}, which lies outside {least:.4g} … {most:.4g}")
    return values


def _times(header: Sequence[str], rows: Sequence[Sequence[float]], name: str) -> list[int]:
    """When each row's values were read, ns since the first row's.

    ``Delta`` was taken of the same clock as ``Time``: what the two say differently, someone set.
    """
    delta, time = header.index("Delta"), header.index("Time")
    for line, (row, after) in enumerate(pairwise(rows), 2):
        step = after[time] - row[time]
        if step < 0:
            _refuse(f"{name} line {line + 1}: Time runs backwards by {-step:.0f} ms")
        room = max(_CLOCK_MS, _CLOCK_SHARE * step)
        if min(abs(step - row[delta]), abs(step - after[delta])) > room:
            raise UsageError(
                f"{name} line {line + 1}: Time moves by {step:.0f} ms where Delta says "
                f"{row[delta]:.0f} ms: the wall clock was set, rows are missing, or Time is not "
                "in milliseconds",
                _REMEDY,
            )
    if (rows[-1][time] - rows[0][time] + 1) * _MS >= _MOST_RAW:
        _refuse(f"{name}: Time runs over more than 30 years, from {rows[0][time]:.0f} ms on")
    return [round(row[time] - rows[0][time]) * _MS for row in rows]


# --- columns --------------------------------------------------------------------------------


def _columns(
    header: Sequence[str], rows: Sequence[Sequence[float]], name: str
) -> tuple[list[_Read], list[str]]:
    found: list[_Read] = []
    unused: list[str] = []
    for at, title in enumerate(header):
        plain, _, unit = title.partition(" (")
        values = [row[at] for row in rows]
        for column in _COLUMNS:
            if match := re.fullmatch(column.pattern, plain):
                _check_unit(column, unit.removesuffix(")"), title, name)
                device = column.device.format(*match.groups())
                found.append(_Read(title, column, device, values))
        unused += [f"{title}: {why}" for p, why in _NO_ENERGY.items() if re.fullmatch(p, plain)]
    keys = [(c.device, c.column.quantity) for c in found]
    if len(set(keys)) < len(keys):
        _refuse(f"{name} has both PACKAGE_ENERGY and CPU_ENERGY: two machines in one file")
    return found, unused


def _check_unit(column: _Column, unit: str, title: str, name: str) -> None:
    if unit != column.unit:
        wanted = column.unit or "no unit"
        _refuse(f"{name}: the column {title!r} should be in {wanted}, as EnergiBridge's is")


def _meters(columns: Sequence[_Read], times: Sequence[int], name: str) -> Iterator[MeterPlan]:
    poll_s = sorted(b - a for a, b in pairwise(times))[len(times) // 2 - 1]
    for meter in ("rapl", "nvml"):
        own = [c for c in columns if c.column.meter == meter]
        names = list(dict.fromkeys(c.device for c in own))
        devices = tuple(
            _device(device, [c for c in own if c.device == device], times, poll_s * 1e-9, name)
            for device in names
        )
        if devices:
            yield MeterPlan(name=meter, alias=None, devices=devices)


def _device(
    device: str, columns: Sequence[_Read], times: Sequence[int], poll_s: float, name: str
) -> MeterDevice:
    titles = ", ".join(c.title for c in columns)
    quantities: dict[str, dict[str, Any]] = {}
    for c in columns:
        facts: dict[str, Any] = {"poll_s": max(poll_s, 0.001)}
        if c.column.quantity == "cpu_energy":
            facts |= _counter(c, times, name) | {"summed": device.endswith("-package")}
        elif c.column.quantity == "gpu_power_average" and not any(c.values):
            facts["reason"] = f"{c.title} is 0 throughout: no reading"
            quantities["gpu_energy"] = {"reason": facts["reason"]}
        quantities[c.column.quantity] = facts
    one = ", one socket alone" if device == "cpu0-package" else ""
    return MeterDevice(
        device=device,
        description=f"imported from EnergiBridge: {titles}{one}",
        quantities=quantities,
    )


def _counter(c: _Read, times: Sequence[int], name: str) -> dict[str, Any]:
    """Facts of a RAPL counter; refuses what is none.

    It wraps at 2^32 units of 2^-k J, so at a power of two of joules. Where it does, that is the
    next one above its highest value: any other would leave more growth than there can be.
    """
    if len(set(c.values)) == 1:
        return {"reason": f"{c.title} stands still: it is not measured on this machine"}
    range_j = 2.0 ** max(_LEAST_RANGE, math.ceil(math.log2(max(*c.values, 1.0))))
    for at, (before, after) in enumerate(pairwise(c.values)):
        seconds = (times[at + 1] - times[at]) * 1e-9
        grown = after - before + (range_j if after < before else 0.0)
        if not 0 <= grown <= _HIGHEST_W * max(seconds, _SHORTEST_S) or min(before, after) < 0:
            raise UsageError(
                f"{name} line {at + 3}: {c.title} goes from {before:.6g} to {after:.6g} in "
                f"{seconds:.3g} s, which is no counter's growth or wrap: it was reset, or the "
                "column is energy per interval",
                _REMEDY,
            )
    return {"wrap": round(range_j * 1e6)}


def _samples(columns: Sequence[_Read], times: Sequence[int]) -> bytes:
    """kit's rows; a value was read within the millisecond after its ``Time``."""
    lines = [",".join(Sample._fields)]
    for at, t in enumerate(times):
        for c in columns:
            raw = round(c.values[at] * c.column.factor)
            key = f"{c.device},{c.column.quantity}"
            lines.append(f"{len(lines) - 1},{t},{t + _MS},,{key},0,{raw}")
    return ("\n".join(lines) + "\n").encode()


def _refuse(message: str) -> NoReturn:
    raise UsageError(message, _REMEDY)
