"""The figures of a run: its power, and its temperatures and clocks, with the phases behind."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kit.core import ticks
from kit.core.arrays import np
from kit.core.text import clean
from kit.core.units import NS, QUANTITIES
from kit.energy import names, power_series
from kit.energy.picture import thinned
from kit.energy.results import checks
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords
from kit.show.rounding import number

# Colours for white and black ground that colour-blind people can distinguish (Okabe & Ito).
PHASE_COLOURS = {
    "idle": "#999999",
    "startup": "#56b4e9",
    "warmup": "#f0e442",
    "loaded_idle": "#8c6d31",
    "measured": "#009e73",
    "shutdown": "#cc79a7",
}
# These distinguish the two kinds of idle in grey print.
PHASE_ALPHAS = {"idle": 0.14, "loaded_idle": 0.28}
LINE_COLOURS = (
    "#d55e00",
    "#0072b2",
    "#e69f00",
    "#7f3c8d",
    "#11a579",
    "#e73f74",
    "#6b8e23",
    "#555555",
)
INK = "#808080"
CONTEXT = (("gpu_temperature", "GPU (°C)"), ("gpu_sm_clock", "SM clock (MHz)"))
_WHAT = {"gpu_temperature": "temperature", "gpu_sm_clock": "SM clock"}
_MAX_POINTS = 4000
_SAID = 6  # measured blocks in an alternative text
# Files hold no date and no version of what drew them, so that a run always gives the same bytes.
_UNDATED = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Plot:
    """A figure of a run: what it is called, says and shows, and the data behind it.

    ``draw`` makes the matplotlib figure; ``rows`` are the readings as drawn, before any thinning.
    """

    name: str
    caption: str
    alt: str
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Mapping[str, Any]]]
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Axis:
    """The axis of time: its zero (ns since the run began), and what is said of it."""

    zero: int
    label: str

    def seconds(self, t: Any) -> Any:
        """Times of the run (ns) on this axis (s)."""
        return (t - self.zero) * NS


def axis_of(records: RunRecords) -> Axis:
    """Seconds since the first measured block began, or since the run began without one."""
    begins = [p.t0 for p in records.phases if p.name == "measured"]
    if begins:
        return Axis(min(begins), "time since the first measured block began (s)")
    return Axis(0, "time since the run began (s)")


def plots(records: RunRecords) -> list[Plot]:
    """Every figure that the run gives."""
    return [plot for plot in (power(records), context(records)) if plot]


def power(records: RunRecords) -> Plot | None:
    """Every device's watts over the whole run, estimates dashed; None without any power."""
    series = power_series(records.samples, records.plan.meters, holes=True)
    if not series:
        return None
    guessed = {
        d.device for m in records.plan.meters if m.name == "estimate" for d in m.devices
    } & set(series)
    axis = axis_of(records)

    def draw() -> Any:
        figure = _figure(3.4)
        axes = figure.add_subplot()
        _phases(axes, records, axis)
        for n, (device, (t, watts)) in enumerate(sorted(series.items())):
            t, watts = thinned(t, watts, _MAX_POINTS)
            axes.plot(
                axis.seconds(t),
                watts,
                color=LINE_COLOURS[n % len(LINE_COLOURS)],
                linewidth=1.3,
                linestyle=(0, (4, 1.5)) if device in guessed else "-",
                label=_label(device) + (" (estimated)" if device in guessed else ""),
            )
        _launches(axes, records, axis)
        _frame(axes)
        axes.set_xlabel(axis.label, color=INK)
        axes.set_ylabel("power (W)", color=INK)
        axes.set_ylim(bottom=0)
        _round_ticks(axes)
        _legend(axes)
        return figure

    def rows() -> Iterator[Mapping[str, Any]]:
        for device, (t, watts) in sorted(series.items()):
            status = "estimated" if device in guessed else "measured"
            for at, value in zip(t, watts, strict=True):
                yield {
                    "device": device,
                    "status": status,
                    "time_s": round(float(axis.seconds(at)), 6),
                    "power_w": None if np.isnan(value) else float(f"{value:.9g}"),
                }

    said = [
        f"{clean(device)}{' (estimated)' if device in guessed else ''} {_range(*of, 'W')}"
        for device, of in sorted(series.items())
    ]
    note = "; dashed: estimated from CPU time and published watts, not measured" if guessed else ""
    return Plot(
        "power",
        f"Power of each device over the run{note}. The ground shows the phases.",
        f"Power over time, {axis.label}. {'; '.join(said)}. {_blocks(records, axis)}",
        ("device", "status", "time_s", "power_w"),
        rows,
        draw,
    )


def context(records: RunRecords) -> Plot | None:
    """Every GPU's temperature and SM clock; None if neither was read."""
    gpus = [d.device for d in checks.gpus(records)]
    panels = [p for p in CONTEXT if any(records.samples.get(g, p[0]) for g in gpus)]
    if not panels:
        return None
    axis = axis_of(records)
    read = [
        (gpu, what, series)
        for what, _ in panels
        for gpu in gpus
        if (series := records.samples.get(gpu, what)) and len(series.t)
    ]

    def draw() -> Any:
        figure = _figure(0.4 + 1.5 * len(panels))
        subplots = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (quantity, label) in zip(subplots, panels, strict=True):
            _phases(axes, records, axis)
            _gauges(axes, records, gpus, quantity, axis)
            _launches(axes, records, axis, named=False)
            _frame(axes)
            axes.set_ylabel(label, color=INK)
            _round_ticks(axes, rows=4, whole=True)  # both are read as whole numbers
        subplots[-1].set_xlabel(axis.label, color=INK)
        if len(gpus) > 1:
            _legend(subplots[0])
        return figure

    def rows() -> Iterator[Mapping[str, Any]]:
        for gpu, quantity, series in read:
            scale = QUANTITIES[quantity].scale
            for at, raw in zip(series.t, series.raw, strict=True):
                yield {
                    "device": gpu,
                    "quantity": quantity,
                    "time_s": round(float(axis.seconds(at)), 6),
                    "value": float(f"{raw * scale:.9g}"),
                    "unit": QUANTITIES[quantity].unit,
                }

    said = [
        f"{clean(gpu)} {_WHAT[quantity]} "
        f"{_range(s.t, s.raw * QUANTITIES[quantity].scale, QUANTITIES[quantity].unit)}"
        for gpu, quantity, s in read
    ]
    return Plot(
        "temperature-and-clock",
        "Temperature and SM clock of each GPU over the run. The ground shows the phases.",
        f"Temperature and clock over time, {axis.label}. {'; '.join(said)}.",
        ("device", "quantity", "time_s", "value", "unit"),
        rows,
        draw,
    )


