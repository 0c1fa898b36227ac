"""Error of a window's energy, and how often its uncertainty covers it: on truth that is known.

    python benchmarks/window_error.py                 simulated sensors, Monte Carlo
    python benchmarks/window_error.py FOLDER          a recorded run: samples/*.csv[.gz], plan.json
                                                      (nvml's part) and ref.csv.gz, a counter polled
                                                      without pause beside it (t0,t1,mJ, ns)

The simulation is numpy alone: a power whose integral is known, seen through NVML as it was found on
an H200 (the counter's period, its ticks' jitter and the 10 ms by which one is late now and then,
calls of 3 ms with a tail, samples each 20 ms that are stamped late or missing, and come before the
counter), asked as kit's sampler asks. Sensors of other periods and windows stand beside it. Truth
is the energy on the counter's clock; what the counter itself errs by is ``u_sensor``, not tested
here. ``cover`` is the share of windows whose truth lies within 1.96 times ``u_reading`` and the
term of the samples' lag.

A recorded reference has an error of its own: each tick's time is good to 0.55 ms, so that power
times 0.55 ms at both ends is added to ``u_reading`` there; ticks that the reference itself did not
see within 12 ms are left out.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kit.core.facts import QuantityFacts  # noqa: E402
from kit.core.model import MeterDevice, MeterPlan  # noqa: E402
from kit.energy import Energy  # noqa: E402
from kit.energy.ticks import known_ticks  # noqa: E402
from kit.record import samples as files  # noqa: E402 - a clone need not be installed
from kit.record.samples import Samples, Series  # noqa: E402

Floats = npt.NDArray[np.float64]
LENGTHS_S = (0.3, 1.0, 3.0, 10.0)
# Relative rms, in percent, of windows of 1, 3 and 10 s.
TARGETS = {1.0: 0.5, 3.0: 0.2, 10.0: 0.05}
COVER = (0.93, 0.97)
STEP_S, BEFORE_S = 0.0005, 2.0
REFERENCE_S, WIDEST_S = 0.55e-3, 0.012
_NS = 1e9


# --- truth ----------------------------------------------------------------------------------


class Load(NamedTuple):
    """A power over time and its integral, both known on a grid of 0.5 ms."""

    t: Floats
    total: Floats

    def joules(self, t: Any) -> Any:
        """Energy from long ago to ``t`` (s)."""
        return np.interp(t, self.t, self.total)


def load(watts: Callable[[Floats], Floats], seconds: float) -> Load:
    t = np.arange(-BEFORE_S, seconds + BEFORE_S, STEP_S)
    steps = watts(t + STEP_S / 2) * STEP_S
    return Load(t, np.concatenate([[0.0], np.cumsum(steps)])[:-1])


def steps(chance: np.random.Generator, least: float = 0.15, most: float = 2.5) -> Any:
    edges = np.cumsum(chance.uniform(least, most, 2000)) - BEFORE_S - most
    powers = chance.uniform(100, 700, 2001)
    return lambda t: powers[np.searchsorted(edges, t)]


def ramps(chance: np.random.Generator) -> Any:
    knots = np.cumsum(chance.uniform(0.5, 4.0, 1000)) - 2 * BEFORE_S
    powers = chance.uniform(100, 700, 1000)
    return lambda t: np.interp(t, knots, powers)


def sinusoid(chance: np.random.Generator) -> Any:
    period, phase = chance.uniform(0.3, 5.0), chance.uniform(0, 6.28)
    return lambda t: 400 + 280 * np.sin(2 * np.pi * t / period + phase)


def telegraph(chance: np.random.Generator) -> Any:
    edges = np.cumsum(chance.exponential(0.4, 3000)) - 2 * BEFORE_S
    return lambda t: np.where(np.searchsorted(edges, t) % 2, 120.0, 650.0)


def bursts(period_s: float) -> Callable[[np.random.Generator], Any]:
    """Prefill, decode and a gap, again and again, each time of its own length."""

    def made(chance: np.random.Generator) -> Any:
        spans = period_s * chance.uniform(0.7, 1.3, (2000, 3)) * [0.15, 0.55, 0.3]
        edges = np.cumsum(spans.ravel()) - 2 * BEFORE_S
        powers = np.append(np.tile([700.0, 430.0, 120.0], 2000), 120.0)
        return lambda t: powers[np.searchsorted(edges, t)]

    return made


LOADS: dict[str, Callable[[np.random.Generator], Any]] = {
    "random steps 100-700 W": steps,
    "ramps": ramps,
    "sinusoids 0.3-5 s": sinusoid,
    "random telegraph": telegraph,
    "prefill/decode each 0.6 s": bursts(0.6),
    "prefill/decode each 2 s": bursts(2.0),
    "prefill/decode each 6 s": bursts(6.0),
}


# --- sensor ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sensor:
    """How NVML sees it; seconds. The defaults are an H200's."""

    period: float = 0.02
    window: float = 0.02
    lead: float = 0.0055
    stamp_jitter: float = 0.0006
    held_up: float = 0.75
    missing: float = 0.03
    tick: float = 0.1
    tick_jitter: float = 0.00055
    late: float = 0.01
    latency: float = 0.003
    asked: float = 1.0


