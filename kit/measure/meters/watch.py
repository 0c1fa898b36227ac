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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

from kit.core import extras, limits
from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import MeterDevice, meter_label
from kit.core.units import NS, QUANTITIES, event_reasons, scale_of
from kit.energy import scopes
from kit.energy.reasons import sentence
from kit.energy.running import RunningSum
from kit.energy.scopes.contract import Growth
from kit.measure.meters import MeterUnavailable, Reader, Reading, fit, get
from kit.record.events import Clock

_READ_S = 0.5  # GPUs keep the samples of two seconds
_STALE_NS, _STALE_POLLS = 5_000_000_000, 2.75
_END_S = 0.5
# Energies over times that differ by more (some rounds of reading) make no sum.
APART_S = 1.5
_CONTEXT = {
    "temperature_degC": "gpu_temperature",
    "sm_clock_MHz": "gpu_sm_clock",
    "utilisation_percent": "gpu_utilisation",
    "memory_used_B": "gpu_memory_used",
    "processes": "gpu_processes",
}


class DeviceState(NamedTuple):
    """One device at one moment; None for what it does not report.

    Attributes:
        scope: gpu, cpu, wall or estimate.
        summed: whether it counts towards its scope; one inside another does not.
        watts: power now, by the reading named in ``power_from``.
        joules: energy over ``seconds`` since the start, found as ``energy_from`` says.
        context: temperature, clock, … by key with unit.
        reasons: why the clocks are not higher, in words; None where unknown.
        why_not: why there is no power, else empty.
        no_energy: why there is no energy, or none by its best source, else empty.
        meter: the name of the meter that reads it.
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
    meter: str = ""


class Snapshot(NamedTuple):
    """All devices at one moment, ``t_s`` after the start; ``absent``: meters without devices."""

    t_s: float
    devices: dict[str, DeviceState]
    absent: dict[str, str]


class _Device:
    """One device: a running sum of each quantity that its energy can be made of."""

    def __init__(self, device: MeterDevice, meter: str = "") -> None:
        self._facts = {n: f for n, f in device.quantities.items() if n in QUANTITIES}
        self._scope = scopes.of_device(device)
        self._meter = meter
        self._summed = self._scope is not None and scopes.is_summed(self._scope.name, device)
        growth = self._scope.growth if self._scope else {}
        self._sums = {
            n: RunningSum(n, facts, growth[n], _pace_s(n))
            for n, facts in self._read(growth).items()
        }
        reasons = (f.reason for n, f in self._facts.items() if n in growth)
        self._reasons = [why for why in reasons if why]
        self._context: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self.lost = ""  # why the last read of its meter gave nothing

    def take(self, reading: Reading, explain: Callable[[int], str]) -> None:
        name, self.lost = reading.quantity, ""
        if not fit.is_value(reading):
            self._failed[name] = f"{name}: the value is no integer of at most 18 digits"
            self._context.pop(name, None)
            return
        if reading.rc != 0 or reading.raw is None:
            self._failed[name] = explain(reading.rc)
            self._context.pop(name, None)
            return
        self._failed.pop(name, None)
        running_sum, facts = self._sums.get(name), self._facts.get(name, NO_FACTS)
        if why := self._no_reading(name, facts, reading):
            self._failed[name] = why
            self._context.pop(name, None)
            if running_sum and not reading.raw:  # what cannot be is a lost reading, as in results
                running_sum.interrupt()
        elif running_sum is None:
            self._context[name] = reading.raw
        else:
            running_sum.add(reading.t, reading.raw)

    def state(self, now: int) -> DeviceState:
        watts, power_from = self._watts(now)
        sums = [s for s in self._growing() if s.known.seconds > 0 and not s.still_s()]
        # One that fails counts no more: another goes on, where there is one.
        best = next((s for s in sums if s.quantity not in self._failed), next(iter(sums), None))
        mask = self._context.get("gpu_event_reasons")
        return DeviceState(
            scope=self._scope.name if self._scope else "none",
            summed=self._summed,
            watts=watts,
            power_from=power_from,
            joules=self._corrected(best, *best.known) if best else None,
            seconds=best.known.seconds if best else 0.0,
            energy_from=self._scope.growth[best.quantity].words if best and self._scope else "",
            context={key: self._context.get(name) for key, name in _CONTEXT.items()},
            reasons=None if mask is None else event_reasons(mask),
            why_not="" if watts is not None else self._why_not(),
            no_energy=self._still() or ("" if best else self._why_not()),
            meter=self._meter,
        )

    def _read(self, growth: Mapping[str, Growth]) -> dict[str, QuantityFacts]:
        """The facts of what is read, best first."""
        return {n: f for n in growth if (f := self._facts.get(n)) is not None and f.is_read}

    def _growing(self) -> Iterator[RunningSum]:
        """The sums that are surely the device's own, best first."""
        latest = {n: s.latest[1] for n, s in self._sums.items() if s.latest}
        is_own = self._scope is None or self._scope.is_own({**latest, **self._context})
        main = self._scope.main if self._scope else frozenset[str]()
        return (s for n, s in self._sums.items() if is_own or n not in main)

    def _no_reading(self, name: str, facts: QuantityFacts, reading: Reading) -> str:
        """Why a value is no reading: a power of 0 W, or more than the device can give."""
        raw = reading.raw or 0
        if self._scope and name in self._scope.power and raw <= 0:
            if raw == 0 and (why := self._scope.of_zero(facts)):
                return sentence(why)
            return f"{QUANTITIES[name].text} reads {raw * scale_of(name, facts):g} W: no reading"
        fault = limits.fault(name, facts, raw, reading.device)
        return f"{QUANTITIES[name].text}: {fault}" if fault else ""

    def _corrected(self, running_sum: RunningSum, joules: float, seconds: float) -> float:
        assert self._scope is not None
        return self._scope.corrected(self._facts[running_sum.quantity], joules, seconds)

    def _watts(self, now: int) -> tuple[float | None, str]:
        """The best power that is fresh, else the growth of a counter."""
        fresh = {
            n: s
            for n, s in self._sums.items()
            if s.latest and n not in self._failed and now - s.latest[0] < self._stale_ns(n)
        }
        power = self._scope.power if self._scope else ()
        for name in (n for n in power if n in fresh):
            latest = fresh[name].latest
            watts = latest[1] * scale_of(name, self._facts[name]) if latest else 0.0
            return self._corrected(fresh[name], watts, 1.0), QUANTITIES[name].text
        for name in (n for n in fresh if not fresh[n].still_s()):
            rate = fresh[name].watts()
            if rate is None:
                return None, ""
            return self._corrected(fresh[name], rate, 1.0), f"growth of: {QUANTITIES[name].text}"
        return None, ""

    def _stale_ns(self, quantity: str) -> float:
        """After how long a reading is old: a device that is asked seldom has older ones."""
        poll_s = limits.seconds_or(self._facts[quantity].poll_s, 0.0)
        return max(_STALE_NS, _STALE_POLLS * poll_s / NS)

    def _still(self) -> str:
        """Which counters have stood still for longer than they may, else empty."""
        return "; ".join(
            f"{QUANTITIES[name].text} has not grown for {seconds:.0f} s"
            for name, one in self._sums.items()
            if (seconds := one.still_s())
        )

    def _why_not(self) -> str:
        failed = [why for name, why in self._failed.items() if name in self._sums]
        still = [why] if (why := self._still()) else []
        lost = [self.lost] if self.lost else []
        return [*lost, *failed, *still, *self._reasons, "no reading yet"][0]


