"""Columns of an EnergiBridge CSV: their meaning, and their values without bad readings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kit.core.errors import UsageError
from kit.core.facts import NO_FACTS, QuantityFacts
from kit.measure.readers.energibridge import counter, gauge, unit
from kit.measure.readers.energibridge.table import Table, refuse

PACKAGE = "cpu0-package"
ENERGY, POWER, USE = "cpu_energy", "gpu_power_average", "gpu_utilisation"
_MOST_RAW = 10**18  # `kit.record.samples` holds integers of 18 digits


class Column(NamedTuple):
    """The meaning of a column: raw = value × factor."""

    pattern: str
    units: tuple[str, ...]
    meter: str
    device: str
    quantity: str
    factor: float


_J, _MW, _PLAIN = ("J",), ("mWatts", ""), ("",)
_COLUMNS = (
    Column(r"(?:PACKAGE|PACAKGE|CPU)_ENERGY", _J, "rapl", PACKAGE, ENERGY, 1e6),
    Column(r"PP0_ENERGY", _J, "rapl", "cpu0-core", ENERGY, 1e6),
    Column(r"PP1_ENERGY", _J, "rapl", "cpu0-uncore", ENERGY, 1e6),
    Column(r"DRAM_ENERGY", _J, "rapl", "cpu0-dram", ENERGY, 1e6),
    Column(r"GPU([0-9]+)_POWER", _MW, "nvml", "gpu{}", POWER, 1.0),
    Column(r"GPU([0-9]+)_USAGE", _PLAIN, "nvml", "gpu{}", USE, 1.0),
    Column(r"GPU([0-9]+)_TEMPERATURE", _PLAIN, "nvml", "gpu{}", "gpu_temperature", 1.0),
    Column(r"GPU([0-9]+)_MEMORY_USED", _PLAIN, "nvml", "gpu{}", "gpu_memory_used", 1048576.0),
)
_NO_ENERGY = {
    r"(?:CPU|GPU|SYSTEM)_POWER": "undocumented averaging: kit computes no energy from it",
    r"CORE[0-9]+_ENERGY": "cores lie inside the package and are not added to it",
}


class Read(NamedTuple):
    """A column that kit uses: its values in each row, and the facts about them.

    Attributes:
        values: one a row, NaN without a reading. Shape ``(n,)``.
        facts: facts for `kit.energy`, or the ``reason`` why no energy can be computed.
    """

    title: str
    column: Column
    device: str
    values: list[float]
    facts: QuantityFacts

    @property
    def makes_energy(self) -> bool:
        """Whether a scope's energy is computed from it."""
        is_source = self.device == PACKAGE or self.column.quantity == POWER
        return is_source and self.facts.is_read


def meaning(title: str) -> tuple[Column, str] | None:
    """The meaning and the device of a title; None if kit does not use it."""
    plain = title.partition(" (")[0]
    for column in _COLUMNS:
        if match := re.fullmatch(column.pattern, plain):
            return column, column.device.format(*match.groups())
    return None


def find(table: Table, name: str) -> tuple[list[Read], list[str]]:
    """The columns that kit uses, and other columns of energy with the reason against them.

    Raises:
        UsageError: none holds energy, or one is in another unit.
    """
    columns: list[Read] = []
    unused: list[str] = []
    for title in table.header:
        if match := meaning(title):
            column, device = match
            _check_unit(column, title, name)
            most = _MOST_RAW / column.factor * (1 - 1e-12)
            values = [v if abs(v) < most else math.nan for v in table.numbers(title)]
            columns.append(Read(title, column, device, values, NO_FACTS))
            continue
        plain = title.partition(" (")[0]
        unused += [f"{title}: {why}" for p, why in _NO_ENERGY.items() if re.fullmatch(p, plain)]
    keys = [(c.device, c.column.quantity) for c in columns]
    if len(set(keys)) < len(keys):
        refuse(f"{name} has both PACKAGE_ENERGY and CPU_ENERGY: two machines in one file")
    if not any(c.column.quantity in (ENERGY, POWER) for c in columns):
        what = f" ({'; '.join(unused)})" if unused else ""
        refuse(
            f"{name} has no column of energy that kit can use{what}",
            "record on Linux or Windows with RAPL readable, and with --gpu where there is a GPU",
        )
    return columns, unused


