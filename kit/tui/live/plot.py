"""Power over time: every device on one axis, with the run's phases and user marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size

from kit.core import ticks
from kit.energy import names
from kit.show.live.snapshot import SECOND_NS, SILENT_NS, Device
from kit.show.live.trace import Point, columns, joined
from kit.show.render.console import device_name, plain
from kit.tui import lens, plotlines
from kit.tui.live.cells import Canvas, TextBlock
from kit.tui.live.tiles import watts
from kit.tui.live.words import View, elapsed

WINDOWS: tuple[int, ...] = (0, 600, 120, 30)  # seconds; 0 is the whole run
COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red", "white", "bright_black")
_AXIS = 5  # columns that the axis and its numbers take
_SPREAD = 0.04  # share of the axis: a column with a wider spread shows its lowest and highest value
_LEAST_W, _AIR = 4.0, 1.03
Xy = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Shown:
    """The content of a plot (s, W): an equal one is not drawn again."""

    t0: float
    t1: float
    top: float
    step: float
    lines: tuple[tuple[int, tuple[Xy, ...]], ...] = ()
    bounds: tuple[float, ...] = ()
    names: tuple[tuple[int, str], ...] = ()
    times: tuple[tuple[int, str], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


class PlotPanel(Vertical, can_focus=True):
    """Watts by device; `show` draws a view of a run."""

    ALLOW_MAXIMIZE = True

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="panel")
        self.colours = len(COLOURS)  # 0 if the terminal shows none
        self._told_apart = self.colours
        self._shown: tuple[Shown, Size] | None = None
        self._whole_s = 1.0
        self.cursor: float | None = None  # s since the run began
        self.close: lens.Span | None = None  # what is looked at closely, s since the run began

    def compose(self) -> ComposeResult:
        yield TextBlock(id="legend")
        yield Canvas(id="power")
        yield TextBlock(id="names")

    def show(self, view: View, window_s: int) -> None:
        """Draw ``view`` over the last ``window_s`` seconds (0: the whole run), if it changed.

        What a person looks at closely, around the cursor, stays in view instead.
        """
        plot = self.query_one("#power", Canvas)
        looked_at = f"last {elapsed(window_s * SECOND_NS)}" if window_s else "whole run"
        over = span(view.now, window_s)
        if self.close:
            over = round(self.close[0] * SECOND_NS), round(self.close[1] * SECOND_NS)
            looked_at = f"{self.close[1] - self.close[0]:.3g} s of the run"
        since = "measuring" if zero_of(view) else "the run"
        if (title := f"power, W · {looked_at}, s since {since} began") != self.border_title:
            self.border_title = title  # drawing the frame again draws its whole content
        # A single line needs no character of its own, whatever its number.
        self._whole_s = span(view.now, 0)[1] / SECOND_NS
        self._told_apart = len(plotlines.MARKERS) if self.colours and view.device else self.colours
        line = self.query_one("#legend", TextBlock)
        width = max(8, plot.size.width - _AXIS)
        shown = shown_of(view, over, width)
        line.set_text(
            legend(view, line.content_size.width, self._told_apart)
            if self.cursor is None
            else reading(view, self.cursor, over, width, self._told_apart)
        )
        if (shown, plot.size) != self._shown and plot.size.width > _AXIS:
            self._shown = (shown, plot.size)
            plot.build(lambda on: self._draw(on, shown, plot.size.height))
            names, times = _under(shown.names), _under(shown.times)
            self.query_one("#names", TextBlock).set_text(Text("\n").join([times, names]))
        self._mark(plot, shown)

    def move(self, columns: int) -> None:
        """Move the cursor by columns; a new one stands in the middle."""
        if self._shown is None:
            return
        shown, size = self._shown
        if self.cursor is None:
            self.cursor = (shown.t0 + shown.t1) / 2
        else:
            self.cursor += columns * (shown.t1 - shown.t0) / max(size.width - _AXIS - 1, 1)
        if self.close:
            self.cursor = min(max(self.cursor, 0.0), self._whole_s)
            self.close = lens.followed(self.close, self.cursor)
        else:
            self.cursor = min(max(self.cursor, shown.t0), shown.t1)

    def zoom(self, step: int) -> None:
        """Look at half (1) or twice (-1) of what is shown, around the cursor."""
        if self._shown:
            shown, _ = self._shown
            whole = (0.0, self._whole_s)
            self.close = lens.zoomed((shown.t0, shown.t1), whole, step, self.cursor)

    def _mark(self, plot: Canvas, shown: Shown) -> None:
        """The plot, with the cursor where it is in view."""
        column = None
        if self.cursor is not None and shown.t0 <= self.cursor <= shown.t1:
            share = (self.cursor - shown.t0) / (shown.t1 - shown.t0)
            column = _AXIS + round(share * (plot.size.width - _AXIS - 1))
        plot.mark(column, below=1)

    def _draw(self, plot: Any, shown: Shown, height: int) -> None:
        plot.xlim(shown.t0, shown.t1)
        plot.ylim(0, shown.top)
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        steps = round(shown.top / shown.step)
        # Two numbers on one line would be drawn now one, now the other.
        every_second = steps % 2 == 0 and height > steps + 1
        rows_per_step = 1 if height > 3 * steps else 2 if every_second else steps
        at = [shown.step * n for n in range(0, steps + 1, rows_per_step)]
        plot.yticks(at, [f"{y:>4.0f}" for y in at])
        plot.xticks([], [])
        for x in shown.bounds:
            plot.vline(x, "gray")
        for n, parts in reversed(shown.lines):
            colour = plotlines.drawn(COLOURS[n % len(COLOURS)])
            for xs, ys in parts:
                plot.plot(xs, ys, marker=plotlines.marker(n, self._told_apart), color=colour)
        for x, text in shown.marks:
            plot.vline(x, "orange")
            side = "left" if x < (shown.t0 + shown.t1) / 2 else "right"
            plot.text(text, x=x, y=shown.top, color="orange", alignment=side)


def _under(placed: Iterable[tuple[int, str]]) -> Text:
    """The names of phases, at their columns below the plot."""
    line = ""
    for column, name in placed:
        line = line.ljust(_AXIS + column) + name
    return plain(line, "quiet")


def legend(view: View, width: int, colours: int) -> Text:
    """``■ gpu0 412 W  ■ host (estimated) 13 W`` in the colours of the lines.

    If that does not fit, only the names, which identify the lines; then ``+3`` for the rest.
    """
    devices, at = drawn(view), places(view)
    if not devices:
        return plain("waiting for the first reading", "quiet")
    full, short = (
        [_sign(device, at[device.name], colours, with_watts=with_watts) for device in devices]
        for with_watts in (True, False)
    )
    for line in (Text("  ").join(full), Text("  ").join(short)):
        if line.cell_len <= width:
            return line
    # One of each kind first: the outlet of eight equal GPUs says more than all of them.
    alike = [any(d.scope == device.scope for d in devices[:n]) for n, device in enumerate(devices)]
    order = sorted(range(len(devices)), key=lambda n: alike[n])
    return plotlines.folded([short[n] for n in order], width) or short[0]


def reading(view: View, at: float, over: tuple[int, int], width: int, colours: int) -> Text:
    """``12 s  ■ gpu0 412 W``: time and watts of each line at ``at`` (s since the run began).

    Args:
        over: begin and end of what is drawn, ns.
    """
    t0, t1 = over
    column = round((at - t0 / SECOND_NS) / ((t1 - t0) / SECOND_NS) * (width - 1))
    decimals = max(0, min(3, -math.floor(math.log10((t1 - t0) / SECOND_NS / width))))
    lines, parts = places(view), [plain(f"{at - zero_of(view):.{decimals}f} s", "name")]
    for device in drawn(view):
        points = columns(view.snapshot.power[device.name], t0, t1, width)
        point = points[column] if 0 <= column < len(points) else None
        value = " –" if point is None else f" {watts(point.mean)}"
        n = lines[device.name]
        sign = plain(plotlines.sign(n, "■", colours), COLOURS[n % len(COLOURS)])
        parts.append(Text.assemble(sign, " ", plain(device_name(device.name)), value))
    return Text("  ").join(parts)


def _sign(device: Device, n: int, colours: int, *, with_watts: bool) -> Text:
    power = "" if not with_watts else " –" if device.watts is None else f" {watts(device.watts)}"
    sign = plain(plotlines.sign(n, "■", colours), COLOURS[n % len(COLOURS)])
    return Text.assemble(sign, " ", plain(device_name(device.name)), power)


def places(view: View) -> dict[str, int]:
    """The line of each device: it keeps its line while others are hidden."""
    devices = [d.name for d in view.snapshot.devices if view.snapshot.power.get(d.name)]
    return {name: n for n, name in enumerate(devices)}


def drawn(view: View) -> list[Device]:
    """The devices with a line, in order."""
    return [d for d in view.devices if view.snapshot.power.get(d.name)]


# --- what is to be drawn ------------------------------------------------------------------------


def shown_of(view: View, over: tuple[int, int], width: int) -> Shown:
    """The view in ``width`` columns between two times (ns)."""
    t0, t1 = over
    at = places(view)
    series = [
        (at[d.name], columns(view.snapshot.power[d.name], t0, t1, width)) for d in drawn(view)
    ]
    highest = max((p.high for _, s in series for p in s if p), default=0.0)
    step, column_s = rounded(highest), (t1 - t0) / width / SECOND_NS
    top = step * max(1, math.ceil(max(highest, _LEAST_W) * _AIR / step))
    return Shown(
        t0=t0 / SECOND_NS,
        t1=t1 / SECOND_NS,
        top=top,
        step=step,
        lines=tuple((n, tuple(_parts(s, t0 / SECOND_NS, column_s, top))) for n, s in series),
        bounds=tuple(x for x in _bounds(view) if t0 / SECOND_NS < x < t1 / SECOND_NS),
        names=tuple(_names(view, t0, t1, width)),
        times=tuple(_times(zero_of(view), t0 / SECOND_NS, t1 / SECOND_NS, width)),
        marks=tuple(
            (m.t / SECOND_NS, f" {m.text[:20]} ") for m in view.snapshot.marks if t0 < m.t <= t1
        ),
    )


def span(now: int, window_s: int) -> tuple[int, int]:
    """Begin and end of the axis, ns: it moves in steps, so that little has to be sent again."""
    seconds = max(now / SECOND_NS, 1.0)
    step = window_s / 10 if window_s else 10.0 ** math.floor(math.log10(seconds)) / 2
    end = max(math.ceil(seconds / step) * step, 10.0)
    return int(max(0.0, end - window_s) * SECOND_NS) if window_s else 0, int(end * SECOND_NS)


def zero_of(view: View) -> float:
    """When the first measured block began (s), where the axis has its zero; else 0, the run's."""
    begins = [step.t0 for step in view.snapshot.steps if step.phase == "measured"]
    return min(begins, default=0) / SECOND_NS


