"""Opening a spec that was saved before: from the chooser of a new one, from Home, by its name."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from kit.cli import main
from kit.core import resources
from kit.core.errors import UsageError
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.form import origin
from kit.tui.screens.spec import SpecScreen
from tests.tui.conftest import ScreenText, drawn
from tests.tui.waiting import notifications, press, settled

TEXT = (resources.specs_dir() / "quickstart.json").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two specs, a draft that is no JSON, and other files."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    texts = {
        "old.json": TEXT,
        "my run.json": TEXT.replace('"quickstart"', '"mine"', 1),
        "run-spec.draft-20261121-120000.json": TEXT[:200],
        "other.json": "{}",
        "notes.txt": TEXT,
    }
    for age, (name, text) in enumerate(texts.items()):
        (here / name).write_text(text)
        os.utime(here / name, (1_700_000_000 + age, 1_700_000_000 + age))
    (here / "folder.json").mkdir()
    (here / "nowhere.json").symlink_to("gone")
    return here


NEWEST_FIRST = ["run-spec.draft-20261121-120000.json", "my run.json", "old.json"]


def test_what_looks_like_a_spec_is_offered_newest_first(folder: Path) -> None:
    assert [path.path.name for path in origin.specs_in(folder)] == NEWEST_FIRST
    assert "draft" in origin.specs_in(folder)[0].line
    assert origin.specs_in(folder / "none") == []


def test_the_list_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_READ", 2)
    assert len(origin.specs_in(folder)) <= 2
    monkeypatch.setattr("kit.spec.spec.MAX_BYTES", 300)
    assert [path.path.name for path in origin.specs_in(folder)] == NEWEST_FIRST[:1]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone.json", "No such file"),
        ("folder.json", "Is a directory"),
        ("notes.md", "not JSON"),
        ("~nobody-of-this-name/x.json", "No such file"),
    ],
)
def test_what_is_no_spec_says_why(folder: Path, name: str, why: str) -> None:
    (folder / "notes.md").write_text("# Notes")
    with pytest.raises(UsageError, match=why):
        origin.named(name)


async def test_a_saved_spec_is_opened_in_place_of_a_template(
    store: Store, folder: Path, screen_text: ScreenText
) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "n", "end")
        await screen_text(app)
        await press(pilot, "up", "up", "enter")
        screen = app.screen
        assert isinstance(screen, SpecScreen) and "my run.json" in screen.crumbs
        assert screen.command == "kit check 'my run.json'"
        assert screen._draft.document["name"] == "mine"
        await press(pilot, *"x", "ctrl+s")
    assert json.loads((folder / "my run.json").read_text())["name"] == "minex"


async def test_a_draft_that_is_no_json_is_opened_to_be_mended(store: Store, folder: Path) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "O", "enter")
        assert isinstance(app.screen, SpecScreen) and "kit.run-spec/1" in drawn(app)
        assert "is not JSON" in drawn(app) and not notifications(app)


async def test_a_file_is_named_until_it_can_be_read(store: Store, folder: Path) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "O", "end", "enter", *"gone.json", "enter")
        assert "No such file" in notifications(app) and "gone.json" in drawn(app)
        await press(pilot, "ctrl+u", *"old.json", "enter")
        assert isinstance(app.screen, SpecScreen) and "old.json" in app.screen.crumbs


async def test_going_back_leads_back(store: Store, folder: Path) -> None:
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        home = app.screen
        await press(pilot, "n", "end", "enter", "escape")
        assert "begin with" in drawn(app)
        await press(pilot, "escape")
        assert app.screen is home


async def test_where_there_is_no_spec_a_name_is_asked_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    app = KitApp(store, ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        home = app.screen
        await press(pilot, "O")
        assert "A file's name" in drawn(app)
        await press(pilot, "escape")
        assert app.screen is home


async def test_the_ui_begins_with_the_spec_that_it_is_given(store: Store, folder: Path) -> None:
    app = KitApp(store, spec=Path("old.json"), ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, SpecScreen) and "old.json" in app.screen.crumbs
        await press(pilot, "escape")
        assert type(app.screen).__name__ == "HomeScreen"


def test_the_command_line_hands_the_spec_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path | None] = []
    monkeypatch.setattr("kit.cli.run._on_a_terminal", lambda: True)
    monkeypatch.setattr("kit.tui.start", lambda store, spec, runs: started.append(spec))
    assert main.dispatch(["tui", "my run.json"]) == 0
    assert main.dispatch(["tui"]) == 0
    assert started == [Path("my run.json"), None]
