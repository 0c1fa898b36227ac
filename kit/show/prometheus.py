"""This host's power and energy for Prometheus: what `kit monitor` sees, over HTTP on 127.0.0.1.

What is not known is absent, never 0: a device that reports no power has no sample. Energies are
counters that never go down. A scope's own totals are those of `kit.measure.meters.watch.totals`,
and no metric adds scopes to one another: the wall holds the GPUs, and an estimate is none of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.core.errors import UsageError
from kit.measure.meters.watch import Snapshot, totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

ADDRESS, PORT = "127.0.0.1", 9879
_PORTS = range(1024, 65536)
_OF_DEVICE, _OF_SCOPE = ("scope", "device"), ("scope",)


class _Gauge(NamedTuple):
    """A number of `DeviceState.context` under Prometheus' base unit."""

    name: str
    text: str
    factor: float


_CONTEXT = {
    "temperature_degC": _Gauge("kit_temperature_celsius", "Temperature of the device.", 1.0),
    "sm_clock_MHz": _Gauge("kit_sm_clock_hertz", "Clock of the GPU's cores.", 1e6),
    "utilisation_percent": _Gauge("kit_utilisation_ratio", "Share of time in use, 0 to 1.", 0.01),
    "memory_used_B": _Gauge("kit_memory_used_bytes", "Memory of the device in use.", 1.0),
    "processes": _Gauge("kit_processes", "Processes on the device.", 1.0),
}


class Exporter:
    """The latest snapshot as metrics: fed by one thread, collected by any other."""

    def __init__(self) -> None:
        self._latest: Snapshot | None = None
        self._taken = 0.0
        self._highest: dict[tuple[str, ...], float] = {}

    def take(self, snapshot: Snapshot) -> None:
        """Make this the latest snapshot."""
        for name, device in snapshot.devices.items():
            self._raise((device.scope, name), device.joules)
        for scope, total in totals(snapshot).items():
            self._raise((scope,), total["energy_J"])
        self._latest, self._taken = snapshot, time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Every metric of the latest snapshot; the contract of `prometheus_client`."""
        from prometheus_client.core import GaugeMetricFamily

        snapshot = self._latest
        if snapshot is None:
            return
        age = "Seconds since these numbers were taken: more than a few, and they are old."
        yield GaugeMetricFamily("kit_snapshot_age_seconds", age, time.monotonic() - self._taken)
        yield from self._devices(snapshot)
        yield from self._scopes(snapshot)
        absent = GaugeMetricFamily(
            "kit_meter_absent", "1 for a meter that reads nothing here.", labels=("meter",)
        )
        for meter in snapshot.absent:
            absent.add_metric((meter,), 1.0)
        yield absent

    def _devices(self, snapshot: Snapshot) -> Iterator[Metric]:
        devices = {(device.scope, name): device for name, device in snapshot.devices.items()}
        text = "Power of a device now; of scope estimate it is no measurement."
        yield _gauge("kit_power_watts", text, _OF_DEVICE, {k: s.watts for k, s in devices.items()})
        text = "Energy of a device since the exporter began."
        joules = {k: self._counted(k, s.joules) for k, s in devices.items()}
        yield _counter("kit_energy_joules", text, _OF_DEVICE, joules)
        text = "1 where a device counts towards its scope's totals, 0 where it lies inside another."
        summed = {k: float(s.summed) for k, s in devices.items()}
        yield _gauge("kit_device_summed", text, _OF_DEVICE, summed)
        for key, gauge in _CONTEXT.items():
            contexts = {k: s.context.get(key) for k, s in devices.items()}
            values = {k: None if v is None else v * gauge.factor for k, v in contexts.items()}
            yield _gauge(gauge.name, gauge.text, _OF_DEVICE, values)

    def _scopes(self, snapshot: Snapshot) -> Iterator[Metric]:
        sums = {(scope,): total for scope, total in totals(snapshot).items()}
        text = "Power of a scope now. Scopes overlap: they must not be added."
        watts = {k: total["power_W"] for k, total in sums.items()}
        yield _gauge("kit_scope_power_watts", text, _OF_SCOPE, watts)
        text = "Energy of a scope since the exporter began. Scopes overlap: they must not be added."
        joules = {k: self._counted(k, total["energy_J"]) for k, total in sums.items()}
        yield _counter("kit_scope_energy_joules", text, _OF_SCOPE, joules)

    def _raise(self, key: tuple[str, ...], joules: float | None) -> None:
        """Another source of a device's energy may have counted less: a counter waits for it."""
        if joules is not None and math.isfinite(joules):
            self._highest[key] = max(joules, self._highest.get(key, 0.0))

    def _counted(self, key: tuple[str, ...], joules: float | None) -> float | None:
        return None if joules is None else self._highest.get(key)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: dict[Any, Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=labels)
    _fill(family.add_metric, values)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: dict[Any, Any]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=labels)
    _fill(family.add_metric, values)
    return family


def _fill(add: Callable[..., None], values: dict[tuple[str, ...], float | None]) -> None:
    """A sample for each value that is known."""
    for labels, value in values.items():
        if value is not None and math.isfinite(value):
            add(labels, value)


@contextmanager
def serving(exporter: Exporter, port: int) -> Iterator[str]:
    """The exporter's URL, as long as the block lasts. Port 0 takes any that is free.

    Raises:
        UsageError: the port cannot be had.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(exporter)  # type: ignore[arg-type, unused-ignore]
    try:
        server, thread = start_http_server(port, ADDRESS, registry)
    except OSError as error:
        raise UsageError(
            f"port {port} of {ADDRESS} cannot be served: {error.strerror}",
            "give another one: --prometheus PORT",
        ) from error
    try:
        yield f"http://{ADDRESS}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve(readings: Iterable[Snapshot], exporter: Exporter) -> None:
    """Show each reading as it comes, until they end."""
    for snapshot in readings:
        exporter.take(snapshot)


def port_of(asked: bool | int) -> int:
    """The port that ``--prometheus [PORT]`` asks for.

    Raises:
        UsageError: there is no such port for a person's programs.
    """
    if asked is True:
        return PORT
    if asked not in _PORTS:
        raise UsageError(
            f"--prometheus {asked:d} is no port", f"give {_PORTS[0]} … {_PORTS[-1]}, or none"
        )
    return int(asked)
