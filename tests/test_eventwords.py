"""The journal in words: every kind that the runner writes, and whatever else may stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.core import resources
from kit.core.model import Event
from kit.record import events
from kit.show.live import eventwords
from kit.show.live.eventwords import LogLine
from tests.tui.story import Story


def line_of(kind: str, t: int = 0, **data: Any) -> LogLine | None:
    return eventwords.line(Event(seq=0, t=t, kind=kind, data=data, prev=""))


@pytest.mark.parametrize("kind", ["live", "clock.anchor", "phase.end"])
def test_readings_are_no_news(kind: str) -> None:
    assert line_of(kind, power={"gpu0": 1.0}) is None


def test_a_launch_has_its_number_in_the_record() -> None:
    assert line_of("launch.begin", launch=0) == (0, "", "launch 0 began")
    block = line_of("phase.begin", launch=2, phase="loaded_idle", part="before")
    assert block == (0, "", "launch 2: loaded idle (before) began")


def test_failed_requests_are_a_warning() -> None:
    good = line_of("stage.done", launch=1, stage="measured", ok=1, failed=0)
    assert good == (0, "ok", "launch 1: measured: 1 request ok")
    bad = line_of("stage.done", launch=1, stage="measured", ok=29, failed=1)
    assert bad == (0, "warn", "launch 1: measured: 29 requests ok, 1 failed")


def test_a_mark_stands_where_the_person_set_it() -> None:
    assert line_of("mark", t=9, text="window opened", t_face=4) == (4, "mark", "window opened")


def test_a_wait_in_the_queue() -> None:
    assert line_of("queue.waited", seconds=63.2, runs=["a"]) == (
        0,
        "",
        "waited 63 s for 1 other run",
    )


def test_every_kind_that_has_words_is_in_the_contract() -> None:
    """An event that the schema does not know makes a sound run fail its verification."""
    contract = json.loads(resources.schema_path("event").read_text())
    assert set(eventwords._WORDS) <= set(contract["properties"]["kind"]["enum"])


@pytest.mark.parametrize(
    ("status", "level"), [("complete", "ok"), ("aborted", "warn"), ("failed", "fail")]
)
def test_how_a_run_ended(status: str, level: str) -> None:
    assert line_of("run.end", status=status, reason="") == (0, level, f"run {status}")
    assert line_of("run.end", status=status, reason="why") == (0, level, f"run {status}: why")


def test_an_unknown_event_stands_as_it_is() -> None:
    assert line_of("new", t=5, a=1) == (5, "", "new a 1")
    long = line_of("new", text="x" * 5000)
    assert long is not None and len(long.text) == 400


@pytest.mark.parametrize("kind", ["finding", "mark", "phase.begin", "steady.waited", "run.end"])
def test_odd_data_are_told_and_never_a_crash(kind: str) -> None:
    assert line_of(kind, launch="none", t_face="x", devices=3) is not None
    assert line_of(kind) is not None


def test_a_filter_wants_every_word() -> None:
    log = [LogLine(0, "warn", "meter RAPL was lost"), LogLine(0, "", "meter nvml started")]
    assert eventwords.fitting(log, "METER") == log
    assert eventwords.fitting(log, "rapl lost") == log[:1]
    assert eventwords.fitting(log, "Warning") == log[:1]


def test_no_kind_of_a_whole_run_is_unknown(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.begin("ab12cd34")
    story.launch(0)
    records = events.decode(story.path.read_bytes())
    for event, line in zip(records, map(eventwords.line, records), strict=True):
        assert line is None or not line.text.startswith(event.kind)


@pytest.mark.parametrize(
    ("status", "words"), [(201, ""), (500, ", HTTP 500"), (None, ", no answer")]
)
def test_a_step_says_how_long_it_took_and_how_it_went(status: int | None, words: str) -> None:
    step = line_of("startup.step", launch=0, name="load", seconds=1.2345, status=status)
    assert step == (0, "", f"launch 0: load: 1.23 s{words}")
