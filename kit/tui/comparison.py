"""Compared runs to draw: the table of differences, and the table of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from kit.energy import names
from kit.energy.results.document import Metric, Outputs
from kit.judge.compare import Axis
from kit.judge.contrast import Contrast, Difference, Side
from kit.show.mean import short as stated
from kit.show.render.console import listing, plain
from kit.show.render.verdicts import MEANINGS, STATES, difference_value
from kit.tui.output import short
from kit.tui.screen import badge

FEW = 10
HEADS = ("metric", "unit", "baseline", "run", "ratio", "90% interval", "verdict", "reason")
# The order in which columns get space; values only together with their unit.
_IMPORTANCE = (("ratio",), ("verdict",), ("90% interval",), ("unit", "baseline", "run"))
_MEANS = ("baseline", "run")
# A column narrower than the longest name has the short name of every metric: no mixture.
_NAME_WIDTH = max(len(name.full) for name in names.METRICS.values())
GAP = 2  # blanks between two columns
_REASON_LEAST = 24


@dataclass(frozen=True)
class MetricRow:
    """One metric of one side against the baseline; for a side that is left out only the reason."""

    side: Side
    axis: Axis | None
    cells: dict[str, Text]

    @property
    def reason(self) -> str:
        """Why its verdict is as it is."""
        return self.axis.reason if self.axis else fault_of(self.side)


def name_of(side: Side) -> str:
    """``A 639521454908``."""
    return f"{side.letter} {short(side.path)}"


def fault_of(side: Side) -> str:
    """Why a side is left out, and the key that shows more; empty if it is not."""
    return f"{side.fault} (v shows why)" if side.altered else side.fault


# --- what differs ---------------------------------------------------------------------------


def differences_table(contrast: Contrast, shown: Sequence[Difference], most: int = 48) -> Table:
    """The differences: for each fact the baseline's value, the other values, and the meaning.

    Args:
        most: the most characters of a value.
    """
    sides = [contrast.baseline, *contrast.others]
    fold: dict[str, Any] = {"overflow": "fold"}
    table = listing(("fact", fold), *((s.letter, fold) for s in sides), ("", {"no_wrap": True}))
    for row in shown:
        values = [difference_value(row.values.get(s.letter, "="), row.is_whole) for s in sides]
        state, word = MEANINGS[row.meaning]
        cells = (_cut(value, most) for value in values)
        table.add_row(plain(row.fact), *cells, badge(state, word))
    return table


def _cut(value: str, most: int) -> Text:
    return plain(value if len(value) <= most else f"{value[: most - 1]}…")


# --- metrics --------------------------------------------------------------------------------


def metrics(contrast: Contrast, order: str = "primary") -> list[MetricRow]:
    """A line for each metric and other side; metrics that neither side has are left out.

    An unreadable run comes first, so that it can be chosen and removed.

    Args:
        order: ``primary`` first, furthest ``ratio`` first, or by ``name``.
    """
    axes = [
        (side, axis)
        for side in contrast.others
        for axis in contrast.judged[side.letter].axes
        if _is_known(contrast.baseline, axis) or _is_known(side, axis)
    ]
    places = [axis.metric for judged in contrast.judged.values() for axis in judged.axes]
    keys: dict[str, Callable[[tuple[Side, Axis]], Any]] = {
        "primary": lambda one: (places.index(one[1].metric), one[0].letter),
        "ratio": lambda one: -_distance(one[1]),
        "name": lambda one: (names.metric(one[1].metric).casefold(), one[0].letter),
    }
    lines = [
        MetricRow(side, axis, _cells(contrast.baseline, side, axis))
        for side, axis in sorted(axes, key=keys[order])
    ]
    return [*(_left_out(side) for side in contrast.sides if side.fault), *lines]


def _left_out(side: Side) -> MetricRow:
    cells = {
        "metric": plain(name_of(side)),
        "verdict": badge("fail", "left out"),
        "reason": plain(fault_of(side), "quiet"),
    }
    return MetricRow(side, None, {heading: cells.get(heading, Text("–")) for heading in HEADS})


def _is_known(side: Side, axis: Axis) -> bool:
    metric = _metric(side, axis)
    return metric is not None and metric.status != "unmeasured"


def _distance(axis: Axis) -> float:
    return abs(math.log(axis.ratio)) if axis.ratio else -1.0


def _metric(side: Side, axis: Axis) -> Metric | Outputs | None:
    return side.results.all_metrics.get(axis.metric) if side.results else None


def _cells(baseline: Side, side: Side, axis: Axis) -> dict[str, Text]:
    there, here = _metric(baseline, axis), _metric(side, axis)
    ratio = f"{axis.ratio:.3f}×" if axis.ratio is not None else "–"
    word = axis.verdict.lower().replace("-", " ")
    return {
        "metric": plain(names.metric(axis.metric)),
        "unit": plain(_unit(there)),
        "baseline": plain(_stated(there)),
        "run": plain(_stated(here)),
        "ratio": plain(f"{side.letter}/{baseline.letter} {ratio}"),
        "90% interval": plain("{:.3f} – {:.3f}".format(*axis.ci90) if axis.ci90 else "–"),
        "verdict": badge(STATES.get(axis.verdict, "skip"), word),
        "reason": plain(axis.reason, "quiet"),
    }


def _stated(metric: Metric | Outputs | None) -> str:
    return stated(metric if isinstance(metric, Metric) else None)


def _unit(metric: Metric | Outputs | None) -> str:
    unit = metric.unit if metric else ""
    return {"sha256": "", "tokens/s": "tok/s"}.get(unit, unit)


def columns(lines: Sequence[MetricRow], room: int) -> dict[str, int]:
    """The columns that fit into ``room`` columns of the terminal, with their widths.

    First the metric's name gets shorter, then the least important columns go. No number is cut.
    """
    wide = {h: max([len(h), *(line.cells[h].cell_len for line in lines)]) for h in HEADS}
    wide["metric"] = max(wide["metric"], _NAME_WIDTH)
    brief = max([len("metric"), *(_briefest(line).cell_len for line in lines)])
    left, result = room - min(brief, room), {"metric": brief}
    for group in _IMPORTANCE:
        widths = {heading: wide[heading] for heading in group}
        if sum(widths.values()) + GAP * len(group) > left:
            widths = {heading: _bare_width(lines, heading, wide[heading]) for heading in group}
        need = sum(widths.values()) + GAP * len(group)
        if need > left:
            break
        left -= need
        result |= widths
    else:
        # A reason is a sentence: it is shown in full below the table, and may be cut in it.
        if left >= _REASON_LEAST + GAP:
            result["reason"] = min(wide["reason"], left - GAP - min(wide["metric"] - brief, 8))
            left -= result["reason"] + GAP
    result["metric"] += max(0, min(left, wide["metric"] - brief))
    return {heading: result[heading] for heading in HEADS if heading in result}


def _bare_width(lines: Sequence[MetricRow], heading: str, wide: int) -> int:
    """The width of a column of means without their uncertainties."""
    if heading not in _MEANS:
        return wide
    return max([len(heading), *(len(_without_error(line.cells[heading].plain)) for line in lines)])


def _without_error(mean: str) -> str:
    return mean.partition(" ±")[0]


def cell(line: MetricRow, heading: str, width: int) -> Text:
    """The cell of ``line`` in a column; only words are ever cut, and means lose their ±."""
    text = line.cells[heading].copy()
    if heading == "metric" and width < _NAME_WIDTH:
        text = _briefest(line)
    elif heading in _MEANS and text.cell_len > width:
        text = plain(_without_error(text.plain))
    text.truncate(width, overflow="ellipsis")
    return text


def _briefest(line: MetricRow) -> Text:
    """The metric's short name; a side that is left out has only its own."""
    return plain(names.metric(line.axis.metric, short=True)) if line.axis else line.cells["metric"]


def metrics_table(lines: Sequence[MetricRow]) -> Table:
    """The metrics as a text to copy."""
    words = {"metric", "reason"}
    table = listing(
        *((h, {"overflow": "fold"} if h in words else {"no_wrap": True}) for h in HEADS)
    )
    for line in lines:
        table.add_row(*(line.cells[heading] for heading in HEADS))
    return table
