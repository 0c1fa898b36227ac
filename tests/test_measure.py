"""The runner's heartbeat: what it journals of live readings and of marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from kit.core import jsonio
from kit.core.errors import (
    ContainerDied,
    DiskFull,
    DriverFailed,
    KitError,
    RunFailed,
    SamplerFailed,
    UsageError,
)
from kit.judge.verify.schema import _rules
from kit.measure.sample import SamplerProcess
from kit.record import events
from kit.record.events import Clock, Journal
from kit.run import marks, watch
from kit.run.session import Session
from kit.run.watch import Watch
from kit.store.store import Store


class Lines:
    """A sampler that says what it is given."""

    def __init__(self) -> None:
        self.next: list[dict[str, Any]] = []

    def poll(self) -> list[dict[str, Any]]:
        line, self.next = self.next, []
        return line


class Beat:
    """A watch whose live beat is always due."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.sampler = Clock(), Lines()
        self.path, self.left = folder / events.FILE, folder / marks.FOLDER
        self.watch = Watch(
            Journal(self.path, self.clock),
            self.clock,
            [cast("SamplerProcess", self.sampler)],
            lambda: False,
            60.0,
            folder,
            self.left,
        )

    def check(self, *lines: dict[str, Any], progress: dict[str, Any] | None = None) -> list[Any]:
        """The data of live events and marks after a beat with ``lines``."""
        self.sampler.next = list(lines)
        self.watch._due = dict.fromkeys(self.watch._due, 0.0)
        self.watch.check(progress)
        records = events.decode(self.path.read_bytes())
        return [e.data for e in records if e.kind in ("live", "mark")]


@pytest.fixture
def beat(tmp_path: Path) -> Beat:
    return Beat(tmp_path)


def live(watts: float, **more: Any) -> dict[str, Any]:
    return {"event": "live", "values": {"gpu0": watts}, **more}


def test_state_is_journalled_where_it_changed(beat: Beat) -> None:
    cool, hot = {"temperature": 40, "sm_clock": 9}, {"temperature": 41, "sm_clock": 9}
    beat.check(live(1, state={"gpu0": cool}, joules={"gpu0": 1.0}))
    beat.check(live(2, state={"gpu0": cool}))
    changes = beat.check(live(3, state={"gpu0": cool}), live(4, state={"gpu0": hot}))
    assert changes == [
        {"power": {"gpu0": 1}, "joules": {"gpu0": 1}, "state": {"gpu0": cool}},
        {"power": {"gpu0": 2}},
        {"power": {"gpu0": 4}, "state": {"gpu0": {"temperature": 41}}},
    ]


@pytest.mark.parametrize("tokens", [{}, {"tokens": 256}])
def test_progress_has_tokens_where_they_are_known(beat: Beat, tokens: dict[str, int]) -> None:
    message = {"event": "progress", "stage": "measured", "done": 2, "total": 8, **tokens}
    (event,) = beat.check(progress=message)
    assert event == {"progress": {"stage": "measured", "done": 2, "total": 8, **tokens}}


def test_a_mark_is_journalled_clean_and_at_its_own_time(beat: Beat) -> None:
    beat.left.mkdir()
    before = beat.clock.now()
    marks.leave(beat.left, "  a \x1b[31mword\n" + "x" * 300)
    after = beat.clock.now()
    (event,) = beat.check()
    assert event["text"].startswith("a word x") and len(event["text"]) == 200
    assert before <= event["t_face"] <= after
    assert beat.check() == [event]


def test_what_is_journalled_follows_the_schema(beat: Beat) -> None:
    beat.left.mkdir()
    marks.leave(beat.left, "a word")
    beat.check(live(1, state={"gpu0": {"temperature": 40}}, joules={"gpu0": 1.0}))
    rules = _rules("event")
    lines = [jsonio.parse(line) for line in beat.path.read_bytes().splitlines()]
    assert {line["kind"] for line in lines} == {"clock.anchor", "live", "mark"}
    assert not [error for line in lines for error in jsonio.faults(rules, line)]


def test_what_is_no_mark_is_removed_unread(beat: Beat) -> None:
    beat.left.mkdir()
    for n, data in enumerate((b"{", b"[]", b'{"text":"x","monotonic":"y"}', b"x" * 9999)):
        (beat.left / f"{n}.json").write_bytes(data)
    marks.leave(beat.left, " \x07 ")
    assert beat.check() == []
    assert list(beat.left.iterdir()) == []


def test_a_mark_of_another_time_is_kept_within_the_run(beat: Beat) -> None:
    beat.left.mkdir()
    for n, at in enumerate(("5", str(2**62))):
        (beat.left / f"{n}.json").write_text(f'{{"monotonic":"{at}","text":"t"}}')
    first, second = (event["t_face"] for event in beat.check())
    assert first <= second <= beat.clock.now()


def test_a_session_leaves_marks_in_the_scratch_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    flight = store.begin()
    Session.attach(store, flight.id).mark("now")
    assert [m.text for m in marks.collect(flight.scratch(marks.FOLDER))] == ["now"]
    flight.release()
    store.discard(flight.id)
    with pytest.raises(UsageError, match="could not be left"):
        Session(store, flight.id, flight.path).mark("late")


def test_room_is_kept_for_the_end(tmp_path: Path) -> None:
    watch.reserve(tmp_path / "reserve")
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= watch.RESERVE_BYTES


@pytest.mark.parametrize("kind", [SamplerFailed, DriverFailed, ContainerDied])
def test_a_helper_that_ended_on_a_full_disk_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[KitError]
) -> None:
    fault = kind("it ended early")
    assert watch.root_cause(fault, tmp_path) is fault
    monkeypatch.setattr(watch, "DISK_FLOOR_BYTES", 1 << 62)
    cause = watch.root_cause(fault, tmp_path)
    assert isinstance(cause, kind if kind is ContainerDied else DiskFull)


def test_the_place_in_the_queue_is_held_all_the_while(tmp_path: Path) -> None:
    def lost() -> None:
        raise RunFailed("another run began")

    watch = Watch(
        Journal(tmp_path / events.FILE, Clock()), Clock(), [], lambda: False, 60.0, tmp_path,
        keep=lost,
    )  # fmt: skip
    with pytest.raises(RunFailed, match="another run began"):
        watch.wait(0)


def test_a_sum_that_begins_again_is_journalled_though_it_grew_within_one_beat(
    tmp_path: Path,
) -> None:
    """Two lines of the sampler can fall into one live event: the 0 J says that energy is lost."""
    beat = Beat(tmp_path)
    lines = [{"event": "live", "joules": {"pdu:a:1": joules}} for joules in (0.0, 40.0)]
    event = beat.check(*lines)[-1]
    assert event["joules"] == {"pdu:a:1": 0.0}
    event = beat.check({"event": "live", "joules": {"pdu:a:1": 90.0}})[-1]
    assert event["joules"] == {"pdu:a:1": 90.0}
