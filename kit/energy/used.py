"""Whether a GPU was used at all: the energy of an idle one is not that of the work.

A runtime that finds no GPU may work on the CPU, and say so in its log alone: llama.cpp does, where
its CUDA part cannot be loaded. Every program that computes on a GPU takes some of its memory first.
"""

from __future__ import annotations

from collections.abc import Iterable

from kit.core.model import MeterPlan
from kit.record.samples import Samples

METERS = ("nvml", "amdsmi")
LEAST_BYTES = 32 << 20  # a context of CUDA or ROCm takes some hundred MiB


def unused(read: Samples, meters: Iterable[MeterPlan], since: int, until: int) -> list[str]:
    """The GPUs of which nobody took memory between two times (ns, run's clock).

    ``since`` is a launch's begin: what was taken before it counts for nothing. A GPU whose memory
    was not read in between, or cannot be read, is not among them.
    """
    return [
        device.device
        for meter in meters
        if meter.name in METERS
        for device in meter.devices
        if _is_unused(read, device.device, since, until)
    ]


def _is_unused(read: Samples, device: str, since: int, until: int) -> bool:
    series = read.get(device, "gpu_memory_used")
    if series is None:
        return False
    earlier = series.raw[series.t < since]
    during = series.raw[(series.t >= since) & (series.t < until)]
    before = int(earlier[-1]) if len(earlier) else 0
    return len(during) > 0 and int(during.max()) - before < LEAST_BYTES
