"""What every screen has: the lines around it, help, copy, work off the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from kit.core.errors import UsageError
from kit.show.render.console import STYLES, THEME, plain
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.filters import to_ascii
from kit.tui.screen import KitScreen, badge
from tests.tui.conftest import ScreenText
from tests.tui.waiting import notifications


class Plain(KitScreen):
    """A screen with one word."""

    def __init__(self) -> None:
        super().__init__()
        self.crumbs, self.command = "Here", "kit ls"
        self.state = badge("ok", "well")

    def body(self) -> Iterable[Widget]:
        yield Static("word", id="word")


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (20, 5)])
async def test_a_screen_has_its_lines_at_every_size(
    store: Store, size: tuple[int, int], screen_text: ScreenText
) -> None:
    app = KitApp(store, first=Plain(), ascii_only=False)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await screen_text(app)


@pytest.mark.parametrize("name", STYLES)
async def test_a_named_style_is_shown_as_the_console_knows_it(store: Store, name: str) -> None:
    screen = Plain()
    async with KitApp(store, first=screen).run_test() as pilot:
        await pilot.pause()
        word, strips = screen.query_one("#word", Static), []
        for text in (plain("word", name), Text("word", THEME.styles[name]), Text("word")):
            word.update(text)
            await pilot.pause()
            strips.append(word.render_line(0))
        by_name, by_style, bare = strips
        assert by_name == by_style != bare


async def test_work_does_not_hold_up_keys(store: Store) -> None:
    screen, release, results = Plain(), threading.Event(), []
    async with KitApp(store, first=screen).run_test() as pilot:
        screen.fetch(lambda: release.wait(20), results.append)
        begun = time.monotonic()
        await pilot.press("question_mark")
        assert type(pilot.app.screen).__name__ == "HelpScreen"
        assert not results and time.monotonic() - begun < 5
        release.set()
        await pilot.app.workers.wait_for_complete()
        assert results == [True]


async def test_an_error_is_told_with_its_remedy_and_the_screen_stays(store: Store) -> None:
    def fail() -> None:
        raise UsageError("no such run", "see `kit ls`")

    screen = Plain()
    async with KitApp(store, first=screen).run_test() as pilot:
        screen.fetch(fail, lambda _: None)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        (notification,) = pilot.app._notifications
        assert notification.message == "no such run\nsee `kit ls`"
        assert pilot.app.screen is screen


async def test_copy_reaches_a_file_of_ones_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("TMUX", raising=False)
    async with KitApp(store, first=Plain()).run_test() as pilot:
        await pilot.press("y")
        await pilot.app.workers.wait_for_complete()
        assert pilot.app.clipboard == "kit ls"
    (file,) = folder.iterdir()
    assert file.read_text() == "kit ls"
    assert file.stat().st_mode & 0o077 == 0


async def test_a_screenshot_is_an_svg(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_SHOTS", str(tmp_path))
    async with KitApp(store, first=Plain()).run_test() as pilot:
        await pilot.press("s")
        await pilot.pause()
    (file,) = tmp_path.glob("*.svg")
    assert "<svg" in file.read_text()


async def test_the_palette_offers_each_key_of_the_screen(store: Store) -> None:
    app = KitApp(store, first=Plain())
    async with app.run_test():
        titles = {command.title for command in app.get_system_commands(app.screen)}
    assert {"Help", "Back", "Copy", "Screenshot"} <= titles


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_ascii_mode_draws_nothing_else(store: Store, ascii_only: bool) -> None:
    from tests.tui.conftest import drawn

    async with KitApp(store, first=Plain(), ascii_only=ascii_only).run_test() as pilot:
        await pilot.pause()
        assert drawn(pilot.app).isascii() == ascii_only


def test_ascii_keeps_the_columns() -> None:
    text = "─│┌✔✘●–…█▄⣿漢→×"
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == Text(text).cell_len


async def test_without_colour_every_state_is_still_a_word(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = KitApp(store, first=Plain(), ascii_only=False)
    async with app.run_test() as pilot:
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        colours = {
            colour.triplet
            for strip in strips
            for segment in strip
            if segment.style
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour and colour.triplet
        }
        assert colours and all(len(set(triplet)) == 1 for triplet in colours)  # greys
        assert "✔ well" in strips[0].text


async def test_leaving_does_not_wait_for_work(store: Store) -> None:
    screen, release = Plain(), threading.Event()
    begun = time.monotonic()
    async with KitApp(store, first=screen).run_test() as pilot:
        screen.fetch(lambda: release.wait(60), lambda _: None)
        await pilot.pause()
        pilot.app.exit()
    assert time.monotonic() - begun < 30
    assert all(t.daemon for t in threading.enumerate() if t.name == "kit-fetch")
    release.set()


async def test_a_bug_in_drawing_is_told_and_ends_nothing(store: Store) -> None:
    def draw(_: object) -> None:
        raise KeyError("odd")

    screen = Plain()
    async with KitApp(store, first=screen).run_test() as pilot:
        screen.fetch(lambda: 1, draw)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        (notification,) = pilot.app._notifications
        assert notification.title == "a bug in kit" and "odd" in notification.message
        assert pilot.app.screen is screen


async def test_changes_are_made_one_after_another_and_none_is_dropped(store: Store) -> None:
    screen, release = Plain(), threading.Event()
    made: list[str] = []
    heard: list[object] = []

    def first() -> str:
        release.wait(20)
        made.append("first")
        return "first"

    def refused() -> str:
        made.append("refused")
        raise UsageError("no room", "free some")

    async with KitApp(store, first=screen).run_test() as pilot:
        screen.change(first, heard.append)
        screen.change(refused, heard.append)
        screen.change(lambda: made.append("last"), heard.append)
        await pilot.pause()
        assert made == []
        release.set()
        await pilot.app.workers.wait_for_complete()
        assert made == ["first", "refused", "last"] and heard == ["first", None]
        assert "no room" in notifications(pilot.app)
