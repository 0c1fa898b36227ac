"""A GPU that is not there: builds the fake driver library and knows its true energy.

The library stands in for the driver alone; everything of kit above it is real, in processes of
their own, since a driver library is loaded once in a process's life.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kit.record import samples

NVML: list[dict[str, Any]] = [{"name": "nvml", "alias": None, "config": {}}]
ATTEMPTS, STANDSTILL_S = 3, 0.3
SOURCE = Path(__file__).with_name("fake_nvml.c")
DEFAULTS: dict[str, float] = {
    "base": 100.0,
    "amp": 400.0,
    "wave": 1.7,
    "duty": 0.4,
}


@cache
def build(folder: Path) -> Path:
    """Compile the library into ``folder``; returns the folder for LD_LIBRARY_PATH."""
    library = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", str(SOURCE)]
    subprocess.run([*command, "-o", str(library), "-lm"], check=True)
    return folder


@dataclass(frozen=True)
class Fake:
    """The library with settings (see the C file), and the truth about them."""

    folder: Path
    settings: dict[str, float] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that shall see the fake GPUs."""
        text = ";".join(f"{key}={value}" for key, value in self.settings.items())
        return {**os.environ, "LD_LIBRARY_PATH": str(self.folder), "FAKE_NVML": text}

    def joules(self, gpu: int, t0: int, t1: int) -> float:
        """True energy of a GPU between two times of CLOCK_MONOTONIC, ns."""
        return self._energy(gpu, t1 * 1e-9) - self._energy(gpu, t0 * 1e-9)

    def python(self, code: str, *args: str) -> Any:
        """What ``code`` prints as JSON, run where the fake GPUs are."""
        command = [sys.executable, "-c", code, *args]
        done = subprocess.run(
            command, env=self.env, check=True, capture_output=True, text=True, timeout=60
        )
        return json.loads(done.stdout)

    def _energy(self, gpu: int, t: float) -> float:
        base, amp, wave, duty = ({**DEFAULTS, **self.settings}[key] for key in DEFAULTS)
        waves = t // wave
        on = waves * duty + min(t / wave - waves, duty)
        return (base + 20 * gpu) * t + amp * wave * on


class Sampled:
    """A sampler process over some meters, in an environment of choice, for a while."""

    def __init__(
        self, out: Path, meters: list[dict[str, Any]], env: dict[str, str] | None = None
    ) -> None:
        self.out = out
        self.origin = time.monotonic_ns()
        config = {"origin": self.origin, "out": str(out), "cpus": "", "meters": meters}
        path = out.with_suffix(".json")
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kit.measure.sample", str(path)],
            env=env or dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []

    def now(self) -> int:
        """The run's clock, ns."""
        return time.monotonic_ns() - self.origin

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read lines until one of this event; all of them are kept in ``said``."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.said.append(json.loads(text))
            if self.said[-1]["event"] == event:
                return self.said[-1]
        assert self.process.stderr is not None
        raise AssertionError(f"no {event}: {self.said} {self.process.stderr.read()}")

    def run(self, seconds: float) -> tuple[int, int]:
        """Wait until ready, then ``seconds``, then stop; the window in between (run's clock)."""
        self.wait_for("ready")
        t0 = self.now()
        time.sleep(seconds)
        t1 = self.now()
        self.stop()
        return t0, t1

    def stop(self) -> dict[str, Any]:
        """End it by EOF, as a runner does; its closing report."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        report = self.wait_for("stopped")
        self.process.wait(10)
        return report

    def files(self) -> dict[str, bytes]:
        """The sample files by name."""
        return {path.name: path.read_bytes() for path in sorted(self.out.glob("*.csv"))}


def recorded(
    out: Path, env: dict[str, str], seconds: float
) -> tuple[Sampled, tuple[int, int], samples.Samples]:
    """NVML's samples of some seconds without a standstill of the machine, and the window.

    A virtual machine may be paused for longer than a counter may go unread: it is made again then.
    """
    for attempt in range(ATTEMPTS):
        run = Sampled(out.with_name(f"{out.name}-{attempt}"), NVML, env)
        span = run.run(seconds)
        read = samples.from_csv(run.files())
        polled = [s.t for (_, name), s in read.series.items() if name == "gpu_power_instant"]
        if all(np.diff(t).max() < STANDSTILL_S * 1e9 for t in polled):
            return run, span, read
    raise AssertionError(f"the machine stood still in each of {ATTEMPTS} recordings")
