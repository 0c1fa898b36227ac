"""The Live screen over journals written step by step, and a real run played again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from textual.pilot import Pilot

from kit.core.model import Finding
from kit.machine import queue
from kit.run import marks
from kit.show.live.follow import Over
from kit.show.live.occupants import MeterUnavailable, Process, Seen
from kit.store import refusals
from kit.store.refusals import Refusal
from kit.store.store import InFlight, Store
from kit.tui.app import KitApp
from kit.tui.live.cells import Cells
from kit.tui.live.plot import PlotPanel
from kit.tui.live.runscreen import RunScreenBase
from kit.tui.screens import live as live_screen
from kit.tui.screens.live import LiveScreen, RecordingScreen
from tests.committed import H200
from tests.tui.conftest import SIZES, ScreenText, at_rest, drawn
from tests.tui.story import Frozen, Story, in_measured_block

ID = "ab12cd34"
POLL_S = 0.1  # a pause waits for an idle moment, which a quicker pace leaves seldom


@pytest.fixture
def flight(store: Store) -> InFlight:
    """A run in flight whose lock this process holds, as its runner would."""
    flight = InFlight(store, ID)
    flight.take()
    flight.path.mkdir(parents=True)
    flight.scratch("adopted").touch()
    return flight


class Shown:
    """A screen on a terminal, and how to wait for it."""

    def __init__(self, pilot: Pilot[None], screen: RunScreenBase, clock: Frozen) -> None:
        self.pilot, self.screen, self.clock = pilot, screen, clock
        self.app = pilot.app

    async def until(self, what: Callable[[], Any]) -> None:
        for _ in range(2000):
            if what():
                break
            await self.pilot.pause(0.005)
        assert what(), drawn(self.app)
        await self.still()

    async def still(self) -> None:
        """Draw what is known, with nothing left to do."""
        await self.pilot.pause()
        self.screen.draw()
        for _ in range(3):
            await self.pilot.pause()

    async def heard(self, story: Story) -> None:
        await self.until(lambda: self.screen.snapshot.events == story.n)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.still()

    def text(self) -> str:
        return drawn(self.app)


@asynccontextmanager
async def live(
    store: Store, size: tuple[int, int] = (100, 30), *, ascii_only: bool = False, name: str = ID
) -> AsyncIterator[Shown]:
    clock = Frozen()
    screen = LiveScreen(name, clock=clock, poll_s=POLL_S)
    app = KitApp(store, first=screen, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        yield Shown(pilot, screen, clock)


@asynccontextmanager
async def recording(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Shown]:
    clock = Frozen()
    screen = RecordingScreen(H200, clock=clock)
    app = KitApp(Store(H200.parent), first=screen, ascii_only=False)
    async with app.run_test(size=size) as pilot:
        shown = Shown(pilot, screen, clock)
        await shown.until(lambda: screen._events)
        yield shown


def end(flight: InFlight, status: str, story: Story) -> Path:
    """What sealing leaves: the run under its hash, a line in the ledger, no lock."""
    story.add("run.end", status=status, reason="" if status == "complete" else "it was stopped")
    sealed = flight.store.root / ("9f" * 32)
    flight.path.rename(sealed)
    for name in ("manifest.json", "results.json", "spec.json"):
        shutil.copy(H200 / name, sealed / name)
    flight.store.note("sealed", id=flight.id, run_hash=sealed.name, status=status)
    flight.release()
    return sealed


# --- what it shows --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (60, 15), (40, 8)])
async def test_a_run_in_its_measured_block(
    flight: InFlight, size: tuple[int, int], screen_text: ScreenText
) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        await screen_text(shown.app)


async def test_in_ascii(flight: InFlight, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, ascii_only=True) as shown:
        await shown.heard(story)
        assert shown.text().isascii()
        await screen_text(shown.app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 30), (140, 45)])
async def test_eight_gpus(flight: InFlight, size: tuple[int, int], screen_text: ScreenText) -> None:
    story = in_measured_block(flight, gpus=8)
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        await screen_text(shown.app)


@pytest.mark.parametrize("gpus", [2, 8])
async def test_lines_are_told_apart_without_colour(
    flight: InFlight, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    story = in_measured_block(flight, gpus)
    async with live(flight.store, (100, 30)) as shown:
        await shown.heard(story)
        (notification,) = (
            line for line in shown.text().splitlines() if " gpu0" in line and "gpu1" in line
        )
        plot = shown.text().split(notification)[1].split("startup")[0]
        assert "* gpu0" in notification and "o gpu1" in notification and "■" not in notification
        assert {"*", "o"} <= set(plot) and not {"▀", "▄", "▌"} & set(plot)
        await shown.press("g", "g")
        assert "o gpu1" in shown.text() and "gpu0" not in shown.text()


async def test_a_line_alone_is_drawn_finely(flight: InFlight) -> None:
    story = in_measured_block(flight, gpus=8)
    async with live(flight.store, (100, 30)) as shown:
        await shown.heard(story)
        assert "A pdu:a:1" in shown.text()
        await shown.press(*["g"] * 9)
        assert "■ pdu:a:1" in shown.text() and "AAA" not in shown.text()
        await shown.press("g", "g")
        assert "A pdu:a:1" in shown.text() and "AAA" in shown.text()


async def test_a_legend_without_room_counts_the_rest(flight: InFlight) -> None:
    story = in_measured_block(flight, gpus=14)
    async with live(flight.store, (80, 24)) as shown:
        await shown.heard(story)
        assert "■ gpu0  G pdu:a:1  H host (estimated)  ■ gpu1" in shown.text()
        assert "gpu4  +9" in shown.text()


async def test_before_the_first_event(flight: InFlight, screen_text: ScreenText) -> None:
    async with live(flight.store) as shown:
        await shown.until(lambda: "stop" in _keys(shown))
        await screen_text(shown.app)


async def test_it_follows_what_is_written(flight: InFlight) -> None:
    story = Story(flight.path)
    story.begin(ID)
    async with live(flight.store) as shown:
        await shown.heard(story)
        assert "1st of 3 launches" in shown.text()
        assert "GPU clocks are [not] locked" in shown.text()
        story.launch(0, "startup", 4)
        await shown.heard(story)
        assert "startup ▶" in shown.text()
        assert "idle ✔" in shown.text()


async def test_silence_is_told(flight: InFlight, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        for _ in range(8):
            story.live(600, without="gpu1")
        await shown.heard(story)
        assert "gpu1: no data" in shown.text()
        shown.clock.t = 4.2
        await shown.still()
        await screen_text(shown.app)


async def test_a_lost_meter_is_told(flight: InFlight) -> None:
    story = in_measured_block(flight)
    story.add("sampler.lost", meter="rapl", message="gone")
    async with live(flight.store) as shown:
        await shown.heard(story)
        assert "! running, rapl lost" in shown.text()
        assert "meter rapl was lost: gone" in shown.text()


async def test_a_broken_line_is_passed_over(flight: InFlight) -> None:
    story = in_measured_block(flight)
    with story.path.open("ab") as file:
        file.write(b'{"not an event\n\xff\n')
    story.add("live", 0.5, power={"gpu0": None}, state=None, joules={"gpu0": "much"})
    story.live(600)
    async with live(flight.store) as shown:
        await shown.heard(story)
        assert "running, 2 broken" in shown.text()


@pytest.mark.parametrize("size", [(100, 30), (80, 24), (60, 15)])
async def test_an_estimate_says_so(flight: InFlight, size: tuple[int, int]) -> None:
    story = Story(flight.path)
    story.begin(ID, 1)
    story.add("launch.begin", launch=0)
    story.add("phase.begin", launch=0, phase="measured", part=None)
    for beat in range(6):
        story.add("live", 0.5, power={"host": 34.2}, joules={"host": beat * 17.1})
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        text = shown.text()
        if size[1] < 16:
            assert "34.2 W est. · ≈ 85.5 J est." in text
            return
        assert "host (estimated) 34.2 W" in text
        assert "│estimated" in text or "34.2 W estimated" in text
        assert "≈ " in text


# --- how it ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["complete", "aborted"])
async def test_the_end(flight: InFlight, status: str, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        sealed = end(flight, status, story)
        await shown.until(lambda: shown.screen.over)
        assert shown.screen.over and shown.screen.over.run == sealed
        assert shown.screen.command == f"kit show {sealed.name[:12]}"
        await shown.until(lambda: shown.screen.has_class("-result"))
        await screen_text(shown.app)


@pytest.mark.parametrize("size", [(140, 40), (100, 30), (80, 24), (60, 15)])
async def test_the_end_shows_all_launches_as_they_were_sealed(
    flight: InFlight, size: tuple[int, int]
) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        assert "result of all launches" not in shown.text()
        end(flight, "complete", story)
        await shown.until(lambda: shown.screen.has_class("-result"))
        text = shown.text()
        assert "so far" not in text and "90/160" not in text
        for joules in ("2.460", "2.348", "2.440"):  # of the three launches that were sealed
            assert joules in text
        assert "2.416 J ± 0.035 (3 launches)" in text


async def test_the_figures_of_a_run_that_was_not_sealed_are_of_a_launch(flight: InFlight) -> None:
    story = in_measured_block(flight)
    story.add("run.end", status="failed", reason="it died")
    async with live(flight.store) as shown:
        await shown.heard(story)
        assert "of launch 1" in shown.text() and "so far" not in shown.text()


async def test_a_tile_without_a_value_says_what_is_missing(flight: InFlight) -> None:
    story = Story(flight.path)
    story.begin(ID)
    async with live(flight.store) as shown:
        await shown.heard(story)
        text = shown.text()
        for word in ("no reading yet", "measured block", "no sensor", "no GPU clock", "no request"):
            assert word in text
        assert "unknown" not in text


@pytest.mark.parametrize("seen_going", [True, False])
async def test_a_bell_rings_at_the_end_of_a_run_that_was_watched(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch, seen_going: bool
) -> None:
    rung: list[tuple[str, ...]] = []
    monkeypatch.setattr(KitApp, "announce", lambda _, *words: rung.append(words))
    story = in_measured_block(flight)
    if not seen_going:
        end(flight, "complete", story)
    async with live(flight.store) as shown:
        if seen_going:
            await shown.heard(story)
            assert not rung
            end(flight, "complete", story)
        await shown.until(lambda: shown.screen.over)
        assert rung == ([("kit", f"run {ID}: complete")] if seen_going else [])


# --- the GPUs ---------------------------------------------------------------------------------


class Crowd:
    """A driver whose second GPU also has somebody else's process."""

    asked: ClassVar[list[str]] = []

    def read(self, container: str) -> dict[str, Seen]:
        self.asked.append(container)
        own = Process(4711, "llama-server", 40 << 30, True)
        other = Process(99, "Xorg", 300 << 20, False)
        return {f"gpu{n}": Seen(97, 41 << 30, 80 << 30, (own, other)[: 1 + n]) for n in range(2)}

    def close(self) -> None:
        self.asked.append("closed")


