"""The state of a run from its events: what a face shows is all in one immutable snapshot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kit.core.model import Event, MeterDevice, MeterPlan
from kit.record import events
from kit.show.live.runstate import RunState
from kit.show.live.snapshot import SECOND_NS, RunSnapshot, scope_of
from kit.show.live.trace import Trace, columns
from kit.tui.live.tiles import tiles
from kit.tui.live.words import View
from tests.committed import H200
from tests.plans import facts_in
from tests.tui.story import Story

S = 1_000_000_000


class Run:
    """A state, and events for it."""

    def __init__(self, meters: tuple[MeterPlan, ...] = ()) -> None:
        self.state, self.t, self.seq = RunState(meters), 0, 0

    def add(self, kind: str, after: float = 0.0, **data: Any) -> RunSnapshot:
        self.t += int(after * S)
        self.state.take(Event(seq=self.seq, t=self.t, kind=kind, data=data, prev=""))
        self.seq += 1
        return self.state.snapshot()

    def measured(self) -> Run:
        self.add("run.registered", id="ab12", launches=3, utc="2026-10-02T14:30:00+00:00")
        self.add("launch.begin", launch=0)
        self.add("live", 1.0, power={"gpu0": 100.0}, joules={"gpu0": 0.0})
        self.add("phase.begin", launch=0, phase="measured", part=None)
        return self


def half_a_story(tmp_path: Path) -> RunSnapshot:
    """A story's first launch and half of its second."""
    story = Story(tmp_path)
    story.begin("ab12cd34")
    story.launch(0)
    story.launch(1, "measured")
    state = RunState()
    for event in events.decode(story.path.read_bytes()):
        state.take(event)
    return state.snapshot()


def test_a_story(tmp_path: Path) -> None:
    snapshot = half_a_story(tmp_path)
    assert (snapshot.id, snapshot.launch, snapshot.launches) == ("ab12cd34", 1, 3)
    assert snapshot.step and snapshot.step.phase == "measured" and snapshot.step.t1 is None
    assert snapshot.done()["startup", None] == pytest.approx(20.0)
    assert snapshot.progress.done == 90
    assert snapshot.progress.tokens_s == pytest.approx(90 * 128 / 23, rel=0.01)
    gpu, wall, estimate = snapshot.energy
    assert (gpu.scope, wall.scope, estimate.scope) == ("gpu", "wall", "estimate")
    assert estimate.status == "estimated"
    assert gpu.joules == pytest.approx(sum(w * 23 for w in (600, 540)), rel=0.02)
    assert snapshot.progress.joules_token == pytest.approx(gpu.joules / (90 * 128), rel=0.01)
    assert [d.name for d in snapshot.devices] == ["gpu0", "gpu1", "pdu:a:1", "host"]
    assert snapshot.expected_s() == pytest.approx(336.0, rel=0.01)


def test_each_device_has_its_own_part_of_the_energy(tmp_path: Path) -> None:
    snapshot = half_a_story(tmp_path)
    gpu = snapshot.energy[0]
    of = snapshot.device_energy
    assert set(of) == {"gpu0", "gpu1", "pdu:a:1", "host"}
    assert {d: of[d].joules for d in ("gpu0", "gpu1")} == gpu.devices
    for device in ("gpu0", "gpu1"):
        assert of[device].u_sensor and of[device].u_sensor < (gpu.u_sensor or 0.0)
    assert of["host"].status == "estimated"


def test_a_snapshot_does_not_change_afterwards() -> None:
    run = Run().measured()
    before = run.add("live", 0.5, power={"gpu0": 90.0}, state={"gpu0": {"temperature": 40}})
    copy = dataclasses.replace(before)
    run.add("live", 0.5, power={"gpu0": 95.0, "host": 1.0}, state={"gpu0": {"temperature": 41}})
    run.add("mark", text="here", t_face=run.t)
    assert copy == before
    assert before.devices[0].state == {"temperature": 40}


def test_state_is_told_when_it_changed_and_held_in_between() -> None:
    run = Run().measured()
    run.add("live", 0.5, power={"gpu0": 90.0}, state={"gpu0": {"temperature": 40, "sm_clock": 9}})
    snapshot = run.add("live", 0.5, power={"gpu0": 91.0})
    assert [p.mean for p in snapshot.temperature["gpu0"]] == [40, 40]
    assert [p.mean for p in snapshot.clock["gpu0"]] == [9, 9]
    assert snapshot.devices[0].state == {"temperature": 40, "sm_clock": 9}


