"""`kit monitor` as it is drawn: a table on a terminal, a line a reading in a pipe."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from kit.cli.machine import _show_power
from kit.cli.main import dispatch
from kit.measure.meters.watch import DeviceState, Snapshot
from kit.show import render
from kit.show.render.console import THEME
from kit.show.render.live_power import PowerView, _energy

GPU: dict[str, Any] = {
    "temperature_degC": 41,
    "sm_clock_MHz": 1980,
    "utilisation_percent": 97,
    "memory_used_B": 20 << 30,
    "processes": 1,
}
NOTHING = dict.fromkeys(GPU)


def gpu(watts: float | None, joules: float | None = 7712.0, why_not: str = "") -> DeviceState:
    return DeviceState(
        "gpu", True, watts, "", joules, 12.0, "20 ms samples", GPU, ("power cap",), why_not
    )


def host(watts: float) -> DeviceState:
    return DeviceState("estimate", True, watts, "", 3.0, 1.0, "CPU time", NOTHING, None, "")


def shot(absent: dict[str, str] | None = None, **devices: DeviceState) -> Snapshot:
    return Snapshot(12.0, devices, absent or {})


def test_a_pipe_gets_a_line_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    missing = {"rapl": "permission denied\x1b[2J"}
    render.power([shot(missing, gpu0=gpu(350.04)), shot(missing, gpu0=gpu(None, None, "lost"))])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "12 s  gpu0 350.0 W 7.71 kJ  rapl: permission denied",
        "12 s  gpu0: lost  rapl: permission denied",
    ]


def drawn(view: PowerView, width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, color_system=None, theme=THEME)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_a_device_has_its_range_its_energy_and_its_history() -> None:
    view = PowerView()
    for watts in (100.0, 400.0, 300.0):
        view.take(shot(gpu0=gpu(watts)))
    text = drawn(view, 100)
    row = text.splitlines()[1].split()
    assert row[:9] == ["gpu0", "300.0", "W", "100.0", "W", "266.7", "W", "400.0", "W"]
    assert row[9:] == ["7.71", "kJ", "▂█▆"]
    assert "41 °C, SM 1980 MHz, 97% busy, 20 GiB used, 1 process, clock events: power" in text


def test_a_device_without_a_reading_says_why_and_never_zero() -> None:
    view = PowerView()
    view.take(shot({"rapl": "no RAPL here"}, gpu0=gpu(100.0), gpu1=gpu(None, None, "GPU is lost")))
    text = drawn(view, 80)
    assert "no reading" in text
    assert "gpu1: GPU is lost" in text
    assert "rapl: no RAPL here" in text
    assert "a device reports none now" in text  # no sum of some
    assert "0.0 W" not in text.replace("100.0 W", "")


SILENT = "the outlet reads 0 W, less than it can measure (50 W)"


def wall(watts: float | None, joules: float | None, seconds: float, why: str = "") -> DeviceState:
    return DeviceState("wall", True, watts, "", joules, seconds, "", NOTHING, None, why, why)


def test_an_energy_of_a_part_of_the_time_says_so_and_joins_no_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    snapshot = shot(
        a=wall(100.0, 1200.0, 12.0), b=wall(100.0, 300.0, 3.0), c=wall(None, None, 0, SILENT)
    )
    render.power([snapshot])
    assert (
        capsys.readouterr().out
        == f"12 s  a 100.0 W 1.2 kJ  b 100.0 W 300 J over 3 s  c: {SILENT}\n"
    )
    view = PowerView()
    view.take(snapshot)
    text = " ".join(drawn(view, 200).split())
    assert f"wall outlets: a device reports none now, no energy (c: {SILENT})" in text
    view.take(shot(a=wall(100.0, 1200.0, 12.0), b=wall(100.0, 300.0, 3.0)))
    text = " ".join(drawn(view, 200).split())
    assert "200.0 W, no energy (energies over 3 to 12 s make no sum)" in text
    view.take(shot(a=wall(100.0, 300.0, 3.0)))
    assert "100.0 W, 300 J over 3 s" in drawn(view, 200)


def test_a_counter_that_stands_still_is_told_of_beside_a_power(
    capsys: pytest.CaptureFixture[str],
) -> None:
    still = gpu(300.0, None)._replace(no_energy="it has not grown for 3 s")
    render.power([shot(gpu0=still)])
    assert "gpu0 300.0 W – (it has not grown for 3 s)" in capsys.readouterr().out
    view = PowerView()
    view.take(shot(gpu0=still))
    assert "gpu0: it has not grown for 3 s" in drawn(view, 80)


def test_json_has_the_reasons_too(capsys: pytest.CaptureFixture[str]) -> None:
    _show_power([shot(a=wall(100.0, 1200.0, 12.0), c=wall(None, None, 0.0, SILENT))], json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["devices"]["c"]["power_W"] is None
    assert document["devices"]["c"]["energy_J"] is None
    assert document["devices"]["c"]["reason"] == document["devices"]["c"]["energy_reason"] == SILENT
    assert document["totals"]["wall"] == {
        "power_W": None,
        "energy_J": None,
        "energy_over_s": None,
        "reason": f"c: {SILENT}",
    }


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(width: int) -> None:
    view = PowerView()
    for _ in range(200):
        many = {f"gpu{n}": gpu(612.3) for n in range(8)}
        view.take(shot({"rapl": "no RAPL " * 20}, **many, host=host(34.2)))
    lines = drawn(view, width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert "612.3 W" in lines[1]
    assert "7.71 kJ" in lines[1]


def test_an_ascii_terminal_gets_ascii() -> None:
    view = PowerView()
    for watts in (100.0, 400.0):
        view.take(shot({"pdu": "no answer ± 3"}, gpu0=gpu(watts), gpu1=gpu(None, None, "lost")))
    text = drawn(view, 80, "ascii")
    assert text.isascii()
    assert "400.0 W" in text


def test_scopes_are_totalled_apart_and_an_estimate_never_looks_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.power([shot(host=host(34.2))])
    assert "host (estimated) 34.2 W" in capsys.readouterr().out
    view = PowerView()
    view.take(shot(gpu0=gpu(300.0), gpu1=gpu(200.0), host=host(34.2)))
    text = drawn(view, 80)
    assert "GPU boards: 500.0 W" in text
    assert "host CPU (estimated): 34.2 W" in text
    assert "534.2" not in text


@pytest.mark.parametrize(
    ("joules", "sentence"),
    [
        (None, "–"),
        (0.0, "0.0 J"),
        (12.34, "12.3 J"),
        (812.0, "812 J"),
        (7712.0, "7.71 kJ"),
        (1.0234e6, "1.023 MJ"),
        (5.2e9, "5200 MJ"),
    ],
)
def test_energy_in_words(joules: float | None, sentence: str) -> None:
    assert _energy(joules) == sentence


# --- the command ----------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "kit.cli.main", "monitor", "--json", "--period-s", "0.2"]


def test_json_has_one_object_a_line_with_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["monitor", "--json", "--once"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert set(document) == {"t_s", "devices", "totals", "absent"}
    assert {*GPU, "power_W", "energy_J", "energy_method", "status", "scope", "reason"} <= set(
        document["devices"]["host"]
    )
    assert document["devices"]["host"]["status"] == "estimated"


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.slow
def test_a_closed_pipe_ends_it_cleanly() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(30)
    assert b"Traceback" not in errors
    assert process.returncode == 0


@pytest.mark.parametrize("period", ["0", "-1", "nan", "1e9"])
def test_a_senseless_period_is_an_error(period: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["monitor", "--once", "--period-s", period]) == 2
    assert "period" in capsys.readouterr().err
