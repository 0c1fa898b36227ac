"""Numbers for a run's live view: watts, joules and the devices' state. Results never use them.

What is not known is left out: a power that reads 0 W (a PDU below its squelch, a GPU's sensor
without a reading) and a counter that stands still are no zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from kit.core import limits
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import QUANTITIES, scale_of
from kit.energy import scopes
from kit.energy.running import RunningSum, sum_of
from kit.measure.meters import Reading

_STATE = {
    "gpu_temperature": "temperature",
    "gpu_memory_temperature": "memory_temperature",
    "gpu_sm_clock": "sm_clock",
    "gpu_event_reasons": "event_reasons",
    "gpu_memory_used": "memory_used",
}
_STALE_NS = 5_000_000_000
_ROUND = 1


class Live:
    """The latest of each device; fed by any thread, asked by any other."""

    def __init__(self, devices: Iterable[MeterDevice] = ()) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], QuantityFacts] = {}
        self._scopes: dict[str, scopes.Scope] = {}
        self._newest: dict[str, dict[str, tuple[int, int]]] = {}  # device → quantity → (ns, raw)
        self._sums: dict[str, RunningSum] = {}
        self._holes: dict[str, int] = {}  # device → holes of its sum when it was last shown
        self.add(devices)

    def add(self, devices: Iterable[MeterDevice]) -> None:
        """Add devices, whose facts give the raw values their meaning."""
        for device in devices:
            for quantity, facts in device.quantities.items():
                self._facts[device.device, quantity] = facts
            if scope := scopes.of_device(device):
                self._scopes[device.device] = scope
            if source := sum_of(device):
                self._sums[device.device] = source

    def see(self, reading: Reading) -> None:
        """Take in a reading; one that its device cannot have given withdraws the one before."""
        facts = self._facts.get((reading.device, reading.quantity))
        if reading.raw is None or facts is None or reading.quantity not in QUANTITIES:
            return
        fault = limits.fault(reading.quantity, facts, reading.raw, reading.device)
        with self._lock:
            newest = self._newest.setdefault(reading.device, {})
            if fault:
                newest.pop(reading.quantity, None)
                return
            newest[reading.quantity] = (reading.t1, reading.raw)
            added = self._sums.get(reading.device)
            if added and added.quantity == reading.quantity:
                added.add(reading.t, reading.raw)

    def joules(self) -> dict[str, float]:
        """Energy by device since its first reading, J, not yet corrected by a calibration.

        (`kit.energy.running` corrects it.) After a hole it begins again: it is 0 once, so that who
        watches sees it even where it has soon grown beyond what it was. One whose counter stands
        still is left out for as long as it does.
        """
        with self._lock:
            sums = {d: s for d, s in self._sums.items() if not s.still_s() and self._is_own(d)}
            again = {d for d in sums if sums[d].holes > self._holes.get(d, sums[d].holes)}
            joules = {
                device: 0.0 if device in again else round(added.since_hole.joules, _ROUND)
                for device, added in sums.items()
                if added.since_hole.seconds or device in again
            }
            self._holes |= {device: self._sums[device].holes for device in joules}
            return joules

    def state(self) -> dict[str, dict[str, int]]:
        """Temperatures (degC), SM clock (MHz), event reasons (mask), memory used (B) by device."""
        state: dict[str, dict[str, int]] = {}
        with self._lock:
            for device, newest in self._newest.items():
                values = {_STATE[q]: raw for q, (_, raw) in newest.items() if q in _STATE}
                if values:
                    state[device] = values
        return state

    def watts(self, now: int | None = None) -> dict[str, float]:
        """Watts by device; what was read more than 5 s before ``now`` (ns) is left out."""
        with self._lock:
            by_device = {device: self._watts(device, now) for device in self._scopes}
        return {device: watts for device, watts in by_device.items() if watts is not None}

    def _watts(self, device: str, now: int | None) -> float | None:
        """The best power reading that is fresh, else the growth of the counter."""
        scope, newest = self._scopes[device], self._newest.get(device, {})
        for quantity in scope.power:
            t, raw = newest.get(quantity, (0, 0))
            if raw > 0 and _is_fresh(t, now):
                facts = self._facts[device, quantity]
                watts = raw * scale_of(quantity, facts)
                return round(scope.corrected(facts, watts, 1.0), _ROUND)
        added = self._sums.get(device)
        if added is None or added.quantity in scope.power or not added.latest:
            return None
        rate = added.watts() if _is_fresh(added.latest[0], now) else None
        if rate is None:
            return None
        return round(scope.corrected(self._facts[device, added.quantity], rate, 1.0), _ROUND)

    def _is_own(self, device: str) -> bool:
        latest = {quantity: raw for quantity, (_, raw) in self._newest.get(device, {}).items()}
        return self._scopes[device].is_own(latest)


def _is_fresh(t: int, now: int | None) -> bool:
    return now is None or now - t < _STALE_NS