def test_silence_begins_after_three_seconds() -> None:
    run = Run().measured()
    snapshot = run.add("live", 0.5, power={"gpu0": 90.0})
    (gpu,) = snapshot.devices
    assert gpu.silent_s(snapshot.t + 2 * S) == 0.0
    assert gpu.silent_s(snapshot.t + 3 * S) == 3.0


def test_energy_of_the_block_stays_when_it_has_ended() -> None:
    run = Run().measured()
    run.add("live", 1.0, power={"gpu0": 100.0}, joules={"gpu0": 100.0})
    run.add("live", 1.0, power={"gpu0": 100.0}, joules={"gpu0": 200.0})
    run.add("phase.end", 0.5, launch=0, phase="measured", part=None)
    snapshot = run.add("live", 0.5, power={"gpu0": 100.0}, joules={"gpu0": 300.0})
    assert snapshot.energy[0].joules == pytest.approx(250.0)
    later = run.add("live", 0.5, power={"gpu0": 50.0}, joules={"gpu0": 500.0})
    assert later.energy == snapshot.energy
    assert run.add("launch.begin", launch=1).energy == ()


def test_a_meter_that_speaks_less_often_is_no_broken_sum() -> None:
    run = Run().measured()
    run.add("live", 0.5, joules={"gpu0": 50.0, "pdu:a:1": 90.0})
    run.add("live", 0.5, joules={"gpu0": 100.0})
    snapshot = run.add("live", 0.5, joules={"gpu0": 150.0, "pdu:a:1": 290.0})
    assert [e.status for e in snapshot.energy] == ["measured", "unmeasured"]  # no sum at the begin
    assert snapshot.energy[0].joules == pytest.approx(150.0)


def test_a_sum_that_stays_away_is_not_told() -> None:
    run = Run().measured()
    run.add("live", 0.5, power={"gpu0": 100.0}, joules={"gpu0": 50.0, "host": 1.0})
    for _ in range(8):
        snapshot = run.add("live", 0.5, power={"gpu0": 100.0}, joules={"host": 2.0})
    assert snapshot.energy[0].scope == "gpu" and snapshot.energy[0].status == "unmeasured"


def test_the_plan_says_what_a_device_is_and_how_well_it_measures() -> None:
    facts = {"gpu_energy": {"gain": 0.01, "offset": 0.0}, "gpu_temperature": {}}
    inside = {"cpu_energy": {"summed": False}}
    meters = (
        MeterPlan(
            name="nvml",
            alias=None,
            devices=(MeterDevice(device="card", description="", quantities=facts_in(facts)),),
        ),
        MeterPlan(
            name="rapl",
            alias=None,
            devices=(MeterDevice(device="cpu0-core", description="", quantities=facts_in(inside)),),
        ),
    )
    run = Run(meters)
    run.add("run.registered", id="ab12", launches=1)
    run.add("live", 1.0, power={"card": 100.0}, joules={"card": 0.0})
    run.add("phase.begin", launch=0, phase="measured", part=None)
    snapshot = run.add("live", 10.0, power={"card": 100.0}, joules={"card": 1000.0})
    (energy,) = snapshot.energy
    assert energy.terms["gain"] == pytest.approx(1000 * 0.01 / 3**0.5)
    assert snapshot.devices[0].scope == "gpu"


def test_a_journal_from_before_running_sums() -> None:
    state = RunState()
    for event in events.decode((H200 / events.FILE).read_bytes()):
        state.take(event)
    snapshot = state.snapshot()
    gpu = snapshot.energy[0]
    assert gpu.method == "power shown" and gpu.u_reading is None
    assert gpu.joules == pytest.approx(121 * 31, rel=0.05)
    assert snapshot.status == "complete" and snapshot.step is None
    assert snapshot.progress.done == snapshot.progress.total == 8
    assert snapshot.progress.tokens is None and snapshot.progress.joules_token is None
    assert [line.level for line in snapshot.log].count("warn") >= 1
    assert not snapshot.temperature


def test_odd_events_change_nothing() -> None:
    run = Run().measured()
    before = run.state.snapshot()
    run.add("live", power={"gpu0": "much"}, joules=[1], state=7)
    run.add("live", progress={"stage": "measured"})
    run.add("mark", text="no time")
    run.add("phase.begin")
    run.add("_energy")
    run.add("unheard of")
    run.add("live", power={"gpu0": True}, state={"gpu0": {"temperature": "hot"}, "gpu1": 4})
    run.add("live", progress={"stage": [], "done": "x", "total": 2})
    snapshot = run.state.snapshot()
    assert snapshot.devices[0].watts == 100.0 and not snapshot.devices[0].state
    assert snapshot.marks == () and snapshot.steps == before.steps
    assert snapshot.events == before.events + 8