def _times(zero: float, t0: float, t1: float, width: int) -> Iterator[tuple[int, str]]:
    """Round seconds since ``zero`` with their columns, each label's middle at its place."""
    at = ticks.ticks(t0 - zero, t1 - zero, max(1, width // 10))
    free = 0
    for value, label in zip(at, ticks.labels(at), strict=True):
        place = round((value + zero - t0) / (t1 - t0) * (width - 1)) - len(label) // 2
        if free <= place <= width - len(label):
            yield place, label
            free = place + len(label) + 1


def rounded(value: float) -> float:
    """A round number of watts, at most five times of which reach ``value``."""
    return ticks.step(max(value, _LEAST_W) * _AIR, 5)


def _bounds(view: View) -> Iterator[float]:
    """Begins and ends of measured blocks, and begins of launches."""
    launch = 0
    for step in view.snapshot.steps:
        if step.launch != launch or step.phase == "measured":
            yield step.t0 / SECOND_NS
        if step.phase == "measured" and step.t1 is not None:
            yield step.t1 / SECOND_NS
        launch = step.launch


def _parts(
    series: Sequence[Point | None], begin_s: float, column_s: float, top: float
) -> Iterator[Xy]:
    """Continuous parts of a line; three seconds without a value break it."""
    xs: list[float] = []
    ys: list[float] = []
    apart = max(SILENT_NS / SECOND_NS, column_s) + 2 * column_s
    for n, point in enumerate(series):
        if point is None:
            continue
        x = begin_s + (n + 0.5) * column_s
        if xs and x - xs[-1] > apart:
            yield tuple(xs), tuple(ys)
            xs, ys = [], []
        # A spike within a column: its line goes up and down there.
        high = point.high if point.high - point.mean > _SPREAD * top else None
        low = point.low if point.mean - point.low > _SPREAD * top else None
        for y in [v for v in (low, high) if v is not None] or [point.mean]:
            xs.append(x)
            ys.append(y)
    if xs:
        yield tuple(xs), tuple(ys)


def _names(view: View, t0: int, t1: int, width: int) -> list[tuple[int, str]]:
    """Each phase's name under its middle if it fits; else the launch."""
    steps = view.snapshot.steps
    t1_of = {s: view.now if s.t1 is None else s.t1 for s in steps}
    spans = [(s.t0, t1_of[s], _forms(s.phase)) for s in steps]
    labels = list(_fitting(spans, t0, t1, width))
    measured = _forms("measured")
    if view.snapshot.launch == 0 or any(name in measured for _, name in labels):
        return labels
    firsts = {step.launch: step.t0 for step in reversed(steps)}
    begins = [*sorted(firsts.items()), (-1, view.now)]
    launches = [(t, end, (f"launch {n}", str(n))) for (n, t), (_, end) in pairwise(begins)]
    return list(_fitting(launches, t0, t1, width))


def _forms(phase: str) -> tuple[str, str]:
    """A phase's name, in full and short."""
    return names.phase(phase), names.phase(phase, short=True)


def _fitting(
    spans: Iterable[tuple[int, int, tuple[str, str]]], t0: int, t1: int, width: int
) -> Iterator[tuple[int, str]]:
    """For each span its first name that fits, with its column."""
    for first, last, forms in spans:
        begin, end = max(first, t0), min(last, t1)
        room = (end - begin) * width // max(t1 - t0, 1)
        name = next((n for n in forms if len(n) < room), "")  # a blank between two names
        if name:
            middle = ((begin + end) // 2 - t0) * width // max(t1 - t0, 1)
            yield min(max(middle - len(name) // 2, 0), width - len(name)), name


def spark(points: Sequence[Point], t0: int, t1: int, width: int, *, ascii_only: bool) -> str:
    """A line of ``width`` characters whose heights show the values between their extremes."""
    steps = "_.-=*#" if ascii_only else "▁▂▃▄▅▆▇█"
    values = columns(points, t0, t1, width)
    numbers = [p for p in values if p]
    if not numbers:
        return " " * width
    all_of_it = joined(numbers)
    low, high, most = all_of_it.low, all_of_it.high, len(steps) - 1

    def step(value: float) -> str:
        return steps[int((value - low) / (high - low) * most) if high > low else most // 2]

    return "".join(" " if p is None else step(p.mean) for p in values)