@pytest.mark.parametrize("size", [(140, 40), (100, 30), (80, 24), (60, 15)])
async def test_each_gpu_has_a_cell_with_who_uses_it(
    flight: InFlight,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    screen_text: ScreenText,
) -> None:
    monkeypatch.setattr(live_screen, "Occupants", Crowd)
    monkeypatch.setattr(Crowd, "asked", [])
    story = in_measured_block(flight)
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        assert not Crowd.asked  # nobody looks
        await shown.press("G")
        await shown.until(lambda: shown.screen.occupants)
        assert Crowd.asked == [f"kit-{ID}-1"]
        text = shown.text()
        assert "gpu0 613 W" in text and "gpu1 552 W" in text and "97 %" in text
        assert "! 99 Xorg 300 MiB is not the run's" in text
        assert "4711 llama-server 40 GiB" in text and "! 4711" not in text
        await screen_text(shown.app)
        await shown.press("G")
        assert "Xorg" not in shown.text()
        await shown.until(lambda: Crowd.asked[-1] == "closed")


async def test_the_grid_alone_and_frozen_and_at_the_end(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_screen, "Occupants", Crowd)
    story = in_measured_block(flight)
    async with live(flight.store, (100, 30)) as shown:
        await shown.heard(story)
        await shown.press("G")
        await shown.until(lambda: shown.screen.occupants)
        await shown.press("z")
        assert "Xorg" in shown.text() and "warmup" not in shown.text()
        await shown.press("G")  # the plot again, and all of the rest
        assert "Xorg" not in shown.text() and not shown.screen.maximized
        await shown.press("G")
        await shown.until(lambda: shown.screen.occupants)
        await shown.press("space")
        seen = shown.screen.occupants
        shown.screen.post_message(LiveScreen.Watched({}))
        await shown.app.animator.wait_for_idle()
        assert shown.screen.frozen and shown.screen.occupants is seen
        await shown.press("G", "G")  # who looks while it is frozen sees who is there now
        await shown.until(lambda: shown.screen.occupants)
        await shown.press("space")
        shown.screen.show_over(Over("dead", "gone"))
        assert not shown.screen.occupants