SENSORS = {
    "H200": Sensor(),
    "window 25 ms": Sensor(window=0.025),
    "25 ms samples, 50 ms ticks": Sensor(period=0.025, window=0.025, tick=0.05, lead=0.0),
    "stamps astray by 3 ms": Sensor(stamp_jitter=0.003, held_up=0.0, missing=0.0),
}


def seen(of: Load, sensor: Sensor, seconds: float, chance: np.random.Generator) -> Samples:
    """What kit's sampler would have written of it."""
    readings = {
        ("gpu0", "gpu_power_sample"): _sampled(of, sensor, seconds, chance),
        ("gpu0", "gpu_energy"): _counted(of, sensor, seconds, chance),
    }
    return Samples(readings, (), {})


def _sampled(of: Load, s: Sensor, seconds: float, chance: np.random.Generator) -> Series:
    slots = np.arange(0.0066, seconds, s.period)
    # A mean over its window; where that is shorter than the period the rest is never seen.
    ends = slots + s.lead
    watts = (of.joules(ends) - of.joules(ends - s.window)) / s.window
    beside = np.mod(slots, s.tick) < s.period  # taken while the counter is published
    late = np.abs(chance.normal(0, s.stamp_jitter, len(slots)))
    late += 0.5 * s.period * (beside & (chance.random(len(slots)) < s.held_up))
    arrived = chance.random(len(slots)) >= s.missing
    t = np.maximum.accumulate(((slots + late) * _NS).astype(np.int64))[arrived]
    return _series(t, t, np.round(watts[arrived] * 1e3).astype(np.int64))


def _counted(of: Load, s: Sensor, seconds: float, chance: np.random.Generator) -> Series:
    ticks = np.arange(-s.tick, seconds + s.tick, s.tick) + 0.037
    ticks += chance.normal(0, s.tick_jitter, len(ticks))
    ticks += s.late * (chance.random(len(ticks)) < 0.015)
    raw = np.floor(of.joules(ticks) * 1e3).astype(np.int64)
    begin = _asked(s, seconds, chance)
    took = s.latency * (0.85 + 0.15 * chance.exponential(1.0, len(begin)))
    taken = begin + took * chance.uniform(0.2, 0.9)
    counts = raw[np.searchsorted(ticks, taken) - 1]
    t0, t1 = (begin * _NS).astype(np.int64), ((begin + took) * _NS).astype(np.int64)
    return _series(t0, t1, counts)


def _asked(s: Sensor, seconds: float, chance: np.random.Generator) -> Floats:
    """About ticks, ever more seldom up to each 15 s; else halfway between two of them."""
    pace = s.latency * 1.2
    ahead = np.minimum(np.maximum(1, np.floor(1.45 ** np.arange(80))), round(15 / s.tick))
    marks = 0.037 + s.tick * np.cumsum(ahead)
    marks = marks[marks < seconds - 1]
    around = np.arange(-0.008, 0.009, pace)
    near = (marks[:, None] + around + chance.uniform(-0.002, 0.002, (len(marks), 1))).ravel()
    single = np.arange(1.037 + 1.5 * s.tick, seconds - 0.2, s.asked)
    times = np.sort(np.concatenate([near, single, [seconds - 0.1]]))
    return times[np.concatenate([[True], np.diff(times) > pace * 0.9])]


