"""The table of `benchmarks.gpu_meters.run`: each tool's joules, errors, CPU time, perturbation.

    python -m benchmarks.gpu_meters.table OUT > table.md

OUT is the folder that was written, or a tar file of it (``benchmarks/results/h200-meters.tar.xz``),
or a perturbation.json alone.

The reference is the energy counter by every one of its ticks (10 a second), and between two ticks
the shape of the 20 ms power samples stretched to the counter's difference: half of these windows
begin at a step of power, where a straight line through 100 ms would err by up to 25 ms of it. kit
reads the same samples but about one tick in ten, so that under a second the two are not independent
in shape; the other tools are judged by the same reference. Where a window begins or ends at a step
that lies between two levels, kit puts the step where the samples say, and the reference draws a
straight line: there they differ by up to a sixth of the step times 20 ms. Which of them is nearer
this record cannot tell: the power of an H200 goes on moving after most steps.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import tarfile
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.gpu_meters.run import TOOLS
from kit.core import stats
from kit.core.model import MeterPlan
from kit.energy import Energy
from kit.energy.ticks import known_ticks
from kit.record.samples import Series, from_csv

Floats = npt.NDArray[np.float64]
GROUPS = {
    "idle, 10 s": r"idle-.*",
    "steps, 3 s each": r"step-.*",
    "square waves, 10 s": r"square-.*",
    "telegraph, 60 s": r"telegraph",
    "generation, 20 s": r"generation",
    "all, about 3 min": r"all",
    "random 3 s": r"short-3s-.*",
    "random 1 s": r"short-1s-.*",
    "random 0.3 s": r"short-0.3s-.*",
    "prefill": r"prefill-.*",
    "decode": r"decode-.*",
}


class Window(NamedTuple):
    name: str
    t0: int
    t1: int

    @property
    def seconds(self) -> float:
        return (self.t1 - self.t0) * 1e-9


class Run:
    """One recorded comparison."""

    def __init__(self, folder: Path) -> None:
        first, *marks = map(json.loads, (folder / "load.jsonl").read_text().splitlines())
        self.origin = int(first["origin"])
        self.windows = _windows(marks, self.origin)
        self.tools = {t: json.loads((folder / f"{t}.json").read_text()) for t in TOOLS}
        self.kit = json.loads((folder / "kit.json").read_text())
        self.reference = json.loads((folder / "reference.json").read_text())
        self.perturbation = json.loads((folder / "perturbation.json").read_text())
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=MeterPlan)
        files = {p.name: p.read_bytes() for p in (folder / "samples").glob("*.csv")}
        self.samples = from_csv(files)
        self.energy = Energy(self.samples, (plan,))
        self.ticks = _ticks(folder / "reference.csv", self.origin)

    def by_kit(self, window: Window) -> tuple[float, float] | None:
        """kit's joules, and their standard uncertainty of repetition and of the samples' lag; None
        where it is unmeasured."""
        (energy,) = self.energy.of(window.t0, window.t1)
        if energy.joules is None or energy.u_reading is None:
            return None
        return energy.joules, math.hypot(energy.u_reading, energy.terms.get("lag", 0.0))

    def truth(self, window: Window) -> float:
        """Joules by the reference."""
        first, last = np.interp([window.t0, window.t1], *self._shaped)
        return float(last - first)

    @cached_property
    def _shaped(self) -> tuple[Floats, Floats]:
        series = self.samples.get("gpu0", "gpu_power_sample")
        assert series is not None
        t = series.t.astype(np.float64)
        drawn = np.concatenate([[0.0], np.cumsum(series.raw[1:] * 1e-3 * np.diff(t) * 1e-9)])
        inside = (self.ticks[0] > t[0]) & (self.ticks[0] < t[-1])
        at, joules = self.ticks[0][inside], self.ticks[1][inside]
        points = np.union1d(t[(t > at[0]) & (t < at[-1])], at)
        shape = np.interp(points, t, drawn)
        return points, np.interp(shape, np.interp(at, t, drawn), joules)


def _windows(marks: list[dict[str, Any]], origin: int) -> list[Window]:
    begun = {m["window"]: m["t"] for m in marks if m["kind"] == "begin"}
    ended = {m["window"]: m["t"] for m in marks if m["kind"] == "end"}
    return [Window(name, t - origin, ended[name] - origin) for name, t in begun.items()]


def _ticks(path: Path, origin: int) -> tuple[Floats, Floats]:
    """Times (ns since ``origin``) and joules of the counter's ticks."""
    with path.open() as file:
        rows = [
            (int(r["t0_ns"]), int(r["t1_ns"]), int(r["counter_mj"])) for r in csv.DictReader(file)
        ]
    t0, t1, raw = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    reads = Series((t0 + t1) // 2 - origin, raw, 0, np.zeros(0, np.int64), t0 - origin, t1 - origin)
    ticks = known_ticks(reads, 0.1)
    return ticks.t, (ticks.raw - ticks.raw[0]) * 1e-3


# --- tables -------------------------------------------------------------------------------------


def main() -> None:
    folder = Path(sys.argv[1])
    if folder.suffix == ".json":
        print("\n".join(disturbed(json.loads(folder.read_text()))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(_folder(folder, Path(scratch)))
    parts = errors(run), coverage(run), costs(run), disturbed(run.perturbation)
    print("\n\n".join("\n".join(lines) for lines in parts))


def _folder(argument: Path, scratch: Path) -> Path:
    if argument.is_dir():
        return argument
    with tarfile.open(argument) as packed:
        for member in packed:  # Debian 12's Python knows no extraction filters yet
            content = packed.extractfile(member)
            if content and ".." not in Path(member.name).parts:
                path = scratch / member.name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
    return next(path.parent for path in scratch.rglob("load.jsonl"))


def errors(run: Run) -> list[str]:
    """Root mean square and mean of the relative error, by kind of window and tool."""
    names = ["kit", *TOOLS]
    lines = [
        "Relative error against the reference, %: rms (mean)",
        "",
        "| windows | n | reference, J | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for title, pattern in GROUPS.items():
        own = [w for w in run.windows if re.fullmatch(pattern, w.name)]
        truth = {w.name: run.truth(w) for w in own}
        cells = [_cell(_joules(run, tool, own), truth) for tool in names]
        total = f"{math.fsum(truth.values()):.0f}"
        lines.append(f"| {title} | {len(own)} | {total} | " + " | ".join(cells) + " |")
    return lines


def _joules(run: Run, tool: str, windows: list[Window]) -> dict[str, float]:
    if tool == "kit":
        return {w.name: energy[0] for w in windows if (energy := run.by_kit(w))}
    energies = run.tools[tool]["energies"]
    return {w.name: energies[w.name] for w in windows if w.name in energies}


def _cell(energy: dict[str, float], truth: dict[str, float]) -> str:
    relative = np.array([100 * (joules / truth[name] - 1) for name, joules in energy.items()])
    if not len(relative):
        return "none"
    lacking = len(truth) - len(energy)
    some = f", {lacking} lacking" if lacking else ""
    return f"{math.sqrt(np.mean(relative**2)):.2f} ({relative.mean():+.2f}){some}"


def coverage(run: Run) -> list[str]:
    """How often kit's own interval holds the reference, gain, offset and delay aside."""
    lines = ["Share of windows whose reference lies within joules ± 1.96 (u_reading, lag)", ""]
    for title, pattern in GROUPS.items():
        own = [w for w in run.windows if re.fullmatch(pattern, w.name)]
        pairs = [(w, energy) for w in own if (energy := run.by_kit(w))]
        if len(pairs) >= 10:
            inside = [abs(j - run.truth(w)) <= 1.96 * u for w, (j, u) in pairs]
            lines.append(f"- {title}: {100 * np.mean(inside):.0f}% of {len(pairs)}")
    return lines


def costs(run: Run) -> list[str]:
    """CPU time of each tool's process over the load."""
    lines = ["| tool | CPU, % of a core |", "|---|---|"]
    for name, used in {"kit": run.kit, **run.tools, "reference": run.reference}.items():
        lines.append(f"| {name} | {100 * used['cpu_s'] / used['seconds']:.2f} |")
    report = run.kit["report"]
    lines += [
        "",
        f"kit's sampler: {report['rows']} rows, late p99 {report['late_p99_ns'] / 1e6:.2f} ms, "
        f"deadlines missed {sum(report['overruns'].values())}",
    ]
    return lines


def disturbed(perturbation: dict[str, list[dict[str, float]]]) -> list[str]:
    """Throughput of small kernels with a tool over without it, in pairs."""
    lines = ["| tool | throughput with / without (95% interval) | pairs |", "|---|---|---|"]
    for name, pairs in perturbation.items():
        logs = np.log([p["with"] / p["without"] for p in pairs])
        half = stats.t_quantile(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
        low, mid, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
        lines.append(f"| {name} | {mid:.4f} ({low:.4f} … {high:.4f}) | {len(pairs)} |")
    return lines


if __name__ == "__main__":
    main()