def _check_unit(column: Column, title: str, name: str) -> None:
    unit = title.partition(" (")[2].removesuffix(")")
    if unit in column.units:
        return
    if unit == "W" and column.quantity == ENERGY:
        refuse(
            f"{name} has an energy in watts, {title!r}, as of versions 0.0.1 and 0.0.2; kit reads "
            "0.0.3 to 0.0.7",
            "record again with a newer EnergiBridge",
        )
    wanted = column.units[0] or "no unit"
    refuse(f"{name}: the column {title!r} should be in {wanted}, as EnergiBridge's is")


def checked(
    columns: Sequence[Read], ms: Sequence[int], lines: Sequence[int], memory: Table, name: str
) -> tuple[list[Read], list[str]]:
    """The columns without bad readings and in their true unit, and notes.

    Args:
        ms: when each row was read. Shape ``(n,)``.
        lines: line numbers of the rows in the file.
        memory: the table, for the memory of each card.

    Raises:
        UsageError: the package's column is no counter.
    """
    seconds = [t / 1e3 for t in ms]
    own = _unit(columns, seconds, name)
    notes = [own.note] if own.note else []
    series: list[Read] = []
    for c in columns:
        remarks: list[str] = []
        if c.column.quantity == ENERGY:
            series.append(_counted(c, own, seconds, lines, name, remarks))
        elif c.column.quantity == POWER:
            series.append(_powered(c, columns, lines, memory, remarks))
        else:
            series.append(c)
        notes += remarks
    return series, notes


def _unit(columns: Sequence[Read], seconds: Sequence[float], name: str) -> unit.Unit:
    """The unit of Intel's counters, found from the package's; AMD's are always joules."""
    for c in columns:
        if c.device != PACKAGE or c.title.startswith("CPU"):
            continue
        readings = [(v, s) for v, s in zip(c.values, seconds, strict=True) if not math.isnan(v)]
        if len({v for v, _ in readings}) > 1:
            return unit.of(c.title, [v for v, _ in readings], [s for _, s in readings], name)
    return unit.Unit()


def _counted(
    c: Read,
    own: unit.Unit,
    seconds: Sequence[float],
    lines: Sequence[int],
    name: str,
    remarks: list[str],
) -> Read:
    """Read a counter; a fault in a part of the package does not refuse the package."""
    joules = [value * own.factor for value in c.values]
    try:
        series = counter.read(c.title, joules, seconds, lines, own.range_j, name)
    except UsageError as error:
        if c.device == PACKAGE:
            raise
        facts = QuantityFacts(reason=error.message, summed=False)
        return c._replace(values=joules, facts=facts)
    if c.device == PACKAGE:
        remarks += series.notes
    facts = replace(series.facts, summed=c.device == PACKAGE)
    return c._replace(values=series.joules, facts=facts)


def _powered(
    c: Read, columns: Sequence[Read], lines: Sequence[int], table: Table, remarks: list[str]
) -> Read:
    use = [o.values for o in columns if o.device == c.device and o.column.quantity == USE]
    title = f"{c.device.upper()}_MEMORY_TOTAL"
    sizes = table.numbers(title) if title in table.header else []
    memory = max((size for size in sizes if not math.isnan(size)), default=math.nan)
    series = gauge.read(c.title, c.values, use[0] if use else None, memory, lines)
    remarks += series.notes
    facts = QuantityFacts(reason=series.reason or None)
    return c._replace(values=series.milliwatts, facts=facts)
