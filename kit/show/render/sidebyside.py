"""`kit compare` of several runs: a column a run, then what differs, confounders first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kit.judge.contrast import Contrast, differences
from kit.show.mean import SHORT_LEGEND
from kit.show.mean import short as stated
from kit.show.render.console import Badge, grid, listing, plain, put, stdout
from kit.show.render.verdicts import MEANINGS, difference_value, work_lines
from kit.show.sidebyside import Cell, Column, columns, lines


def sidebyside(contrast: Contrast) -> None:
    """Print several runs against the first of them."""
    every = columns(contrast)
    legend = f"{SHORT_LEGEND}; × is the ratio to {every[0].name}, with its 90% interval"
    parts = (*_work(contrast), Text(), *_differing(contrast, every), Text())
    put(stdout(), _metrics(contrast, every), plain(legend, "quiet"), Text(), Group(*parts))


def _metrics(contrast: Contrast, every: tuple[Column, ...]) -> Table:
    fold: dict[str, Any] = {"overflow": "fold"}
    heads = [(str(plain(column.name)), fold) for column in every]
    table = listing(("metric", fold), ("unit", {"no_wrap": True}), *heads)
    table.add_row("", "", *(plain(column.run[:12], "quiet") for column in every))
    for line in lines(contrast):
        cells = (Text("\n").join(_words(cell)) for cell in line.cells)
        table.add_row(plain(line.title), plain(line.unit), *cells)
    return table


def _words(cell: Cell) -> Iterator[Text]:
    if cell.metric is not None:
        yield plain(stated(cell.metric))
    if cell.axis is None:
        return
    verdict = cell.axis.verdict.lower().replace("-", " ")
    if cell.axis.ratio is None:
        yield plain(verdict, "quiet")
        return
    interval = " [{:.3f}, {:.3f}]".format(*cell.axis.ci90) if cell.axis.ci90 else ""
    yield plain(f"×{cell.axis.ratio:.3f}{interval}")
    yield plain(verdict, "quiet")


def _work(contrast: Contrast) -> list[RenderableType]:
    """Whether each run did the work of the first."""
    return [
        line
        for letter, judged in contrast.judged.items()
        for line in work_lines(judged.work, letter)
    ]


def _differing(contrast: Contrast, every: tuple[Column, ...]) -> list[RenderableType]:
    if not (found := differences(contrast)):
        return [plain("nothing that was recorded of these runs differs", "quiet")]
    fold: dict[str, Any] = {"overflow": "fold"}
    table = grid({"no_wrap": True, "style": "quiet"}, *(fold for _ in every), {"no_wrap": True})
    heads = ("differs", *(column.name for column in every), "it means")
    table.add_row(*(plain(head, "name") for head in heads))
    for row in found:
        values = (row.values.get(column.letter, "=") for column in every)
        shown = (plain(difference_value(value, row.is_whole)) for value in values)
        table.add_row(plain(row.fact), *shown, Badge(*MEANINGS[row.meaning]))
    return [table]
