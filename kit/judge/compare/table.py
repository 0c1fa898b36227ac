"""Any number of runs in one table: every metric of each, and its ratio to the first run's."""

from __future__ import annotations

from collections.abc import Sequence

from kit.core import stats
from kit.core.model import Record
from kit.energy.reasons import sentence
from kit.energy.results.document import Metric, Results


class Cell(Record, frozen=True, kw_only=True):
    """One metric of one run: its mean over launches, and the ratio to the first run's.

    ``value`` is None exactly when there is no number; ``reason`` then says why. ``ci90`` is None
    where a side has one launch.
    """

    status: str
    value: float | None = None
    ci95: tuple[float, float] | None = None
    ratio: float | None = None
    ci90: tuple[float, float] | None = None
    reason: str = ""


class Row(Record, frozen=True, kw_only=True):
    """One metric, a cell for each run in the order given."""

    metric: str
    unit: str
    cells: tuple[Cell, ...]


def runs(results: Sequence[Results]) -> tuple[Row, ...]:
    """Every numeric metric of several runs' results; metrics that none has are left out.

    Ratios are to the first run. Their intervals cover only the scatter over launches: between two
    machines the errors of the sensors add to it, which `judge` counts.
    """
    rows = (_row(name, results) for name in results[0].metrics)
    return tuple(row for row in rows if any(cell.value is not None for cell in row.cells))


def _row(name: str, results: Sequence[Results]) -> Row:
    metrics = [side.metrics[name] for side in results]
    cells = tuple(_cell(metrics[0], metric, first=i == 0) for i, metric in enumerate(metrics))
    return Row(metric=name, unit=metrics[0].unit, cells=cells)


def _cell(reference: Metric, metric: Metric, *, first: bool) -> Cell:
    if metric.value is None:
        return Cell(status="unmeasured", reason=sentence(metric.reason))
    ratio = None if first else _ratio(reference, metric)
    return Cell(
        status=metric.status,
        value=metric.value,
        ci95=metric.ci95,
        ratio=ratio.ratio if ratio else None,
        ci90=ratio.ci90 if ratio else None,
    )


def _ratio(reference: Metric, metric: Metric) -> stats.Ratio | None:
    if reference.value is None:
        return None
    a, b = reference.values, metric.values
    return stats.ratio(a, b) if min(*a, *b) > 0 else None
