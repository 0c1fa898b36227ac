"""A meter of another package: the machine's own supply, as Linux tells it in hwmon.

``power1_input`` is in microwatts (the kernel's `Documentation/hwmon/sysfs-interface`). Installing
this package is all that kit needs: ``{"name": "hwmon"}`` in a spec's meters then measures the wall.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.record.events import Clock

ROOT = Path(os.environ.get("HWMON_ROOT", "/sys/class/hwmon"))
POLL_S = 0.5


class Hwmon:
    name = "hwmon"
    title = "the machine's own supply (hwmon)"
    scope: Scope = "wall"
    process: Literal["local", "own"] = "local"
    remedy = "load the driver of the machine's power meter (acpi_power_meter, for one)"

    def probe(self, alias: str | None, _config: dict[str, Any]) -> MeterPlan:
        found = _inputs()
        if not found:
            return absent(self.name, alias, f"no power1_input under {ROOT.name}")
        return MeterPlan(name=self.name, alias=alias, devices=tuple(map(_device, found)))

    def open(self, _alias: str | None, _config: dict[str, Any], clock: Clock) -> HwmonReader:
        found = _inputs()
        if not found:
            raise MeterUnavailable(f"no power1_input under {ROOT.name}")
        return HwmonReader(found, clock)


class HwmonReader:
    def __init__(self, inputs: list[Path], clock: Clock) -> None:
        self._inputs, self._clock = inputs, clock
        self.devices = tuple(map(_device, inputs))
        self.tiers = (Tier("hwmon", POLL_S, self._read),)

    def explain(self, rc: int) -> str:
        return os.strerror(rc)

    def close(self) -> None:
        pass

    def _read(self) -> Sequence[Reading]:
        return [self._one(path) for path in self._inputs]

    def _one(self, path: Path) -> Reading:
        t0, raw, rc = self._clock.now(), None, 0
        try:
            raw = int(path.read_text())
        except OSError as error:
            rc = error.errno or 5
        except ValueError:
            rc = 22
        return Reading(t0, self._clock.now(), None, _alias(path), "pdu_power", rc, raw)


def _inputs() -> list[Path]:
    return sorted(ROOT.glob("hwmon*/power1_input"))


def _alias(path: Path) -> str:
    return path.parent.name


def _device(path: Path) -> MeterDevice:
    # Microwatts; no accuracy is stated: kit's prior.
    facts = QuantityFacts(scale=1e-6, poll_s=POLL_S)
    return MeterDevice(
        device=_alias(path),
        description="power1_input of hwmon",
        quantities={"pdu_power": facts},
    )


METER = Hwmon()
