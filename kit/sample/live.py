"""Watts for the live view, from whatever a meter reads: never stored, never computed with."""

from __future__ import annotations

import threading

from kit.meters import Reading
from kit.units import QUANTITIES

_POWER = ("window", "gauge", "average")


class Live:
    """The latest watts of each device that has a power or an energy reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gauges: dict[str, float] = {}
        self._counters: dict[str, tuple[int, float]] = {}
        self._last: dict[str, tuple[int, float]] = {}

    def see(self, reading: Reading) -> None:
        quantity = QUANTITIES[reading.quantity]
        if reading.raw is None or reading.rc != 0:
            return
        with self._lock:
            if quantity.unit == "W" and quantity.kind in _POWER:
                self._gauges[reading.device] = reading.raw * quantity.scale
            elif quantity.unit == "J" and quantity.kind == "counter":
                self._counters[reading.device] = (reading.t1, reading.raw * quantity.scale)

    def watts(self) -> dict[str, float]:
        """Watts by device; a device with only a counter appears from its second reading on."""
        with self._lock:
            found = {device: round(watts, 1) for device, watts in self._gauges.items()}
            for device, (t, joules) in self._counters.items():
                before = self._last.get(device)
                if device not in found and before and t > before[0] and joules >= before[1]:
                    found[device] = round((joules - before[1]) / ((t - before[0]) / 1e9), 1)
                self._last[device] = (t, joules)
            return found
