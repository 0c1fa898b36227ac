"""The gate before a measured block: wait until every GPU is steady, or for as long as allowed.

It reads what the sampler has put on disk, since the engine itself reads no meter. Whether a GPU is
steady is judged by `kit.steady`, as the results judge it afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit import samples
from kit.events import Clock
from kit.measure import Watch
from kit.model import MeterDevice, MeterPlan, SteadySpec
from kit.samples import MalformedSamplesError
from kit.steady import Rule, judge

EVERY_S = 5.0
METER = "nvml"


def settle(
    watch: Watch,
    clock: Clock,
    since: int,
    folder: Path,
    meters: tuple[MeterPlan, ...],
    asked: SteadySpec,
) -> dict[str, Any]:
    """Let time pass until the last ``window_s`` were steady on every GPU, ``limit_s`` at most.

    Args:
        since: when the server fell idle (ns on the run's clock).
        folder: where the sampler writes, ``samples/``.
        meters: the plan's.

    Returns:
        ``{"seconds", "devices": {alias: status}}``; no device where no GPU is read.
    """
    gpus = [device for meter in meters if meter.name == METER for device in meter.devices]
    begun = clock.now()
    devices: dict[str, str] = {}
    while gpus:
        devices = _judged(gpus, folder, clock.now(), since, asked)
        waited_s = (clock.now() - begun) * 1e-9
        if set(devices.values()) == {"steady"} or waited_s >= asked.limit_s:
            break
        watch.wait(min(EVERY_S, asked.limit_s - waited_s))
    return {"seconds": (clock.now() - begun) * 1e-9, "devices": devices}


def _judged(
    gpus: list[MeterDevice], folder: Path, now: int, since: int, asked: SteadySpec
) -> dict[str, str]:
    """Each GPU's status over the last window, once the server has been idle for that long."""
    t0 = now - round(asked.window_s * 1e9)
    if t0 < since:
        return {gpu.device: "unknown" for gpu in gpus}
    try:
        read = samples.from_csv({"nvml": (folder / f"{METER}.csv").read_bytes()})
    except (OSError, MalformedSamplesError):
        return {gpu.device: "unknown" for gpu in gpus}
    rule = Rule(asked.temperature_c_per_min, asked.power_percent_per_min, asked.window_s)
    return {gpu.device: judge(gpu, read, t0, now, rule)["status"] for gpu in gpus}
