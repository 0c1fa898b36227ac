"""The columns and lines of compared runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from kit.energy import names
from kit.energy.results.document import Metric
from kit.judge import replay as replaying
from kit.judge.compare import Axis
from kit.judge.contrast import Contrast, Side
from kit.record.records import RunRecords

_SHORT = 8


class Column(NamedTuple):
    """A run: its name, its hash, and its letter in the comparison."""

    name: str
    run: str
    letter: str


class Cell(NamedTuple):
    """One metric of one run; the baseline has no ``axis``, and the texts no ``metric``."""

    metric: Metric | None
    axis: Axis | None


@dataclass(frozen=True)
class Line:
    """One metric of every run, in the order of the columns."""

    metric: str
    unit: str
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """The metric's name for people."""
        return names.metric(self.metric)


def columns(contrast: Contrast) -> tuple[Column, ...]:
    """A column for each side that was compared, the baseline first."""
    sides = [(side, _records(side)) for side in (contrast.baseline, *contrast.others)]
    called = Counter(records.spec.name for _, records in sides)
    return tuple(
        Column(_named(records, side, called[records.spec.name] > 1), _hash(side), side.letter)
        for side, records in sides
    )


def lines(contrast: Contrast) -> tuple[Line, ...]:
    """A line for each metric that some run has, the primary one first."""
    judged = contrast.judged.values()
    order = dict.fromkeys(axis.metric for one in judged for axis in one.axes)
    every = (_line(contrast, metric) for metric in order)
    return tuple(line for line in every if any(_says(cell) for cell in line.cells))


def as_dict(contrast: Contrast) -> dict[str, Any]:
    """The comparison as a JSON document: the baseline, and each other run with its verdicts."""
    first, *others = columns(contrast)
    return {
        "baseline": {"name": first.name, "run": first.run},
        "runs": [
            {
                "name": column.name,
                "run": column.run,
                "comparison": replaying.as_dict(contrast.judged[column.letter]),
            }
            for column in others
        ],
    }


def _line(contrast: Contrast, metric: str) -> Line:
    sides = [contrast.baseline, *contrast.others]
    found = [side.results.metrics.get(metric) if side.results else None for side in sides]
    axes = [None, *(_axis(contrast, side, metric) for side in contrast.others)]
    cells = tuple(Cell(one, axis) for one, axis in zip(found, axes, strict=True))
    return Line(metric, next((one.unit for one in found if one), ""), cells)


def _axis(contrast: Contrast, side: Side, metric: str) -> Axis | None:
    return next((a for a in contrast.judged[side.letter].axes if a.metric == metric), None)


def _says(cell: Cell) -> bool:
    if cell.metric is None:
        return cell.axis is not None and cell.axis.metric == "outputs"
    return cell.metric.value is not None


def _records(side: Side) -> RunRecords:
    assert side.records, "a side without records is not compared"
    return side.records


def _named(records: RunRecords, side: Side, collides: bool) -> str:
    return f"{records.spec.name} {_hash(side)[:_SHORT]}" if collides else records.spec.name


def _hash(side: Side) -> str:
    return replaying.hash_of(side.path)
