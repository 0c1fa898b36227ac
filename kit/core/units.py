"""The registry of quantities: what each column of raw samples means.

A meter stores raw integers exactly as the device gave them; this table says what they are.
Every other module asks here, so that amps can never be read as watts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from kit.core.facts import QuantityFacts, known

NS = 1e-9  # seconds in a nanosecond, the unit of every time that is stored
Kind = Literal["gauge", "counter", "average", "window"]
Scope = Literal["gpu", "cpu", "wall", "estimate", "codecarbon", "none"]


class Quantity(NamedTuple):
    """One kind of reading.

    Attributes:
        name: the word in the ``quantity`` column of ``samples/*.csv``.
        raw_unit: the unit of the raw integer.
        unit: the unit after multiplying by ``scale``.
        scale: raw → unit; a device may carry a factor of its own on top (`plan.json`).
        kind: ``counter`` only grows (energy); ``gauge`` is a value at the instant;
            ``average`` is a trailing mean; ``window`` is the mean since the sample before.
        scope: which energy scope it feeds; ``none`` for context such as temperature.
        text: what it is, for a report.
    """

    name: str
    raw_unit: str
    unit: str
    scale: float
    kind: Kind
    scope: Scope
    text: str


_ALL = (
    Quantity("gpu_energy", "mJ", "J", 1e-3, "counter", "gpu", "GPU energy counter"),
    Quantity("gpu_power_sample", "mW", "W", 1e-3, "window", "gpu", "GPU power, 20 ms buffer"),
    Quantity("gpu_power_instant", "mW", "W", 1e-3, "gauge", "gpu", "GPU power, instantaneous"),
    Quantity("gpu_power_average", "mW", "W", 1e-3, "average", "gpu", "GPU power, 1 s average"),
    Quantity("gpu_module_power", "mW", "W", 1e-3, "average", "none", "power of the GPU's module"),
    Quantity("gpu_temperature", "degC", "degC", 1.0, "gauge", "none", "GPU temperature"),
    Quantity("gpu_memory_temperature", "degC", "degC", 1.0, "gauge", "none", "GPU memory temp."),
    Quantity("gpu_sm_clock", "MHz", "MHz", 1.0, "gauge", "none", "SM clock"),
    Quantity("gpu_memory_clock", "MHz", "MHz", 1.0, "gauge", "none", "GPU memory clock"),
    Quantity("gpu_event_reasons", "mask", "mask", 1.0, "gauge", "none", "clock event reasons"),
    Quantity("gpu_performance_state", "P", "P", 1.0, "gauge", "none", "performance state, 0 best"),
    Quantity("gpu_power_limit", "mW", "W", 1e-3, "gauge", "none", "power limit in effect"),
    Quantity("gpu_utilisation", "percent", "percent", 1.0, "gauge", "none", "GPU utilisation"),
    Quantity("gpu_memory_utilisation", "percent", "percent", 1.0, "gauge", "none", "memory busy"),
    Quantity("gpu_memory_used", "B", "B", 1.0, "gauge", "none", "GPU memory in use"),
    Quantity("gpu_processes", "count", "count", 1.0, "gauge", "none", "processes on GPU"),
    Quantity("gpu_process_groups", "count", "count", 1.0, "gauge", "none", "their control groups"),
    # For how long clocks were held down, and why: all since the driver was loaded.
    Quantity("gpu_power_cap_time", "ns", "s", 1e-9, "counter", "none", "power cap held clocks"),
    Quantity("gpu_sync_boost_time", "ns", "s", 1e-9, "counter", "none", "sync boost held clocks"),
    Quantity("gpu_board_limit_time", "ns", "s", 1e-9, "counter", "none", "board limit held clocks"),
    Quantity("gpu_reliability_time", "ns", "s", 1e-9, "counter", "none", "voltage held clocks"),
    Quantity("gpu_thermal_time", "ns", "s", 1e-9, "counter", "none", "heat held clocks (driver)"),
    Quantity("gpu_hw_thermal_time", "ns", "s", 1e-9, "counter", "none", "heat held clocks (board)"),
    Quantity("gpu_power_brake_time", "ns", "s", 1e-9, "counter", "none", "power brake held clocks"),
    Quantity("cpu_energy", "uJ", "J", 1e-6, "counter", "cpu", "RAPL energy counter"),
    Quantity("pdu_power", "device", "W", 1.0, "gauge", "wall", "PDU active power"),
    Quantity("pdu_energy", "device", "J", 1.0, "counter", "none", "PDU energy counter"),
    Quantity("pdu_current", "device", "A", 1.0, "gauge", "none", "PDU current"),
    Quantity("pdu_voltage", "device", "V", 1.0, "gauge", "none", "PDU voltage"),
    Quantity("pdu_power_factor", "device", "1", 1.0, "gauge", "none", "PDU power factor"),
    Quantity("pdu_uptime", "cs", "s", 1e-2, "counter", "none", "PDU sysUpTime"),
    Quantity("codecarbon_energy", "uJ", "J", 1e-6, "counter", "codecarbon", "CodeCarbon's total"),
    Quantity("cpu_busy", "us", "s", 1e-6, "counter", "estimate", "host CPU time, all CPUs"),
)
QUANTITIES: dict[str, Quantity] = {q.name: q for q in _ALL}

# nvmlClocksEventReasons in NVIDIA's nvml.h: why the clocks are not higher.
EVENT_REASONS: dict[int, str] = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}


def event_reasons(mask: int) -> tuple[str, ...]:
    """A mask of clock event reasons in words; bits without a known name by number."""
    names = [name for bit, name in EVENT_REASONS.items() if mask & bit]
    unknown_bits = mask & ~sum(EVENT_REASONS)
    return (*names, f"unknown ({unknown_bits:#x})") if unknown_bits else tuple(names)


def scale_of(quantity: str, facts: QuantityFacts) -> float:
    """Factor from a raw integer to the registry's unit; a device's own ``scale`` comes on top."""
    return QUANTITIES[quantity].scale * known(facts.scale, 1.0)


def rounded(value: Any) -> Any:
    """A document with every float in it as `significant` gives it."""
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def significant(value: float, digits: int = 12) -> float:
    """``value`` rounded to ``digits`` significant digits: how every derived number is stored."""
    return float(f"{value:.{digits - 1}e}")
