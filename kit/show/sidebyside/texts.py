"""Compared runs as files: tidy CSV, and a LaTeX table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from kit.core.text import clean
from kit.judge.contrast import Contrast
from kit.show.mean import SHORT_LEGEND
from kit.show.mean import short as stated
from kit.show.sidebyside.model import Cell, Column, Line, columns, lines

_HEADINGS = (
    *("metric", "unit", "column", "run", "is_baseline", "status", "value", "standard_error"),
    *("u_sensor", "launches", "ratio", "ci90_low", "ci90_high", "margin", "verdict", "reason"),
)
# Verdicts by which a ratio compares nothing, so that it never stands without them.
_NO_RATIO = frozenset({"NOT-COMPARABLE", "FAILED"})
_LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "×": r"$\times$",
}


def as_csv(contrast: Contrast) -> str:
    """A row for each metric and run; what is absent is empty. Ratios are to the baseline."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADINGS)
    every = columns(contrast)
    for line in lines(contrast):
        for column, cell in zip(every, line.cells, strict=True):
            writer.writerow(_safe(value) for value in _row(line, column, cell))
    return out.getvalue()


def _row(line: Line, column: Column, cell: Cell) -> Iterator[object]:
    metric, axis = cell
    yield from (line.metric, line.unit, column.name, column.run, int(axis is None))
    if metric is None:
        yield from ("", "", "", "", "")
    else:
        known = [value for value in metric.launches if value is not None]
        yield from (metric.status, metric.value, metric.se, metric.u_sensor, len(known))
    if axis is None:
        yield from ("", "", "", "", "", "")
    else:
        low, high = axis.ci90 or (None, None)
        yield from (axis.ratio, low, high, axis.margin, axis.verdict, axis.reason)


def _safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; words may come from a stranger's run."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = clean(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def as_latex(contrast: Contrast) -> str:
    """A ``tabular`` (with booktabs) with a column a run: the mean, below it ratio and interval."""
    every = columns(contrast)
    head = " & ".join(["Metric", "Unit", *(_escaped(column.name) for column in every)])
    body = [row for line in lines(contrast) for row in _rows(line)]
    note = f"{SHORT_LEGEND}. Ratios are to {every[0].name}, with their 90% intervals."
    return "\n".join(
        (
            f"% {clean(note)}",
            f"% runs: {', '.join(column.run for column in every)}",
            f"\\begin{{tabular}}{{ll{'r' * len(every)}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}\n",
        )
    )


def _rows(line: Line) -> Iterator[str]:
    means = [_escaped(stated(cell.metric)) for cell in line.cells]
    if any(cell.metric for cell in line.cells):
        yield _joined(line.title, line.unit, means)
        ratios = [_ratio(cell) for cell in line.cells]
        if any(ratios):
            yield _joined("", "", ratios)
    else:  # the texts have a verdict, and no number
        words = [cell.axis.verdict if cell.axis else "" for cell in line.cells]
        yield _joined(line.title, "", [_escaped(word.lower()) for word in words])


def _joined(title: str, unit: str, cells: Sequence[str]) -> str:
    return " & ".join([_escaped(title), _escaped(unit), *cells]) + r" \\"


def _ratio(cell: Cell) -> str:
    if cell.axis is None or cell.axis.ratio is None:
        return ""
    ratio = rf"$\times${cell.axis.ratio:.3f}"
    ratio += " [{:.3f}, {:.3f}]".format(*cell.axis.ci90) if cell.axis.ci90 else ""
    word = cell.axis.verdict.lower().replace("-", " ")
    return f"{ratio} ({word})" if cell.axis.verdict in _NO_RATIO else ratio


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in clean(text))
