"""This host's power and energy as they come, for `kit monitor`: never stored, no uncertainty.

Each meter is read in a thread of its own, so that a PDU that does not answer holds up nobody.
Energy is what came since the start: from a counter where it can be asked at any time, else from
the 20 ms samples, else power held from one reading to the next. A stretch without readings adds
neither joules nor seconds; nor does a power of 0 W, which is what a PDU says below its squelch and
a GPU without a reading, or a counter that stands still. Calibrations are applied.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from kit.core import limits
from kit.core.model import MeterDevice, meter_label
from kit.core.names import SCOPES
from kit.core.units import QUANTITIES, event_reasons
from kit.measure.meters import MeterUnavailable, Reader, Reading, get
from kit.measure.meters.live import GROWING, STILL_NS, corrected, fault, is_of_module
from kit.record.events import Clock

_READ_S = 1.0  # GPUs keep the samples of two seconds
_STALE_NS = 5_000_000_000
_LONGEST_STEP_S = {"window": 0.25}  # of one quantity, by kind; else:
_LONGEST_OTHER_S = 5.0
_END_S = 0.5
# Energies over times that differ by more (some rounds of reading) make no sum.
APART_S = 1.5
# What a device's power and energy are taken from: the first of these that it gives.
_POWER = ("gpu_power_instant", "gpu_power_sample", "gpu_power_average", "pdu_power")
_ENERGY = {
    "gpu_energy": "counter",
    "cpu_energy": "counter",
    "gpu_power_sample": "20 ms samples",
    "gpu_power_instant": "instant power, held",
    "gpu_power_average": "1 s average, held",
    "pdu_power": "power, held",
    "cpu_busy": "CPU time and published watts",
}
_CONTEXT = {
    "temperature_degC": "gpu_temperature",
    "sm_clock_MHz": "gpu_sm_clock",
    "utilisation_percent": "gpu_utilisation",
    "memory_used_B": "gpu_memory_used",
    "processes": "gpu_processes",
}


class Seen(NamedTuple):
    """One device at one moment; None stands for what it does not tell.

    Attributes:
        scope: gpu, cpu, wall or estimate.
        summed: whether it counts towards its scope; one inside another does not.
        watts: power now, by the reading named in ``power_from``.
        joules: energy over ``seconds`` since the start, found as ``energy_from`` says.
        context: temperature, clock, … by key with unit.
        reasons: why the clocks are not higher, in words; None where unknown.
        why_not: why there is no power, else empty.
        no_energy: why there is no energy, or none by its best source, else empty.
    """

    scope: str
    summed: bool
    watts: float | None
    power_from: str
    joules: float | None
    seconds: float
    energy_from: str
    context: dict[str, int | None]
    reasons: tuple[str, ...] | None
    why_not: str
    no_energy: str = ""


class Snapshot(NamedTuple):
    """All devices at one moment, ``t_s`` after the start; ``absent``: meters without devices."""

    t_s: float
    devices: dict[str, Seen]
    absent: dict[str, str]


class _Sum:
    """Energy of one quantity of one device so far."""

    def __init__(self, quantity: str, facts: Mapping[str, Any]) -> None:
        self.quantity, self._facts = quantity, facts
        self.latest: tuple[int, int] | None = None
        self.joules = self.seconds = 0.0
        self._from: tuple[int, int] | None = None  # since when what came is not yet in the sum
        self._told = (0.0, 0.0)
        self._rate: float | None = None

    def add(self, t: int, raw: int) -> None:
        if self.latest and t <= self.latest[0]:
            return
        before, self.latest = self._from, (t, raw)
        if self.quantity in GROWING and before and raw == before[1]:
            return  # nothing is known of this stretch until it grows
        self._from = self.latest
        if before is None:
            return
        seconds = (t - before[0]) * 1e-9
        longest = _LONGEST_STEP_S.get(QUANTITIES[self.quantity].kind, _LONGEST_OTHER_S)
        joules = self._joules(before[1], raw, seconds) if seconds <= longest else None
        if joules is not None:
            self.joules, self.seconds = self.joules + joules, self.seconds + seconds

    def interrupt(self) -> None:
        """Nobody knows what comes until the next reading."""
        self.latest = self._from = None

    def still(self) -> str:
        """That the counter has stood still for longer than it may, else empty."""
        if self.quantity not in GROWING or not self.latest or not self._from:
            return ""
        still_ns = self.latest[0] - self._from[0]
        if still_ns <= STILL_NS:
            return ""
        return f"{QUANTITIES[self.quantity].text} has not grown for {still_ns * 1e-9:.0f} s"

    def watts(self) -> float:
        """The latest power reading."""
        assert self.latest is not None
        return corrected(self.quantity, self._facts, self.latest[1] * self._scale)

    def rate(self) -> float | None:
        """Mean power since the call before; the one told then where nothing came in between."""
        joules, seconds = self.joules - self._told[0], self.seconds - self._told[1]
        self._told = (self.joules, self.seconds)
        if seconds > 0:
            self._rate = joules / seconds
        return self._rate

    def no_power(self, raw: int) -> str:
        """Why a power that is not above 0 is no reading."""
        text = QUANTITIES[self.quantity].text
        if raw < 0 or self.quantity != "pdu_power":
            return f"{text} reads {raw * self._scale:g} W: no reading"
        squelch = self._facts.get("squelch")
        limit = f" ({squelch:g} W)" if squelch else ""
        return f"the outlet reads 0 W, less than it can measure{limit}"

    @property
    def _scale(self) -> float:
        return QUANTITIES[self.quantity].scale * float(self._facts.get("scale", 1.0))

    def _joules(self, before: int, raw: int, seconds: float) -> float | None:
        grown = self._uncorrected(before, raw, seconds)
        if grown is None:
            return None
        return corrected(self.quantity, self._facts, grown / seconds) * seconds

    def _uncorrected(self, before: int, raw: int, seconds: float) -> float | None:
        if self.quantity == "cpu_busy":
            idle, full = self._facts["idle_w"], self._facts["max_w"]
            share = min((raw - before) * self._scale / (seconds * self._facts["cpus"]), 1.0)
            return float((idle + share * (full - idle)) * seconds)
        if QUANTITIES[self.quantity].kind == "counter":
            wrap = int(self._facts.get("wrap", 0))
            joules = ((raw - before) % wrap if wrap else raw - before) * self._scale
            most = limits.most_j(self.quantity, self._facts, seconds)
            return joules if 0 <= joules <= most else None
        # A window's mean belongs to the time before it; any other power holds until the next.
        return (
            (raw if QUANTITIES[self.quantity].kind == "window" else before) * self._scale * seconds
        )


class _Device:
    def __init__(self, device: MeterDevice) -> None:
        known = {n: f for n, f in device.quantities.items() if n in QUANTITIES}
        self._sums = {n: _Sum(n, f) for n, f in known.items() if n in _ENERGY and "reason" not in f}
        self._reasons = [f["reason"] for n, f in known.items() if n in _ENERGY and "reason" in f]
        self._facts = known
        self._context: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        scopes = [QUANTITIES[n].scope for n in known if n in _ENERGY]
        self.scope = scopes[0] if scopes else "none"
        self.summed = all(f.get("summed", True) for f in known.values())

    def take(self, reading: Reading, explain: Callable[[int], str]) -> None:
        if reading.rc != 0 or reading.raw is None:
            self._failed[reading.quantity] = explain(reading.rc)
            self._context.pop(reading.quantity, None)
            return
        self._failed.pop(reading.quantity, None)
        found = self._sums.get(reading.quantity)
        facts = self._facts.get(reading.quantity, {})
        impossible = fault(reading.quantity, facts, reading.raw, reading.device)
        if reading.quantity in _POWER and reading.raw <= 0 and found:
            self._failed[reading.quantity] = found.no_power(reading.raw)
            found.interrupt()
        elif impossible:
            self._failed[reading.quantity] = f"{QUANTITIES[reading.quantity].text}: {impossible}"
            self._context.pop(reading.quantity, None)
            if found:
                found.interrupt()
        elif found is None:
            self._context[reading.quantity] = reading.raw
        else:
            middle = reading.t0 + (reading.t1 - reading.t0) // 2
            found.add(reading.t_dev if reading.t_dev is not None else middle, reading.raw)

    def seen(self, now: int) -> Seen:
        watts, power_from = self._watts(now)
        able = [
            s
            for n in _ENERGY
            if (s := self._sums.get(n)) and s.seconds > 0 and not s.still() and self._is_own(n)
        ]
        best = able[0] if able else None
        mask = self._context.get("gpu_event_reasons")
        return Seen(
            scope=self.scope,
            summed=self.summed,
            watts=watts,
            power_from=power_from,
            joules=best.joules if best else None,
            seconds=best.seconds if best else 0.0,
            energy_from=_ENERGY[best.quantity] if best else "",
            context={key: self._context.get(name) for key, name in _CONTEXT.items()},
            reasons=None if mask is None else event_reasons(mask),
            why_not="" if watts is not None else self._why_not(),
            no_energy=self._still() or ("" if best else self._why_not()),
        )

    def _is_own(self, quantity: str) -> bool:
        """Whether an energy is the GPU's own, and surely not that of the module it is part of."""
        if quantity not in ("gpu_energy", "gpu_power_sample"):
            return True
        latest = {n: s.latest[1] for n, s in self._sums.items() if s.latest}
        return not is_of_module({**latest, **self._context})

    def _still(self) -> str:
        return "; ".join(why for s in self._sums.values() if (why := s.still()))

    def _watts(self, now: int) -> tuple[float | None, str]:
        fresh = {
            n for n, s in self._sums.items() if s.latest and now - s.latest[0] < _STALE_NS
        } - set(self._failed)
        for name in (n for n in _POWER if n in fresh):
            return self._sums[name].watts(), QUANTITIES[name].text
        counting = {n for n in fresh if not self._sums[n].still()}
        for name in (n for n in ("gpu_energy", "cpu_energy", "cpu_busy") if n in counting):
            rate = self._sums[name].rate()
            return rate, "" if rate is None else f"growth of: {QUANTITIES[name].text}"
        return None, ""

    def _why_not(self) -> str:
        failed = [why for name, why in self._failed.items() if name in _ENERGY]
        still = [why] if (why := self._still()) else []
        return str([*failed, *still, *self._reasons, "no reading yet"][0])


