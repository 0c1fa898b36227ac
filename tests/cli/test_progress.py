"""Bars on a terminal, plain lines elsewhere; a run drawn from its events alone."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kit.cli.progress import RunProgress, Tasks, amount
from kit.cli.runview import RunProgressView
from kit.core.model import Event
from kit.record.phases import BLOCKS
from kit.show.render.console import THEME


class Journal:
    """Events in order, with their times in seconds."""

    def __init__(self) -> None:
        self.t = 0.0
        self.events: list[Event] = []

    def add(self, kind: str, after: float = 0.0, **data: Any) -> None:
        self.t += after
        t = int(self.t * 1e9)
        self.events.append(Event(seq=len(self.events), t=t, kind=kind, data=data, prev=""))


def journey(launches: int = 2) -> Journal:
    journal = Journal()
    journal.add("run.registered", id="a1b2c3", launches=launches)
    journal.add("finding", code="LOAD_HIGH", level="warn", message="load [red]average[/] 9")
    journal.add("finding", code="DISK", level="ok", message="plenty of room")
    for launch in range(launches):
        journal.add("launch.begin", launch=launch)
        for phase, part in BLOCKS:
            journal.add("phase.begin", launch=launch, phase=phase, part=part)
            if phase == "measured":
                power = {"host": 34.2, "gpu0": None}
                progress = {"stage": "measured", "done": 12, "total": 30}
                journal.add("live", 1.0, power=power, progress=progress)
                journal.add("stage.done", launch=launch, stage="measured", ok=29, failed=1)
            journal.add("phase.end", 2.0, launch=launch, phase=phase, part=part)
        journal.add("launch.end", launch=launch)
    return journal


def plain_console() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=4096, theme=THEME), file


def terminal(width: int = 80) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=True,
        color_system=None,
        theme=THEME,
    )
    return console, file


def drawn(view: RunProgressView, width: int = 80) -> list[str]:
    console, _ = terminal(width)
    with console.capture() as captured:
        console.print(view)
    return captured.get().splitlines()


def test_a_log_gets_a_line_a_phase() -> None:
    console, file = plain_console()
    with RunProgress(console) as shown:
        for event in journey(1).events:
            shown.event(event)
    lines = file.getvalue().splitlines()
    assert lines[:2] == [
        "run a1b2c3 registered, 1 launch",
        "! warn  load [red]average[/] 9  LOAD_HIGH",
    ]
    assert "launch 0: loaded idle (before) began" in lines
    assert "! warn  launch 0: measured: 29 requests ok, 1 failed" in lines
    assert lines[-1] == ("! the launch  startup 2.0 s · measured 3.0 s · 29 requests ok, 1 failed")
    assert "plenty" not in file.getvalue() and "\x1b" not in file.getvalue()


def test_a_terminal_keeps_a_line_a_launch() -> None:
    console, file = terminal()
    with RunProgress(console) as shown:
        for event in journey(2).events:
            shown.event(event)
    text = file.getvalue()
    assert text.count("startup 2.0 s · measured 3.0 s") == 2
    assert "startup began" not in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_fits_its_terminal(width: int) -> None:
    view = RunProgressView()
    for event in journey(2).events:
        view.take(event)
        lines = drawn(view, width)
        assert len(lines) <= 2
        assert all(len(line) <= width for line in lines)


def test_the_view_says_where_the_run_is() -> None:
    view = RunProgressView()
    for event in journey(2).events:
        view.take(event)
        if event.kind == "live" and event.data["progress"]["done"] == 12:
            break
    path, now = drawn(view, 120)
    assert "startup ✔" in path and "measured ●" in path and path.rstrip().endswith("idle")
    assert "1st of 2 launches" in now and "12/30 requests" in now
    assert "host (estimated) 34 W" in now and "gpu0 no reading" in now


def test_all_eight_phases_fit_eighty_columns() -> None:
    view = RunProgressView()
    for event in journey(1).events:
        if event.kind == "launch.end":
            break
        view.take(event)
    assert drawn(view, 80)[0].count("✔") == len(BLOCKS)


def test_an_unknown_event_changes_nothing() -> None:
    view = RunProgressView()
    assert view.take(Event(seq=0, t=0, kind="__class__.x", data={}, prev="")) == []
    assert view.take(Event(seq=1, t=0, kind="container.ready", data={}, prev="")) == []


def test_a_fault_and_a_lost_meter_stay_on_the_screen() -> None:
    view = RunProgressView()
    journal = Journal()
    journal.add("sampler.lost", meter="pdu-rack1", message="no answer \x1b[2J for 3 s")
    journal.add("fault", code="ContainerDied", message="exit code 137", remedy="")
    console, file = plain_console()
    for event in journal.events:
        for line in view.take(event):
            console.print(line)
    text = file.getvalue()
    assert "meter pdu-rack1 was lost: no answer" in text and "✘ fail" in text
    assert "\x1b" not in text


def test_tasks_in_a_pipe_say_each_quarter() -> None:
    console, file = plain_console()
    with Tasks(console) as tasks:
        tasks.say("building [bold]it[/]")
        for done in range(0, 101, 5):
            tasks.progress("base", done, 100)
        tasks.progress("packages", 3, None)
        tasks.progress("packages", 4, None)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines == [
        "building [bold]it[/]",
        *(f"base: {n} of 100" for n in (0, 25, 50, 75, 100)),
        "packages",
    ]


def test_tasks_on_a_terminal_draw_bars() -> None:
    console, file = terminal()
    with Tasks(console) as tasks:
        tasks.progress("weights", 49_000_000, 98_000_000)
        tasks.progress("weights", 98_000_000, 98_000_000)
    last = [line for line in file.getvalue().splitlines() if "weights" in line][-1]
    assert "━" in last and "98 MB of 98 MB" in last


def test_amounts() -> None:
    assert amount(12, 30) == "12 of 30"
    assert amount(3, None) == ""
    assert amount(34_100_000, 98_400_000) == "34.1 MB of 98.4 MB"
