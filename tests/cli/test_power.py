"""`kit monitor` as it is drawn: a table on a terminal, a line a reading in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kit.cli import render
from kit.cli.render.console import THEME
from kit.cli.render.live_power import PowerView


def test_a_pipe_gets_a_line_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    render.power([{"gpu0": 350.04, "cpu0-package": "permission denied\x1b[2J"}, {"gpu0": 351.0}])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("gpu0 350.0 W  cpu0-package: permission denied")
    assert "gpu0 351.0 W" in lines[1]


def drawn(view: PowerView, width: int) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, theme=THEME
    )
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_a_device_has_its_range_and_its_history() -> None:
    view = PowerView()
    for watts in (100.0, 400.0, 300.0):
        view.take({"gpu0": watts})
    row = drawn(view, 100).splitlines()[1].split()
    assert row[:9] == ["gpu0", "300.0", "W", "100.0", "W", "266.7", "W", "400.0", "W"]
    assert row[9] == "▂█▆"


def test_a_device_without_a_reading_says_why_and_never_zero() -> None:
    view = PowerView()
    view.take({"gpu0": 100.0, "pdu:rack1:3": "no answer"})
    text = drawn(view, 80)
    assert "no reading" in text and "pdu:rack1:3: no answer" in text
    assert "0.0 W" not in text.replace("100.0 W", "")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(width: int) -> None:
    view = PowerView()
    for _ in range(200):
        view.take({f"gpu{n}": 612.3 for n in range(8)} | {"cpu0-package": "no RAPL here"})
    assert all(len(line) <= width for line in drawn(view, width).splitlines())


def test_an_estimate_never_looks_measured(capsys: pytest.CaptureFixture[str]) -> None:
    render.power([{"host": 34.2}])
    assert "host (estimated) 34.2 W" in capsys.readouterr().out
