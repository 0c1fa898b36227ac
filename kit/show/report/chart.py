"""Power over time with the phases of the run behind it, as one inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

from kit.core.text import clean
from kit.core.units import NS, QUANTITIES
from kit.energy import names, power_series
from kit.energy.picture import thinned
from kit.energy.results import checks
from kit.record.phases import BLOCKS
from kit.record.records import RunRecords

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
_MAX_POINTS = 4000


def power(records: RunRecords, estimated: Iterable[str] = ("host",)) -> str | None:
    """The SVG of every device's watts over the whole run; None without any power.

    Args:
        estimated: devices whose power is estimated, drawn dashed and labelled so.
    """
    series = power_series(records.samples, records.plan.meters, holes=True)
    if not series:
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "kit", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        _phases(axes, records)
        for number, (device, (t, watts)) in enumerate(sorted(series.items())):
            t, watts = thinned(t, watts, _MAX_POINTS)
            guessed = device in set(estimated)
            axes.plot(
                t * NS,
                watts,
                color=LINE_COLOURS[number % len(LINE_COLOURS)],
                linewidth=1.3,
                linestyle=(0, (4, 1.5)) if guessed else "-",
                label=_label(device) + (" (estimated)" if guessed else ""),
            )
        _launches(axes, records)
        _frame(axes)
        axes.set_xlabel("time since the run began (s)", color=INK)
        axes.set_ylabel("power (W)", color=INK)
        axes.set_ylim(bottom=0)
        _legend(axes)
        return _svg(figure, "power over time")


def context(records: RunRecords) -> str | None:
    """The SVG of every GPU's temperature and SM clock; None if neither was read."""
    gpus = [d.device for d in checks.gpus(records)]
    panels = [p for p in CONTEXT if any(records.samples.get(g, p[0]) for g in gpus)]
    if not panels:
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "kit", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.2, 0.4 + 1.5 * len(panels)), layout="constrained")
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (quantity, label) in zip(rows, panels, strict=True):
            _phases(axes, records)
            _gauges(axes, records, gpus, quantity)
            _launches(axes, records, named=False)
            _frame(axes)
            axes.set_ylabel(label, color=INK)
            # Both are read as whole numbers: no ticks between them.
            axes.yaxis.get_major_locator().set_params(integer=True)
        rows[-1].set_xlabel("time since the run began (s)", color=INK)
        if len(gpus) > 1:
            _legend(rows[0])
        return _svg(figure, "temperature and clock over time")


def _gauges(axes: Any, records: RunRecords, gpus: list[str], quantity: str) -> None:
    for number, gpu in enumerate(gpus):
        series = records.samples.get(gpu, quantity)
        if series is None or not len(series.t):
            continue
        step = max(1, len(series.t) // _MAX_POINTS)
        axes.plot(
            series.t[::step] * NS,
            series.raw[::step] * QUANTITIES[quantity].scale,
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            linewidth=1.3,
            drawstyle="steps-post",
            label=_label(gpu),
        )


def _launches(axes: Any, records: RunRecords, named: bool = True) -> None:
    """A line at the begin of each launch, with its number if it fits."""
    begins: dict[int, float] = {}
    for phase in records.phases:
        begins[phase.launch] = min(begins.get(phase.launch, phase.t0), phase.t0)
    for launch, t in begins.items():
        axes.axvline(t * NS, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        if named and launch % max(1, len(begins) // 10) == 0:
            place = ("data", "axes fraction")
            axes.annotate(
                f"launch {launch}" if len(begins) <= 6 else str(launch),
                (t * NS, 1.0),
                xycoords=place,
                xytext=(3, -9),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )


def _label(device: str) -> str:
    """A device's name as plain text: matplotlib would typeset ``$…$`` and leave out ``_…``."""
    return clean(device).replace("$", r"\$").removeprefix("_")


def _phases(axes: Any, records: RunRecords) -> None:
    labelled: set[str] = set()
    blocks = {name for name, _ in BLOCKS}
    for phase in records.phases:
        if phase.name not in blocks:
            continue
        axes.axvspan(
            phase.t0 * NS,
            phase.t1 * NS,
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


def _svg(figure: Any, what: str) -> str:
    """The drawing alone, without prolog, date or fixed size, so that it scales with the page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{what}"', 1)
