"""CPU energy by RAPL (Intel since Sandy Bridge, AMD since Zen), from the kernel's powercap tree.

Zones are found by their ``name`` (Documentation/power/powercap in the kernel), and AMD's lie in the
tree ``intel-rapl`` too. What is added up is the ``package-N`` zones alone
(`kit.measure.meters.rapl_zones` has what each zone counts):

    core, uncore   lie inside a package: adding them would count them twice
    psys           lies around everything on the board that Intel chose, packages included
    dram           is not in the package's counter (SDM vol. 3B, 15.10), yet it is not added: many
                   machines have none (all AMD), and the scope *CPU packages* must mean the same
                   on every machine. It is recorded beside, under its own device

A counter wraps at ``max_energy_range_uj``. Where the kernel gives no range, a counter that falls
leaves a hole.

The kernel lists zones that nothing renews, as some virtual machines have them: their energy is
unknown, not 0 J. A probe looks whether each counter grows. A zone that cannot be read, or that
raises whatever error, is reported by its return code and stops no other zone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kit.core.facts import QuantityFacts
from kit.core.limits import PACKAGE_W
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope
from kit.energy.scopes.cpu import GAIN, GAIN_SOURCE
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.measure.meters.rapl_zones import (
    PERIOD_S,
    ROOT,
    SHORTEST_S,
    WRAP_SHARE,
    Zone,
    growing,
    zones,
)
from kit.record.events import Clock

__all__ = ("METER", "PERIOD_S", "ROOT", "Rapl", "RaplReader", "growing", "zones")

# What a read gave that was no number: a code of its own, which no device returns here.
_NO_NUMBER = errno.EBADMSG


class Rapl:
    name = "rapl"
    title = "CPU packages (RAPL)"
    scope: Scope = "cpu"
    process: Literal["local", "own"] = "local"
    remedy = "run on bare metal with RAPL readable, or take rapl out of the spec's meters"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        try:
            devices = tuple(_device(zone) for zone in growing(zones(_root(config))))
        except MeterUnavailable as reason:
            return absent(self.name, alias, reason)
        return MeterPlan(name=self.name, alias=alias, devices=devices)

    def open(
        self,
        alias: str | None,  # noqa: ARG002 - the contract of all meters
        config: dict[str, Any],
        clock: Clock,
    ) -> RaplReader:
        return RaplReader(zones(_root(config)), clock)


class RaplReader:
    """Reads every zone's counter; about 5 µs a zone."""

    def __init__(self, zones: Sequence[Zone], clock: Clock) -> None:
        self._clock = clock
        good = [zone for zone in zones if not zone.fault]
        self._zones = [(zone.device, _Counter(zone.path)) for zone in good]
        self.devices = tuple(_device(zone) for zone in zones)
        self.tiers = (Tier("rapl", _poll_s(good), self._read),)

    def explain(self, rc: int) -> str:
        return "the counter is not a number" if rc == _NO_NUMBER else os.strerror(rc)

    def close(self) -> None:
        for _, counter in self._zones:
            counter.close()

    def _read(self) -> Sequence[Reading]:
        return [self._one(device, counter) for device, counter in self._zones]

    def _one(self, device: str, counter: _Counter) -> Reading:
        t0, raw, rc = self._clock.now(), None, 0
        try:
            raw = counter.read()
        except OSError as error:
            rc = error.errno or errno.EIO
        except Exception:  # whatever a zone gives that is no number stops no other zone
            rc = _NO_NUMBER
        return Reading(t0, self._clock.now(), None, device, "cpu_energy", rc, raw)


class _Counter:
    """A zone's ``energy_uj``; a zone that cannot be opened is opened again at the next read."""

    def __init__(self, zone: Path) -> None:
        self._path, self._file = zone / "energy_uj", -1
        try:
            self._file = os.open(self._path, os.O_RDONLY)
        except OSError:
            return

    def read(self) -> int:
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDONLY)
        return int(os.pread(self._file, 32, 0))

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _device(zone: Zone) -> MeterDevice:
    facts = QuantityFacts(reason=zone.fault, summed=zone.summed) if zone.fault else _facts(zone)
    covers = f" ({zone.covers})" if zone.covers else ""
    description = f"RAPL zone {zone.name} at {zone.path.name}{covers}"
    return MeterDevice(
        device=zone.device, description=description, quantities={"cpu_energy": facts}
    )


def _facts(zone: Zone) -> QuantityFacts:
    return QuantityFacts(
        wrap=zone.wrap or None,
        limit_w=zone.limit_w or None,
        poll_s=_poll_s([zone]),
        summed=zone.summed,
        gain=GAIN,
        gain_source=GAIN_SOURCE,
    )


def _poll_s(zones: Sequence[Zone]) -> float:
    """20 Hz, or faster where a counter could wrap within four such periods."""
    shortest = min((zone.wrap for zone in zones if zone.wrap), default=0) * 1e-6 / PACKAGE_W
    if not shortest:
        return PERIOD_S
    return round(max(SHORTEST_S, min(PERIOD_S, shortest / WRAP_SHARE)), 6)


def _root(config: dict[str, Any]) -> Path:
    return Path(config.get("root", ROOT))


METER = Rapl()
