"""The plot of power over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.text import Text
from textual_plotext import PlotextPlot

from kit.energy import names
from kit.energy.picture import Band, Picture, Trace
from kit.show.render.console import device_name, plain
from kit.show.report.rounding import number
from kit.tui import plotlines

COLOURS = ("yellow", "bright_blue", "bright_green", "bright_magenta", "bright_cyan", "bright_red")
_LEFT = 8
_NARROW = 45


class PowerPlot(PlotextPlot):
    """Watts over the run: a line for each device through least and greatest of each bin."""

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, ascii_only: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii_only = ascii_only
        self.picture = Picture()

    @property
    def colours(self) -> int:
        """How many lines have their own colour."""
        return 0 if self._ascii_only or self.app.no_color else len(COLOURS)

    def show(self, picture: Picture) -> None:
        """Draw another picture."""
        self.picture = picture
        self.refresh()

    def render(self) -> Any:
        self._draw()
        return super().render()

    def _draw(self) -> None:
        plt, (start, end) = self.plt, self.picture.span
        plt.clear_figure()
        plt.grid(False, False)
        for n, trace in enumerate(self.picture.traces):
            plt.plot(
                *_line(trace),
                marker=plotlines.marker(n, self.colours),
                color=plotlines.drawn(COLOURS[n % len(COLOURS)]),
            )
        top = max((float(trace.high.max()) for trace in self.picture.traces), default=1.0)
        plt.ylim(0, top * 1.05 or 1.0)
        plt.xlim(start, end)
        plt.yticks(*_watts(top, self.size.height))
        plt.xticks(*ticks(self.picture.bands, (start, end), self.size.width - _LEFT))


def legend(picture: Picture, colours: int = len(COLOURS)) -> Text:
    """The device of each line, with its mean and its peak."""
    parts = []
    for n, trace in enumerate(picture.traces):
        colour = COLOURS[n % len(COLOURS)]
        mean, peak = float(trace.mean.mean()), float(trace.high.max())
        words = plain(
            f" {device_name(trace.device)}: mean {number(mean, 3)} W, peak {number(peak, 3)} W"
        )
        parts.append(Text.assemble((plotlines.sign(n, "━━", colours), colour), words))
    return Text("   ").join(parts)


def _line(trace: Trace) -> tuple[list[float], list[float]]:
    t = np.repeat(trace.t, 2)
    return t.tolist(), np.column_stack([trace.low, trace.high]).ravel().tolist()


def _watts(top: float, height: int) -> tuple[list[float], list[str]]:
    """Round numbers of watts, as many as fit."""
    count = max(1, min(5, (height - 2) // 3))
    rough = max(top, 1e-9) / count
    scale = 10.0 ** np.floor(np.log10(rough))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= rough * 0.8)
    values = np.arange(0, top * 1.05, step).tolist()
    return values, [f"{value:g} W" for value in values]


def ticks(
    bands: Sequence[Band], span: tuple[float, float], columns: int
) -> tuple[list[float], list[str]]:
    """Places and names of the blocks: at their middles, measured ones first, without overlap.

    Without blocks, or if none fits, the two ends in seconds.
    """
    start, end = span
    per_second = max(columns, 1) / max(end - start, 1e-9)
    taken: list[tuple[float, float, str]] = []
    for band in sorted(bands, key=lambda b: (b.name != "measured", -(b.t1 - b.t0))):
        if columns < _NARROW and band.name != "measured":
            continue
        name = _named(band, columns, per_second)
        middle = (band.t0 + band.t1) / 2
        # Two blanks between names: plotext moves touching names, each time in another order.
        half = (len(name) + 3) / 2 / per_second
        inside = start <= middle - half and middle + half <= end
        if inside and all(abs(middle - m) >= half + h for m, h, _ in taken):
            taken.append((middle, half, name))
    if not taken:
        return [start, end], [f"{start:.0f} s", f"{end:.0f} s"]
    return [m for m, _, _ in sorted(taken)], [name for *_, name in sorted(taken)]


def _named(band: Band, columns: int, per_second: float) -> str:
    """A block's name, short if it is longer than the block; and its priority."""
    if band.name == "measured":
        return names.phase(band.name, short=columns < _NARROW)
    name = names.phase(band.name)
    fits = len(name) + 2 <= (band.t1 - band.t0) * per_second
    return name if fits else names.phase(band.name, short=True)
