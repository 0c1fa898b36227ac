"""What a run's live view shows: watts, joules and the devices' state. Never computed with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.meters import Reading
from kit.model import MeterDevice
from kit.units import QUANTITIES

# Of several power readings of one device the first of these is shown.
_PREFERRED = ("gpu_power_instant", "gpu_power_sample", "gpu_power_average", "pdu_power")
_COUNTERS = ("gpu_energy", "cpu_energy", "cpu_busy")
_STATE = {
    "gpu_temperature": "temperature",
    "gpu_memory_temperature": "memory_temperature",
    "gpu_sm_clock": "sm_clock",
    "gpu_event_reasons": "event_reasons",
    "gpu_memory_used": "memory_used",
}
_STALE_NS = 5_000_000_000
# A power meter that is silent for longer has left a hole that no straight line may bridge.
_HOLE_PERIODS, _SHORTEST_HOLE_S = 5, 0.5
# No package draws more: a larger step is a counter that was reset, not one that wrapped.
_HIGHEST_W = 1000.0
_ROUND = 1


class Live:
    """The latest of each device; fed by any thread, asked by any other."""

    def __init__(self, devices: Iterable[MeterDevice] = ()) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._before: dict[tuple[str, str], tuple[int, int]] = {}
        self._sums: dict[tuple[str, str], Sum] = {}
        self.add(devices)

    def add(self, devices: Iterable[MeterDevice]) -> None:
        """Know what these devices' raw values mean."""
        for device in devices:
            for quantity, facts in device.quantities.items():
                self._facts[device.device, quantity] = facts
                if quantity in _GROWTH:
                    self._sums[device.device, quantity] = Sum(quantity, facts)

    def see(self, reading: Reading) -> None:
        key = (reading.device, reading.quantity)
        if reading.raw is not None and key in self._facts:
            with self._lock:
                self._seen[key] = (reading.t1, reading.raw)
                if key in self._sums:
                    self._sums[key].add(reading.t1, reading.raw)

    def joules(self) -> dict[str, float]:
        """Energy by device since its first reading, J; one whose counter was reset is left out."""
        with self._lock:
            sums = [(device, s.joules) for (device, _), s in self._sums.items()]
        return {device: round(j, _ROUND) for device, j in sums if j is not None}

    def state(self) -> dict[str, dict[str, int]]:
        """Temperatures (degC), SM clock (MHz), event reasons (mask), memory used (B) by device."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for (device, quantity), (_, raw) in self._seen.items():
                if quantity in _STATE:
                    found.setdefault(device, {})[_STATE[quantity]] = raw
        return found

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
        return _busy_watts(facts, rate)


class Sum:
    """A device's energy since its first reading: None before a second one, and once broken."""

    def __init__(self, quantity: str, facts: Mapping[str, Any]) -> None:
        self._growth, self._facts = _GROWTH[quantity], facts
        self._last: tuple[int, int] | None = None
        self._broken = False
        self.joules: float | None = None

    def add(self, t: int, raw: int) -> None:
        """Take in a reading made at ``t`` (ns)."""
        if self._broken or (self._last and t <= self._last[0]):
            return
        if self._last:
            seconds = (t - self._last[0]) / 1e9
            grown = self._growth(self._facts, self._last[1], raw, seconds)
            self._broken = grown is None
            self.joules = None if grown is None else (self.joules or 0.0) + grown
        self._last = (t, raw)


def _gpu_growth(_: Mapping[str, Any], before: int, raw: int, __: float) -> float | None:
    """A counter that went backwards belongs to a driver that was reloaded."""
    return (raw - before) * QUANTITIES["gpu_energy"].scale if raw >= before else None


def _cpu_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    grown = raw - before + (int(facts.get("wrap", 0)) if raw < before else 0)
    joules = grown * QUANTITIES["cpu_energy"].scale
    return joules if 0 <= joules <= _HIGHEST_W * seconds else None


def _pdu_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    """The trapezoid between two answers; 0 W is what a PDU says below its squelch."""
    limit_s = max(_SHORTEST_HOLE_S, _HOLE_PERIODS * float(facts.get("poll_s", 1.0)))
    if min(before, raw) <= 0 or seconds > limit_s:
        return None
    return (before + raw) / 2 * float(facts.get("scale", 1.0)) * seconds


def _busy_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    return _busy_watts(facts, (raw - before) * QUANTITIES["cpu_busy"].scale / seconds) * seconds


def _busy_watts(facts: Mapping[str, Any], busy: float) -> float:
    """The estimate where ``busy`` CPUs' worth of time are used, W."""
    share = min(max(busy / facts["cpus"], 0.0), 1.0)
    return float(facts["idle_w"] + share * (facts["max_w"] - facts["idle_w"]))


_Growth = Callable[[Mapping[str, Any], int, int, float], float | None]
_GROWTH: dict[str, _Growth] = {
    "gpu_energy": _gpu_growth,
    "cpu_energy": _cpu_growth,
    "pdu_power": _pdu_growth,
    "cpu_busy": _busy_growth,
}
