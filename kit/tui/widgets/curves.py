"""The power of several runs over one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from textual.events import Resize
from textual_plotext import PlotextPlot

from kit.core.units import NS
from kit.energy import SCOPE_METERS, power_series
from kit.show.report.chart import thinned

if TYPE_CHECKING:
    from kit.core.model import MeterPlan
    from kit.record.records import RunRecords

# Told apart by people who see colours differently, on light and on dark ground.
COLOURS = ((213, 94, 0), (0, 145, 220), (17, 165, 121), (231, 63, 116), (160, 110, 200))
_PER_COLUMN = 4  # the marker draws two columns of a cell, each with its least and its greatest


class Curve(NamedTuple):
    """One run's power: seconds since its first measured block, and watts."""

    letter: str
    scope: str
    seconds: np.ndarray[tuple[int], np.dtype[np.float64]]
    watts: np.ndarray[tuple[int], np.dtype[np.float64]]


def curve_of(letter: str, records: RunRecords) -> Curve | None:
    """The power of the run's best scope, its devices added up; None where nothing tells power.

    Time 0 is the start of the first measured block, or of the run where none was reached.
    """
    zero = min((p.t0 for p in records.phases if p.name == "measured"), default=0)
    for scope, meter in SCOPE_METERS.items():
        meters = [m for m in records.plan.meters if m.name == meter]
        drawn = power_series(records.samples, meters)
        series = [drawn[name] for name in _outermost(meters) if name in drawn]
        if series:
            t, watts = _added(series)
            word = "estimated" if scope == "estimate" else scope
            return Curve(letter, word, (t - zero) * NS, watts)
    return None


def _outermost(meters: Iterable[MeterPlan]) -> list[str]:
    """The devices that lie inside no other one, so that nothing is added twice."""
    return [
        device.device
        for meter in meters
        for device in meter.devices
        if any(facts.get("summed", True) for facts in device.quantities.values())
    ]


def _added(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Each value holds until its own time, so that the sum at t takes every device's next one."""
    if len(series) == 1:
        return series[0]
    begin, end = max(t[0] for t, _ in series), min(t[-1] for t, _ in series)
    t = np.unique(np.concatenate([each for each, _ in series]))
    t = t[(t >= begin) & (t <= end)]
    return t, sum(watts[np.searchsorted(each, t)] for each, watts in series)


class Curves(PlotextPlot, can_focus=True):
    """Power curves, each thinned to the width with its least and greatest values kept.

    Args:
        letters: draw each curve with its own letter, for terminals that show no colour or only
            ASCII.
    """

    def __init__(self, letters: bool, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._letters = letters
        self._curves: tuple[Curve, ...] = ()

    def show(self, curves: Sequence[Curve]) -> None:
        """Draw these."""
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
            top = max(float(c.watts.max()) for c in self._curves)
            self.plt.ylim(0, max(top, 1.0) * 1.05)
            self.plt.yfrequency(3 if self.size.height < 12 else 5)
        self.refresh()


def place(letter: str) -> int:
    """Which colour a letter has, here and in a legend."""
    return (ord(letter[0]) - ord("A")) % len(COLOURS)


def colour_of(letter: str) -> str:
    """``#d55e00``: the colour of a run's curve, for a legend."""
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[place(letter)])
