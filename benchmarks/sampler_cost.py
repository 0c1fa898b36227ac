"""What the sampler costs and loses, with 1 and with 8 GPUs, against the targets.

    python benchmarks/sampler_cost.py [SECONDS]

The GPUs are those of the fake driver library that the tests build (tests/meters/fake_nvml.c), whose
dear calls burn the CPU that an H200's do; everything above it is kit's own. CPU
time is that of all the sampler process's threads between ready and stop. The window errors are
against the library's true energy.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kit import energy
from kit.core.model import MeterPlan
from kit.record import samples
from tests.meters.fake import Fake, Sampled, build

SECONDS = 60.0
# What its dear calls cost, µs: the energy counter, and two of the event reasons' times.
H200 = {"latency_us": 2800, "brake_us": 650}
CPU_TARGETS = {1: 1.0, 8: 5.0}
LATE_TARGET_MS = 1.0
WINDOW_TARGETS = {0.3: None, 1.0: 0.5, 3.0: 0.2, 10.0: 0.05}
WINDOWS = 300
PROBE = (
    "import json, msgspec; from kit.measure import meters; "
    "print(json.dumps(msgspec.to_builtins(meters.get('nvml').probe(None, {}))))"
)


def cpu_seconds(pid: int) -> float:
    """What all threads of a process ran, s: by the scheduler's nanoseconds, since the usual
    accounting by clock ticks counts a whole tick for whoever wakes at one."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * 1e-9


def late_ms(seconds: float = 20.0, period_s: float = 0.1) -> float:
    """How late, at the 99th percentile, this machine wakes a process that does nothing else."""
    due, late = time.monotonic(), []
    for _ in range(round(seconds / period_s)):
        due += period_s
        time.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
    return 1e3 * sorted(late)[int(0.99 * len(late))]


def measure(library: Path, out: Path, gpus: int, seconds: float) -> None:
    """Sample ``gpus`` fake GPUs for a while and print what that took."""
    fake = Fake(library, {"gpus": gpus, **H200, "wave": 2.3, "duty": 0.45})
    plan = msgspec.convert(fake.python(PROBE), MeterPlan)
    sampled = Sampled(out, [{"name": "nvml", "alias": None, "config": {}}], fake.env)
    sampled.wait_for("ready")
    t0, cpu0 = sampled.now(), cpu_seconds(sampled.process.pid)
    time.sleep(seconds)
    t1, cpu1 = sampled.now(), cpu_seconds(sampled.process.pid)
    report = sampled.stop()
    percent = 100 * (cpu1 - cpu0) / ((t1 - t0) * 1e-9)
    data = b"".join(sampled.files().values())
    per_hour = 3.6e12 / (t1 - t0) / 1e6 / gpus
    print(f"{gpus} GPU{'s' if gpus > 1 else ''}, {seconds:g} s")
    line("CPU of one core", percent, CPU_TARGETS[gpus], "%")
    line("late p99, quick tiers", report["late_p99_ns"] * 1e-6, LATE_TARGET_MS, "ms")
    line("deadlines missed", sum(report["overruns"].values()), 0, "")
    readings = samples.from_csv(sampled.files())
    line("rows lost", len(readings.gaps), 0, "")
    print(
        f"    {report['rows']} rows, {len(data) * per_hour:.0f} MB a GPU-hour, "
        f"{len(zlib.compress(data)) * per_hour:.1f} MB deflated"
    )
    line("late p99, a bare sleeper", late_ms(), None, "ms")
    windows(fake, plan, readings, sampled.origin, t0, t1)


def windows(
    fake: Fake, plan: MeterPlan, readings: samples.Samples, origin: int, t0: int, t1: int
) -> None:
    """Errors of random windows of gpu0 against the truth, and how often u covers them."""
    one = msgspec.structs.replace(plan, devices=plan.devices[:1])
    computed = energy.Energy(readings, [one])
    chance = random.Random(1)
    for length, target in WINDOW_TARGETS.items():
        errors, covered = [], 0
        for _ in range(WINDOWS):
            begin = chance.randint(t0, t1 - int(length * 1e9))
            end = begin + int(length * 1e9)
            value = computed.of(begin, end)[0]
            if value.joules is None or value.u_reading is None:
                print(f"    a window is unmeasured: {value.reason}")
                return
            truth = fake.joules(0, origin + begin, origin + end)
            errors.append(value.joules / truth - 1)
            u = math.hypot(value.u_reading, value.terms.get("lag", 0.0))
            covered += abs(value.joules - truth) <= 1.96 * u
        rms = 100 * math.sqrt(sum(e * e for e in errors) / len(errors))
        line(f"error of {length:g} s windows, rms", rms, target, "%")
        print(f"    within 1.96 u_reading and lag: {100 * covered / WINDOWS:.0f}%")


def line(what: str, value: float, target: float | None, unit: str) -> None:
    """One result, with its target and whether it is met."""
    verdict = (
        "" if target is None else f"  (target ≤ {target:g}{unit}: {verdict_of(value, target)})"
    )
    print(f"  {what:<32}{value:8.3f} {unit}{verdict}")


def verdict_of(value: float, target: float) -> str:
    return "met" if value <= target else "MISSED"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0]}))
    with tempfile.TemporaryDirectory() as name:
        library = build(Path(name))
        for gpus in CPU_TARGETS:
            measure(library, Path(name) / f"samples-{gpus}", gpus, seconds)


if __name__ == "__main__":
    main()
