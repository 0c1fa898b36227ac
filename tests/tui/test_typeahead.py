"""Keys that come in one packet act as keys that are pressed slowly."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from kit.store.store import Store
from kit.tui import typeahead
from kit.tui.app import KitApp
from kit.tui.threads import in_thread
from tests.tui.waiting import of_committed_runs, press, settled

FORM = ["n", "enter"]  # a new spec from the first template: the focus is on its name


def at_once(app: KitApp, keys: list[str]) -> None:
    """Send keys as one packet does: all before any of them acts. A word is pasted."""
    for key in keys:
        event: events.Event = events.Key(key, key if len(key) == 1 else None)
        if key.startswith("paste:"):
            event = events.Paste(key.removeprefix("paste:"))
        app.post_message(event.set_sender(app))


async def slowly(pilot: Pilot[None], keys: list[str]) -> None:
    for key in keys:
        if key.startswith("paste:"):
            at_once(pilot.app, [key])  # type: ignore[arg-type]
            await settled(pilot)
        else:
            await press(pilot, key)


async def all_handed_out(app: KitApp) -> None:
    while app.is_handing_out_keys:
        await asyncio.sleep(0.01)


def state(app: KitApp) -> tuple[object, ...]:
    """Where the keys led: screens, focus, what stands in fields and where tables' cursors are."""
    fields = [field.value for field in app.screen.query(Input)]
    cursors = [table.cursor_coordinate for table in app.screen.query(DataTable)]
    focused = app.focused
    chain = [*app.screen.focus_chain]
    place = chain.index(focused) if focused in chain else None
    return [type(s).__name__ for s in app.screen_stack], type(focused), place, fields, cursors


@pytest.mark.parametrize(
    "keys",
    [
        [*FORM, "a", "tab", "b"],
        [*FORM, *["down"] * 16],
        [*FORM, "x", "paste:yz", "tab", "paste:of two", "home", "q"],
        [*FORM, "x", "shift+tab", "tab", "y"],
        [*FORM, "escape", "n", "down", "enter", "z"],
        ["down", "down", "up", "enter", "2", "escape", "down"],
        ["slash", "q", "u", "i", "enter", "down"],
        ["question_mark", "escape", "down"],
        ["colon", "h", "e", "l", "escape", "n"],
    ],
    ids=lambda keys: "-".join(keys[:4]),
)
async def test_a_packet_of_keys_acts_as_the_same_keys_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    store = of_committed_runs(tmp_path)
    monkeypatch.chdir(tmp_path)
    ends = []
    for packet in (False, True):
        app = KitApp(store)
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            if packet:
                at_once(app, keys)
                await pilot.pause()
                await all_handed_out(app)
            else:
                await slowly(pilot, keys)
            await settled(pilot)
            ends.append(state(app))
    assert ends[0] == ends[1]


async def test_text_that_is_typed_fast_waits_for_no_check(tmp_path: Path) -> None:
    app = KitApp(of_committed_runs(tmp_path))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, *FORM, "ctrl+u")
        at_once(app, ["a"] * 200)
        await pilot.pause()
        await all_handed_out(app)
        assert isinstance(app.focused, Input) and app.focused.value == "a" * 200


@pytest.mark.parametrize("work", ["a thread that follows", "a read that hangs"])
async def test_who_quits_does_not_wait_for_work_that_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    monkeypatch.setattr(typeahead, "LIMIT_S", 3600.0)
    store, hung = Store(tmp_path / "runs"), threading.Event()
    flight = store.begin()
    (tmp_path / "runs" / "ledger.jsonl").touch()
    flight.scratch("adopted").touch()
    app = KitApp(store)

    def opened() -> None:
        app.show_live(flight.id)
        if work == "a read that hangs":
            app.screen.run_worker(in_thread(hung.wait))

    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.bind("f9", "lasting")
        app.action_lasting = opened  # type: ignore[attr-defined]
        at_once(app, ["f9", "ctrl+q"])
        await pilot.pause()
        async with asyncio.timeout(60):  # a busy machine may take its time
            await all_handed_out(app)
    hung.set()
    flight.release()


async def test_a_bug_in_what_a_key_does_is_not_passed_over(tmp_path: Path) -> None:
    class Bug(Exception):
        pass

    def broken() -> None:
        raise Bug

    app = KitApp(of_committed_runs(tmp_path))
    with pytest.raises(Bug):
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            app.action_quit = broken  # type: ignore[assignment,method-assign]
            at_once(app, ["ctrl+q"])
            await pilot.pause()
            await all_handed_out(app)
