"""What a run's live view shows: watts, joules and the devices' state. Never computed with.

What is not known is left out: a power that reads 0 W (a PDU below its squelch, a GPU's sensor
without a reading) and a counter that stands still are no zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.core import limits
from kit.core.model import MeterDevice
from kit.core.units import QUANTITIES
from kit.measure.meters import Reading

# Of several power readings of one device the first of these is shown.
PREFERRED = ("gpu_power_instant", "gpu_power_sample", "gpu_power_average", "pdu_power")
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
_ROUND = 1
_MODULE_SHARE = 1.1
# These are renewed at least ten times a second: one that stands still for longer counts nothing.
GROWING = ("gpu_energy", "cpu_energy")
STILL_NS = 1_000_000_000


def corrected(quantity: str, facts: Mapping[str, Any], watts: float) -> float:
    """A power (W) by the device's calibration, where there is one, as `kit.energy` does it."""
    if QUANTITIES[quantity].scope == "gpu":
        added_w = float(facts.get("offset_correction_w", 0.0))
        return watts * float(facts.get("gain_correction", 1.0)) + added_w
    return watts * float(facts.get("correction", 1.0))


def fault(quantity: str, facts: Mapping[str, Any], raw: int, device: str = "") -> str:
    """Why a reading is none that its device can give; empty where it is one (`kit.core.limits`)."""
    known = QUANTITIES.get(quantity)
    if known is None:
        return ""
    value = raw * known.scale * float(facts.get("scale", 1.0))
    return limits.fault(quantity, facts, raw, value, device)


def is_of_module(latest: Mapping[str, int]) -> bool:
    """Whether a GPU's module draws more than it does: its counter may then count the CPU, too.

    What it counts is judged from the whole run (`kit.energy.module`); until then nobody knows.
    """
    own = latest.get("gpu_power_average") or latest.get("gpu_power_instant")
    module = latest.get("gpu_module_power")
    return bool(own and module and module > _MODULE_SHARE * own)


class Live:
    """The latest of each device; fed by any thread, asked by any other."""

    def __init__(self, devices: Iterable[MeterDevice] = ()) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._before: dict[tuple[str, str], tuple[int, int]] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._sums: dict[tuple[str, str], Sum] = {}
        self.add(devices)

    def add(self, devices: Iterable[MeterDevice]) -> None:
        """Know what these devices' raw values mean."""
        for device in devices:
            for quantity, facts in device.quantities.items():
                self._facts[device.device, quantity] = facts
                if quantity in GROWTH:
                    self._sums[device.device, quantity] = Sum(quantity, facts)

    def see(self, reading: Reading) -> None:
        key = (reading.device, reading.quantity)
        if reading.raw is not None and key in self._facts:
            impossible = fault(reading.quantity, self._facts[key], reading.raw, reading.device)
            with self._lock:
                if impossible:  # what it said before is no answer either
                    self._seen.pop(key, None)
                    return
                self._seen[key] = (reading.t1, reading.raw)
                if key in self._sums:
                    self._sums[key].add(reading.t1, reading.raw)

    def joules(self) -> dict[str, float]:
        """Energy by device since its first reading, J, not yet corrected by a calibration.

        (`kit.energy.running` corrects it.) One whose counter was reset is left out for good, one
        whose counter stands still for as long as it does.
        """
        with self._lock:
            sums = [(device, s.joules) for (device, _), s in self._sums.items()]
            latest = {key: raw for key, (_, raw) in self._seen.items()}
        return {
            device: round(j, _ROUND)
            for device, j in sums
            if j is not None
            and not is_of_module({q: raw for (d, q), raw in latest.items() if d == device})
        }

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
        for name in PREFERRED:
            for key in (k for k in seen if k[1] == name and k[0] not in found):
                t, raw = seen[key]
                if raw > 0 and (now is None or now - t < _STALE_NS):
                    found[key[0]] = self._watts(key, self._scaled(key, raw))
        for key in (k for k in seen if k[1] in _COUNTERS and k[0] not in found):
            rate = self._rate(key, seen[key])
            if rate is not None:
                found[key[0]] = self._watts(key, rate)
        return found

    def _watts(self, key: tuple[str, str], watts: float) -> float:
        return round(corrected(key[1], self._facts[key], watts), _ROUND)

    def _scaled(self, key: tuple[str, str], raw: int) -> float:
        return raw * QUANTITIES[key[1]].scale * float(self._facts[key].get("scale", 1.0))

    def _rate(self, key: tuple[str, str], seen: tuple[int, int]) -> float | None:
        """Mean power since the call before: a counter's growth over time.

        Where it has not grown since, what it was before, for as long as that is no standstill.
        """
        before = self._before.setdefault(key, seen)
        if seen[0] <= before[0]:
            return None
        if key[1] in GROWING and seen[1] == before[1]:
            return self._rates.get(key) if seen[0] - before[0] <= STILL_NS else None
        self._before[key] = seen
        found = self._grown(key, before, seen)
        if found is None:
            self._rates.pop(key, None)
        else:
            self._rates[key] = found
        return found

    def _grown(
        self, key: tuple[str, str], before: tuple[int, int], seen: tuple[int, int]
    ) -> float | None:
        facts = self._facts[key]
        grown = seen[1] - before[1]
        if grown < 0:
            grown += int(facts.get("wrap", 0))
        seconds = (seen[0] - before[0]) / 1e9
        joules = self._scaled(key, grown)
        rate = joules / seconds
        if key[1] != "cpu_busy":
            return rate if 0 <= joules <= limits.most_j(key[1], facts, seconds) else None
        return _busy_watts(facts, rate)


