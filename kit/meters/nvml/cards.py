"""Which GPUs there are, and what each of them can tell: every query is tried once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from kit.events import Clock
from kit.meters.base import MeterUnavailable
from kit.meters.nvml.api import DRIVER_GONE, NOT_FOUND, Answer, Api
from kit.meters.nvml.counter import Ticker, search
from kit.model import MeterDevice

Query = Callable[[Api, Any], Any]

FIELD_AVERAGE, FIELD_INSTANT = 185, 186
STATE_S, LOAD_S, BUFFER_S = 0.1, 1.0, 1.0
# Instant and average power are renewed every 100 ms. Where samples and counter tell the energy they
# are a cross-check, and one reading a renewal is enough; elsewhere their own edges must be seen.
POWER_S, POWER_BESIDE_S = 0.02, 0.1

_GAIN = 0.05
_GAIN_SOURCE = "prior: ±5% per card (Yang, Adamek, Armour, SC24), not calibrated"
_SHARED = "NVML gives the whole board's power here, not this {}'s"
_ZERO = "the driver reads 0: no sensor"
# Architecture numbers of nvml.h. Before Ampere, and on the GA100, "power usage" is instantaneous;
# since then it is the mean of the last second.
_AMPERE, _GA100 = 7, (8, 0)
_VIRTUAL_MODES = ("NVML_GPU_VIRTUALIZATION_MODE_VGPU", "NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU")

STATE: dict[str, Query] = {
    "gpu_sm_clock": lambda a, h: a.nvml.nvmlDeviceGetClockInfo(h, a.nvml.NVML_CLOCK_SM),
    "gpu_event_reasons": lambda a, h: a.nvml.nvmlDeviceGetCurrentClocksThrottleReasons(h),
}
# What changes within seconds, or costs more than a microsecond.
LOAD: dict[str, Query] = {
    "gpu_temperature": lambda a, h: a.nvml.nvmlDeviceGetTemperature(h, a.nvml.NVML_TEMPERATURE_GPU),
    "gpu_memory_clock": lambda a, h: a.nvml.nvmlDeviceGetClockInfo(h, a.nvml.NVML_CLOCK_MEM),
    "gpu_utilisation": lambda a, h: a.nvml.nvmlDeviceGetUtilizationRates(h).gpu,
    "gpu_memory_utilisation": lambda a, h: a.nvml.nvmlDeviceGetUtilizationRates(h).memory,
    "gpu_memory_used": lambda a, h: a.nvml.nvmlDeviceGetMemoryInfo(h).used,
    "gpu_processes": lambda a, h: _processes(a, h),
    "gpu_performance_state": lambda a, h: a.nvml.nvmlDeviceGetPerformanceState(h),
    "gpu_power_limit": lambda a, h: a.nvml.nvmlDeviceGetEnforcedPowerLimit(h),
}
# Field values, asked for together. The times are nanoseconds in which a clock event reason held,
# since the driver was loaded (nvml.h); a card without the field may have the older violation times.
FIELDS: dict[str, int] = {
    "gpu_memory_temperature": 82,
    "gpu_time_power_cap": 74,
    "gpu_time_sync_boost": 76,
    "gpu_time_thermal": 269,
    "gpu_time_hw_thermal": 270,
    "gpu_time_power_brake": 271,
}
VIOLATIONS: dict[str, int] = {  # nvmlPerfPolicyType_t
    "gpu_time_power_cap": 0,
    "gpu_time_thermal": 1,
    "gpu_time_sync_boost": 2,
}
_POWER = ("gpu_energy", "gpu_power_sample", "gpu_power_instant", "gpu_power_average")


@dataclass(frozen=True)
class Card:
    """One GPU: its alias as the plan has it, NVML's handle, and the UUID to find it by again."""

    device: MeterDevice
    handle: Any
    uuid: str | None = None

    @property
    def alias(self) -> str:
        return self.device.device

    def reads(self, quantity: str) -> bool:
        """Whether this card gives ``quantity``."""
        return "reason" not in self.device.quantities.get(quantity, {"reason": "unknown"})

    def facts(self, quantity: str) -> Mapping[str, Any]:
        """The plan's facts about one of its quantities."""
        return self.device.quantities[quantity]


