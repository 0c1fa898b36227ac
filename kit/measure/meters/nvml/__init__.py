"""GPU boards through NVML (the ``pynvml`` module): energy counter, power, clocks, temperature.

Everything is read from the host, under the aliases ``gpu0``, ``gpu1``, … in NVML's order. What a
card does not support is told once, as a reason, and never read as zero. MIG and virtual GPUs show
the whole board's power as a slice's: energy is refused there.
"""

from __future__ import annotations

from typing import Any, Literal

from kit.core.model import MeterPlan
from kit.core.units import Scope
from kit.measure.meters.contract import MeterUnavailable, absent
from kit.measure.meters.nvml.api import Api
from kit.measure.meters.nvml.calibrated import calibrated
from kit.measure.meters.nvml.cards import cards
from kit.measure.meters.nvml.reader import NvmlReader
from kit.record.events import Clock


class Nvml:
    name = "nvml"
    title = "NVIDIA GPU boards (NVML)"
    scope: Scope = "gpu"
    process: Literal["local", "own"] = "local"
    remedy = "install NVIDIA's driver, or take nvml out of the spec's meters"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        """Every GPU, or the first ``config["gpus"]`` of them; takes about a second."""
        try:
            with Api() as api:
                gpus = cards(api, config.get("gpus"), Clock(), watch=True)
                gpus = calibrated(gpus, config.get("calibrations", ()))
        except MeterUnavailable as reason:
            return absent(self.name, alias, reason)
        return MeterPlan(name=self.name, alias=alias, devices=tuple(c.device for c in gpus))

    def open(
        self,
        alias: str | None,  # noqa: ARG002 - the contract of all meters
        config: dict[str, Any],
        clock: Clock,
    ) -> NvmlReader:
        return NvmlReader(Api(), config.get("gpus"), clock)


METER = Nvml()
