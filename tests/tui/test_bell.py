"""What the terminal is told when a run ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.store.store import Store
from kit.tui import app as apps
from kit.tui import settings
from kit.tui.app import KitApp
from kit.tui.bell import BELL, announcement
from tests.tui.test_screen import Plain


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color"}, BELL),
        ({"TERM": "xterm-kitty"}, f"\x1b]9;kit: run a: complete\x1b\\{BELL}"),
        ({"TERM": "x", "TERM_PROGRAM": "iTerm.app"}, f"\x1b]9;kit: run a: complete\x1b\\{BELL}"),
        ({"TERM": "foot"}, f"\x1b]777;notify;kit;run a: complete\x1b\\{BELL}"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, BELL),
        ({}, BELL),
    ],
)
def test_a_terminal_gets_what_it_understands(environ: dict[str, str], wanted: str) -> None:
    assert announcement("kit", "run a: complete", environ) == wanted


def test_a_name_cannot_end_the_sequence() -> None:
    told = announcement("kit", "run \x1b\\\x07;x", {"TERM": "foot"})
    assert told.count("\x1b") == 2 and told.count(BELL) == 1 and told.count(";") == 3


@pytest.mark.parametrize("bell", [None, True, False])
async def test_a_setting_forbids_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bell: bool | None
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(apps, "send", lambda _, sequence: sent.append(sequence))
    if bell is not None:
        (tmp_path / settings.FILE).write_text(json.dumps({"bell": bell}))
    async with (app := KitApp(store, first=Plain())).run_test():
        app.announce("kit", "run a: complete")
    assert bool(sent) == (bell is not False)


async def test_without_a_terminal_nothing_is_written(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (app := KitApp(store, first=Plain())).run_test():
        app.announce("kit", "run a: complete")
    assert BELL not in "".join(capfd.readouterr())


def test_the_setting_is_kept(tmp_path: Path) -> None:
    path = tmp_path / settings.FILE
    path.write_text(json.dumps({"bell": False}))
    settings.keep_theme("nord", path)
    assert settings.load(path).bell is False and settings.load(path).theme == "nord"