def test_marks_faults_and_lost_meters() -> None:
    run = Run().measured()
    run.add("mark", 2.0, text="window", t_face=1_500_000_000)
    run.add("sampler.lost", meter="rapl", message="gone")
    snapshot = run.add("fault", code="Interrupted", message="stopped", remedy="see")
    assert snapshot.marks[0].t == 1_500_000_000 and snapshot.marks[0].text == "window"
    assert snapshot.lost == ("rapl",)
    assert snapshot.faults == ({"code": "Interrupted", "message": "stopped", "remedy": "see"},)
    snapshot = run.add("run.end", status="aborted", reason="stopped")
    assert (snapshot.status, snapshot.reason, snapshot.step) == ("aborted", "stopped", None)
    assert [line.level for line in snapshot.log][-4:] == ["mark", "warn", "fail", "warn"]


@pytest.mark.parametrize(
    ("device", "scope"),
    [("gpu3", "gpu"), ("cpu0-package", "cpu"), ("pdu:a:1", "wall"), ("host", "estimate")],
)
def test_scopes_by_name(device: str, scope: str) -> None:
    assert scope_of(device) == scope


# --- series ---------------------------------------------------------------------------------


def test_a_long_series_stays_bounded_and_keeps_its_spikes() -> None:
    trace = Trace(bins=64, recent=32)
    for n in range(10_000):
        trace.add(n * S, 900.0 if n == 1234 else 100.0)
    points = trace.points()
    assert len(points) <= 64 + 32 + 1
    assert max(p.high for p in points) == 900.0
    assert points[0].t == 0 and points[-1].t == 9999 * S
    drawn = columns(points, 0, 9999 * S, 20)
    assert [p.high for p in drawn if p].count(900.0) == 1
    assert drawn[2] and drawn[2].low == 100.0


def test_columns_without_a_value_are_empty() -> None:
    trace = Trace()
    for n in (0, 1, 9):
        trace.add(n * S, float(n))
    assert [p.mean if p else None for p in columns(trace.points(), 0, 10 * S, 5)] == [
        0.5,
        None,
        None,
        None,
        9.0,
    ]
    assert SECOND_NS == S


def test_a_run_of_images_has_energy_by_image_and_none_by_token() -> None:
    run = Run().measured()
    run.add("live", 0.5, joules={"gpu0": 0.0})
    progress = {"stage": "measured", "done": 1, "total": 4, "images": 20}
    snapshot = run.add("live", 1.0, joules={"gpu0": 100.0}, progress=progress)
    made = snapshot.progress
    assert (made.images, made.joules_image, made.joules_scope) == (20, 5.0, "gpu")
    assert made.images_s == pytest.approx(20 * (made.requests_s or 0))
    assert (made.tokens, made.tokens_s, made.joules_token) == (None, None, None)
    shown = tiles(View(snapshot, run.t))
    assert shown[4].main.endswith(" images/s")
    assert shown[5][:3] == ("J/image", "5.00 J/image", "GPU") and shown[5].more == "of 20 images"
    snapshot = run.add("phase.begin", 0.1, launch=1, phase="warmup", part=None)
    assert tiles(View(snapshot, run.t))[5].title == "J/image", "it stays what the run makes"


def test_energy_per_token_is_of_the_scope_that_was_divided() -> None:
    run = Run().measured()
    run.add("live", 0.5, joules={"gpu0": 0.0, "pdu:a:1": 0.0})
    progress = {"stage": "measured", "done": 1, "total": 4, "tokens": 100}
    snapshot = run.add("live", 1.0, joules={"gpu0": 100.0, "pdu:a:1": 900.0}, progress=progress)
    assert (snapshot.progress.joules_token, snapshot.progress.joules_scope) == (1.0, "gpu")
    for n in range(8):  # the GPU's meter falls silent: its sum is not told any more
        snapshot = run.add("live", 0.5, joules={"pdu:a:1": 1000.0 + 100.0 * n})
    assert snapshot.energy[0].joules is None
    assert (snapshot.progress.joules_token, snapshot.progress.joules_scope) == (1.0, "gpu")
