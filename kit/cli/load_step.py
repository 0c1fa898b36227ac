"""A step of load while the meters record: the measurement behind ``kit pdu calibrate``."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kit.core.arrays import np
from kit.core.errors import UsageError
from kit.core.model import MeterPlan
from kit.core.units import scale_of
from kit.energy import power_series
from kit.energy.calibration import CannotCalibrate, Record, true_edges
from kit.measure import meters
from kit.measure.sample import SamplerProcess
from kit.record import samples
from kit.record.events import Clock

_BURN = "print('on', flush=True)\nwhile True: pass"
_GRID_NS = 50e6
# A burner's or a command's own start, where no quicker meter of this host sees it.
_UNSEEN_START_S = 0.2
_SEEN_START_S = 0.05
_NAP_S = 0.2


class Recorded(NamedTuple):
    """The recording of a step of load.

    Attributes:
        wall: the host's power by the PDU, summed over all of its outlets.
        raw: the integers of the outlet that draws most, at the times of ``wall``.
        edges: when the load began and ended (ns); ``edge_u_s`` their standard uncertainty.
        parts_w: mean power of GPUs and CPU packages, idle and under load; None without meters.
        parts: names of these meters.
    """

    wall: Record
    raw: samples.Ints
    edges: tuple[float, float]
    edge_u_s: float
    parts_w: tuple[float, float] | None
    parts: tuple[str, ...]


def record(
    alias: str,
    config: dict[str, Any],
    durations_s: tuple[float, float],
    command: str | None,
    say: Callable[[str], None],
) -> Recorded:
    """Record idle, load and idle again with the PDU and this host's own meters.

    Args:
        durations_s: seconds of each idle plateau, and of the load.
        command: what makes the load; None: one busy process a CPU.

    Raises:
        UsageError: the PDU reports no power here, or the command ended early.
        SamplerFailed: a sampler ended early.
        CannotCalibrate: the PDU answered too rarely, or no step of load shows in its readings.
    """
    plan = meters.get("pdu").probe(alias, config)
    if plan.reason:
        raise UsageError(f"pdu {alias}: {plan.reason}", meters.get("pdu").remedy)
    parts = [p for p in (meters.get(n).probe(None, {}) for n in ("nvml", "rapl")) if p.devices]
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="kit-calibrate-") as folder, ExitStack() as held:
        out = Path(folder)
        wanted = [("pdu", alias, config), *((p.name, None, {}) for p in parts)]
        for name, its_alias, its_config in wanted:
            meter = {"name": name, "alias": its_alias, "config": its_config}
            settings = {"origin": clock.origin, "out": str(out), "cpus": "", "meters": [meter]}
            sampler = SamplerProcess(settings, out / f"sampler-{name}.json")
            held.enter_context(sampler).wait_ready()
        about = _step(clock, durations_s, command, say)
        held.close()
        read = samples.from_csv({p.name: p.read_bytes() for p in out.glob("*.csv")})
    return _recorded(read, plan, parts, about)


def _step(
    clock: Clock,
    durations_s: tuple[float, float],
    command: str | None,
    say: Callable[[str], None],
) -> tuple[float, float]:
    idle_s, load_s = durations_s
    say(f"idle for {idle_s:g} s: leave this host alone")
    time.sleep(idle_s)
    with load(command) as alive:
        begin = clock.now()
        say(f"load for {load_s:g} s")
        while (clock.now() - begin) * 1e-9 < load_s:
            if not alive():
                raise UsageError("the load ended by itself", "give a command that runs longer")
            time.sleep(_NAP_S)
        end = clock.now()
    say(f"idle for {idle_s:g} s")
    time.sleep(idle_s)
    return float(begin), float(end)


@contextmanager
def load(command: str | None) -> Iterator[Callable[[], bool]]:
    """Keep a load running inside the context; yields a function that says whether it still runs."""
    one = [sys.executable, "-c", _BURN]
    count = 1 if command else len(os.sched_getaffinity(0))
    words = shlex.split(command) if command else one
    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            out = subprocess.DEVNULL if command else subprocess.PIPE
            running.append(subprocess.Popen(words, stdout=out, start_new_session=True))
        for process in running:
            if process.stdout:
                process.stdout.readline()  # its first line: the load is on from now
        yield lambda: all(process.poll() is None for process in running)
    except OSError as error:
        raise UsageError(
            f"the load cannot start: {error}", "give --load a command that this host has, in quotes"
        ) from error
    finally:
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a load and all its processes: it leads its own session."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _recorded(
    read: samples.Samples,
    plan: MeterPlan,
    parts: Sequence[MeterPlan],
    about: tuple[float, float],
) -> Recorded:
    wall, raw = _wall(read, plan)
    inside = _parts(read, parts)
    if inside is None:
        return Recorded(wall, raw, about, _UNSEEN_START_S, None, ())
    edges, doubt = about, _UNSEEN_START_S
    with suppress(
        CannotCalibrate
    ):  # the start of a load on a device without a meter is less certain
        edges, doubt = true_edges(inside, about), _SEEN_START_S
    margin = (edges[1] - edges[0]) / 8
    loaded = (inside.t > edges[0] + margin) & (inside.t < edges[1] - margin)
    idle = (inside.t < edges[0] - margin) | (inside.t > edges[1] + margin)
    levels = (float(inside.watts[idle].mean()), float(inside.watts[loaded].mean()))
    return Recorded(wall, raw, edges, doubt, levels, tuple(p.name for p in parts))


def _wall(read: samples.Samples, plan: MeterPlan) -> tuple[Record, samples.Ints]:
    """The sum of the outlets. One GET reads all of them, so their times agree."""
    total, times, most, raw = None, None, -1.0, None
    for device in plan.devices:
        facts = device.facts("pdu_power")
        if not facts.summed or not facts.is_read:
            continue
        series = read.get(device.device, "pdu_power")
        if (
            series is None
            or len(series.t) < 2
            or (times is not None and len(times) != len(series.t))
        ):
            raise CannotCalibrate(f"{device.device} did not answer all the time")
        watts = series.raw * scale_of("pdu_power", facts)
        total = watts if total is None else total + watts
        times = series.t
        if watts.mean() > most:
            most, raw = float(watts.mean()), series.raw
    if total is None or times is None or raw is None:
        raise CannotCalibrate("no outlet of this host reported its power")
    return Record(times.astype(np.float64), np.asarray(total, np.float64)), raw


def _parts(read: samples.Samples, parts: Sequence[MeterPlan]) -> Record | None:
    """GPUs and CPU packages together, on a grid of 50 ms; None where none is metered."""
    summed = [
        MeterPlan(
            name=p.name,
            alias=None,
            devices=tuple(d for d in p.devices if all(f.is_summed for f in d.quantities.values())),
        )
        for p in parts
    ]
    series = list(power_series(read, summed).values())
    if not series:
        return None
    begin, end = max(t[0] for t, _ in series), min(t[-1] for t, _ in series)
    grid = np.arange(float(begin), float(end), _GRID_NS)
    watts = np.zeros_like(grid)
    for t, drawn in series:
        watts += drawn[np.minimum(np.searchsorted(t, grid), len(drawn) - 1)]
    return Record(grid, watts) if len(grid) > 1 else None
