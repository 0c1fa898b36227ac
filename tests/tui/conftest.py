"""The app over a store of its own, and snapshots of what it draws as plain text.

A snapshot is the screen's text, line by line: a change shows in a diff that a person can read.
``pytest --snapshot-update`` writes them anew; look at them before committing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.app import App
from textual.pilot import Pilot

from kit.store.store import Store

ScreenText = Callable[..., Awaitable[None]]
SIZES = ((80, 24), (100, 30), (140, 40))


class _Text(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "txt"


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
