"""Honest runs on machines that stood still, slept, or whose clock was set: sealed, none fails.

Each is made from a golden run whose idle block is long enough to stand still in.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.judge.verify import Verdict, verify
from kit.record.events import FILE
from tests import golden
from tests.golden import MS, S
from tests.verify.forging import Change, edit_events, edit_rows, failed, of_kind

IDLE_S = 60
AT = 20 * S  # in the first idle block
STAGES = ("warmup", "measured")
STATIONS = ("intended", "sent", "first_byte", "first_token", "last_token", "done")
Events = list[dict[str, Any]]
Later = Callable[[int], int]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden run that idles for a minute."""
    patch, made = pytest.MonkeyPatch(), golden.run_spec

    def longer() -> Any:
        found = made()
        phases = msgspec.structs.replace(found.phases, idle_s=float(IDLE_S))
        return msgspec.structs.replace(found, phases=phases)

    patch.setattr(golden, "run_spec", longer)
    try:
        return golden.build(tmp_path_factory.mktemp("patient") / "runs")
    finally:
        patch.undo()


@pytest.fixture
def run(patient: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(patient, tmp_path / patient.name))


def judged(run: Path, change: Change) -> Verdict:
    change(run)
    golden.recompute(run)
    return verify(golden.reseal(run))


def doubts(verdict: Verdict) -> dict[str, str]:
    assert verdict.failures == ()
    return {c.code: c.message for c in verdict.checks if c.status == "WARN"}


@pytest.mark.slow
def test_a_run_without_a_standstill_has_no_doubt(run: Path) -> None:
    assert doubts(judged(run, lambda _: None)) == {}


def caught_up(events: Events) -> None:
    """A runner that goes on writes an anchor that is due before all else."""
    last, clock = 0, golden.ScriptedClock()
    out: Events = []
    for event in events:
        if event["kind"] == "live" and event["t"] - last > golden.ANCHOR_NS:
            clock.t = last = event["t"]
            out.append({"kind": "clock.anchor", "t": event["t"], "data": clock.anchor()})
        last = event["t"] if event["kind"] == "clock.anchor" else last
        out.append(event)
    events[:] = out


# --- standing still -----------------------------------------------------------------------------


def stalled(seconds: float, at: int = AT) -> Change:
    """The runner alone stands still: its disk does not answer. The meters are read all the same."""

    def forge(events: Events) -> None:
        gone = [e for e in events if at < e["t"] < at + seconds * S]
        assert {e["kind"] for e in gone} <= {"live", "clock.anchor"}
        events[:] = [e for e in events if e not in gone]
        caught_up(events)

    return lambda run: edit_events(run, forge)


@pytest.mark.parametrize("seconds", [3, 12, 17, 35])
def test_a_runner_whose_disk_does_not_answer(run: Path, seconds: float) -> None:
    found = doubts(judged(run, stalled(seconds)))
    assert ("LIVE_MISSING" in found) == (seconds > 10)
    assert set(found) <= {"LIVE_MISSING", "CLOCK_DIFFERS"}


def sluggish(run: Path) -> None:
    """Every event takes six seconds to reach the disk."""

    def forge(events: Events) -> None:
        kept, free = [], 0
        for event in events:
            if event["kind"] in ("live", "clock.anchor") and event["t"] < free:
                continue
            kept.append(event)
            if event["kind"] in ("live", "clock.anchor"):
                free = event["t"] + 6 * S
        events[:] = kept
        caught_up(events)

    edit_events(run, forge)


def test_a_disk_that_is_always_slow_fails_no_run(run: Path) -> None:
    assert set(doubts(judged(run, sluggish))) <= {"LIVE_MISSING", "CLOCK_DIFFERS"}


def paused(at: int, seconds: float) -> Change:
    """The whole machine stands still, and its clocks run on."""
    ns = round(seconds * S)

    def later(t: int) -> int:
        return t + ns if t > at else t

    def rows(row: list[str]) -> None:
        row[1], row[2] = str(later(int(row[1]))), str(later(int(row[2])))

    def change(run: Path) -> None:
        stages = [(n, name) for a, b, n, name in blocks_of(run) if a < at < b and name in STAGES]
        edit_events(run, lambda events: events_later(events, later, ns))
        same_clock(run)
        for name in ("nvml", "rapl"):
            edit_rows(run / f"samples/{name}.csv", change=rows)
        for launch in range(golden.LAUNCHES):
            for name in ("requests", "responses"):
                path = run / f"launches/{launch:03d}/{name}.jsonl"
                golden.edit_lines(path, lambda lines: lines_later(lines, later))
        for launch, name in stages:
            golden.edit_json(
                run / f"launches/{launch:03d}/driver.json", partial(took_longer, name=name, ns=ns)
            )

    return change


