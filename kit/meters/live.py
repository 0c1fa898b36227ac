"""Watts as they come, for the live view of a run: never stored, never computed with."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from kit.meters import Reading
from kit.model import MeterDevice
from kit.units import QUANTITIES

# Of several power readings of one device the first of these is shown.
_PREFERRED = ("gpu_power_instant", "gpu_power_sample", "gpu_power_average", "pdu_power")
_COUNTERS = ("gpu_energy", "cpu_energy", "cpu_busy")
_STALE_NS = 5_000_000_000


class Live:
    """The latest watts of each device; fed by any thread, asked by any other."""

    def __init__(self, devices: Iterable[MeterDevice] = ()) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._before: dict[tuple[str, str], tuple[int, int]] = {}
        self.add(devices)

    def add(self, devices: Iterable[MeterDevice]) -> None:
        """Know what these devices' raw values mean."""
        for device in devices:
            for quantity, facts in device.quantities.items():
                self._facts[device.device, quantity] = facts

    def see(self, reading: Reading) -> None:
        key = (reading.device, reading.quantity)
        if reading.raw is not None and key in self._facts:
            with self._lock:
                self._seen[key] = (reading.t1, reading.raw)

    def watts(self, now: int | None = None) -> dict[str, float]:
        """Watts by device; what was read more than 5 s before ``now`` (ns) is left out."""
        with self._lock:
            seen = dict(self._seen)
        found: dict[str, float] = {}
        for name in _PREFERRED:
            for key in (k for k in seen if k[1] == name and k[0] not in found):
                if now is None or now - seen[key][0] < _STALE_NS:
                    found[key[0]] = round(self._scaled(key, seen[key][1]), 1)
        for key in (k for k in seen if k[1] in _COUNTERS and k[0] not in found):
            rate = self._rate(key, seen[key])
            if rate is not None:
                found[key[0]] = round(rate, 1)
        return found

    def _scaled(self, key: tuple[str, str], raw: int) -> float:
        return raw * QUANTITIES[key[1]].scale * float(self._facts[key].get("scale", 1.0))

    def _rate(self, key: tuple[str, str], seen: tuple[int, int]) -> float | None:
        """Mean power since the call before: a counter's growth over time."""
        before = self._before.get(key)
        self._before[key] = seen
        if before is None or seen[0] <= before[0]:
            return None
        facts = self._facts[key]
        grown = seen[1] - before[1]
        if grown < 0:
            grown += int(facts.get("wrap", 0))
        rate = self._scaled(key, grown) / ((seen[0] - before[0]) / 1e9)
        if key[1] != "cpu_busy":
            return rate if grown >= 0 else None
        share = min(rate / facts["cpus"], 1.0)
        return float(facts["idle_w"] + share * (facts["max_w"] - facts["idle_w"]))
