"""Whether a runtime uses the GPUs that its run asks for.

A runtime that finds no GPU may work on the CPU, and say so in its log alone: llama.cpp does, where
its CUDA part cannot be loaded. The energy of an idle GPU would then be called that of the work.
Every program that computes on a GPU takes some of its memory first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kit.core.model import MeterPlan
from kit.record import samples
from kit.record.samples import MalformedSamplesError, Samples

METERS = ("nvml", "amdsmi")
LEAST_BYTES = 32 << 20  # a context of CUDA or ROCm takes some hundred MiB


def unused(folder: Path, meters: tuple[MeterPlan, ...], since: int) -> list[str]:
    """The GPUs of which nobody took memory since ``since``, the launch's begin (ns, run's clock).

    A GPU whose memory was not read since then, or cannot be read, is not among them.

    Args:
        folder: the sampler's folder, ``samples/``.
        meters: the plan's.
    """
    return [
        device.device
        for meter in meters
        if meter.name in METERS and meter.devices
        for read in _read(folder, meter.label)
        for device in meter.devices
        if _is_unused(read, device.device, since)
    ]


def _read(folder: Path, label: str) -> Iterator[Samples]:
    try:
        name = f"{label}.csv"
        yield samples.from_csv({name: (folder / name).read_bytes()})
    except (OSError, MalformedSamplesError):
        return


def _is_unused(read: Samples, device: str, since: int) -> bool:
    series = read.get(device, "gpu_memory_used")
    if series is None:
        return False
    earlier, later = series.raw[series.t < since], series.raw[series.t >= since]
    before = int(earlier[-1]) if len(earlier) else 0
    return len(later) > 0 and int(later.max()) - before < LEAST_BYTES
