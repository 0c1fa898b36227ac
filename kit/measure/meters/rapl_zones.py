"""Which powercap zones there are, and what each of them counts.

What a zone covers is taken from where it lies in the tree and from how its counter moves, not from
its name alone:

    lies inside a zone    it is part of that one's counter: never added
    named ``package-N``, at the top of the tree
                          added up
    named the same as another one of its tree
                          a counter of its own, under an alias of its own: none is lost
    the same name in ``intel-rapl-mmio``
                          the package's own counter through other registers, where both move as
                          one. It is then left out. Where they do not, nobody knows what it
                          covers: it is recorded beside, and not added

Whether two packages that are added show one counter is seen from the whole run
(`kit.energy.twins`), where there is more to see than in a moment before it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from kit.core.jsonio import MAX_SAFE_INTEGER
from kit.core.limits import PACKAGE_W
from kit.measure.meters.contract import MeterUnavailable

ROOT = Path("/sys/class/powercap")
PERIOD_S, SHORTEST_S = 0.05, 0.01
# A package of 65.5 kJ wraps after 182 s at 360 W; a shorter range needs faster reads.
WRAP_SHARE = 4
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
_LONG = 16  # digits, which no power has in µW
_TREE, _MIRROR = "intel-rapl", "intel-rapl-mmio"
# Two views of one counter differ by what it grows between two reads; and nothing is seen of a
# counter that hardly grew, µJ.
_SKEW_S, _SEEN_UJ, _LOOKS = 0.005, 100_000, 6


class Zone(NamedTuple):
    """One powercap zone.

    Attributes:
        path: its folder.
        device: its alias.
        name: what the kernel calls it.
        wrap: modulus of its counter, µJ; 0 where the kernel does not say, None never.
        summed: whether it counts towards the CPU's energy.
        fault: why it cannot be read, else empty.
        limit_w: the most that the kernel says it may draw, W; 0 where it does not say.
        covers: what is known of its counter beyond its name, for the plan.
    """

    path: Path
    device: str
    name: str
    wrap: int
    summed: bool
    fault: str = ""
    limit_w: float = 0.0
    covers: str = ""


def zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """Every zone, packages first; a package that cannot be read is named, never left out.

    Raises:
        MeterUnavailable: there are none, or none may be read.
    """
    result = [zone for folder in _folders(root, _TREE) if (zone := _looked_at(folder, root))]
    result = list(_named(result))
    mirrored = [zone for folder in _folders(root, _MIRROR) if (zone := _looked_at(folder, root))]
    result = list(_with_mirror(result, mirrored))
    if all(zone.fault for zone in result):
        faults = [zone.fault for zone in result]
        raise _unavailable(_DENIED if _DENIED in faults else (faults or [_NO_RAPL])[0])
    return tuple(sorted(result, key=lambda z: (not z.summed, z.device)))


def _folders(root: Path, tree: str) -> list[Path]:
    """The tree's zones in the kernel's order, each before those inside it."""
    folders = root.glob(f"{tree}:*")
    return sorted(
        folders, key=lambda f: [int(n) if n.isdigit() else 0 for n in f.name.split(":")[1:]]
    )


def _named(zones: Sequence[Zone]) -> Iterator[Zone]:
    """Zones of one name are told apart by a number."""
    names = Counter(zone.device for zone in zones)
    taken: set[str] = set()
    for zone in zones:
        number, device = 1, zone.device
        # A zone may be called as another one is here: the number goes on until it is free.
        while device in taken or (number > 1 and device in names):
            number += 1
            device = f"{zone.device}-{number}"
        taken.add(device)
        covers = f"zone number {number} of this name" if number > 1 else zone.covers
        yield zone._replace(device=device, covers=covers)


def _with_mirror(zones: Sequence[Zone], mirrored: Sequence[Zone]) -> Iterator[Zone]:
    """The zones, with what the second tree adds: what the first lacks or cannot read."""
    by_device = {zone.device: zone for zone in zones}
    used = {z.device: z for z in mirrored if z.device not in by_device or by_device[z.device].fault}
    for zone in zones:
        mirror = used.pop(zone.device, None)
        yield mirror if mirror and not mirror.fault else zone
    yield from used.values()
    for mirror in mirrored:
        first = by_device.get(mirror.device)
        if first and not first.fault and not mirror.fault and same_counter(first, mirror) is False:
            yield mirror._replace(
                device=f"{mirror.device}-mmio",
                summed=False,
                covers=f"it does not move as {first.device} does: what it covers is unknown",
            )


def same_counter(a: Zone, b: Zone) -> bool | None:
    """Whether two zones show one counter, by how they move; None where they hardly do.

    One counter's two views differ by the same amount at every look, but for what it grows between
    the two reads. Takes up to 0.3 s.
    """
    offsets, grown = [], 0
    first = _count(a.path)
    for look in range(_LOOKS):
        time.sleep(_LOOK_S if look else 0.0)
        before, between, after = _count(a.path), _count(b.path), _count(a.path)
        if first is None or before is None or between is None or after is None:
            return None
        offsets += [between - after, between - before]
        grown = after - first
        if look == 1 and grown < _SEEN_UJ / _LOOKS:
            return None
    if grown < _SEEN_UJ:  # a wrap, a rest, or a machine that is not one
        return None
    skew = grown * _SKEW_S / (_LOOK_S * (_LOOKS - 1))
    return max(offsets) - min(offsets) <= 2 * skew


def growing(zones: Sequence[Zone]) -> tuple[Zone, ...]:
    """The zones; one whose counter does not grow gets that as its fault. Takes 0.05–0.5 s.

    Raises:
        MeterUnavailable: none grows.
    """
    still = {zone.path: _count(zone.path) for zone in zones if not zone.fault}
    still = {path: count for path, count in still.items() if count is not None}
    end = time.monotonic() + _STILL_S
    while still and time.monotonic() < end:
        time.sleep(_LOOK_S)
        still = {path: count for path, count in still.items() if _count(path) == count}
    checked = tuple(zone._replace(fault=_STANDS) if zone.path in still else zone for zone in zones)
    if all(zone.fault for zone in checked):
        raise _unavailable(checked[0].fault)
    return checked


def _unavailable(why: str) -> MeterUnavailable:
    return MeterUnavailable(why, "no_permission" if why == _DENIED else UNSET)


def _count(zone: Path) -> int | None:
    """A zone's counter, µJ; None where it cannot be read, which reading reports."""
    try:
        return int((zone / "energy_uj").read_text())
    except (OSError, ValueError):
        return None