def _pace_s(quantity: str) -> float:
    """How far apart readings are here at least, s; samples of a buffer have their own times."""
    return 0.0 if QUANTITIES[quantity].kind == "window" else _READ_S


class _Watched:
    """One meter, read over and over in a thread."""

    def __init__(self, name: str, reader: Reader, stop: threading.Event) -> None:
        self._reader, self._stop = reader, stop
        self._lock = threading.Lock()
        self._devices = {d.device: _Device(d, name) for d in reader.devices}
        self.meter, self.names = name, tuple(self._devices)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def states(self, now: int) -> dict[str, DeviceState]:
        with self._lock:
            return {name: device.state(now) for name, device in self._devices.items()}

    def end(self) -> None:
        self._thread.join(_END_S)
        if not self._thread.is_alive():  # one that hangs goes with the process
            with suppress(Exception):  # its error must not end the watch of the others
                self._reader.close()

    def _run(self) -> None:
        tiers = [tier for tier in self._reader.tiers if tier.due is None]
        due = dict.fromkeys(range(len(tiers)), 0.0)
        while not self._stop.is_set():
            for number, tier in enumerate(tiers):
                now = time.monotonic()
                if now >= due[number]:  # no device is asked more often than a run asks it
                    due[number] = now + fit.period_s(tier) - _READ_S / 2
                    self._read(tier.read)
            self._stop.wait(_READ_S)

    def _read(self, read: Callable[[], Iterable[Reading]]) -> None:
        try:
            readings = list(read())
            with self._lock:
                for reading in (r for r in readings if r.device in self._devices):
                    self._devices[reading.device].take(reading, self._explain)
        except Exception as error:  # one odd device stops no other; what is not read grows old
            with self._lock:
                for device in self._devices.values():
                    device.lost = f"its meter failed: {type(error).__name__}: {error}"

    def _explain(self, rc: int) -> str:
        try:
            return self._reader.explain(rc)
        except Exception:  # it is another package's
            return f"code {rc}"


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
                reader = fit.reader_of(get(name).open(alias, config(name, alias), clock))
            except MeterUnavailable as reason:
                absent[meter_label(name, alias)] = str(reason)
                continue
            except Exception as error:  # another package's meter may raise anything
                lacking = extras.missing(error)
                why = f"the meter failed: {type(error).__name__}"
                if lacking:
                    why = f"{lacking.message}: {lacking.remedy}"
                absent[meter_label(name, alias)] = why
                continue
            if fault := _shared(reader, watched):
                absent[meter_label(name, alias)] = fault
                with suppress(Exception):
                    reader.close()
                continue
            watched.append(_Watched(name, reader, stop))
            held.callback(watched[-1].end)
        held.callback(stop.set)
        due = time.monotonic()
        while not stopped():
            due = max(due + period_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            now = clock.now()
            devices = {k: state for w in watched for k, state in w.states(now).items()}
            yield Snapshot(now * 1e-9, devices, dict(absent))


def _shared(reader: Reader, watched: Iterable[_Watched]) -> str:
    """Why a reader's devices cannot be told from those of a meter before it, else empty."""
    meter_of = {name: w.meter for w in watched for name in w.names}
    twice = (d.device for d in reader.devices if d.device in meter_of)
    return next(
        (f"its device {name} has the name of one of {meter_of[name]}" for name in twice), ""
    )


def totals(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Power and energy by scope, of the devices that add up; None if one of them has none.

    Scopes are never added to one another: a wall holds the GPUs, an estimate is no measurement.
    Nor are energies over different times, such as that of a device that was lost meanwhile, or
    devices of two kinds of meter, which may be the same ones.

    Returns:
        By scope ``power_W``, ``energy_J``, ``energy_over_s``, and ``reason``, why one of them is
        None, else empty.
    """
    result: dict[str, dict[str, Any]] = {}
    for scope in scopes.SCOPES:
        own = {name: d for name, d in snapshot.devices.items() if d.scope == scope and d.summed}
        if own:
            result[scope] = _total(own, scope)
    return result


def _total(own: Mapping[str, DeviceState], scope: str) -> dict[str, Any]:
    if twice := scopes.mixed((d.meter for d in own.values()), scope):
        return {"power_W": None, "energy_J": None, "energy_over_s": None, "reason": sentence(twice)}
    watts, joules = [d.watts for d in own.values()], [d.joules for d in own.values()]
    times = sorted(d.seconds for d in own.values())
    whys = [f"{n}: {d.why_not}" for n, d in own.items() if d.watts is None]
    whys += [f"{n}: {d.no_energy}" for n, d in own.items() if d.joules is None]
    is_complete = None not in joules and times[-1] - times[0] <= APART_S
    if None not in joules and not is_complete:
        whys.append(f"energies over {times[0]:.3g} to {times[-1]:.3g} s make no sum")
    return {
        "power_W": None if None in watts else sum(w for w in watts if w is not None),
        "energy_J": sum(j for j in joules if j is not None) if is_complete else None,
        "energy_over_s": times[0] if is_complete else None,
        "reason": "; ".join(dict.fromkeys(whys)),
    }
