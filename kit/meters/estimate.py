"""The estimator: host CPU time × published idle and full-load watts of this CPU.

It is no meter: nothing here is measured but time. Its energy is always labelled *estimated*,
carries an uncertainty of at least 50%, and gets no replay verdict. It leaves out GPUs, memory,
fans, disks and power supplies.

``P(u) = idle + u · (full − idle)`` with ``u`` the share of busy CPU time, as in SPECpower-style
linear models. The watts come from ``cpu_power.json`` by CPU family, or from host.toml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kit import jsonio
from kit.events import Clock
from kit.meters.base import Reading, Tier
from kit.model import MeterDevice, MeterPlan

STAT = Path("/proc/stat")
CPUINFO = Path("/proc/cpuinfo")
PERIOD_S = 0.1
RELATIVE_UNCERTAINTY = 0.5
_TABLE = Path(__file__).with_name("cpu_power.json")
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # user nice system irq softirq steal: guest is inside user


class Estimate:
    name = "estimate"
    title = "Estimate from host CPU time (no measurement)"
    process: Literal["local", "own"] = "local"
    remedy = "give [estimate] idle_w, max_w and source in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        if not STAT.is_file():
            reason = "/proc/stat is not there: not a Linux host"
            return MeterPlan(name=self.name, alias=alias, devices=(), reason=reason)
        watts = watts_of(config)
        facts = {**watts, "cpus": os.cpu_count() or 1, "u_relative": RELATIVE_UNCERTAINTY}
        device = MeterDevice(
            device="host",
            description=f"CPU time of the whole host; watts from {watts['source']}",
            quantities={"cpu_busy": {"period_s": PERIOD_S, **facts}},
        )
        return MeterPlan(name=self.name, alias=alias, devices=(device,))

    def open(self, alias: str | None, config: dict[str, Any], clock: Clock) -> EstimateReader:  # noqa: ARG002
        return EstimateReader(clock)


class EstimateReader:
    """Reads the host's busy CPU time, in microseconds over all CPUs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
        self._file = STAT.open("rb", buffering=0)
        self.tiers = (Tier("cpu", PERIOD_S, self._read),)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> Sequence[Reading]:
        t0 = self._clock.now()
        try:
            self._file.seek(0)
            fields = self._file.read(256).split(b"\n", 1)[0].split()[1:]
            raw, rc = sum(int(fields[i]) for i in _BUSY_FIELDS) * self._tick_us, 0
        except (OSError, ValueError, IndexError) as error:
            raw, rc = None, getattr(error, "errno", None) or 1
        return [Reading(t0, self._clock.now(), None, "host", "cpu_busy", rc, raw)]


def watts_of(config: dict[str, Any]) -> dict[str, Any]:
    """``idle_w``, ``max_w`` (W, whole host) and ``source``: from host.toml, else by CPU family.

    A CPU that the table does not know gets the table's average, and the source says so.
    """
    if config:
        return {key: config[key] for key in ("idle_w", "max_w", "source")}
    table = jsonio.read(_TABLE)
    seen, threads = cpu_signature(), os.cpu_count() or 1
    known = [f for f in table["families"] if _is_of(f, seen)]
    entry = known[0] if known else table["generic"]
    return {
        "idle_w": round(entry["idle_w"] * threads, 6),
        "max_w": round(entry["max_w"] * threads, 6),
        "source": f"{table['source']}: {entry['name']}, {threads} threads",
    }


def cpu_signature() -> tuple[str, int, int]:
    """Vendor, family and model number of the first CPU; empty and -1 where not told."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        return "", -1, -1
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)$", text, re.MULTILINE)
    numbers = [re.search(rf"^{key}\s*:\s*(\d+)$", text, re.M) for key in ("cpu family", "model")]
    family, model = (int(found.group(1)) if found else -1 for found in numbers)
    return vendor.group(1) if vendor else "", family, model


def _is_of(entry: dict[str, Any], seen: tuple[str, int, int]) -> bool:
    vendor, family, model = seen
    return (entry["vendor"], entry["family"]) == (vendor, family) and model in entry["models"]


METER = Estimate()