class _Watched:
    """One meter, read over and over in a thread."""

    def __init__(self, reader: Reader, stop: threading.Event) -> None:
        self._reader, self._stop = reader, stop
        self._lock = threading.Lock()
        self._devices = {d.device: _Device(d) for d in reader.devices}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def seen(self, now: int) -> dict[str, Seen]:
        with self._lock:
            return {name: device.seen(now) for name, device in self._devices.items()}

    def end(self) -> None:
        self._thread.join(_END_S)
        if not self._thread.is_alive():  # one that hangs goes with the process
            self._reader.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for tier in (t for t in self._reader.tiers if t.due is None):
                self._read(tier.read)
            self._stop.wait(_READ_S / 2)

    def _read(self, read: Callable[[], Iterable[Reading]]) -> None:
        try:
            found = list(read())
        except Exception:  # one odd device stops no other
            return  # what is not read grows old, and then is said to be missing
        with self._lock:
            for reading in found:
                self._devices[reading.device].take(reading, self._reader.explain)


def watch(
    wanted: Iterable[tuple[str, str | None]],
    config: Callable[[str, str | None], dict[str, Any]],
    period_s: float = 1.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Snapshot, None, None]:
    """This host's devices over and over, the first time after one period.

    Args:
        wanted: (meter, alias) pairs, such as ``("nvml", None)``.
        config: what host.toml says to a meter (`kit.machine.host.HostConfig.meter`).
        period_s: seconds between two snapshots.
        stopped: asked before each snapshot.
    """
    clock, stop = Clock(), threading.Event()
    absent: dict[str, str] = {}
    with ExitStack() as held:
        watched: list[_Watched] = []
        for name, alias in wanted:
            try:
                reader = get(name).open(alias, config(name, alias), clock)
            except MeterUnavailable as reason:
                absent[meter_label(name, alias)] = str(reason)
                continue
            watched.append(_Watched(reader, stop))
            held.callback(watched[-1].end)
        held.callback(stop.set)
        due = time.monotonic()
        while not stopped():
            due = max(due + period_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            now = clock.now()
            devices = {k: seen for w in watched for k, seen in w.seen(now).items()}
            yield Snapshot(now * 1e-9, devices, dict(absent))


def totals(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Power and energy by scope, of the devices that add up; None where one of them tells none.

    Scopes are never added to one another: a wall holds the GPUs, an estimate is no measurement.
    Nor are energies over different times, such as that of a device that was lost meanwhile.

    Returns:
        By scope ``power_W``, ``energy_J``, ``energy_over_s``, and ``reason``, why one of them is
        None, else empty.
    """
    found: dict[str, dict[str, Any]] = {}
    for scope in SCOPES:
        own = {name: d for name, d in snapshot.devices.items() if d.scope == scope and d.summed}
        if own:
            found[scope] = _total(own)
    return found


def _total(own: Mapping[str, Seen]) -> dict[str, Any]:
    watts, joules = [d.watts for d in own.values()], [d.joules for d in own.values()]
    times = sorted(d.seconds for d in own.values())
    whys = [f"{n}: {d.why_not}" for n, d in own.items() if d.watts is None]
    whys += [f"{n}: {d.no_energy}" for n, d in own.items() if d.joules is None]
    whole = None not in joules and times[-1] - times[0] <= APART_S
    if None not in joules and not whole:
        whys.append(f"energies over {times[0]:.3g} to {times[-1]:.3g} s make no sum")
    return {
        "power_W": None if None in watts else sum(w for w in watts if w is not None),
        "energy_J": sum(j for j in joules if j is not None) if whole else None,
        "energy_over_s": times[0] if whole else None,
        "reason": "; ".join(dict.fromkeys(whys)),
    }
