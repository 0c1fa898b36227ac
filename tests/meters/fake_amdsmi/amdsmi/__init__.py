"""A stand-in for ROCm's Python module: its names, shapes and errors, over GPUs that are not there.

``FAKE_AMDSMI`` is a path of JSON: {"cards": [{...}], "init": code, "broken": "import"}; it may be
changed while a program runs. A card has ``watts`` (its true power), ``energy`` (whether it counts),
``power`` (the keys of amdsmi_get_power_info that are not "N/A"), ``fail`` ({function: code or
"crash"}), ``answers`` ({function: answer}), and names.
"""

from __future__ import annotations

import json
import os
import time
from enum import IntEnum
from pathlib import Path
from typing import Any

STEP_UJ = 15.300000190734863  # 15.3 as a C float


def _told() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(os.environ["FAKE_AMDSMI"]).read_text())
    return document


if _told().get("broken") == "library":
    print("libamd_smi.so: cannot open shared object file: No such file or directory")
    print("Unable to find amdsmi library try installing amd-smi-lib from your package manager")
    raise KeyError("libamd_smi.so")
if _told().get("broken") == "import":
    raise RuntimeError("no such symbol")

_NAMES = {
    2: "AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported",
    10: "AMDSMI_STATUS_NO_PERM - Permission Denied",
    30: "AMDSMI_STATUS_BUSY - Device busy",
    34: "AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded",
}


class AmdSmiException(Exception):
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, err_code: int) -> None:
        super().__init__(abs(err_code))
        self.err_code = abs(err_code)
        self.err_info = _NAMES.get(
            self.err_code, "AMDSMI_STATUS_UNKNOWN_ERROR - An unknown error occurred"
        )

    def get_error_info(self) -> str:
        return self.err_info

    def get_error_code(self) -> int:
        return self.err_code


class AmdSmiParameterException(AmdSmiException):
    def __init__(self, received: Any, expected: type) -> None:
        super().__init__()
        self.err_code = None
        self.err_msg = f"Invalid parameter: {type(received)}, expected {expected}"


class AmdSmiClkType(IntEnum):
    SYS = 0
    GFX = 0
    MEM = 4


class AmdSmiTemperatureType(IntEnum):
    EDGE = 0
    HOTSPOT = 1
    JUNCTION = 1
    VRAM = 2


class AmdSmiTemperatureMetric(IntEnum):
    CURRENT = 0
    MAX = 1


class AmdSmiMemoryType(IntEnum):
    VRAM = 0
    VIS_VRAM = 1
    GTT = 2


class _Handle:
    def __init__(self, index: int) -> None:
        self.index = index


_initialised = 0


def amdsmi_init(flag: int = 2) -> None:
    global _initialised
    code = _told().get("init", 0)
    if code:
        raise AmdSmiLibraryException(code)
    _initialised += 1


def amdsmi_shut_down() -> None:
    global _initialised
    _initialised -= 1


def amdsmi_get_processor_handles() -> list[_Handle]:
    if not _initialised:
        raise AmdSmiLibraryException(32)
    return [_Handle(index) for index in range(len(_told()["cards"]))]


def _card(function: str, handle: Any, *arguments: tuple[Any, type]) -> dict[str, Any]:
    for value, kind in ((handle, _Handle), *arguments):
        if not isinstance(value, kind):
            raise AmdSmiParameterException(value, kind)
    card: dict[str, Any] = _told()["cards"][handle.index]
    code = card.get("fail", {}).get(function, 0)
    if code == "crash":
        raise RuntimeError("a mistake of the library's own")
    if code:
        raise AmdSmiLibraryException(code)
    return card


def _or_as_told(card: dict[str, Any], function: str, usual: Any) -> Any:
    return card.get("answers", {}).get(function, usual)


def amdsmi_get_energy_count(handle: Any) -> Any:
    card = _card("amdsmi_get_energy_count", handle)
    joules = card["watts"] * time.monotonic() if card.get("energy", True) else 0.0
    count = int(joules * 1e6 / STEP_UJ)
    usual = {
        "power": count,
        "energy_accumulator": count,
        "counter_resolution": STEP_UJ,
        "timestamp": time.monotonic_ns(),
    }
    return _or_as_told(card, "amdsmi_get_energy_count", usual)


def amdsmi_get_power_info(handle: Any) -> Any:
    card = _card("amdsmi_get_power_info", handle)
    names = ("current_socket_power", "average_socket_power")
    powers = {name: card["watts"] if name in card["power"] else "N/A" for name in names}
    usual = {**powers, "gfx_voltage": 900, "soc_voltage": "N/A", "mem_voltage": "N/A"}
    return _or_as_told(card, "amdsmi_get_power_info", {**usual, "power_limit": 750})


def amdsmi_get_power_cap_info(handle: Any) -> Any:
    card = _card("amdsmi_get_power_cap_info", handle)
    caps = dict.fromkeys(("power_cap", "default_power_cap", "max_power_cap"), 750_000_000)
    usual = {**caps, "dpm_cap": 0, "min_power_cap": 0}
    return _or_as_told(card, "amdsmi_get_power_cap_info", usual)


def amdsmi_get_temp_metric(handle: Any, sensor: Any, metric: Any) -> Any:
    kinds = ((sensor, AmdSmiTemperatureType), (metric, AmdSmiTemperatureMetric))
    card = _card(f"amdsmi_get_temp_metric {sensor.name}", handle, *kinds)
    return _or_as_told(card, f"amdsmi_get_temp_metric {sensor.name}", 40 + sensor)


def amdsmi_get_clock_info(handle: Any, clock: Any) -> Any:
    card = _card("amdsmi_get_clock_info", handle, (clock, AmdSmiClkType))
    mhz = 900 if clock == AmdSmiClkType.MEM else 2100
    usual = {"clk": mhz, "min_clk": 500, "max_clk": 2100, "clk_locked": 0, "clk_deep_sleep": 0}
    return _or_as_told(card, "amdsmi_get_clock_info", usual)


def amdsmi_get_gpu_activity(handle: Any) -> Any:
    card = _card("amdsmi_get_gpu_activity", handle)
    usual = {"gfx_activity": 97, "umc_activity": 31, "mm_activity": "N/A"}
    return _or_as_told(card, "amdsmi_get_gpu_activity", usual)


def amdsmi_get_gpu_memory_usage(handle: Any, kind: Any) -> Any:
    card = _card("amdsmi_get_gpu_memory_usage", handle, (kind, AmdSmiMemoryType))
    return _or_as_told(card, "amdsmi_get_gpu_memory_usage", 3 << 30)


def amdsmi_get_gpu_asic_info(handle: Any) -> Any:
    card = _card("amdsmi_get_gpu_asic_info", handle)
    return {
        "market_name": card["name"],
        "vendor_id": "0x1002",
        "vendor_name": "Advanced Micro Devices Inc. [AMD/ATI]",
        "asic_serial": "0x5EC4E7A51C000001",
        "oam_id": handle.index,
        "num_compute_units": 304,
        "target_graphics_version": "gfx942",
    }


def amdsmi_get_gpu_board_info(handle: Any) -> Any:
    card = _card("amdsmi_get_gpu_board_info", handle)
    return {
        "model_number": "N/A",
        "product_serial": card.get("serial", "N/A"),
        "fru_id": "N/A",
        "product_name": card["name"],
        "manufacturer_name": "AMD",
    }
