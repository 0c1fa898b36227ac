"""Energy meters of others and plain polling loops, each as a process that is told of windows.

    python -m benchmarks.gpu_meters.tools NAME OUT

On stdin: the load's marks as JSON lines, as they come; EOF ends it. OUT gets one JSON document:
``{"name", "energies": {window: J}, "cpu_s", "seconds"}``. Each tool is used as its own manual
says; a window that it gives no figure for is left out.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml


class Tool(ABC):
    """What is told of the beginnings and ends of windows."""

    @abstractmethod
    def begin(self, name: str, t: int) -> None: ...

    @abstractmethod
    def end(self, name: str, t: int) -> None: ...

    @abstractmethod
    def energies(self) -> dict[str, float]:
        """Joules by window."""


class Zeus(Tool):
    """ZeusMonitor: the difference of two reads of the energy counter (or power times time)."""

    def __init__(self, *, approximate: bool = False) -> None:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor(gpu_indices=[0], approx_instant_energy=approximate)
        self._found: dict[str, float] = {}

    def begin(self, name: str, t: int) -> None:  # noqa: ARG002
        self._monitor.begin_window(name, sync_execution=False)

    def end(self, name: str, t: int) -> None:  # noqa: ARG002
        measured = self._monitor.end_window(name, sync_execution=False)
        self._found[name] = sum(measured.gpu_energy.values())

    def energies(self) -> dict[str, float]:
        return self._found


class CodeCarbon(Tool):
    """CodeCarbon's tracker, read at the marks; it measures every second by itself.

    Its tasks do not nest, so that its running total is taken at each mark instead.
    """

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self._tracker = OfflineEmissionsTracker(
            country_iso_code="USA",
            measure_power_secs=1,
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,
        )
        self._tracker.start()
        self._begun: dict[str, float] = {}
        self._found: dict[str, float] = {}

    def begin(self, name: str, t: int) -> None:  # noqa: ARG002
        self._begun[name] = self._joules()

    def end(self, name: str, t: int) -> None:  # noqa: ARG002
        self._found[name] = self._joules() - self._begun[name]

    def energies(self) -> dict[str, float]:
        self._tracker.stop()
        return self._found

    def _joules(self) -> float:
        self._tracker.flush()
        return float(self._tracker._total_gpu_energy.kWh) * 3.6e6


class Polling(Tool):
    """A plain loop around one NVML call, as scripts have it; trapezoids, or counter differences."""

    def __init__(self, hertz: float, *, counter: bool = False) -> None:
        self._read, self._counter = _query(counter), counter
        self._t: list[int] = []
        self._values: list[int] = []
        self._windows: dict[str, list[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, args=(1 / hertz,))
        self._thread.start()

    def begin(self, name: str, t: int) -> None:
        self._windows[name] = [t]

    def end(self, name: str, t: int) -> None:
        self._windows[name].append(t)

    def energies(self) -> dict[str, float]:
        self._stop.set()
        self._thread.join()
        joules = self._differences if self._counter else self._trapezoids
        complete = {name: w for name, w in self._windows.items() if len(w) == 2}
        return {name: joules(t0, t1) for name, (t0, t1) in complete.items()}

    def _loop(self, period_s: float) -> None:
        while not self._stop.is_set():
            self._t.append(time.monotonic_ns())
            self._values.append(self._read())
            time.sleep(period_s)

    def _differences(self, t0: int, t1: int) -> float:
        first, last = (max(0, bisect_left(self._t, t) - 1) for t in (t0, t1))
        return (self._values[last] - self._values[first]) * 1e-3

    def _trapezoids(self, t0: int, t1: int) -> float:
        first, last = bisect_left(self._t, t0), bisect_left(self._t, t1)
        pairs = range(first, min(last, len(self._t) - 1))
        return sum(
            (self._values[i] + self._values[i + 1]) / 2 * (self._t[i + 1] - self._t[i]) * 1e-12
            for i in pairs
        )


class Reference(Tool):
    """Every tick of the counter, by polling at 30 Hz: what the others are held against.

    Faster would tell no more, since the ticks come on a steady grid, but would hold up the others.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._stop = out, threading.Event()
        self._rows: list[tuple[int, int, int]] = []
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def begin(self, name: str, t: int) -> None: ...

    def end(self, name: str, t: int) -> None: ...

    def energies(self) -> dict[str, float]:
        self._stop.set()
        self._thread.join()
        lines = (f"{before},{after},{value}\n" for before, after, value in self._rows)
        self._out.with_suffix(".csv").write_text("t0_ns,t1_ns,counter_mj\n" + "".join(lines))
        return {}

    def _loop(self) -> None:
        read = _query(counter=True)
        while not self._stop.is_set():
            before = time.monotonic_ns()
            value = read()
            self._rows.append((before, time.monotonic_ns(), value))
            time.sleep(0.033)


def _query(counter: bool) -> Callable[[], int]:
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    ask: Callable[[Any], int] = (
        pynvml.nvmlDeviceGetTotalEnergyConsumption if counter else pynvml.nvmlDeviceGetPowerUsage
    )
    return lambda: ask(handle)


TOOLS: dict[str, Callable[[Path], Tool]] = {
    "zeus": lambda _: Zeus(),
    "zeus-approx": lambda _: Zeus(approximate=True),
    "codecarbon": lambda _: CodeCarbon(),
    "power-10hz": lambda _: Polling(10),
    "power-50hz": lambda _: Polling(50),
    "counter-20hz": lambda _: Polling(20, counter=True),
    "reference": Reference,
}


def main() -> None:
    name, out = sys.argv[1], Path(sys.argv[2])
    tool = TOOLS[name](out)
    print(json.dumps({"ready": name}), flush=True)
    begun, cpu = time.monotonic(), time.process_time()
    for line in sys.stdin:
        mark = json.loads(line)
        (tool.begin if mark["kind"] == "begin" else tool.end)(mark["window"], mark["t"])
    used = {"cpu_s": time.process_time() - cpu, "seconds": time.monotonic() - begun}
    out.write_text(json.dumps({"name": name, "energies": tool.energies(), **used}) + "\n")


if __name__ == "__main__":
    main()