class Sum:
    """A device's energy since its first reading: None before it grew, and once broken."""

    def __init__(self, quantity: str, facts: Mapping[str, Any]) -> None:
        self._quantity, self._growth, self._facts = quantity, GROWTH[quantity], facts
        self._must_grow = quantity in GROWING
        self._last: tuple[int, int] | None = None
        self._grew_at = 0
        self._broken = False
        self._joules: float | None = None

    @property
    def joules(self) -> float | None:
        """The energy, J; None where it is not known, or a counter does not count."""
        if self._must_grow and self._last:
            still = self._last[0] - self._grew_at > STILL_NS
            return None if still or not self._joules else self._joules
        return self._joules

    @property
    def total(self) -> float:
        """What was added up until now, J, even where Live would not show it; 0 before it grew."""
        return self._joules or 0.0

    def add(self, t: int, raw: int) -> None:
        """Take in a reading made at ``t`` (ns)."""
        if self._broken or (self._last and t <= self._last[0]):
            return
        if fault(self._quantity, self._facts, raw):
            return  # as if it had not been read
        if self._last:
            # A counter that stood still may catch up: it had all that time to grow.
            since = self._grew_at if self._must_grow else self._last[0]
            seconds = (t - since) / 1e9
            grown = self._growth(self._facts, self._last[1], raw, seconds)
            self._broken = grown is None
            self._joules = None if grown is None else (self._joules or 0.0) + grown
        if self._last is None or raw != self._last[1]:
            self._grew_at = t
        self._last = (t, raw)


def _gpu_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    """A counter that went backwards belongs to a driver that was reloaded; one that grew by more
    than the card can draw is none."""
    joules = (raw - before) * QUANTITIES["gpu_energy"].scale
    return joules if 0 <= joules <= limits.most_j("gpu_energy", facts, seconds) else None


def _cpu_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    grown = raw - before + (int(facts.get("wrap", 0)) if raw < before else 0)
    joules = grown * QUANTITIES["cpu_energy"].scale
    return joules if 0 <= joules <= limits.most_j("cpu_energy", facts, seconds) else None


def _pdu_growth(facts: Mapping[str, Any], before: int, raw: int, seconds: float) -> float | None:
    """The trapezoid between two answers; 0 W is what a PDU says below its squelch."""
    limit_s = max(_SHORTEST_HOLE_S, _HOLE_PERIODS * limits.seconds_of(facts, "poll_s", 1.0))
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
GROWTH: dict[str, _Growth] = {
    "gpu_energy": _gpu_growth,
    "cpu_energy": _cpu_growth,
    "pdu_power": _pdu_growth,
    "cpu_busy": _busy_growth,
}
