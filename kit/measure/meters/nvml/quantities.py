"""The quantities of a GPU besides energy counter and sample buffer, and how often each is read.

Power changes every 100 ms. Where the counter and the 20 ms samples are there, power at 10 Hz is
their cross-check; where one lacks, power itself is the way to the energy and is read at 50 Hz.
Temperatures, limits, memory and processes change within seconds. Clocks and event reasons change
within milliseconds, but the cumulative times of the reasons miss nothing between two reads: only
where a card keeps no such times are clocks and reasons watched at 10 Hz.
"""

from __future__ import annotations

from typing import Any

from kit.measure.meters.nvml.api import Api
from kit.measure.meters.nvml.board import Asked, Query
from kit.measure.meters.nvml.processes import COUNT, GROUPS, groups, pids

FIELD_MEMORY_TEMPERATURE, FIELD_AVERAGE, FIELD_INSTANT = 82, 185, 186
# NVML_POWER_SCOPE_MODULE: the GPU together with what shares its module, such as a Grace CPU.
_MODULE = 1
POWER_S, CHECK_S, WATCH_S, STATE_S, BUFFER_S = 0.02, 0.1, 0.1, 1.0, 1.0
POWER = ("gpu_energy", "gpu_power_sample", "gpu_power_instant", "gpu_power_average")
# What a reason's cumulative time spares watching.
WATCHED = ("gpu_sm_clock", "gpu_event_reasons")


def _clock(domain: str) -> Query:
    return lambda a, h: a.nvml.nvmlDeviceGetClockInfo(h, getattr(a.nvml, f"NVML_CLOCK_{domain}"))


def _violation(policy: str) -> Query:
    """Nanoseconds for which a policy held the clocks down, as drivers before the fields tell it."""
    return lambda a, h: (
        a.nvml.nvmlDeviceGetViolationStatus(
            h, getattr(a.nvml, f"NVML_PERF_POLICY_{policy}")
        ).violationTime
    )


def _module_instant(api: Api, handle: Any) -> int | None:
    """The module's power of the moment, where NVML gives no average of it."""
    rc, raw = api.fields(handle, [(FIELD_INSTANT, _MODULE)])[0]
    if rc:
        raise api.nvml.NVMLError(rc)
    return raw


# NVML_FI_DEV_CLOCKS_EVENT_REASON_* and NVML_FI_DEV_PERF_POLICY_* of nvml.h, all in ns.
TIMES: dict[str, Asked] = {
    "gpu_power_cap_time": Asked(74, _violation("POWER")),
    "gpu_sync_boost_time": Asked(76, _violation("SYNC_BOOST")),
    "gpu_board_limit_time": Asked(77, _violation("BOARD_LIMIT")),
    "gpu_reliability_time": Asked(79, _violation("RELIABILITY")),
    "gpu_thermal_time": Asked(269, _violation("THERMAL")),
    "gpu_hw_thermal_time": Asked(270),
    "gpu_power_brake_time": Asked(271),
}
STATE: dict[str, Asked] = {
    "gpu_temperature": Asked(
        query=lambda a, h: a.nvml.nvmlDeviceGetTemperature(h, a.nvml.NVML_TEMPERATURE_GPU)
    ),
    "gpu_memory_temperature": Asked(FIELD_MEMORY_TEMPERATURE, zero_is_absent=True),
    "gpu_sm_clock": Asked(query=_clock("SM")),
    "gpu_memory_clock": Asked(query=_clock("MEM")),
    "gpu_event_reasons": Asked(
        query=lambda a, h: a.nvml.nvmlDeviceGetCurrentClocksThrottleReasons(h)
    ),
    "gpu_module_power": Asked(
        (FIELD_AVERAGE, _MODULE),
        query=_module_instant,
        zero_is_absent=True,
    ),
    "gpu_performance_state": Asked(query=lambda a, h: a.nvml.nvmlDeviceGetPerformanceState(h)),
    "gpu_power_limit": Asked(query=lambda a, h: a.nvml.nvmlDeviceGetEnforcedPowerLimit(h)),
    "gpu_utilisation": Asked(query=lambda a, h: a.nvml.nvmlDeviceGetUtilizationRates(h).gpu),
    "gpu_memory_utilisation": Asked(
        query=lambda a, h: a.nvml.nvmlDeviceGetUtilizationRates(h).memory
    ),
    "gpu_memory_used": Asked(query=lambda a, h: a.nvml.nvmlDeviceGetMemoryInfo(h).used),
    **TIMES,
}
PROCESSES: dict[str, Asked] = {
    COUNT: Asked(query=lambda a, h: len(pids(a, h))),
    GROUPS: Asked(query=groups),
}
