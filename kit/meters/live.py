"""Watts as they come, for the live view and `kit monitor`: never stored, never computed with."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from kit.events import Clock
from kit.meters import MeterUnavailable, Reader, Reading, get, label
from kit.model import MeterDevice
from kit.units import QUANTITIES

# Of several power readings of one device the first of these is shown.
_PREFERRED = ("gpu_power_instant", "gpu_power_sample", "gpu_power_average", "pdu_power")
_COUNTERS = ("gpu_energy", "cpu_energy", "cpu_busy")
_STALE_NS = 5_000_000_000


class Live:
    """The latest watts of each device; fed by any thread, asked by any other."""

    def __init__(self, devices: Iterable[MeterDevice] = ()) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._before: dict[tuple[str, str], tuple[int, int]] = {}
        self.add(devices)

    def add(self, devices: Iterable[MeterDevice]) -> None:
        """Know what these devices' raw values mean."""
        for device in devices:
            for quantity, facts in device.quantities.items():
                self._facts[device.device, quantity] = facts

    def see(self, reading: Reading) -> None:
        key = (reading.device, reading.quantity)
        if reading.raw is not None and key in self._facts:
            with self._lock:
                self._seen[key] = (reading.t1, reading.raw)

    def watts(self, now: int | None = None) -> dict[str, float]:
        """Watts by device; what was read more than 5 s before ``now`` (ns) is left out."""
        with self._lock:
            seen = dict(self._seen)
        found: dict[str, float] = {}
        for name in _PREFERRED:
            for key in (k for k in seen if k[1] == name and k[0] not in found):
                if now is None or now - seen[key][0] < _STALE_NS:
                    found[key[0]] = round(self._scaled(key, seen[key][1]), 1)
        for key in (k for k in seen if k[1] in _COUNTERS and k[0] not in found):
            rate = self._rate(key, seen[key])
            if rate is not None:
                found[key[0]] = round(rate, 1)
        return found

    def _scaled(self, key: tuple[str, str], raw: int) -> float:
        return raw * QUANTITIES[key[1]].scale * float(self._facts[key].get("scale", 1.0))

    def _rate(self, key: tuple[str, str], seen: tuple[int, int]) -> float | None:
        """Mean power since the call before: a counter's growth over time."""
        before = self._before.get(key)
        self._before[key] = seen
        if before is None or seen[0] <= before[0]:
            return None
        facts = self._facts[key]
        grown = seen[1] - before[1]
        if grown < 0:
            grown += int(facts.get("wrap", 0))
        rate = self._scaled(key, grown) / ((seen[0] - before[0]) / 1e9)
        if key[1] != "cpu_busy":
            return rate if grown >= 0 else None
        share = min(rate / facts["cpus"], 1.0)
        return float(facts["idle_w"] + share * (facts["max_w"] - facts["idle_w"]))


def live(
    wanted: Iterable[tuple[str, str | None]],
    config: Callable[[str, str | None], dict[str, Any]],
    period_s: float = 1.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Mapping[str, float | str]]:
    """The power of this host, over and over: watts by device, or the reason why there are none.

    Args:
        wanted: (meter, alias) pairs, such as ``("nvml", None)``.
        config: what host.toml says to a meter (`kit.host.HostConfig.meter`).
        period_s: seconds between two mappings.
        stopped: asked before each mapping.

    Yields:
        ``{device: watts}``; a meter without devices stands under its own name with its reason.
    """
    clock, shown = Clock(), Live()
    reasons: dict[str, str] = {}
    readers: dict[str, Reader] = {}
    with ExitStack() as held:
        for name, alias in wanted:
            try:
                reader = get(name).open(alias, config(name, alias), clock)
            except MeterUnavailable as reason:
                reasons[label(name, alias)] = str(reason)
                continue
            held.callback(reader.close)
            shown.add(reader.devices)
            readers[label(name, alias)] = reader
        while not stopped():
            began = time.monotonic()
            silent = {key: text for r in readers.values() for key, text in _read(r, shown).items()}
            watts = shown.watts(clock.now())
            yield {**reasons, **{k: v for k, v in silent.items() if k not in watts}, **watts}
            time.sleep(max(0.0, period_s - (time.monotonic() - began)))


def _read(reader: Reader, shown: Live) -> dict[str, str]:
    """Read every tier once that can be read at any time; what failed, by device."""
    failed: dict[str, str] = {}
    for tier in (t for t in reader.tiers if t.due is None):
        with contextlib.suppress(OSError):
            for reading in tier.read():
                shown.see(reading)
                if reading.rc != 0:
                    failed[reading.device] = reader.explain(reading.rc)
    waiting = {device.device: "no reading yet" for device in reader.devices}
    return {**waiting, **failed}