def same_clock(run: Path) -> None:
    """The manifest says what the first anchor says."""
    events = [jsonio.parse(line) for line in (run / FILE).read_bytes().splitlines()]
    first = of_kind(events, "clock.anchor")[0]
    golden.edit_json(run / "manifest.json", lambda m: m["clock"].update(first))


def events_later(events: Events, later: Later, ns: int) -> None:
    for event in events:
        if event["kind"] == "clock.anchor" and later(event["t"]) > event["t"]:
            event["data"] = {name: str(int(value) + ns) for name, value in event["data"].items()}
        event["t"] = later(event["t"])
    caught_up(events)
    stopped = next(e for e in events if e["kind"] == "sampler.stopped")
    if later(stopped["t"] - ns) == stopped["t"]:
        data = stopped["data"]
        data["overruns"] = dict.fromkeys(data["tiers"], ns // golden.READ_NS)


def lines_later(lines: list[dict[str, Any]], later: Later) -> None:
    """Requests, or responses."""
    for line in lines:
        line.update({key: later(line[key]) for key in STATIONS if key in line})
        if "chunk_times" in line:
            line["chunk_times"] = [later(t) for t in line["chunk_times"]]


def took_longer(driver: dict[str, Any], name: str, ns: int) -> None:
    driver["stages"][name]["wall_ns"] += ns


def blocks_of(run: Path) -> Iterator[tuple[int, int, int, str]]:
    """From when to when (ns) each block took: launch and name with it."""
    open_: dict[tuple[int, str], int] = {}
    for line in (run / FILE).read_bytes().splitlines():
        event = jsonio.parse(line)
        if event["kind"] == "phase.begin":
            open_[event["data"]["launch"], event["data"]["phase"]] = event["t"]
        elif event["kind"] == "phase.end":
            launch, name = event["data"]["launch"], event["data"]["phase"]
            yield open_[launch, name], event["t"], launch, name


def middle_of(run: Path, name: str) -> int:
    begin, end = next((a, b) for a, b, _, n in blocks_of(run) if n == name)
    return (begin + end) // 2


@pytest.mark.parametrize("seconds", [1.5, 30, 3600])
@pytest.mark.parametrize("name", ["idle", "startup", "measured"])
def test_a_paused_machine_fails_no_run(run: Path, name: str, seconds: float) -> None:
    found = doubts(judged(run, paused(middle_of(run, name), seconds)))
    if seconds > 20 and name not in ("startup",):
        assert {"LIVE_MISSING", "CLOCK_DIFFERS"} <= set(found)


@pytest.mark.parametrize("kind", ["launch.begin", "launch.end", "phase.end", "sampler.stopped"])
def test_a_machine_paused_between_two_events_fails_no_run(run: Path, kind: str) -> None:
    events = [jsonio.parse(line) for line in (run / FILE).read_bytes().splitlines()]
    at = next(e["t"] for e in events if e["kind"] == kind)
    doubts(judged(run, paused(at, 120)))


def test_an_anchor_that_was_journalled_late_is_a_doubt(run: Path) -> None:
    late_by = 4 * S

    def forge(events: Events) -> None:
        anchor = next(e for e in events if e["kind"] == "clock.anchor" and e["t"] > AT)
        at = events.index(anchor)
        gone = [e for e in events[at + 1 :] if e["t"] <= anchor["t"] + late_by]
        anchor["t"] += late_by
        events[:] = [e for e in events if e not in gone]

    found = doubts(judged(run, lambda r: edit_events(r, forge)))
    assert "was journalled 4.0 s later" in found["CLOCK_DIFFERS"]


def test_an_anchor_read_before_the_preceding_event_fails(run: Path) -> None:
    def forge(events: Events) -> None:
        anchor = of_kind(events, "clock.anchor")[2]
        for name in anchor:
            anchor[name] = str(int(anchor[name]) - S)

    edit_events(run, forge)
    assert failed(verify(golden.reseal(run))) == {"CLOCK_DIFFERS"}


def sampler_stopped(run: Path) -> None:
    """The process of the samplers is stopped for 25 s; the runner goes on."""
    a, b = AT, AT + 25 * S

    def inside(row: list[str]) -> bool:
        return a < int(row[1]) < b

    gone = {
        n: edit_rows(run / f"samples/{n}.csv", lambda _, r: inside(r)) for n in ("nvml", "rapl")
    }

    def forge(events: Events) -> None:
        for event in events:
            if event["kind"] == "live" and a < event["t"] < b:
                event["data"] = {"joules": {}, "progress": {}}
        events[:] = [e for e in events if e["kind"] != "live" or e["data"].get("power")]
        for data in of_kind(events, "sampler.stopped"):
            data["rows"] -= sum(gone.values())
            for key, told in data["tiers"].items():
                missed = 25 * S // golden.READ_NS - 1
                told["reads"] -= missed
                data["overruns"][key] = missed

    edit_events(run, forge)


def test_a_sampler_that_was_stopped_for_a_while(run: Path) -> None:
    found = doubts(judged(run, sampler_stopped))
    assert {"LIVE_MISSING", "SAMPLES_GAP"} <= set(found)


# --- what no standstill explains --------------------------------------------------------------


def without(kind: str, seconds: float) -> Change:
    def forge(events: Events) -> None:
        inside = [e for e in events if e["kind"] == kind and AT < e["t"] < AT + seconds * S]
        events[:] = [e for e in events if e not in inside]

    return lambda run: edit_events(run, forge)


@pytest.mark.parametrize(
    ("kind", "seconds", "code"),
    [("live", 30, "LIVE_MISSING"), ("clock.anchor", 30, "CLOCK_DIFFERS")],
)
def test_events_that_were_taken_out_while_others_went_on(
    run: Path, kind: str, seconds: float, code: str
) -> None:
    without(kind, seconds)(run)
    assert failed(verify(golden.reseal(run))) == {code}


def test_a_launch_that_was_taken_out_leaves_its_readings(run: Path) -> None:
    """Also where every event between the two launches that remain went with it."""

    def forge(events: Events) -> None:
        end = next(e for e in events if e["kind"] == "launch.end")
        for event in events[events.index(end) + 1 :]:
            event["t"] += 200 * S

    edit_events(run, forge)
    with_rows = "\n".join(
        f"{n},{t},{t + 5000},,gpu0,gpu_energy,0,{5_000_000 + golden.GPU_MW * t // S}"
        for n, t in enumerate(range(20 * MS, 500 * S, golden.READ_NS))
    )
    head = (run / "samples/nvml.csv").read_text().splitlines()[0]
    (run / "samples/nvml.csv").write_text(f"{head}\n{with_rows}\n")
    assert "TIME_OUTSIDE" in failed(verify(golden.reseal(run)))


# --- clocks that were set -----------------------------------------------------------------------


def leapt(seconds: float, at: int) -> Change:
    def forge(events: Events) -> None:
        for event in events:
            if event["kind"] == "clock.anchor" and event["t"] > at:
                data = event["data"]
                data["realtime"] = str(int(data["realtime"]) + round(seconds * S))

    return lambda run: edit_events(run, forge)


@pytest.mark.parametrize("at", [5 * S, 100 * S])
@pytest.mark.parametrize("seconds", [-1, 30, 7200, -3600, -5e7])
def test_a_wall_clock_that_was_set_or_a_machine_that_slept(
    run: Path, seconds: float, at: int
) -> None:
    found = doubts(judged(run, leapt(seconds, at)))
    assert set(found) == {"CLOCK_DIFFERS"}


def test_a_machine_that_slept_twice_is_a_doubt_of_its_clocks(run: Path) -> None:
    def change(r: Path) -> None:
        leapt(3600, AT)(r)
        leapt(1800, 80 * S)(r)

    assert set(doubts(judged(run, change))) == {"CLOCK_DIFFERS"}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("change", ["2026-10-25T00:59:40+00:00", "2026-03-29T00:59:40+00:00"])
def test_a_run_across_the_change_to_or_from_summer_time(
    run: Path, zone: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal knows no zones: also whoever verifies elsewhere comes to the same."""
    ns = round(datetime.datetime.fromisoformat(change).timestamp()) * S - golden.UTC_NS

    def forge(events: Events) -> None:
        events[0]["data"]["utc"] = change
        for data in of_kind(events, "clock.anchor"):
            data["realtime"] = str(int(data["realtime"]) + ns)

    def change_all(r: Path) -> None:
        edit_events(r, forge)

        def clock(manifest: dict[str, Any]) -> None:
            told = manifest["clock"]
            told.update(utc=change, realtime=str(int(told["realtime"]) + ns))

        golden.edit_json(r / "manifest.json", clock)

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert doubts(judged(run, change_all)) == {}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_without_its_zone_is_no_date(run: Path) -> None:
    """It would be another instant for whoever reads it elsewhere."""
    naive = "2026-01-02T03:04:05"
    edit_events(run, lambda e: e[0]["data"].update(utc=naive))
    golden.edit_json(run / "manifest.json", lambda m: m["clock"].update(utc=naive))
    assert failed(verify(golden.reseal(run))) == {"CLOCK_DIFFERS"}
