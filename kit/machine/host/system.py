"""Kernel, processor, memory and clock of this host, from ``/proc`` and ``/sys``.

Every function takes the root of the file system, so that a test can pass a tree of files.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Any

from kit.machine.host.cpus import usable
from kit.machine.host.kernelfiles import Absent, absent, number, text

ROOT = Path("/")
# The instruction sets that change which kernels an inference runtime picks.
_ISA_EXACT = {"avx", "avx2", "f16c", "fma", "avx_vnni", "asimd", "asimddp", "asimdhp"}
_ISA_PREFIXES = ("avx512", "amx", "sve", "i8mm", "bf16")
_NO_CPUFREQ = "no cpufreq in /sys (a virtual machine, or its driver is not loaded)"


def kernel() -> dict[str, Any]:
    """Kernel release and machine architecture."""
    name = os.uname()
    return {"release": name.release, "version": name.version, "architecture": name.machine}


def distribution() -> dict[str, Any]:
    """Name and version of the distribution, from ``os-release``."""
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        return absent("no os-release file")
    return {"id": facts["ID"], "name": facts["PRETTY_NAME"], "version": facts.get("VERSION_ID", "")}


def machine(root: Path = ROOT) -> dict[str, Any]:
    """Make and model of the machine and its firmware; no serial number, no asset tag."""
    dmi = root / "sys/class/dmi/id"
    if not dmi.is_dir():
        return absent("no DMI table in /sys")
    names = {"vendor": "sys_vendor", "product": "product_name", "firmware": "bios_version"}
    return {key: text(dmi / file, "not in the DMI table") for key, file in names.items()}


def cpu(root: Path = ROOT) -> dict[str, Any]:
    """Model, layout, instruction sets, frequency policy and SMT of the processor."""
    blocks = _cpuinfo(root)
    first = blocks[0] if blocks else {}
    layout = {(b["physical id"], b.get("core id", "")) for b in blocks if "physical id" in b}
    unknown = absent("/proc/cpuinfo does not say")
    return {
        "model": first.get("model name", unknown),
        "vendor": first.get("vendor_id", unknown),
        "microcode": first.get("microcode", unknown),
        "sockets": len({socket for socket, _ in layout}) if layout else unknown,
        "cores": len(layout) if layout else unknown,
        "threads": len(blocks),
        "usable": len(usable()),
        "isa": _isa(first),
        "virtual": "hypervisor" in first.get("flags", "").split() if first else unknown,
        "numa_nodes": _numa_nodes(root),
        "smt": text(root / "sys/devices/system/cpu/smt/control", "the kernel does not say"),
        "frequency": frequency(root),
    }


def frequency(root: Path = ROOT) -> dict[str, Any]:
    """Frequency governors in use, their driver, limits (kHz) and whether boost is on."""
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    if not policies:
        return absent(_NO_CPUFREQ)
    governors = [text(policy / "scaling_governor", "no governor") for policy in policies]
    first = policies[0]
    return {
        "governors": sorted({g for g in governors if isinstance(g, str)}),
        "driver": text(first / "scaling_driver", "the kernel does not say"),
        "minimum_khz": number(first / "scaling_min_freq", "the kernel does not say"),
        "maximum_khz": number(first / "scaling_max_freq", "the kernel does not say"),
        "boost": _boost(root),
    }


def memory(root: Path = ROOT) -> dict[str, Any]:
    """Memory and swap in bytes: in all, and available now."""
    content = text(root / "proc/meminfo", "no /proc/meminfo")
    if isinstance(content, dict):
        return content
    kib = {key: rest.split()[0] for key, _, rest in _colon_lines(content) if rest.split()}
    wanted = {
        "total_bytes": "MemTotal",
        "available_bytes": "MemAvailable",
        "swap_total_bytes": "SwapTotal",
        "swap_free_bytes": "SwapFree",
    }
    unknown = absent("/proc/meminfo does not say")
    return {key: int(kib[name]) * 1024 if name in kib else unknown for key, name in wanted.items()}


def load(root: Path = ROOT) -> dict[str, Any]:
    """Load averages over 1, 5 and 15 minutes."""
    content = text(root / "proc/loadavg", "no /proc/loadavg")
    if isinstance(content, dict):
        return content
    one, five, fifteen = (float(number) for number in content.split()[:3])
    return {"one_minute": one, "five_minutes": five, "fifteen_minutes": fifteen}


def cgroup(root: Path = ROOT) -> int | Absent:
    """Version of the control groups mounted at ``/sys/fs/cgroup`` (hybrid counts as 1)."""
    mounted = root / "sys/fs/cgroup"
    if not mounted.is_dir():
        return absent("no control groups are mounted")
    return 2 if (mounted / "cgroup.controllers").exists() else 1


def clock(root: Path = ROOT) -> dict[str, Any]:
    """Whether a time service keeps the kernel's clock, and which clock source it reads."""
    source = root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
    return {**_adjtimex(), "source": text(source, "the kernel does not say")}


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` of ``adjtimex(2)``, and space for its tail."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("tail", ctypes.c_byte * 512),
    )


_STA_UNSYNC = 0x40
_TIME_ERROR = 5


def _adjtimex() -> dict[str, Any]:
    """Query the kernel (as `timedatectl` does); mode 0 only reads."""
    state = _Timex()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        answer = -1
    if answer < 0:
        return {"synchronised": absent("adjtimex is not allowed or not offered here")}
    synchronised = answer != _TIME_ERROR and not state.status & _STA_UNSYNC
    return {"synchronised": synchronised, "maximum_error_us": state.maxerror}


def _cpuinfo(root: Path) -> list[dict[str, str]]:
    """One mapping per logical CPU."""
    content = text(root / "proc/cpuinfo", "")
    if isinstance(content, dict):
        return []
    blocks = [_colon_lines(block) for block in content.split("\n\n")]
    cpus = [{key: value for key, _, value in block} for block in blocks]
    return [block for block in cpus if "processor" in block]


def _colon_lines(content: str) -> list[tuple[str, str, str]]:
    """``key : value`` lines as (key, colon, value), stripped."""
    split = (line.partition(":") for line in content.splitlines())
    return [(key.strip(), colon, value.strip()) for key, colon, value in split]


def _isa(block: dict[str, str]) -> list[str]:
    flags = (block.get("flags") or block.get("Features") or "").split()
    return sorted({f for f in flags if f in _ISA_EXACT or f.startswith(_ISA_PREFIXES)})


def _numa_nodes(root: Path) -> int | Absent:
    nodes = list((root / "sys/devices/system/node").glob("node[0-9]*"))
    return len(nodes) or absent("the kernel does not say")


def _boost(root: Path) -> bool | Absent:
    """Turbo or boost; Intel's switch has the opposite meaning of the generic one."""
    base = root / "sys/devices/system/cpu"
    no_turbo = number(base / "intel_pstate/no_turbo", "")
    if isinstance(no_turbo, int):
        return no_turbo == 0
    boost = number(base / "cpufreq/boost", "the driver offers no switch")
    return boost == 1 if isinstance(boost, int) else boost
