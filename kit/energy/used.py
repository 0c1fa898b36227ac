"""Whether a GPU was used at all: the energy of an idle one is not that of the work.

A runtime that finds no GPU may work on the CPU, and say so in its log alone: llama.cpp does, where
its CUDA part cannot be loaded. Every program that computes on a GPU takes some of its memory first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kit.core.arrays import np
from kit.core.model import MeterPlan
from kit.record.samples import Samples

METERS = ("nvml", "amdsmi")
QUANTITY = "gpu_memory_used"
LEAST_BYTES = 32 << 20  # a context of CUDA or ROCm takes some hundred MiB


class Launch(NamedTuple):
    """The times of a launch that matter here, ns on the run's clock.

    Attributes:
        idle: since when nothing of the run was on the GPUs.
        begin: when the server's start began.
        worked: when it had first worked: the end of the warm-up, or without one that of the block.
        until: readings from then on are not looked at.
    """

    idle: int
    begin: int
    worked: int
    until: int


def unused(read: Samples, meters: Iterable[MeterPlan], launch: Launch) -> list[str]:
    """The GPUs of which nobody took memory in a launch.

    What was taken before it counts for nothing, and so does what others free meanwhile. A GPU whose
    memory was not read after the work is not among them: its last reading may be of before that.
    """
    return [
        device.device
        for meter in meters
        if meter.name in METERS
        for device in meter.devices
        if _is_unused(read, device.device, launch)
    ]


def _is_unused(read: Samples, device: str, launch: Launch) -> bool:
    series = read.get(device, QUANTITY)
    if series is None:
        return False
    idle, begin, worked, until = np.searchsorted(series.t, launch)
    if worked >= until or not begin:
        return False
    # Where it was not read in the idle time, the last reading may be of the launch before.
    before = series.raw[begin - 1 if idle < begin else 0 : begin].min()
    during = series.raw[begin:until]
    least = np.minimum.accumulate(np.minimum(during, before))
    return int((during - least).max()) < LEAST_BYTES