def _range(t: Any, values: Any, unit: str) -> str:
    """``mean 250 W (least 240, greatest 300)``: the mean over time, holes left out."""
    known = ~np.isnan(values)
    if not known.any():
        return "unknown"
    steps = np.diff(t, prepend=t[0])[known].astype(np.float64)
    known_values = values[known]
    mean = np.average(known_values, weights=steps) if steps.sum() else known_values.mean()
    least, greatest = (number(float(v), 3) for v in (known_values.min(), known_values.max()))
    return f"mean {number(float(mean), 3)} {unit} (least {least}, greatest {greatest})"


def _blocks(records: RunRecords, axis: Axis) -> str:
    """When each launch's measured block was."""
    measured = [p for p in records.phases if p.name == "measured"]
    spans = [
        f"launch {p.launch} from {axis.seconds(p.t0):.1f} s to {axis.seconds(p.t1):.1f} s"
        for p in measured
    ]
    more = f" and {len(spans) - _SAID} more" if len(spans) > _SAID else ""
    return f"Measured: {', '.join(spans[:_SAID])}{more}." if spans else "Nothing was measured."


def _gauges(axes: Any, records: RunRecords, gpus: list[str], quantity: str, axis: Axis) -> None:
    for n, gpu in enumerate(gpus):
        series = records.samples.get(gpu, quantity)
        if series is None or not len(series.t):
            continue
        step = max(1, len(series.t) // _MAX_POINTS)
        axes.plot(
            axis.seconds(series.t[::step]),
            series.raw[::step] * QUANTITIES[quantity].scale,
            color=LINE_COLOURS[n % len(LINE_COLOURS)],
            linewidth=1.3,
            drawstyle="steps-post",
            label=_label(gpu),
        )


def _round_ticks(axes: Any, rows: int = 6, *, whole: bool = False) -> None:
    """Round numbers at both axes, within what is drawn."""
    for axis, ends, most in (
        (axes.xaxis, axes.get_xlim(), 12),
        (axes.yaxis, axes.get_ylim(), rows),
    ):
        at = ticks.ticks(ends[0], ends[1], most, whole=whole)
        axis.set_ticks(at, ticks.labels(at))


def _launches(axes: Any, records: RunRecords, axis: Axis, named: bool = True) -> None:
    """A line at the begin of each launch, with its number if it fits."""
    begins: dict[int, float] = {}
    for phase in records.phases:
        begins[phase.launch] = min(begins.get(phase.launch, phase.t0), phase.t0)
    for launch, t in begins.items():
        axes.axvline(axis.seconds(t), color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        if named and launch % max(1, len(begins) // 10) == 0:
            place = ("data", "axes fraction")
            axes.annotate(
                f"launch {launch}" if len(begins) <= 6 else str(launch),
                (axis.seconds(t), 1.0),
                xycoords=place,
                xytext=(3, -9),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )


def _label(device: str) -> str:
    """A device's name as plain text: matplotlib would typeset ``$…$`` and leave out ``_…``."""
    return clean(device).replace("$", r"\$").removeprefix("_")


def _phases(axes: Any, records: RunRecords, axis: Axis) -> None:
    labelled: set[str] = set()
    blocks = {name for name, _ in BLOCKS}
    for phase in records.phases:
        if phase.name not in blocks:
            continue
        axes.axvspan(
            axis.seconds(phase.t0),
            axis.seconds(phase.t1),
            color=PHASE_COLOURS[phase.name],
            alpha=PHASE_ALPHAS.get(phase.name, 0.22),
            linewidth=0,
            label=None if phase.name in labelled else names.phase(phase.name),
        )
        labelled.add(phase.name)


def _frame(axes: Any) -> None:
    axes.margins(x=0.01, y=0.08)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", color=INK, alpha=0.2, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _legend(axes: Any) -> None:
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=9,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.1,
    )


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(9.2, height), layout="constrained")


# --- as a file --------------------------------------------------------------------------------


def saved(plot: Plot, form: str, *, ground: str = "none") -> bytes:
    """The figure in ``form`` (svg, png or pdf); the same bytes each time, without a date."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": f"kit {plot.name}", "svg.fonttype": "none", "font.size": 9}):
        out = io.BytesIO()
        plot.draw().savefig(
            out, format=form, facecolor=ground, dpi=200, metadata=dict(_UNDATED[form])
        )
    return out.getvalue()


def inline(plot: Plot) -> Markup:
    """The drawing for a page, without prolog or fixed size, so that it scales; its numbers are its
    alternative text."""
    svg = saved(plot, "svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # two drawings on one page may not share ids
    opening = Markup('<svg role="img" aria-label="{}"').format(plot.alt)
    return Markup(svg.replace("<svg", opening, 1))  # noqa: S704 - an SVG that kit drew