def cards(api: Api, count: int | None, clock: Clock | None = None) -> list[Card]:
    """The GPUs, the first ``count`` where that is given.

    With a ``clock`` it watches their counters for a while, to tell periods.

    Raises:
        MeterUnavailable: there is none, or NVML does not list them.
    """
    rc, present = api.ask(api.nvml.nvmlDeviceGetCount)
    if rc:
        raise MeterUnavailable(f"NVML: {api.explain(rc)}")
    if not present:
        raise MeterUnavailable("the NVIDIA driver sees no GPU")
    handles = [_handle(api, index) for index in range(min(present, count or present))]
    told = [_quantities(api, handle) for handle in handles]
    if clock:
        _add_counter_periods(api, handles, told, clock)
    return [
        Card(
            MeterDevice(device=f"gpu{i}", description=_name(api, h), quantities=q), h, _uuid(api, h)
        )
        for i, (h, q) in enumerate(zip(handles, told, strict=True))
    ]


def gone(api: Api, card: Card) -> bool:
    """Whether the driver no longer knows this card's handle."""
    rc, _ = api.ask(lambda: api.nvml.nvmlDeviceGetUUID(card.handle))
    return rc in DRIVER_GONE


def renew(api: Api, card: Card) -> bool:
    """Find a card again after the driver was loaded anew; by its UUID, as the order may differ.

    NVML's handle is a pointer. It is filled with the new one in its place, so that whoever holds
    it goes on reading.
    """
    rc, fresh = api.ask(lambda: api.nvml.nvmlDeviceGetHandleByUUID(card.uuid))
    if rc or card.uuid is None:
        return False
    ctypes.memmove(ctypes.byref(card.handle), ctypes.byref(fresh), ctypes.sizeof(card.handle))
    return True


def _uuid(api: Api, handle: Any) -> str | None:
    rc, uuid = api.ask(lambda: api.nvml.nvmlDeviceGetUUID(handle))
    return str(uuid) if rc == 0 else None


def _handle(api: Api, index: int) -> Any:
    rc, handle = api.ask(lambda: api.nvml.nvmlDeviceGetHandleByIndex(index))
    if rc:
        raise MeterUnavailable(f"gpu{index}: {api.explain(rc)}")
    return handle


def _name(api: Api, handle: Any) -> str:
    rc, name = api.ask(lambda: api.nvml.nvmlDeviceGetName(handle))
    return str(name) if rc == 0 else "a GPU without a name"


def _quantities(api: Api, handle: Any) -> dict[str, dict[str, Any]]:
    """What one GPU tells, by quantity: facts, or the reason why not."""
    told = {**_power(api, handle), "gpu_power_sample": _buffer(api, handle)}
    told["gpu_energy"] = _fact(api, _counter(api, handle), {}, zero_is_absent=True)
    for name in _POWER:
        if "reason" not in told[name]:
            told[name] |= {"gain": _GAIN, "gain_source": _GAIN_SOURCE}
    for queries, poll_s in ((STATE, STATE_S), (LOAD, LOAD_S)):
        for name, query in queries.items():
            answer = api.ask(partial(query, api, handle))
            told[name] = _fact(api, answer, {"poll_s": poll_s})
    told |= _field_facts(api, handle)
    if not any("reason" in told[name] for name in ("gpu_power_sample", "gpu_energy")):
        for name in ("gpu_power_instant", "gpu_power_average"):
            told[name] |= {"poll_s": POWER_BESIDE_S} if "reason" not in told[name] else {}
    shared = _shared(api, handle)
    if shared:
        told |= {name: {"reason": shared} for name in _POWER}
    return told


