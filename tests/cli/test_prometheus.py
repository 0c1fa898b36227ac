"""`kit monitor --prometheus`: scraped over HTTP, from a source of snapshots that a test holds."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit.cli import machine
from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.measure.meters.watch import DeviceState, Snapshot
from kit.show import prometheus

Samples = dict[tuple[str, ...], float]


def device_state(
    scope: str, watts: float | None, joules: float | None, **changes: Any
) -> DeviceState:
    usual: dict[str, Any] = {
        "scope": scope,
        "summed": True,
        "watts": watts,
        "power_from": "",
        "joules": joules,
        "seconds": 2.0,
        "energy_from": "counter",
        "context": {},
        "reasons": None,
        "why_not": "" if watts is not None else "lost",
    }
    return DeviceState(**{**usual, **changes})


class Scraped:
    """An exporter that serves while a test hands it snapshots."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._readings: queue.Queue[tuple[Snapshot, threading.Event] | None] = queue.Queue()

    def readings(self) -> Iterator[Snapshot]:
        while (next_snapshot := self._readings.get()) is not None:
            snapshot, taken = next_snapshot
            yield snapshot
            taken.set()

    def show(self, absent: dict[str, str] | None = None, **devices: DeviceState) -> None:
        taken = threading.Event()
        self._readings.put((Snapshot(1.0, devices, absent or {}), taken))
        assert taken.wait(10)

    def end(self) -> None:
        self._readings.put(None)

    def text(self) -> str:
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def metrics(self) -> dict[str, Samples]:
        """By metric's name: (scope, device) → value."""
        metrics: dict[str, Samples] = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                labels = (sample.labels.get(key) for key in ("scope", "device", "meter"))
                key = tuple(label for label in labels if label is not None)
                metrics.setdefault(sample.name, {})[key] = sample.value
        return metrics


@contextmanager
def scraped() -> Iterator[Scraped]:
    exporter = prometheus.Exporter()
    with prometheus.serving(exporter, 0) as url:
        page = Scraped(url)
        thread = threading.Thread(target=prometheus.serve, args=(page.readings(), exporter))
        thread.start()
        try:
            yield page
        finally:
            page.end()
            thread.join()


def test_power_and_energy_by_scope_and_device() -> None:
    with scraped() as x:
        x.show(gpu0=device_state("gpu", 400.0, 800.0), cpu0=device_state("cpu", 90.0, 180.0))
        metrics = x.metrics()
    assert metrics["kit_power_watts"] == {("gpu", "gpu0"): 400.0, ("cpu", "cpu0"): 90.0}
    assert metrics["kit_energy_joules_total"] == {("gpu", "gpu0"): 800.0, ("cpu", "cpu0"): 180.0}


def test_what_is_not_known_is_absent_and_never_zero() -> None:
    with scraped() as x:
        x.show(gpu0=device_state("gpu", None, None), gpu1=device_state("gpu", 5.0, float("nan")))
        text, metrics = x.text(), x.metrics()
    assert metrics["kit_power_watts"] == {("gpu", "gpu1"): 5.0}
    assert "kit_energy_joules_total{" not in text and "kit_scope_power_watts{" not in text
    assert "kit_temperature_celsius{" not in text


def test_before_the_first_reading_nothing_is_said() -> None:
    with scraped() as x:
        assert x.text() == ""


def test_an_energy_never_goes_down() -> None:
    """A counter that stood still gives way to held power, which began later and counted less."""
    with scraped() as x:
        shown = []
        for joules in (100.0, 60.0, None, 90.0, 130.0):
            x.show(gpu0=device_state("gpu", 10.0, joules))
            metrics = x.metrics()
            for name in ("kit_energy_joules_total", "kit_scope_energy_joules_total"):
                shown.append(next(iter(metrics.get(name, {}).values()), None))
    assert shown == [100.0, 100.0, 100.0, 100.0, None, None, 100.0, 100.0, 130.0, 130.0]


def test_scopes_are_totalled_each_alone() -> None:
    with scraped() as x:
        x.show(
            gpu0=device_state("gpu", 400.0, 800.0),
            gpu1=device_state("gpu", 300.0, 600.0),
            die=device_state("gpu", 300.0, 600.0, summed=False),
            wall=device_state("wall", 1100.0, 2200.0),
            host=device_state("estimate", 80.0, 160.0),
        )
        metrics = x.metrics()
    assert metrics["kit_scope_power_watts"] == {
        ("gpu",): 700.0,
        ("wall",): 1100.0,
        ("estimate",): 80.0,
    }
    assert metrics["kit_scope_energy_joules_total"][("gpu",)] == 1400.0
    assert metrics["kit_device_summed"][("gpu", "die")] == 0.0
    assert all(value not in (1800.0, 1880.0) for s in metrics.values() for value in s.values())


