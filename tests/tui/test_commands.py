"""The commands that the UI names: each as it works on the store that is shown."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest
from textual.widget import Widget
from textual.widgets import Static

from kit.cli import main
from kit.core.errors import UsageError
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.commands import OF_THE_STORE, in_prose, with_store
from kit.tui.screen import KitScreen
from tests.tui.conftest import drawn
from tests.tui.waiting import notifications


def test_every_command_with_an_option_for_the_store_is_known() -> None:
    with_option = {"import"}
    for commands in main._COMMANDS.values():
        for name, (target, _) in commands.items():
            module, function = target.split(":")
            if "runs" in inspect.signature(getattr(import_module(module), function)).parameters:
                with_option.add(name)
    assert with_option == OF_THE_STORE


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("kit ls", "kit ls --runs '/a b'"),
        (
            "kit plan 'x y' && kit run x",
            "kit plan 'x y' --runs '/a b' && kit run x --runs '/a b'",
        ),
        ("kit check a.json", "kit check a.json"),
        ("kit --help", "kit --help"),
        ("kit", "kit"),
        ("kit ls --runs here", "kit ls --runs here"),
        ("kit show it's", "kit show it's"),
        ("docker run kit ls", "docker run kit ls"),
        ("kit ls\nkit ls", "kit ls\nkit ls"),
    ],
)
def test_a_command_names_the_store(command: str, expected: str) -> None:
    assert with_store(command, "/a b") == expected
    assert with_store(command, "") == command


def test_prose_names_it_too() -> None:
    assert in_prose("`kit recover` seals it", "r") == "`kit recover --runs r` seals it"


class Plain(KitScreen):
    """A screen with one word."""

    def __init__(self) -> None:
        super().__init__()
        self.command = "kit ls"

    def body(self) -> Iterable[Widget]:
        yield Static("word")


async def test_what_is_shown_copied_and_told_names_the_store(store: Store) -> None:
    screen = Plain()
    app = KitApp(store, first=screen, runs="my runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "same as: kit ls --runs 'my runs'" in drawn(app)
        await pilot.press("y")
        await app.workers.wait_for_complete()
        assert app.clipboard == "kit ls --runs 'my runs'"
        screen.show_error(UsageError("no such run", "see `kit ls`"))
        await pilot.pause()
        assert "`kit ls --runs 'my runs'`" in notifications(app)


@pytest.mark.parametrize(
    ("asked", "named"), [([], ""), (["--runs", "mine"], "mine"), (["--runs", "default"], "")]
)
def test_only_a_store_apart_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("host.toml").write_text('[store]\nruns = "default"\n')
    started: list[str] = []
    monkeypatch.setattr("kit.cli.run._on_a_terminal", lambda: True)
    monkeypatch.setattr("kit.tui.start", lambda store, spec, runs: started.append(runs))
    assert main.dispatch(["tui", *asked]) == 0
    assert started == [named]