def _processes(api: Api, handle: Any) -> int:
    """How many processes compute or draw on the board; one that does both counts once."""
    nvml = api.nvml
    found = {p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    rc, drawing = api.ask(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
    return len(found | {p.pid for p in drawing}) if rc == 0 else len(found)


def violation(api: Api, handle: Any, policy: int) -> int:
    """Nanoseconds in which a policy held the clocks down, since the driver was loaded."""
    return int(api.nvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime)


def _field_facts(api: Api, handle: Any) -> dict[str, dict[str, Any]]:
    told = {}
    answers = api.fields(handle, tuple(FIELDS.values()))
    for name, answer in zip(FIELDS, answers, strict=True):
        temperature = name == "gpu_memory_temperature"
        facts = {"poll_s": LOAD_S, "source": f"field {FIELDS[name]}"}
        told[name] = _fact(api, answer, facts, zero_is_absent=temperature)
        if "reason" in told[name] and name in VIOLATIONS:
            older = api.ask(partial(violation, api, handle, VIOLATIONS[name]))
            if older[0] == 0:
                told[name] = {"poll_s": LOAD_S, "source": "violation time"}
    return told


def _fact(
    api: Api, answer: Answer, facts: dict[str, Any], *, zero_is_absent: bool = False
) -> dict[str, Any]:
    rc, raw = answer
    if rc or raw is None:
        return {"reason": f"NVML: {api.explain(rc)}"}
    return {"reason": _ZERO} if zero_is_absent and raw == 0 else dict(facts)


def _counter(api: Api, handle: Any) -> Answer:
    return api.ask(lambda: api.nvml.nvmlDeviceGetTotalEnergyConsumption(handle))


def _power(api: Api, handle: Any) -> dict[str, dict[str, Any]]:
    """Instant and average power, by the fields that say which is which; else by power usage."""
    facts: dict[str, Any] = {"poll_s": POWER_S}
    instant, average = (
        _fact(api, answer, {**facts, "source": f"field {field}"}, zero_is_absent=True)
        for field, answer in _both(api, handle)
    )
    if "reason" in instant and "reason" in average:
        answer = api.ask(lambda: api.nvml.nvmlDeviceGetPowerUsage(handle))
        usage = _fact(api, answer, {**facts, "source": "power usage"}, zero_is_absent=True)
        if "reason" not in usage and _usage_is_average(api, handle):
            average = usage
        elif "reason" not in usage:
            instant = usage
    return {"gpu_power_instant": instant, "gpu_power_average": average}


def _both(api: Api, handle: Any) -> list[tuple[int, Answer]]:
    fields = (FIELD_INSTANT, FIELD_AVERAGE)
    return list(zip(fields, api.fields(handle, fields), strict=True))


def _usage_is_average(api: Api, handle: Any) -> bool:
    _, architecture = api.ask(lambda: api.nvml.nvmlDeviceGetArchitecture(handle))
    _, compute = api.ask(lambda: api.nvml.nvmlDeviceGetCudaComputeCapability(handle))
    known_instant = architecture is not None and architecture < _AMPERE
    return not known_instant and tuple(compute or ()) != _GA100


def _buffer(api: Api, handle: Any) -> dict[str, Any]:
    """The buffer of power samples, and the period at which the driver fills it."""
    query = api.nvml.nvmlDeviceGetSamples
    rc, found = api.ask(lambda: query(handle, api.nvml.NVML_TOTAL_POWER_SAMPLES, 0))
    if rc == NOT_FOUND:
        return {"reason": "the buffer of power samples is empty"}
    if rc:
        return {"reason": f"NVML: {api.explain(rc)}"}
    stamps = [sample.timeStamp for sample in found[1]]
    gaps = [b - a for a, b in pairwise(stamps) if b > a]
    if not gaps:
        return {"reason": "the buffer of power samples has no times"}
    return {"poll_s": BUFFER_S, "period_s": round(median(gaps) * 1e-6, 3), "slots": len(stamps)}


def _add_counter_periods(
    api: Api, handles: list[Any], told: list[dict[str, dict[str, Any]]], clock: Clock
) -> None:
    """Watch the counters of all GPUs together until each has ticked a few times."""
    tickers = {
        index: Ticker(f"gpu{index}", partial(_counter, api, handle), clock)
        for index, handle in enumerate(handles)
        if "reason" not in told[index]["gpu_energy"]
    }
    search(list(tickers.values()), clock)
    for index, ticker in tickers.items():
        if ticker.period_ns is None:
            told[index]["gpu_energy"] = {"reason": "the energy counter does not advance"}
        else:
            told[index]["gpu_energy"]["period_s"] = round(ticker.period_ns * 1e-9, 2)


def _shared(api: Api, handle: Any) -> str | None:
    """Why the board's energy is not this device's: MIG, or a virtual GPU."""
    rc, mig = api.ask(lambda: api.nvml.nvmlDeviceGetMigMode(handle))
    if rc == 0 and mig[0]:
        return "MIG is on: " + _SHARED.format("instance")
    rc, mode = api.ask(lambda: api.nvml.nvmlDeviceGetVirtualizationMode(handle))
    if rc == 0 and mode in {getattr(api.nvml, name, None) for name in _VIRTUAL_MODES}:
        return "a virtual GPU: " + _SHARED.format("virtual GPU")
    return None