async def test_lines_that_come_while_the_log_is_hidden_are_whole(flight: InFlight) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, (100, 30)) as shown:
        await shown.heard(story)
        await shown.press("z")
        story.add("mark", text="what was said while it was hidden")
        await shown.heard(story)
        await shown.press("z")
        assert "what was said while it was hidden" in shown.text()


async def test_without_room_strangers_are_counted(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_screen, "Occupants", Crowd)
    story = in_measured_block(flight, gpus=8)
    async with live(flight.store, (60, 15)) as shown:
        await shown.heard(story)
        await shown.press("G")
        await shown.until(lambda: shown.screen.occupants)
        (line,) = (line for line in shown.text().splitlines() if "gpu1" in line)
        assert "! 1 not the run's" in line
        assert all(f"gpu{n} " in shown.text() for n in range(8))


async def test_without_a_driver_the_grid_says_why_nobody_is_listed(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MeterUnavailable("no NVIDIA driver")

    monkeypatch.setattr(live_screen, "Occupants", missing)
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("G")
        await shown.until(lambda: shown.screen.occupants_missing)
        assert "processes are not listed: no NVIDIA driver" in shown.text()
        assert "gpu1 552 W" in shown.text()


async def test_enter_opens_and_v_verifies(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, asked = in_measured_block(flight), []
    monkeypatch.setattr(KitApp, "show_run", lambda _, run: asked.append(("run", run)))
    monkeypatch.setattr(KitApp, "show_verify", lambda _, run: asked.append(("verify", run)))
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("enter", "v")
        assert asked == []
        sealed = end(flight, "complete", story)
        await shown.until(lambda: shown.screen.over)
        await shown.press("enter", "v")
        assert asked == [("run", sealed), ("verify", sealed)]


@pytest.mark.parametrize("size", [(100, 30), (80, 24)])
async def test_a_runner_that_died(
    flight: InFlight, size: tuple[int, int], screen_text: ScreenText
) -> None:
    story = in_measured_block(flight)
    lines = [f"line {n} of its log" for n in range(40)]
    flight.scratch("runner.log").write_text("\n".join([*lines, "Segmentation fault"]))
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        flight.release()
        await shown.until(lambda: shown.screen.over)
        assert shown.screen.command == "kit recover"
        await screen_text(shown.app)


async def test_one_that_had_died_before_we_came(flight: InFlight) -> None:
    in_measured_block(flight)
    flight.release()
    async with live(flight.store) as shown:
        await shown.until(lambda: shown.screen.over)
        assert "runner dead" in shown.text()
        assert shown.screen.snapshot.launch == 1


def block(flight: InFlight) -> None:
    findings = [
        {"code": "ENGINE", "level": "ok", "message": "docker 29.1", "remedy": ""},
        {"code": "RAPL", "level": "fail", "message": "no [rapl]", "remedy": "chmod a+r …"},
        {"code": "LOAD", "level": "warn", "message": "load average 9", "remedy": ""},
    ]
    refusal = Refusal(
        id=flight.id,
        utc="2026-11-21T05:12:00+00:00",
        name="quickstart",
        spec_hash="0" * 64,
        code="PreflightFailed",
        message="preflight: no rapl",
        findings=msgspec.convert(findings, tuple[Finding, ...]),
    )
    refusals.keep(flight.store, refusal)
    flight.store.discard(flight.id)
    flight.release()


async def test_blocked_by_preflight(flight: InFlight, screen_text: ScreenText) -> None:
    async with live(flight.store) as shown:
        await shown.until(lambda: "stop" in _keys(shown))
        block(flight)
        await shown.until(lambda: shown.screen.over)
        await screen_text(shown.app)
        assert flight.store.ids() == []


async def test_a_refused_run_says_why_to_who_comes_later(flight: InFlight) -> None:
    block(flight)
    async with live(flight.store) as shown:
        await shown.until(lambda: shown.screen.over)
        assert shown.screen.over and shown.screen.over.kind == "blocked"
        assert "no [rapl]" in shown.text() and "chmod a+r" in shown.text()


async def test_a_run_that_waits_says_for_which(flight: InFlight) -> None:
    with queue.ticket("0ther0ne"), queue.ticket(flight.id):
        async with live(flight.store) as shown:
            await shown.until(lambda: "waiting for run 0ther0ne" in shown.text())
            assert "position 1" in shown.text()


async def test_two_faces_see_one_blocked_run(flight: InFlight) -> None:
    async with live(flight.store) as shown:
        await shown.until(lambda: "stop" in _keys(shown))
        flight.store.discard(ID)  # the other one was quicker to tell why
        await shown.until(lambda: shown.screen.over)
        assert shown.screen.over and shown.screen.over.kind == "gone"


async def test_a_run_that_ended_while_we_looked_elsewhere(flight: InFlight) -> None:
    sealed = end(flight, "complete", in_measured_block(flight))
    async with live(flight.store) as shown:
        await shown.until(lambda: shown.screen.over)
        assert shown.screen.over and shown.screen.over.run == sealed
        assert "✔ complete" in shown.text()
        assert "fan [red]noise" in shown.text()


async def test_no_such_run(store: Store) -> None:
    async with live(store, name="nothing") as shown:
        await shown.until(lambda: shown.screen.over)
        said = "".join(shown.text().replace("█", "").split())
        assert "nosuchrun" in said
        assert f"norunisinprogressin{store.root}" in said, "the path is wrapped, not cut"
        assert "`kitls`liststhesealedruns" in said


# --- keys -----------------------------------------------------------------------------------


def _keys(shown: Shown) -> list[str]:
    """The ids of the keys that can be used now, in the order of the line of keys."""
    return [a.binding.id or "" for a in shown.screen.active_bindings.values() if a.enabled]


async def test_stop_asks_and_no_is_the_default(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch, screen_text: ScreenText
) -> None:
    story, killed = in_measured_block(flight), []
    monkeypatch.setattr(os, "kill", lambda *call: killed.append(call))
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("x")
        await screen_text(shown.app)
        await shown.press("enter")
        assert killed == []
        await shown.press("x", "escape", "x", "n")
        assert killed == [] and shown.app.screen is shown.screen
        await shown.press("x", "y")
        await shown.until(lambda: killed)
        assert killed == [(os.getpid(), signal.SIGTERM)]


async def test_nobody_is_stopped_before_the_runner_has_begun(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *call: killed.append(call))
    flight.scratch("adopted").unlink()
    async with live(flight.store) as shown:
        await shown.until(lambda: "stop" in _keys(shown))
        await shown.press("x", "y")
        await shown.until(lambda: list(shown.app._notifications))
        (line,) = shown.app._notifications
        assert line.message.startswith("the runner is only starting")
        assert killed == []


@pytest.mark.parametrize("size", [(60, 15), (40, 8), (20, 5)])
async def test_stop_and_leave_work_in_a_small_terminal(
    flight: InFlight,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
) -> None:
    story, killed = in_measured_block(flight), []
    monkeypatch.setattr(os, "kill", lambda *call: killed.append(call))
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        await shown.press("x", "y")
        await shown.until(lambda: killed)
        await shown.pilot.press("q")
        assert shown.app._exit
    assert f"the run continues; kit attach {ID}" in capsys.readouterr().err


async def test_a_mark_is_left_for_the_runner(flight: InFlight) -> None:
    story, left = in_measured_block(flight), flight.scratch(marks.FOLDER)
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("m", *"window", "enter")
        await shown.until(lambda: list(left.glob("*.json")))
        assert [m.text for m in marks.collect(left)] == ["window"]
        await shown.press("m", "escape")
        assert shown.app.screen is shown.screen
        assert list(marks.collect(left)) == []


async def test_freezing_holds_the_picture_while_data_go_on(flight: InFlight) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("space")
        before = shown.text()
        assert "○ frozen" in before
        story.live(300)
        await shown.heard(story)
        shown.clock.t = 9.0
        await shown.still()
        assert shown.text() == before
        await shown.press("space")
        assert "no data 9 s" in shown.text()


async def test_windows_and_devices(flight: InFlight, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("plus", "plus", "plus", "plus", "g")
        assert "last 0:30" in shown.text()
        assert "gpu1" not in shown.text()
        await screen_text(shown.app)
        await shown.press("minus", "minus", "minus", "minus")
        assert "whole run" in shown.text()
        await shown.press("g", "g", "g", "g")
        assert "gpu1" in shown.text() and "gpu0" in shown.text()


async def test_plus_and_minus_zoom_around_the_cursor(flight: InFlight) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        plot = shown.screen.query_one(PlotPanel)
        await shown.press("left")
        at = plot.cursor
        assert at is not None
        await shown.press("plus", "plus")
        assert plot.close and plot.close[1] - plot.close[0] == 50.0  # of 200 s
        assert plot.close[0] < at < plot.close[1]
        assert "50 s of the run" in shown.text() and plot.cursor == at
        await shown.press(*["shift+right"] * 9)
        assert plot.cursor > at and plot.close[0] <= plot.cursor <= plot.close[1]
        await shown.press("minus", "minus")
        assert "whole run" in shown.text()
        await shown.press("plus", "0")
        assert plot.cursor is None and plot.close is None and "whole run" in shown.text()


async def test_a_cursor_reads_time_and_watts(flight: InFlight) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        await shown.press("left")
        first = shown.text().split("began ─")[1].splitlines()[1]
        assert " s  ■ gpu0 " in first and "pdu:a:1" in first
        await shown.press("shift+right", "shift+right", "right")
        assert shown.text().split("began ─")[1].splitlines()[1] != first
        await shown.press("plus", "0")
        assert "whole run" in shown.text() and "■ gpu0 613 W  ■ gpu1 552 W" in shown.text()


@pytest.mark.parametrize("size", [(140, 40), (80, 24), (60, 15), (40, 8)])
async def test_one_device_shows_its_own_energy(flight: InFlight, size: tuple[int, int]) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, size) as shown:
        await shown.heard(story)
        assert size == (40, 8) or "26.3 kJ GPU" in shown.text()
        await shown.press("g", "g")
        assert "552 W gpu1" in shown.text()
        assert size == (40, 8) or "12.5 kJ gpu1" in shown.text()
        assert "26.3 kJ" not in shown.text()
        assert size[1] < 24 or "all GPUs" in shown.text()


async def test_zoom_gives_the_plot_the_screen(flight: InFlight, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, (80, 24)) as shown:
        await shown.heard(story)
        await shown.press("z")
        await screen_text(shown.app)
        await shown.press("escape")
        assert shown.screen.maximized is None and not shown.app._exit


async def test_the_log_and_its_filter(flight: InFlight, screen_text: ScreenText) -> None:
    story = in_measured_block(flight)
    async with live(flight.store, (80, 24)) as shown:
        await shown.heard(story)
        assert "startup began" not in shown.text()
        await shown.press("l")
        assert "measured began" in await at_rest(shown.app)
        await shown.press("slash", *"startup", "enter")
        assert "measured began" not in shown.text()
        await screen_text(shown.app)
        await shown.press("escape")
        assert "measured began" in shown.text()
        await shown.press("l")
        assert "measured began" not in shown.text()


async def test_only_what_changed_is_drawn(
    flight: InFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, drawings = in_measured_block(flight), []
    async with live(flight.store) as shown:
        await shown.heard(story)
        monkeypatch.setattr(Cells, "set_lines", lambda self, _: drawings.append(self.id))
        shown.screen.draw()
        assert drawings == []
        shown.clock.t = 1.0
        shown.screen.draw()
        assert "path" in drawings  # its seconds
        assert set(drawings) <= {"path", "power", "names"}  # the phase's name moves on


async def test_leaving_goes_back_where_we_came_from(flight: InFlight) -> None:
    story = in_measured_block(flight)
    async with live(flight.store) as shown:
        await shown.heard(story)
        second = LiveScreen(ID, clock=shown.clock, poll_s=POLL_S)
        await shown.app.push_screen(second)
        await shown.pilot.press("q")
        assert shown.app.screen is shown.screen
        (line,) = shown.app._notifications
        assert line.message == f"the run continues; `kit attach {ID}`"


# --- a recording ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_recording(size: tuple[int, int], screen_text: ScreenText) -> None:
    async with recording(size) as shown:
        shown.clock.t = 215 / 5
        await shown.still()
        await screen_text(shown.app)


async def test_a_recording_goes_on_with_the_clock_at_its_speed() -> None:
    async with recording() as shown:
        shown.clock.t = 4.0
        await shown.still()
        assert shown.screen.now() == 20 * 10**9
        await shown.press("greater_than_sign")
        shown.clock.t = 5.0
        await shown.still()
        assert shown.screen.now() == 30 * 10**9
        await shown.press("space")
        shown.clock.t = 100.0
        await shown.still()
        assert shown.screen.now() == 30 * 10**9
        assert "paused 10×" in shown.text()


async def test_phases_of_a_recording_forwards_and_backwards() -> None:
    async with recording() as shown:
        await shown.press("space", "n", "n", "n")
        assert shown.screen.snapshot.step and shown.screen.snapshot.step.phase == "warmup"
        await shown.press("p")
        assert shown.screen.snapshot.step and shown.screen.snapshot.step.phase == "startup"
        for _ in range(30):
            await shown.press("n")
        assert shown.screen.over and shown.screen.over.run == H200
        await shown.press("p")
        assert shown.screen.over is None
        assert shown.screen.snapshot.step and shown.screen.snapshot.step.phase == "idle"


async def test_the_end_of_a_recording(screen_text: ScreenText) -> None:
    async with recording() as shown:
        shown.clock.t = 1000.0
        await shown.still()
        await screen_text(shown.app)
        await shown.press("space")
        assert shown.screen.over is None
        assert shown.screen.now() == 0
