"""GPU facts through NVML (the ``pynvml`` module), under the aliases ``gpu0``, ``gpu1``, ….

Aliases follow NVML's order. The facts do not identify a card: UUIDs and bus addresses come from
`identities` alone. A query that a card does not support is absent, with NVML's message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kit.machine.host.kernelfiles import absent

NO_DRIVER = "no NVIDIA driver (libnvidia-ml.so.1 not found)"
_MEMORY_TEMPERATURE_FIELD = 82
_VIRTUALISATION = {0: "none", 1: "passthrough", 2: "vgpu", 3: "host-vgpu", 4: "host-vsga"}
# Unwanted slowdowns of clocks, by the bits of nvml.h; the other reasons (idle, set clocks, the
# power limit) are normal.
_SLOWDOWNS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
_COMPUTE_MODES = {0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process"}

Ask = Callable[[Any, Any], Any]


class NvmlUnavailable(Exception):
    """NVML cannot be used here; the message is a reason for ``{"absent": …}``."""


@contextmanager
def nvml() -> Iterator[Any]:
    """The initialised ``pynvml`` module.

    Raises:
        NvmlUnavailable: no driver, driver not loaded, or no permission.
    """
    import pynvml

    module: Any = pynvml  # the module is untyped
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        raise NvmlUnavailable(_reason(module, error)) from error
    try:
        yield module
    finally:
        module.nvmlShutdown()


def facts() -> tuple[dict[str, Any], dict[str, Any]]:
    """(driver facts, {alias: facts of the card}); without NVML both are absent with a reason."""
    try:
        with nvml() as module:
            return _driver(module), _cards(module, _card)
    except NvmlUnavailable as error:
        return absent(str(error)), absent(str(error))


def identities() -> dict[str, Any]:
    """{alias: uuid and bus address}; without NVML absent with a reason."""
    try:
        with nvml() as module:
            return _cards(module, _identity)
    except NvmlUnavailable as error:
        return absent(str(error))


def energy_counters() -> dict[str, Any]:
    """{alias: energy counter in mJ since driver load}; about 3 ms a card."""
    try:
        with nvml() as module:
            return _cards(module, lambda m, h: _ask(m, h, _energy_mj))
    except NvmlUnavailable as error:
        return absent(str(error))


def _reason(module: Any, error: Exception) -> str:
    code = getattr(error, "value", None)
    reasons = {
        module.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
        module.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel driver is not loaded",
        module.NVML_ERROR_NO_PERMISSION: "no permission to use the NVIDIA driver",
    }
    return reasons.get(code, f"NVML: {error}")


def _driver(module: Any) -> dict[str, Any]:
    return {name: _ask(module, None, query) for name, query in _DRIVER_QUERIES.items()}


def _cuda(m: Any, _: Any) -> str:
    version = m.nvmlSystemGetCudaDriverVersion()
    return f"{version // 1000}.{version % 1000 // 10}"


def _cards(module: Any, read: Ask) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    for index in range(module.nvmlDeviceGetCount()):
        try:
            cards[f"gpu{index}"] = read(module, module.nvmlDeviceGetHandleByIndex(index))
        except module.NVMLError as error:
            cards[f"gpu{index}"] = absent(f"NVML: {error}")
    return cards


def _ask(module: Any, handle: Any, query: Ask) -> Any:
    """The answer to one query, or absent; an old driver may even lack the function."""
    try:
        return query(module, handle)
    except module.NVMLError as error:
        return absent(f"NVML: {error}")
    except (AttributeError, UnicodeDecodeError) as error:
        return absent(f"NVML: {type(error).__name__}")


def _identity(module: Any, handle: Any) -> dict[str, Any]:
    return {
        "uuid": _ask(module, handle, lambda m, h: m.nvmlDeviceGetUUID(h)),
        "bus": _ask(module, handle, lambda m, h: m.nvmlDeviceGetPciInfo(h).busId),
    }


def _card(module: Any, handle: Any) -> dict[str, Any]:
    return {name: _ask(module, handle, query) for name, query in _QUERIES.items()}


def _memory_temperature(m: Any, handle: Any) -> Any:
    value = m.nvmlDeviceGetFieldValues(handle, [_MEMORY_TEMPERATURE_FIELD])[0]
    if value.nvmlReturn != 0:
        raise m.NVMLError(value.nvmlReturn)
    return value.value.uiVal


def _ecc_errors(kind: str) -> Ask:
    """Errors since the driver was loaded; ``kind`` is CORRECTED or UNCORRECTED."""

    def ask(m: Any, handle: Any) -> Any:
        severity = getattr(m, f"NVML_MEMORY_ERROR_TYPE_{kind}")
        return m.nvmlDeviceGetTotalEccErrors(handle, severity, m.NVML_VOLATILE_ECC)

    return ask


def _slowdowns(m: Any, handle: Any) -> list[str]:
    """The present slowdowns, as text; drivers before 535 know only the older name."""
    try:
        mask = m.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except (AttributeError, m.NVMLError):
        mask = m.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return [word for bit, word in _SLOWDOWNS.items() if mask & bit]


def _energy_mj(m: Any, handle: Any) -> Any:
    return m.nvmlDeviceGetTotalEnergyConsumption(handle)


def _clock(query: str, domain: str) -> Ask:
    return lambda m, h: getattr(m, query)(h, getattr(m, f"NVML_CLOCK_{domain}"))


_DRIVER_QUERIES: dict[str, Ask] = {
    "driver": lambda m, _: m.nvmlSystemGetDriverVersion(),
    "cuda_driver": _cuda,
    "nvml": lambda m, _: m.nvmlSystemGetNVMLVersion(),
}

# The names carry their units; power is in watts (NVML answers in mW, to the milliwatt).
_QUERIES: dict[str, Ask] = {
    "name": lambda m, h: m.nvmlDeviceGetName(h),
    "vbios": lambda m, h: m.nvmlDeviceGetVbiosVersion(h),
    "compute_capability": lambda m, h: "{}.{}".format(*m.nvmlDeviceGetCudaComputeCapability(h)),
    "memory_total_bytes": lambda m, h: m.nvmlDeviceGetMemoryInfo(h).total,
    "memory_used_bytes": lambda m, h: m.nvmlDeviceGetMemoryInfo(h).used,
    "power_limit_w": lambda m, h: m.nvmlDeviceGetPowerManagementLimit(h) / 1000,
    "power_enforced_w": lambda m, h: m.nvmlDeviceGetEnforcedPowerLimit(h) / 1000,
    "power_default_w": lambda m, h: m.nvmlDeviceGetPowerManagementDefaultLimit(h) / 1000,
    "sm_clock_mhz": _clock("nvmlDeviceGetClockInfo", "SM"),
    "sm_clock_maximum_mhz": _clock("nvmlDeviceGetMaxClockInfo", "SM"),
    "sm_clock_application_mhz": _clock("nvmlDeviceGetApplicationsClock", "SM"),
    "memory_clock_mhz": _clock("nvmlDeviceGetClockInfo", "MEM"),
    "memory_clock_maximum_mhz": _clock("nvmlDeviceGetMaxClockInfo", "MEM"),
    "temperature_c": lambda m, h: m.nvmlDeviceGetTemperature(h, m.NVML_TEMPERATURE_GPU),
    "temperature_slowdown_c": lambda m, h: m.nvmlDeviceGetTemperatureThreshold(
        h, m.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    ),
    "memory_temperature_c": _memory_temperature,
    "ecc": lambda m, h: bool(m.nvmlDeviceGetEccMode(h)[0]),
    "ecc_corrected": _ecc_errors("CORRECTED"),
    "ecc_uncorrected": _ecc_errors("UNCORRECTED"),
    "slowdowns": _slowdowns,
    "virtualisation": lambda m, h: _VIRTUALISATION.get(
        m.nvmlDeviceGetVirtualizationMode(h), "unknown"
    ),
    "mig": lambda m, h: bool(m.nvmlDeviceGetMigMode(h)[0]),
    "persistence": lambda m, h: bool(m.nvmlDeviceGetPersistenceMode(h)),
    "compute_mode": lambda m, h: _COMPUTE_MODES.get(m.nvmlDeviceGetComputeMode(h), "unknown"),
    "compute_processes": lambda m, h: len(m.nvmlDeviceGetComputeRunningProcesses(h)),
    "pcie_generation": lambda m, h: m.nvmlDeviceGetCurrPcieLinkGeneration(h),
    "pcie_width": lambda m, h: m.nvmlDeviceGetCurrPcieLinkWidth(h),
    "energy_counter": lambda m, h: _energy_mj(m, h) >= 0,
}
