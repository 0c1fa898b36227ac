"""CPU energy by RAPL (Intel since Sandy Bridge, AMD since Zen), from the kernel's powercap tree.

Zones are found by their ``name`` (Documentation/power/powercap in the kernel), and AMD's lie in the
tree ``intel-rapl`` too. What is added up is the ``package-N`` zones alone:

    core, uncore   lie inside a package: adding them would count them twice
    psys           lies around everything on the board that Intel chose, packages included
    dram           is not in the package's counter (SDM vol. 3B, 15.10), yet it is not added: many
                   machines have none (all AMD), and the scope *CPU packages* must mean the same
                   on every machine. It is recorded beside, under its own device

``intel-rapl-mmio`` shows the package's own counter a second time, through other registers: its
zones are used only for what ``intel-rapl`` lacks. A counter wraps at ``max_energy_range_uj``.

The kernel lists zones that nothing renews, as some virtual machines have them: their energy is
unknown, not 0 J. A probe looks whether each counter grows.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kit.events import Clock
from kit.meters.base import MeterUnavailable, Reading, Tier, absent
from kit.model import MeterDevice, MeterPlan

ROOT = Path("/sys/class/powercap")
PERIOD_S = 0.05
# A package of 65.5 kJ wraps after 182 s at 360 W; a shorter range needs faster reads.
_WRAP_SHARE = 4
_HIGHEST_W = 1000.0
# A counter is renewed each millisecond, and a package at rest draws watts: it grows from look to
# look. Memory and graphics may rest for longer.
_LOOK_S, _STILL_S = 0.05, 0.5
_STANDS = (
    f"its energy counter stands still: it did not grow within {_STILL_S:g} s "
    "(a virtual machine without RAPL, or a part that is off)"
)
_NO_RAPL = "no RAPL in /sys/class/powercap (a virtual machine, or no intel_rapl driver)"
# Linux lets root alone read them since 5.10: they tell neighbours apart (CVE-2020-8694).
_DENIED = (
    "no permission to read RAPL's energy counters: sudo chmod a+r "
    "/sys/class/powercap/*/energy_uj (until the next boot), a udev rule that does so at every one "
    '(SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"), the '
    "capability CAP_DAC_READ_SEARCH, or run as root"
)
_TREES = ("intel-rapl:*", "intel-rapl-mmio:*")
# What a read gave that was no number: a code of its own, which no device returns here.
_NO_NUMBER = errno.EBADMSG
_GAIN = 0.05
_GAIN_SOURCE = "prior: ±5%, the deviations published for RAPL against external meters"


class Zone(NamedTuple):
    """One powercap zone.

    Attributes:
        path: its folder.
        device: its alias.
        name: what the kernel calls it.
        wrap: modulus of its counter, µJ; 0 where it cannot be read.
        summed: whether it counts towards the CPU's energy.
        fault: why it cannot be read, else empty.
    """

    path: Path
    device: str
    name: str
    wrap: int
    summed: bool
    fault: str = ""


class Rapl:
    name = "rapl"
    title = "CPU packages (RAPL)"
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

    def __init__(self, found: Sequence[Zone], clock: Clock) -> None:
        self._clock = clock
        good = [zone for zone in found if not zone.fault]
        self._zones = [(z.device, os.open(z.path / "energy_uj", os.O_RDONLY)) for z in good]
        self.devices = tuple(_device(zone) for zone in found)
        self.tiers = (Tier("rapl", _poll_s(good), self._read),)

    def explain(self, rc: int) -> str:
        return "the counter is not a number" if rc == _NO_NUMBER else os.strerror(rc)

    def close(self) -> None:
        for _, file in self._zones:
            os.close(file)

    def _read(self) -> Sequence[Reading]:
        return [self._one(device, file) for device, file in self._zones]

    def _one(self, device: str, file: int) -> Reading:
        t0, raw, rc = self._clock.now(), None, 0
        try:
            raw = int(os.pread(file, 32, 0))
        except ValueError:
            rc = _NO_NUMBER
        except OSError as error:
            rc = error.errno or errno.EIO
        return Reading(t0, self._clock.now(), None, device, "cpu_energy", rc, raw)


def zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """Every zone, packages first; a package that cannot be read is told of, never left out.

    Raises:
        MeterUnavailable: there are none, or none may be read.
    """
    found: dict[str, Zone] = {}
    denied = False
    for folder in (f for tree in _TREES for f in sorted(root.glob(tree))):
        zone: Zone | None
        try:
            zone = _zone(folder, root)
        except PermissionError:
            denied = True
            zone = _unread(folder, root, _DENIED)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not a number"
            zone = _unread(folder, root, f"its counter cannot be read: {why}")
        if zone and (zone.device not in found or (found[zone.device].fault and not zone.fault)):
            found[zone.device] = zone
    if all(zone.fault for zone in found.values()):
        faults = [zone.fault for zone in found.values()]
        raise MeterUnavailable(_DENIED if denied else (faults or [_NO_RAPL])[0])
    return tuple(sorted(found.values(), key=lambda z: (not z.summed, z.device)))


def growing(found: Sequence[Zone]) -> tuple[Zone, ...]:
    """The zones; one whose counter does not grow gets that as its fault. Takes 0.05–0.5 s.

    Raises:
        MeterUnavailable: none grows.
    """
    still = {zone.path: _count(zone.path) for zone in found if not zone.fault}
    still = {path: count for path, count in still.items() if count is not None}
    end = time.monotonic() + _STILL_S
    while still and time.monotonic() < end:
        time.sleep(_LOOK_S)
        still = {path: count for path, count in still.items() if _count(path) == count}
    told = tuple(zone._replace(fault=_STANDS) if zone.path in still else zone for zone in found)
    if all(zone.fault for zone in told):
        raise MeterUnavailable(told[0].fault)
    return told


def _count(zone: Path) -> int | None:
    """A zone's counter, µJ; None where it cannot be read, which reading tells of."""
    try:
        return int((zone / "energy_uj").read_text())
    except (OSError, ValueError):
        return None


def _zone(folder: Path, root: Path) -> Zone:
    name = (folder / "name").read_text().strip()
    wrap = int((folder / "max_energy_range_uj").read_text()) + 1
    int((folder / "energy_uj").read_text())  # refused here rather than while measuring
    return Zone(folder, _alias(folder, name, root), name, wrap, name.startswith("package"))


def _unread(folder: Path, root: Path, why: str) -> Zone | None:
    """A package without which the sum would be too small; nothing else is missed."""
    name = _text(folder / "name")
    if not name.startswith("package"):
        return None
    return Zone(folder, _alias(folder, name, root), name, 0, summed=True, fault=why)


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
    facts: dict[str, Any] = {"reason": zone.fault, "summed": zone.summed}
    if not zone.fault:
        facts = _facts(zone)
    description = f"RAPL zone {zone.name}"
    return MeterDevice(
        device=zone.device, description=description, quantities={"cpu_energy": facts}
    )


def _facts(zone: Zone) -> dict[str, Any]:
    return {
        "wrap": zone.wrap,
        "poll_s": _poll_s([zone]),
        "summed": zone.summed,
        "gain": _GAIN,
        "gain_source": _GAIN_SOURCE,
    }


def _poll_s(found: Sequence[Zone]) -> float:
    """20 Hz, or faster where a counter could wrap within four such periods."""
    shortest = min(zone.wrap for zone in found) * 1e-6 / _HIGHEST_W
    return round(min(PERIOD_S, shortest / _WRAP_SHARE), 6)


def _root(config: dict[str, Any]) -> Path:
    return Path(config.get("root", ROOT))


METER = Rapl()
