"""CPU energy by RAPL (Intel since Sandy Bridge, AMD since Zen), from the kernel's powercap tree.

Zones are found by their ``name``. ``package-N`` zones are what counts; ``core``, ``uncore`` and
``dram`` zones lie inside or beside a package and ``psys`` around it, so that they are recorded
but never added. The counter wraps at ``max_energy_range_uj``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kit.events import Clock
from kit.meters.base import MeterUnavailable, Reading, Tier, absent
from kit.model import MeterDevice, MeterPlan

ROOT = Path("/sys/class/powercap")
PERIOD_S = 0.05
# At 65.5 kJ and 360 W a package wraps after 182 s; a shorter range needs faster reads.
_WRAP_SHARE = 4
_HIGHEST_W = 1000.0
_NO_RAPL = "no RAPL in /sys/class/powercap (a virtual machine, or no intel_rapl driver)"
_DENIED = (
    "no permission to read RAPL's energy counters: sudo chmod a+r "
    "/sys/class/powercap/*/energy_uj (until the next boot), or run as root"
)
_GAIN = 0.05
_GAIN_SOURCE = "prior: ±5%, the deviations published for RAPL against external meters"


class Zone(NamedTuple):
    """One powercap zone: its folder, alias, name, counter range (µJ), whether it is summed."""

    path: Path
    device: str
    name: str
    wrap: int
    summed: bool


class Rapl:
    name = "rapl"
    title = "CPU packages (RAPL)"
    process: Literal["local", "own"] = "local"
    remedy = "run on bare metal with RAPL readable, or take rapl out of the spec's meters"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        try:
            devices = tuple(_device(zone) for zone in zones(_root(config)))
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

    def __init__(self, found: Sequence[Zone], clock: Clock) -> None:
        self._clock = clock
        self._zones = [(z.device, os.open(z.path / "energy_uj", os.O_RDONLY)) for z in found]
        self.devices = tuple(_device(zone) for zone in found)
        self.tiers = (Tier("rapl", _poll_s(found), self._read),)

    def explain(self, rc: int) -> str:
        return os.strerror(rc)

    def close(self) -> None:
        for _, file in self._zones:
            os.close(file)

    def _read(self) -> Sequence[Reading]:
        return [self._one(device, file) for device, file in self._zones]

    def _one(self, device: str, file: int) -> Reading:
        t0, raw, rc = self._clock.now(), None, 0
        try:
            raw = int(os.pread(file, 32, 0))
        except (OSError, ValueError) as error:
            rc = getattr(error, "errno", None) or 5
        return Reading(t0, self._clock.now(), None, device, "cpu_energy", rc, raw)


def zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """Every readable zone, packages first.

    Raises:
        MeterUnavailable: there are none, or they may not be read.
    """
    found: list[Zone] = []
    denied = False
    for folder in sorted(root.glob("intel-rapl:*")) if root.is_dir() else ():
        try:
            found += _zone(folder, root)
        except PermissionError:
            denied = True
        except (OSError, ValueError):
            continue  # a zone that lacks a counter, or that went away
    if not found:
        raise MeterUnavailable(_DENIED if denied else _NO_RAPL)
    return tuple(sorted(found, key=lambda z: (not z.summed, z.device)))


def _zone(folder: Path, root: Path) -> Iterator[Zone]:
    int((folder / "energy_uj").read_text())  # refused here rather than while measuring
    name = (folder / "name").read_text().strip()
    wrap = int((folder / "max_energy_range_uj").read_text()) + 1
    yield Zone(folder, _alias(folder, name, root), name, wrap, name.startswith("package"))


def _alias(folder: Path, name: str, root: Path) -> str:
    """``cpu0-package``, ``cpu0-dram``, ``cpu1-die1-package``, ``psys``; by names, not numbers."""
    parent = root / folder.name.rpartition(":")[0]
    package = name if name.startswith("package") else _text(parent / "name")
    match = re.fullmatch(r"package-(\d+)(?:-die-(\d+))?", package)
    if match is None:
        return name
    die = f"-die{match.group(2)}" if match.group(2) else ""
    return f"cpu{match.group(1)}{die}-{'package' if package == name else name}"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _device(zone: Zone) -> MeterDevice:
    facts: dict[str, Any] = {
        "wrap": zone.wrap,
        "poll_s": _poll_s([zone]),
        "summed": zone.summed,
        "gain": _GAIN,
        "gain_source": _GAIN_SOURCE,
    }
    description = f"RAPL zone {zone.name}"
    return MeterDevice(
        device=zone.device, description=description, quantities={"cpu_energy": facts}
    )


def _poll_s(found: Sequence[Zone]) -> float:
    """20 Hz, or faster where a counter could wrap within four such periods."""
    shortest = min(zone.wrap for zone in found) * 1e-6 / _HIGHEST_W
    return round(min(PERIOD_S, shortest / _WRAP_SHARE), 6)


def _root(config: dict[str, Any]) -> Path:
    return Path(config.get("root", ROOT))


METER = Rapl()
