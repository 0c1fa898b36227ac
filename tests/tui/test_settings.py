"""Theme, ASCII and keys as a person set them; a bad file is told and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.store.store import Store
from kit.tui import settings
from kit.tui.app import KitApp
from tests.tui.test_screen import Plain


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    return tmp_path / settings.FILE


async def test_theme_and_keys_are_taken(store: Store, file: Path) -> None:
    file.write_text(json.dumps({"theme": "nord", "ascii": True, "keys": {"help": "f9"}}))
    app = KitApp(store, first=Plain())
    async with app.run_test() as pilot:
        assert app.theme == "nord"
        assert app.ascii_only
        await pilot.press("f9")
        assert type(app.screen).__name__ == "HelpScreen"


async def test_a_theme_that_was_chosen_is_kept(store: Store, file: Path) -> None:
    file.write_text(json.dumps({"keys": {"help": "f9"}}))
    app = KitApp(store, first=Plain())
    async with app.run_test() as pilot:
        app.theme = "gruvbox"
        await pilot.pause()
    assert json.loads(file.read_text()) == {"theme": "gruvbox", "keys": {"help": "f9"}}


@pytest.mark.parametrize("text", ["{", "[]", '{"theme": 3}', '{"keys": {"a": 1}}', "\x00"])
async def test_a_bad_file_is_told_and_left_alone(store: Store, file: Path, text: str) -> None:
    file.write_text(text)
    app = KitApp(store, first=Plain())
    async with app.run_test() as pilot:
        app.theme = "gruvbox"
        await pilot.pause()
        assert any(settings.FILE in n.message for n in app._notifications)
    assert file.read_text() == text


async def test_an_unknown_theme_or_key_changes_nothing(store: Store, file: Path) -> None:
    file.write_text(json.dumps({"theme": "no-such", "keys": {"no-such": "x"}}))
    async with KitApp(store, first=Plain()).run_test() as pilot:
        await pilot.press("question_mark")
        assert type(pilot.app.screen).__name__ == "HelpScreen"
