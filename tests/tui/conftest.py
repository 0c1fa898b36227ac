"""The app over a store of its own, and snapshots of what it draws as plain text.

A snapshot is the screen's text, line by line: a change shows in a diff that a person can read.
``pytest --snapshot-update`` writes them anew; look at them before committing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from syrupy.types import SnapshotIndex
from textual.app import App
from textual.pilot import Pilot

from kit.judge import admission, replay
from kit.store.store import Store
from tests.committed import ALL, RUNS

ScreenText = Callable[..., Awaitable[None]]
SIZES = ((80, 24), (100, 30), (140, 40))


class _Text(SingleFileSnapshotExtension):
    """A text file a screen, under a name that no shell and no system minds."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: SnapshotIndex = 0) -> str:
        """``the_screen-two-80x24`` of ``test_the_screen[two-80x24]``."""
        name = super().get_snapshot_name(test_location=test_location, index=index)
        return re.sub(r"[^\w.]+", "-", name.removeprefix("test_")).strip("-")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A terminal's size is called ``80x24`` in a test's name, and so in its snapshot's."""
    match val:
        case (int(columns), int(rows)) if argname == "size":
            return f"{columns}x{rows}"
    return None


@pytest.fixture(scope="session", autouse=True)
def _committed_once() -> Iterator[None]:
    """The committed runs, which no test changes, are verified and computed once a process."""
    places = {*ALL, *(RUNS / run.name for run in ALL)}

    def once(of: Callable[..., Any]) -> Callable[..., Any]:
        cached = cache(of)
        return lambda run, **how: (cached if run in places else of)(run, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "verify_run", once(admission.verify_run))
        patch.setattr(replay, "computed", once(replay.computed))
        yield


@pytest.fixture(autouse=True)
def _nobodys_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them."""
    (tmp_path / "host.toml").touch()
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    for name in ("NO_COLOR", "KIT_ASCII", "TMUX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def screen_text(snapshot: SnapshotAssertion) -> ScreenText:
    """Asserts that the app draws what its snapshot holds."""
    texts = snapshot.use_extension(_Text)

    async def check(app: App[Any], name: str = "") -> None:
        shown = await at_rest(app)
        assert shown == (texts(name=name) if name else texts)

    return check


async def at_rest(app: App[Any]) -> str:
    """The screen's text once nothing on it changes: a footer is made a moment after its screen."""
    pilot, alike, shown = Pilot(app), 0, drawn(app)
    for _ in range(100):
        await pilot.pause()
        now = drawn(app)
        alike, shown = (alike + 1 if now == shown else 0), now
        if alike == 2:
            break
    return shown


def drawn(app: App[Any]) -> str:
    """The screen's text without trailing blanks."""
    lines = app.screen._compositor.render_strips()
    return "".join(strip.text.rstrip() + "\n" for strip in lines)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "runs")
