"""The plot of power over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.text import Text
from textual.events import Resize

from kit.core import ticks
from kit.energy import names
from kit.energy.picture import Band, Picture, Trace
from kit.show.render.console import device_name, plain
from kit.show.rounding import number
from kit.tui import lens, plotlines
from kit.tui.live.cells import Canvas, Cell

COLOURS = ("yellow", "bright_blue", "bright_green", "bright_magenta", "bright_cyan", "bright_red")
_LEFT = 8
_NARROW = 45
_NAMED = 7  # lines from which one says what the axis counts
_UNDER = 2  # lines below the axis then
_KEPT = 12


class _Drawing(NamedTuple):
    """A drawing of ``picture``, whose identity is kept with it; ``left`` as of the plot."""

    picture: Picture
    rows: list[list[Cell]]
    left: int


class PowerPlot(Canvas):
    """Watts over the run: a line for each device through least and greatest of each bin.

    A cursor reads time and watts, and a part of the run can be looked at closely. Times are those
    of the run (s); the axis counts from the first measured block.
    """

    def __init__(self, *, id: str, ascii_only: bool = False) -> None:
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self.picture = Picture()
        self.cursor: float | None = None
        self._window: tuple[float, float] | None = None
        self._left = _LEFT  # columns of the numbers of watts
        self._built: object = None  # what the present drawing shows
        self._kept: dict[object, _Drawing] = {}  # the latest drawings: to draw takes 30 ms

    @property
    def colours(self) -> int:
        """How many lines have their own colour."""
        return 0 if self._ascii_only or self.app.no_color else len(COLOURS)

    @property
    def window(self) -> tuple[float, float]:
        """Begin and end of what is drawn."""
        return self._window or self.picture.span

    def show(self, picture: Picture) -> None:
        """Draw another picture, all of it and without a cursor."""
        self.picture, self.cursor, self._window = picture, None, None
        self._update()

    # --- cursor and zoom ------------------------------------------------------------------------

    def move(self, columns: int) -> None:
        """Move the cursor by ``columns``; at an edge of a part the part moves along."""
        begin, end = self.window
        if self.cursor is None:
            zero = self.picture.zero
            self.cursor = zero if zero is not None and begin <= zero <= end else (begin + end) / 2
        else:
            first, last = self.picture.span
            self.cursor += columns * (end - begin) / max(self._columns - 1, 1)
            self.cursor = min(max(self.cursor, first), last)
        if (moved := lens.followed((begin, end), self.cursor)) != (begin, end):
            self._window = moved
        self._update()

    def zoom(self, step: int) -> None:
        """Look at half (1) or twice (-1) of it around the cursor, or at all of it (0)."""
        self._window = lens.zoomed(self.window, self.picture.span, step, self.cursor)
        self._update()

    def reading(self) -> Text:
        """``12.3 s: ━━ gpu0 121 W``: time and watts of each line at the cursor."""
        if self.cursor is None:
            return legend(self.picture, self.colours)
        begin, end = self.window
        places = max(0, min(3, -math.floor(math.log10((end - begin) / max(self._columns, 1)))))
        parts = [plain(f" {self.cursor - (self.picture.zero or 0.0) + 0.0:.{places}f} s", "name")]
        for n, (device, watts) in enumerate(self.picture.at(self.cursor).items()):
            sign = (plotlines.sign(n, "━━", self.colours), COLOURS[n % len(COLOURS)])
            parts.append(Text.assemble(sign, plain(f" {device_name(device)} {number(watts, 4)} W")))
        return Text("   ").join(parts)

    # --- drawing --------------------------------------------------------------------------------

    @property
    def _columns(self) -> int:
        return max(self.size.width - self._left, 1)

    def on_resize(self, _: Resize) -> None:
        self._update()

    def _update(self) -> None:
        """Draw if something else is to be drawn; a cursor that moves draws nothing again."""
        key = (id(self.picture), self.window, self.size, self.colours)
        if not self.picture.traces:
            self._built = None
            self.set_rows([])
            return
        if self.size.width <= _LEFT:
            return
        if self._built != key:
            self._built = key
            self._draw(key)
        self.mark(self._column, below=1 + (_UNDER if self._is_named else 1))

    def _draw(self, key: object) -> None:
        """Draw, or take the drawing of ``key`` where it was kept."""
        kept = self._kept.pop(key, None)
        if kept is None:
            self.build(self._fill)
            kept = _Drawing(self.picture, self.drawn, self._left)
        self._kept[key] = kept
        self.drawn, self._left = kept.rows, kept.left
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    @property
    def _column(self) -> int | None:
        """Where the cursor is on the widget."""
        if self.cursor is None:
            return None
        begin, end = self.window
        share = (self.cursor - begin) / max(end - begin, 1e-9)
        return self._left + round(share * (self._columns - 1))

    @property
    def _is_named(self) -> bool:
        """Whether there is a line for what the axis counts."""
        return self.size.height >= _NAMED

    def _fill(self, plt: Any) -> None:
        begin, end = self.window
        zero = self.picture.zero
        shown = self.picture.within(begin, end, self.size.width)
        plt.grid(False, False)
        plt.xaxes(True, False)
        plt.yaxes(True, False)
        top = max((float(trace.high.max()) for trace in shown.traces), default=1.0) or 1.0
        rows = max(self.size.height - 1 - (_UNDER if self._is_named else 1), 2)
        # A row above the lines for the names of the blocks.
        ceiling = top * 1.05 * rows / max(rows - 1, 1)
        watts = ticks.from_zero(top * 1.05, max(2, min(5, rows // 2)))
        watts = ticks.apart(watts, ceiling, rows)
        named = [f"{label} W" for label in ticks.labels(watts)]
        self._left = max(map(len, named)) + 1
        order = {trace.device: n for n, trace in enumerate(self.picture.traces)}
        for trace in shown.traces:
            n = order[trace.device]
            plt.plot(
                *_line(trace),
                marker=plotlines.marker(n, self.colours),
                color=plotlines.drawn(COLOURS[n % len(COLOURS)]),
            )
        plt.ylim(0, ceiling)
        plt.xlim(begin, end)
        plt.yticks(watts, named)
        for middle, name in blocks(self.picture.bands, (begin, end), self._columns):
            plt.text(name, x=middle, y=ceiling, alignment="center")
        times = ticks.ticks(begin - (zero or 0.0), end - (zero or 0.0), self._columns // 9)
        seconds = ticks.labels(times)
        if not self._is_named:
            seconds = [f"{label} s" for label in seconds]
        plt.xticks([t + (zero or 0.0) for t in times], seconds)
        if self._is_named:
            plt.xlabel(_since(zero is not None, self._columns))


def _since(measured: bool, columns: int) -> str:
    """What the axis of time counts, as long as there is room."""
    if not measured:
        return "seconds since the run began"
    full = "seconds since the first measured block began"
    return full if len(full) < columns else "seconds since measuring began"


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


def blocks(
    bands: Sequence[Band], span: tuple[float, float], columns: int
) -> list[tuple[float, str]]:
    """Places and names of the blocks: at their middles, measured ones first, without overlap."""
    start, end = span
    per_second = max(columns, 1) / max(end - start, 1e-9)
    taken: list[tuple[float, float, str]] = []
    for band in sorted(bands, key=lambda b: (b.name != "measured", -(b.t1 - b.t0))):
        if columns < _NARROW and band.name != "measured":
            continue
        t0, t1 = max(band.t0, start), min(band.t1, end)
        if t0 >= t1:
            continue
        name = _named(band, columns, per_second)
        middle = (t0 + t1) / 2
        half = (len(name) + 3) / 2 / per_second
        inside = start <= middle - half and middle + half <= end
        if inside and all(abs(middle - m) >= half + h for m, h, _ in taken):
            taken.append((middle, half, name))
    return [(m, name) for m, _, name in sorted(taken)]


def _named(band: Band, columns: int, per_second: float) -> str:
    """A block's name, short if it is longer than the block; and its priority."""
    if band.name == "measured":
        return names.phase(band.name, short=columns < _NARROW)
    name = names.phase(band.name)
    fits = len(name) + 2 <= (band.t1 - band.t0) * per_second
    return name if fits else names.phase(band.name, short=True)