def _series(t0: Any, t1: Any, raw: Any) -> Series:
    none = np.zeros(0, np.int64)
    return Series(t0 + (t1 - t0) // 2, raw, 0, none, t0, t1)


def plan(sensor: Sensor) -> MeterPlan:
    """The plan's facts of that sensor."""
    facts = {
        "gpu_energy": QuantityFacts(period_s=sensor.tick),
        "gpu_power_sample": QuantityFacts(period_s=sensor.period),
    }
    device = MeterDevice(device="gpu0", description="", quantities=facts)
    return MeterPlan(name="nvml", alias=None, devices=(device,))


# --- errors ---------------------------------------------------------------------------------


class Errors(NamedTuple):
    """Of many windows of one length: relative errors, and errors in standard uncertainties."""

    relative: Floats
    normal: Floats

    @property
    def rms(self) -> float:
        """In percent."""
        return 100 * float(np.sqrt(np.mean(self.relative**2)))

    @property
    def cover(self) -> float:
        return float(np.mean(np.abs(self.normal) < 1.96))


def simulated(
    name: str, sensor: Sensor, length: float, runs: int, windows: int, seconds: float = 60.0
) -> Errors:
    """Windows of ``length`` seconds that begin anywhere, over ``runs`` runs of one load."""
    errors: list[tuple[float, float]] = []
    for seed in range(runs):
        chance = np.random.default_rng([seed, *name.encode()])
        of = load(LOADS[name](chance), seconds)
        energy = Energy(seen(of, sensor, seconds, chance), [plan(sensor)])
        for start in chance.uniform(1.5, seconds - length - 1.5, windows):
            t0, t1 = round(start * _NS), round((start + length) * _NS)
            truth = float(of.joules(t1 / _NS) - of.joules(t0 / _NS))
            errors.append(_one(energy, t0, t1, truth, 0.0))
    return Errors(*np.array(errors).T)


def _one(energy: Energy, t0: int, t1: int, truth: float, u_truth: float) -> tuple[float, float]:
    value = energy.of(t0, t1)[0]
    if value.joules is None or value.u_reading is None:
        raise SystemExit(f"a window was not measured: {value.reason}")
    error = value.joules - truth
    # The lag is one for the whole run, and so no scatter; of many runs it is.
    u = float(np.linalg.norm([value.u_reading, value.terms.get("lag", 0.0), u_truth]))
    return error / truth, error / u


def recorded(folder: Path, length: float) -> Iterator[tuple[str, Errors]]:
    """Windows from tick to tick of a counter that was polled without pause."""
    planned = json.loads((folder / "plan.json").read_text())["devices"][0]
    device = msgspec.convert(planned, MeterDevice)
    meters = [MeterPlan(name="nvml", alias=None, devices=(device,))]
    texts = {p.name: _opened(p) for p in sorted((folder / "samples").glob("nvml*.csv*"))}
    read = files.from_csv(texts)
    t0, t1, raw = np.loadtxt(folder / "ref.csv.gz", np.int64, delimiter=",").T
    ticks = known_ticks(_series(t0, t1, raw), 0.1)
    sharp, joules = _sharp(ticks.t, t0, t1, raw), ticks.raw * 1e-3
    watts = np.gradient(joules, ticks.t) * _NS
    energy, count = Energy(read, meters), round(length * _NS / ticks.period_ns)
    errors = []
    for a in range(len(ticks.t) - count):
        b = a + count
        if not (sharp[a] and sharp[b]):
            continue
        u = REFERENCE_S * float(np.hypot(watts[a], watts[b]))
        window = round(ticks.t[a]), round(ticks.t[b])
        if energy.of(*window)[0].joules is not None:
            errors.append(_one(energy, *window, float(joules[b] - joules[a]), u))
    yield f"{folder.name}: {len(errors)} windows", Errors(*np.array(errors).T)


def _opened(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _sharp(ticks: Floats, t0: Any, t1: Any, raw: Any) -> npt.NDArray[np.bool_]:
    """Which ticks the reference saw within 12 ms."""
    changed = np.flatnonzero(np.diff(raw) > 0)
    middles, widths = (t0[changed] + t1[changed + 1]) / 2, t1[changed + 1] - t0[changed]
    nearest = np.clip(np.searchsorted(middles, ticks - 5e7), 0, len(middles) - 1)
    near = np.abs(middles[nearest] - ticks) < 5e7
    result: npt.NDArray[np.bool_] = near & (widths[nearest] < WIDEST_S * _NS)
    return result


def line(name: str, errors: Sequence[Errors]) -> str:
    cells = []
    for length, errors_of_length in zip(LENGTHS_S, errors, strict=True):
        mark = "!" if errors_of_length.rms > TARGETS.get(length, np.inf) else " "
        cells.append(f"{errors_of_length.rms:6.3f}{mark} {100 * errors_of_length.cover:5.1f}")
    return f"{name:42}" + "   ".join(cells)


def main() -> None:
    print(
        f"{'rms error % (! over target), cover %':42}"
        + "   ".join(f"{length:8g} s   " for length in LENGTHS_S)
    )
    if len(sys.argv) > 1:
        rows = [list(recorded(Path(sys.argv[1]), length)) for length in LENGTHS_S]
        print(line(rows[0][0][0], [row[0][1] for row in rows]))
        return
    for kind, sensor in SENSORS.items():
        print(kind)
        for name in LOADS:
            print(line(f"  {name}", [simulated(name, sensor, s, 8, 60) for s in LENGTHS_S]))


if __name__ == "__main__":
    main()
