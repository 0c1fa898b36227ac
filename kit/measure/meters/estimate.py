"""The estimator: host CPU time × published idle and full-load watts of this CPU.

It is no meter: nothing here is measured but time. Its energy is always labelled *estimated*,
carries an uncertainty of at least 50%, and gets no replay verdict. It knows nothing of GPUs, and
of memory, fans, disks and supplies only what they drew in the servers the watts come from.

``P(u) = idle + u · (full − idle)``, with ``u`` the share of busy CPU time. The watts come from
``cpu_power.json`` by CPU family, or from host.toml. A virtual machine is charged for the hardware
threads that it sees.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kit.core import jsonio
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import Scope
from kit.measure.meters.contract import MeterUnavailable, Reading, Tier, absent
from kit.record.events import Clock

PROC = Path("/proc")
PERIOD_S = 0.1
RELATIVE_UNCERTAINTY = 0.5
_TABLE = Path(__file__).with_name("cpu_power.json")
# user nice system irq softirq. Idle and iowait are not work, steal is someone else's, and the
# time of guests is in user already.
_BUSY_FIELDS = (0, 1, 2, 5, 6)


class Signature(NamedTuple):
    """What a CPU is, by its own numbers: a virtual machine often masks the name."""

    vendor: str = ""
    family: int = -1
    model: int = -1
    stepping: int = -1


class Estimate:
    name = "estimate"
    title = "Estimate from host CPU time (no measurement)"
    scope: Scope = "estimate"
    process: Literal["local", "own"] = "local"
    remedy = "give [estimate] idle_w, max_w and source in host.toml"

    def probe(self, alias: str | None, config: dict[str, Any]) -> MeterPlan:
        try:
            return MeterPlan(name=self.name, alias=alias, devices=_devices(config))
        except MeterUnavailable as reason:
            return absent(self.name, alias, reason)

    def open(
        self,
        alias: str | None,  # noqa: ARG002 - the contract of all meters
        config: dict[str, Any],
        clock: Clock,
    ) -> EstimateReader:
        return EstimateReader(config, clock)


class EstimateReader:
    """Reads the host's busy CPU time, in microseconds over all CPUs."""

    def __init__(self, config: dict[str, Any], clock: Clock) -> None:
        self._clock = clock
        self._tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
        self.devices = _devices(config)
        self._file = (_proc(config) / "stat").open("rb", buffering=0)
        self.tiers = (Tier("cpu", PERIOD_S, self._read),)

    def explain(self, rc: int) -> str:
        return os.strerror(rc)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> Sequence[Reading]:
        t0, raw, rc = self._clock.now(), None, 0
        try:
            raw = _busy_ticks(os.pread(self._file.fileno(), 256, 0)) * self._tick_us
        except Exception as error:  # a line that is no CPU's is a code, never the end of a lane
            rc = getattr(error, "errno", None) or 5
        return [Reading(t0, self._clock.now(), None, "host", "cpu_busy", rc, raw)]


def facts_of(config: dict[str, Any]) -> QuantityFacts:
    """Watts of the whole host, idle and busy, and their source: from host.toml, else by CPU family.

    A CPU that the table does not know gets the table's generic figure, and the source says so.
    """
    threads = _threads(_proc(config))
    if "max_w" in config:
        idle_w, max_w, source = (config[key] for key in ("idle_w", "max_w", "source"))
    else:
        table = jsonio.read(_TABLE)
        cpu = signature(_proc(config))
        families = [entry for entry in table["families"] if _is_of(entry, cpu)]
        entry = families[0] if families else table["generic"]
        what = entry["name"] if families else f"CPU not in the table, so {entry['name']}"
        idle_w, max_w = (round(entry[key] * threads, 6) for key in ("idle_w", "max_w"))
        source = f"{what}, median of {entry['results']}, × {threads} threads; {table['source']}"
    return QuantityFacts(
        period_s=PERIOD_S,
        u_relative=RELATIVE_UNCERTAINTY,
        idle_w=idle_w,
        max_w=max_w,
        source=source,
        cpus=threads,
    )


def signature(proc: Path = PROC) -> Signature:
    """Vendor, family, model and stepping of the first CPU, from ``cpuinfo``."""
    try:
        text = (proc / "cpuinfo").read_text(errors="replace")
    except OSError:
        return Signature()
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)$", text, re.MULTILINE)
    keys = ("cpu family", "model", "stepping")
    matches = (re.search(rf"^{key}\s*:\s*(\d+)$", text, re.MULTILINE) for key in keys)
    numbers = (int(match.group(1)) if match else -1 for match in matches)
    return Signature(vendor.group(1) if vendor else "", *numbers)


def _devices(config: dict[str, Any]) -> tuple[MeterDevice, ...]:
    """The host itself.

    Raises:
        MeterUnavailable: the kernel does not tell the CPU time.
    """
    facts = facts_of(config)
    description = f"CPU time of the whole host; watts of {facts.source}"
    return (MeterDevice(device="host", description=description, quantities={"cpu_busy": facts}),)


def _threads(proc: Path) -> int:
    try:
        lines = (proc / "stat").read_bytes().splitlines()
    except OSError as error:
        reason = f"{proc / 'stat'} cannot be read: {error.strerror}"
        raise MeterUnavailable(reason) from error
    return sum(re.match(rb"cpu\d", line) is not None for line in lines) or 1


def _busy_ticks(head: bytes) -> int:
    """Busy clock ticks of all CPUs together: the first line of ``/proc/stat``."""
    fields = head.split(b"\n", 1)[0].split()[1:]
    return sum(int(fields[index]) for index in _BUSY_FIELDS)


def _proc(config: dict[str, Any]) -> Path:
    return Path(config.get("proc", PROC))


def _is_of(entry: dict[str, Any], cpu: Signature) -> bool:
    first, last = entry.get("steppings", (-1, 1 << 16))
    same = (entry["vendor"], entry["family"]) == (cpu.vendor, cpu.family)
    return same and cpu.model in entry["models"] and first <= cpu.stepping <= last


METER = Estimate()
