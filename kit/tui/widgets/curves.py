"""The power of several runs over one time axis."""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import Resize
from textual_plotext import PlotextPlot

from kit.core import ticks
from kit.energy.picture import Curve, thinned

# Colour-blind people can distinguish these, on light and on dark ground.
COLOURS = ((213, 94, 0), (0, 145, 220), (17, 165, 121), (231, 63, 116), (160, 110, 200))
_AXIS_ROWS = 3  # the frame on top, the axis and its numbers
_PER_COLUMN = 4  # the marker draws two columns of a cell, each with its least and its greatest


class Curves(PlotextPlot, can_focus=True):
    """Power curves, each thinned to the width with its least and greatest values kept.

    Args:
        letters: draw each curve with its letter, for terminals without colour or with only ASCII.
    """

    def __init__(self, letters: bool, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._letters = letters
        self._curves: tuple[Curve, ...] = ()

    def show(self, curves: Sequence[Curve]) -> None:
        """Draw these curves."""
        self._curves = tuple(curves)
        self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        self.plt.clear_figure()
        for curve in self._curves:
            most = max(40, _PER_COLUMN * self.size.width)
            t, y = thinned(curve.seconds, curve.watts, most)
            marker = curve.letter[0] if self._letters else "hd"
            colour = COLOURS[place(curve.letter)]
            self.plt.plot(t.tolist(), y.tolist(), marker=marker, color=colour)
        if self._curves:
            top = max(1.0, *(float(c.watts.max()) for c in self._curves)) * 1.05
            self.plt.ylim(0, top)
            watts = ticks.from_zero(top, 3 if self.size.height < 12 else 5)
            watts = ticks.apart(watts, top, self.size.height - _AXIS_ROWS)
            self.plt.yticks(watts, [f"{label} W" for label in ticks.labels(watts)])
            begin = min(float(c.seconds[0]) for c in self._curves)
            end = max(float(c.seconds[-1]) for c in self._curves)
            self.plt.xlim(begin, end)
            seconds = ticks.ticks(begin, end, max(1, (self.size.width - 8) // 10))
            self.plt.xticks(seconds, [f"{label} s" for label in ticks.labels(seconds)])
        self.refresh()


def place(letter: str) -> int:
    """The colour of a letter, here and in a legend."""
    return (ord(letter[0]) - ord("A")) % len(COLOURS)


def colour_of(letter: str) -> str:
    """``#d55e00``: the colour of a run's curve, for a legend."""
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[place(letter)])
