"""Widgets that send only their changes to the terminal.

A whole panel of colours takes kilobytes each time, but most of a run's screen does not change in
half a second. Of each line only the part from the first to the last change is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual_plotext import PlotextPlot

from kit.tui._textual_hacks import set_plot_size

Cell = tuple[str, Style]
_NONE = Style.null()
_REVERSE = Style(reverse=True)


class Cells(Widget):
    """Lines of characters, each with its style."""

    # Its size changes nothing around it that the layout, which gave it this size, has not seen.
    virtual_size: reactive[Size] = reactive(Size(0, 0))

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[list[Cell]] = []

    def set_lines(self, lines: Iterable[Text]) -> None:
        """Show ``lines``, cut to the widget's width."""
        self.set_rows([self._cells(line) for line in lines])

    def set_rows(self, rows: list[list[Cell]]) -> None:
        """Show lines of cells."""
        before, self._rows = self._rows, rows
        regions = []
        for y in range(max(len(before), len(self._rows))):
            old = before[y] if y < len(before) else []
            new = self._rows[y] if y < len(self._rows) else []
            if old != new:
                regions.append(_changed(old, new, y))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """One of the present lines."""
        row, width = self._rows[y] if y < len(self._rows) else [], self.size.width
        runs = groupby(row, key=lambda cell: cell[1])
        segments = [Segment("".join(char for char, _ in run), style) for style, run in runs]
        strip = Strip(segments)
        if strip.cell_length > width > 1:
            strip = Strip([*strip.crop(0, width - 1), Segment("…")])
        return strip.adjust_cell_length(width).apply_style(self.visual_style.rich_style)

    def _cells(self, line: Text) -> list[Cell]:
        parts = line.render(self.app.console)
        return [
            (char, _NONE if char == " " else style or _NONE)
            for text, style, _ in parts
            for char in text
            if char != "\n"
        ]


class TextBlock(Cells):
    """A few lines of text."""

    def __init__(self, *, id: str, classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._text = Text()

    def set_text(self, text: Text) -> None:
        """Show ``text``, a line of it on each line."""
        if text != self._text:
            self._text = text
            self.set_lines(text.split("\n"))


class Canvas(Cells):
    """A plot. plotext colours every single cell, which is too much to send each time."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._plot = PlotextPlot().plt
        self.drawn: list[list[Cell]] = []

    def draw(self, fill: Callable[[Any], None]) -> None:
        """Let ``fill`` draw on an empty plot of this widget's size, and show it."""
        self.build(fill)
        self.mark(None)

    def build(self, fill: Callable[[Any], None]) -> None:
        """Let ``fill`` draw, for `mark` to show it."""
        self._plot.clear_figure()
        set_plot_size(self._plot, *self.size)
        self._plot.canvas_color("default")
        self._plot.axes_color("default")
        self._plot.ticks_color("gray")
        fill(self._plot)
        self.drawn = [self._cells(t) for t in Text.from_ansi(self._plot.build()).split("\n")]

    def mark(self, column: int | None, below: int = 0) -> None:
        """Show the plot as it was drawn, with a cursor in ``column``.

        Args:
            below: lines at the bottom that the cursor does not reach.
        """
        rows = self.drawn
        if column is not None:
            rows = [
                row if y >= len(rows) - below else _crossed(row, column)
                for y, row in enumerate(rows)
            ]
        self.set_rows(rows)


def _crossed(row: list[Cell], column: int) -> list[Cell]:
    """A line with the cursor in it: a bar where it is empty, else what is there reversed."""
    row = row + [(" ", _NONE)] * (column + 1 - len(row))
    char, style = row[column]
    row[column] = ("│", _NONE) if char == " " else (char, style + _REVERSE)
    return row


def _changed(old: list[Cell], new: list[Cell], y: int) -> Region:
    """The part of a line that differs; the whole line if characters are not one column wide."""
    texts = ["".join(char for char, _ in row) for row in (old, new)]
    longest = max(len(old), len(new))
    if any(not t.isascii() and cell_len(t) != len(t) for t in texts):
        return Region(0, y, 2 * longest, 1)
    pad = [(" ", _NONE)] * longest
    pairs = zip((old + pad)[:longest], (new + pad)[:longest], strict=True)
    at = [x for x, (a, b) in enumerate(pairs) if a != b] or [0]
    # A line that was or is cut has an ellipsis at its end.
    return Region(at[0], y, at[-1] - at[0] + 1, 1)