def _looked_at(folder: Path, root: Path) -> Zone | None:
    """One zone; None for one that cannot be read and that no sum misses."""
    try:
        return _zone(folder, root)
    except PermissionError:
        return _unread(folder, root, _DENIED)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a number"
        return _unread(folder, root, f"its counter cannot be read: {why}")


def _zone(folder: Path, root: Path) -> Zone:
    name = _text(folder / "name")
    highest = int((folder / "max_energy_range_uj").read_text())
    int((folder / "energy_uj").read_text())  # refused here rather than while measuring
    zone = Zone(folder, _alias(folder, name, root), name, 0, _is_summed(folder, name))
    if not 0 < highest < MAX_SAFE_INTEGER:
        range_uj = f"{highest}" if highest <= 0 else "more than a record can hold"
        why = f"the kernel gives {range_uj} as its range: where it begins again is unknown"
        return zone._replace(covers=why)
    shortest_s = (highest + 1) * 1e-6 / PACKAGE_W / WRAP_SHARE
    if shortest_s < SHORTEST_S:
        return zone._replace(
            fault=f"its counter begins again after {highest + 1} µJ, too soon to be followed: "
            f"at {PACKAGE_W:g} W it would have to be read each {shortest_s * 1e3:.2g} ms"
        )
    return zone._replace(wrap=highest + 1, limit_w=_limit_w(folder))


def _is_summed(folder: Path, name: str) -> bool:
    """Packages at the top of the tree: whatever lies inside another zone is part of it."""
    return name.startswith("package") and folder.name.count(":") == 1


def _limit_w(folder: Path) -> float:
    """The highest of the powers that the kernel names for it, W: what its maker calls its most."""
    texts = [_text(path) for path in folder.glob("constraint_*_max_power_uw")]
    numbers = [text for text in texts if text.isascii() and text.isdecimal() and len(text) < _LONG]
    return max((int(text) * 1e-6 for text in numbers), default=0.0)


def _unread(folder: Path, root: Path, why: str) -> Zone | None:
    """A package without which the sum would be too small; nothing else is missed."""
    name = _text(folder / "name")
    if not _is_summed(folder, name):
        return None
    return Zone(folder, _alias(folder, name, root), name, 0, summed=True, fault=why)


def _alias(folder: Path, name: str, root: Path) -> str:
    """``cpu0-package``, ``cpu0-dram``, ``cpu1-die1-package``, ``psys``; by names, not numbers."""
    parent = root / folder.name.rpartition(":")[0]
    package = name if name.startswith("package") else _text(parent / "name")
    match = re.fullmatch(r"package-(\d+)(?:-die-(\d+))?", package)
    if match is None:
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", name) or "zone"
    die = f"-die{match.group(2)}" if match.group(2) else ""
    inside = folder.name.count(":") > 1 and package == name
    kind = "package" if package == name else re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    return f"cpu{match.group(1)}{die}-{kind}{'-inside' if inside else ''}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