def test_context_is_in_base_units() -> None:
    context = {
        "temperature_degC": 61,
        "sm_clock_MHz": 1980,
        "utilisation_percent": 97,
        "memory_used_B": 3 << 30,
        "processes": 2,
    }
    with scraped() as x:
        x.show(gpu0=device_state("gpu", 1.0, 1.0, context=context))
        metrics = x.metrics()
    key = ("gpu", "gpu0")
    assert metrics["kit_temperature_celsius"] == {key: 61.0}
    assert metrics["kit_sm_clock_hertz"] == {key: 1.98e9}
    assert metrics["kit_utilisation_ratio"] == {key: pytest.approx(0.97)}
    assert metrics["kit_memory_used_bytes"] == {key: float(3 << 30)}
    assert metrics["kit_processes"] == {key: 2.0}


def test_every_context_of_a_snapshot_has_its_metric() -> None:
    from kit.measure.meters.watch import _CONTEXT

    assert set(prometheus._CONTEXT) == set(_CONTEXT)


def test_a_meter_without_devices_is_named_and_old_numbers_say_their_age() -> None:
    with scraped() as x:
        x.show(absent={"nvml": "no driver at 192.0.2.1"})
        text, metrics = x.text(), x.metrics()
    assert metrics["kit_meter_absent"] == {("nvml",): 1.0}
    assert "192.0.2.1" not in text
    assert 0.0 <= metrics["kit_snapshot_age_seconds"][()] < 10.0


def test_it_answers_on_this_machine_alone() -> None:
    with scraped() as x:
        port = int(x.url.split(":")[2].split("/")[0])
        assert x.url.startswith("http://127.0.0.1:")
        with socket.socket() as other, pytest.raises(OSError):
            other.connect(("127.0.0.2", port))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(x.url, timeout=5)


# --- the command --------------------------------------------------------------------------------


def test_the_command_serves_what_it_watches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    (tmp_path / "host.toml").write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scraped_text: list[str] = []

    def source(*_: Any) -> Iterator[Snapshot]:
        yield Snapshot(1.0, {"gpu0": device_state("gpu", 400.0, 800.0)}, {})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            scraped_text.append(answer.read().decode())

    monkeypatch.setattr(machine, "watch", source)
    assert dispatch(["monitor", "--prometheus", str(port)]) == 0
    assert 'kit_power_watts{device="gpu0",scope="gpu"} 400.0' in scraped_text[0]
    output = capsys.readouterr()
    assert f"http://127.0.0.1:{port}/metrics" in output.out + output.err


def test_a_port_of_ones_own_or_the_usual_one() -> None:
    assert prometheus.port_of(True) == prometheus.PORT
    assert prometheus.port_of(9100) == 9100
    for wrong in (-1, 0, 80, 65536):
        with pytest.raises(UsageError, match="port"):
            prometheus.port_of(wrong)


@pytest.mark.parametrize("words", [["--once"], ["--json"], ["nonsense"], ["0"], ["1"], ["80"]])
def test_what_makes_no_sense_with_it_is_refused(words: list[str]) -> None:
    assert dispatch(["monitor", "--prometheus", *words]) == 2


def test_a_port_that_is_taken_is_refused() -> None:
    with scraped() as x:
        port = int(x.url.split(":")[2].split("/")[0])
        with pytest.raises(UsageError) as caught, prometheus.serving(prometheus.Exporter(), port):
            pass
    assert str(port) in caught.value.message and "--prometheus PORT" in caught.value.remedy


@pytest.mark.slow
def test_without_the_package_only_that_option_is_refused() -> None:
    """The core needs neither `prometheus_client` nor `amdsmi`."""
    code = (
        "import sys; sys.modules['prometheus_client'] = sys.modules['amdsmi'] = None\n"
        "from kit.cli.main import dispatch\n"
        "assert dispatch(['schema', 'meters']) == 0\n"
        "import kit.judge.verify\n"
        "assert dispatch(['monitor', '--prometheus']) == 3\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pip install 'kit-energy[run]'" in done.stderr
