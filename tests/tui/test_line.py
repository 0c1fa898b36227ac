"""Keys that one packet brings are done in their order."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from textual import events
from textual.widget import Widget

from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.screen import KitScreen
from kit.tui.widgets.line import LineInput


class Typing(KitScreen):
    """A line."""

    AUTO_FOCUS = "Input"

    def body(self) -> Iterable[Widget]:
        yield LineInput("old", select_on_focus=False)


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        (("ctrl+u", *"new"), "new"),
        ((*"x", "home", *"a"), "aoldx"),
        (("backspace", *"d"), "old"),
        (("ctrl+u", *"one", "ctrl+u", *"two"), "two"),
        ((*"q", "left", "left", *"-"), "ol-dq"),
    ],
)
async def test_a_burst_keeps_its_order(store: Store, keys: tuple[str, ...], left: str) -> None:
    async with KitApp(store, first=Typing()).run_test() as pilot:
        await pilot.pause()
        line = pilot.app.screen.query_one(LineInput)
        for key in keys:
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert line.value == left
