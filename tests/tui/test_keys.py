"""Keys as they are told: in the footer, in help and in the palette."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.screen import Screen

from kit.core import resources
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.filters import to_ascii
from kit.tui.keys import called
from kit.tui.runtable import RunTable
from kit.tui.screen import KitScreen
from kit.tui.screens.help import HelpScreen
from kit.tui.screens.home import HomeScreen
from kit.tui.screens.spec import SpecScreen
from tests.tui.conftest import ScreenText, drawn
from tests.tui.waiting import of_committed_runs, press, settled


def app_of(store: Store, first: Screen[object], *, ascii_only: bool = False) -> KitApp:
    return KitApp(store, first=first, ascii_only=ascii_only)


def footer(app: KitApp) -> str:
    return drawn(app).splitlines()[-1]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("enter", "enter"),
        ("ctrl+s", "^s"),
        ("shift+left", "shift+left"),
        ("question_mark", "?"),
        ("escape", "esc"),
        ("G", "G"),
    ],
)
def test_a_key_is_called_what_is_written_on_it(key: str, name: str) -> None:
    assert called(key) == name and name.isascii()


def test_no_glyph_becomes_the_name_of_a_key() -> None:
    assert to_ascii("≈ 3 ↻") == "~ 3 >"


async def test_while_a_filter_is_typed_the_footer_names_keys_that_act(tmp_path: Path) -> None:
    app = app_of(of_committed_runs(tmp_path), HomeScreen())
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "slash")
        assert footer(app) == "enter Keep esc Clear f1 Help ^p Palette"
        await press(pilot, *"h2", "enter")
        assert "n New" in footer(app) and "? Help" in footer(app)
        assert "1 of 3" in drawn(app)


async def test_a_field_of_the_form_is_no_filter(store: Store) -> None:
    file = resources.specs_dir() / "quickstart.json"
    async with app_of(store, SpecScreen(file)).run_test(size=(140, 40)) as pilot:
        await settled(pilot)
        assert "Keep" not in footer(pilot.app) and "y Copy" not in footer(pilot.app)


async def test_the_palette_runs_what_belongs_to_the_focus(tmp_path: Path) -> None:
    app = app_of(of_committed_runs(tmp_path), HomeScreen())
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(RunTable)
        await press(pilot, "colon", *"Last")
        await pilot.pause(0.5)  # the palette waits for the last letter
        await press(pilot, "enter")
        assert table.cursor_row == 2


async def test_the_palette_offers_each_action_once_with_its_keys(tmp_path: Path) -> None:
    app = app_of(of_committed_runs(tmp_path), HomeScreen())
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        commands = list(app.get_system_commands(app.screen))
        titles = [command.title for command in commands]
        assert titles.count("Help") == titles.count("Open") == titles.count("Open spec") == 1
        assert "key ?, f1" in [command.help for command in commands]
        await press(pilot, "slash")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"Screenshot", "Compare"} <= set(titles), "what is typed as a letter can be chosen"


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("of", ["home", "spec"])
async def test_help_begins_with_the_screens_own_keys(
    tmp_path: Path, of: str, ascii_only: bool, screen_text: ScreenText
) -> None:
    store = of_committed_runs(tmp_path)
    file = resources.specs_dir() / "quickstart.json"
    first: KitScreen = HomeScreen() if of == "home" else SpecScreen(file)
    app = app_of(store, first, ascii_only=ascii_only)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "f1")
        assert isinstance(app.screen, HelpScreen)
        await screen_text(app)
