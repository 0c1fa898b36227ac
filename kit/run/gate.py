"""What the samples say of the GPUs while a launch goes on: are they steady, are they used?

The sampler's files are read, since the runner itself reads no meter. `kit.energy.steady` decides
whether a GPU is steady, here and later in the results; `kit.energy.used` whether it was used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from kit.core.model import MeterDevice, MeterPlan, SteadySpec
from kit.energy import sift, used
from kit.energy.steady import Rule, judge, may_settle
from kit.record import samples
from kit.record.events import Clock
from kit.record.samples import MalformedSamplesError, Samples
from kit.run.watch import Watch

EVERY_S = 5.0
METER = "nvml"


class _State(NamedTuple):
    """A GPU's status, and whether more waiting can change it."""

    status: str
    waits: bool


_UNREAD = _State("unknown", waits=True)


def settle(
    watch: Watch,
    clock: Clock,
    since: int,
    folder: Path,
    meters: tuple[MeterPlan, ...],
    steady: SteadySpec,
) -> dict[str, Any]:
    """Wait until every GPU was steady for the last ``window_s``, at most for ``limit_s``.

    The measured block follows in either case: ``devices`` holds the status that was reached.

    Args:
        since: when the server became idle (ns on the run's clock).
        folder: the sampler's folder, ``samples/``.
        meters: the plan's.

    Returns:
        ``{"seconds", "devices": {alias: status}}``; without devices if no GPU is read.
    """
    gpus = [device for meter in meters if meter.name == METER for device in meter.devices]
    begun = clock.now()
    states: dict[str, _State] = {}
    while gpus:
        states = _judged(gpus, folder, clock.now(), since, steady)
        waited_s = (clock.now() - begun) * 1e-9
        if not any(state.waits for state in states.values()) or waited_s >= steady.limit_s:
            break
        watch.wait(min(EVERY_S, steady.limit_s - waited_s))
    devices = {gpu: state.status for gpu, state in states.items()}
    return {"seconds": (clock.now() - begun) * 1e-9, "devices": devices}


def _judged(
    gpus: list[MeterDevice], folder: Path, now: int, since: int, steady: SteadySpec
) -> dict[str, _State]:
    """Each GPU's state over the last window, once the server has been idle for that long."""
    t0 = now - round(steady.window_s * 1e9)
    if t0 < since:
        return {gpu.device: _UNREAD for gpu in gpus}
    read = _read(folder, METER)
    if read is None:
        return {gpu.device: _UNREAD for gpu in gpus}
    plan = MeterPlan(name=METER, alias=None, devices=tuple(gpus))
    read = sift(read, (plan,)).samples  # garbage is neither steady nor not
    rule = Rule(steady.temperature_c_per_min, steady.power_percent_per_min, steady.window_s)
    window = (read, t0, now, rule)
    return {g.device: _State(judge(g, *window).status, may_settle(g, *window)) for g in gpus}


def unused(folder: Path, meters: tuple[MeterPlan, ...], launch: used.Launch) -> list[str]:
    """The GPUs that a launch did not use, as far as ``folder`` (``samples/``) tells."""
    found = []
    for meter in meters:
        if meter.devices and meter.name in used.METERS:
            read = _read(folder, meter.label, only=used.QUANTITY) or samples.EMPTY
            found += used.unused(sift(read, [meter]).samples, [meter], launch)
    return found


def _read(folder: Path, label: str, only: str = "") -> Samples | None:
    """What a meter's file holds up to now, or ``only`` one quantity of it: a long run's file is of
    gigabytes. None if there is nothing to read."""
    name, mark = f"{label}.csv", f",{only},".encode() if only else b""
    try:
        with (folder / name).open("rb") as file:
            data = file.readline() + b"".join(line for line in file if mark in line)
        return samples.from_csv({name: data})
    except (OSError, MalformedSamplesError):
        return None
