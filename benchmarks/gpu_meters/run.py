"""kit's sampler beside Zeus, CodeCarbon and plain polling loops, over one load on one real GPU.

    python -m benchmarks.gpu_meters.run OUT
    python -m benchmarks.gpu_meters.run OUT ROUNDS TOOL…      only what these cost the load

Needs an NVIDIA GPU, torch and transformers (the load), zeus and codecarbon. Writes into OUT, for
`benchmarks.gpu_meters.table` to judge, on any machine:

    load.jsonl        the load's marks
    samples/, plan.json, kit.json   kit's own readings, its plan and the sampler's report
    reference.csv     every tick of the energy counter
    TOOL.json         each tool's joules by window and its CPU time
    perturbation.json steps per second of a load of small kernels, with and without each tool

The GPU's settings are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kit.measure import meters
from kit.measure.sample import SamplerProcess
from kit.record.events import Clock

TOOLS = ("zeus", "zeus-approx", "codecarbon", "power-10hz", "power-50hz", "counter-20hz")
DISTURBERS = ("kit", "codecarbon", "power-50hz", "counter-20hz")
SEGMENT_S, ROUNDS = 1.0, 12


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    if sys.argv[2:]:
        result = perturbation(out, sys.argv[3:], int(sys.argv[2]))
    else:
        accuracy(out)
        result = perturbation(out, DISTURBERS, ROUNDS)
    (out / "perturbation.json").write_text(json.dumps(result, indent=1) + "\n")


# --- all tools beside each other --------------------------------------------------------------


def accuracy(out: Path) -> None:
    """One load, every tool watching; each tool's figures land in ``out``."""
    clock = Clock()
    with contextlib.ExitStack() as held:
        sampler = held.enter_context(kit_sampler(out, clock))
        tools = [held.enter_context(child("tools", t, str(out / f"{t}.json"))) for t in TOOLS]
        tools.append(held.enter_context(child("tools", "reference", str(out / "reference.json"))))
        for tool in tools:
            expect(tool, "ready")
        before, begun = cpu_s(sampler.pid), time.monotonic()
        with (out / "load.jsonl").open("w") as log:
            log.write(json.dumps({"origin": clock.origin}) + "\n")
            for line in marks():
                log.write(line)
                for tool in tools:
                    write(tool, line)
        used = {"cpu_s": cpu_s(sampler.pid) - before, "seconds": time.monotonic() - begun}
        for tool in tools:
            finish(tool)
        (out / "kit.json").write_text(json.dumps({**used, "report": sampler.stop()}) + "\n")


class Sampler:
    """kit's sampler process, as a runner runs it."""

    def __init__(self, process: SamplerProcess, pid: int) -> None:
        self._process, self.pid = process, pid

    def stop(self) -> dict[str, Any]:
        return self._process.stop()


@contextlib.contextmanager
def kit_sampler(out: Path, clock: Clock) -> Iterator[Sampler]:
    plan = meters.get("nvml").probe(None, {"gpus": 1})
    (out / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1))
    samples = out / "samples"
    samples.mkdir(exist_ok=True)
    wanted = [{"name": "nvml", "alias": None, "config": {"gpus": 1}}]
    config = {"origin": clock.origin, "out": str(samples), "cpus": "", "meters": wanted}
    before = children()
    with SamplerProcess(config, out / "sampler.json") as process:
        process.wait_ready()
        (pid,) = children() - before
        yield Sampler(process, pid)


def children() -> set[int]:
    """PIDs of this process's children."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in listed.split()}


def marks() -> Iterator[str]:
    with child("load") as load:
        assert load.stdout is not None
        for line in load.stdout:
            if line.startswith("{"):
                yield line
        if load.wait():
            raise SystemExit("the load failed")


# --- what a tool costs the measured program -----------------------------------------------------


def perturbation(out: Path, tools: Sequence[str], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Pairs (without, with) of steps per second for each tool; a tool at rest is stopped."""
    rates: dict[str, list[dict[str, float]]] = {}
    with child("load", "throughput", str(SEGMENT_S)) as load:
        expect(load, "ready")
        step(load)
        for name in tools:
            with disturber(name, out) as pid:
                rates[name] = [pair(load, pid, index % 2 == 0) for index in range(rounds)]
    return rates


@contextlib.contextmanager
def disturber(name: str, out: Path) -> Iterator[int]:
    scratch = out / "scratch"
    scratch.mkdir(exist_ok=True)
    if name == "kit":
        with kit_sampler(scratch, Clock()) as sampler:
            yield sampler.pid
            os.kill(sampler.pid, signal.SIGCONT)
        return
    with child("tools", name, str(scratch / "tool.json")) as tool:
        expect(tool, "ready")
        yield tool.pid
        os.kill(tool.pid, signal.SIGCONT)


def pair(load: subprocess.Popen[str], pid: int, without_first: bool) -> dict[str, float]:
    rates = {}
    for state in ("without", "with") if without_first else ("with", "without"):
        os.kill(pid, signal.SIGSTOP if state == "without" else signal.SIGCONT)
        time.sleep(0.2)
        rates[state] = step(load)
    return rates


def step(load: subprocess.Popen[str]) -> float:
    write(load, "\n")
    return float(expect(load, "per_s")["per_s"])


# --- processes ----------------------------------------------------------------------------------


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"benchmarks.gpu_meters.{module}", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            finish(process)


def finish(process: subprocess.Popen[str]) -> None:
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    process.wait(60)


def write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def expect(process: subprocess.Popen[str], key: str) -> dict[str, Any]:
    """The next line that is a JSON object with ``key``; libraries print other things."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{") and key in (message := json.loads(line)):
            return dict(message)
    raise SystemExit(f"{process.args!r} ended early")


def cpu_s(pid: int) -> float:
    """CPU time of another process, threads that ended included, s (Linux's clock of a process)."""
    return time.clock_gettime(((~pid) << 3) | 2)


if __name__ == "__main__":
    main()
