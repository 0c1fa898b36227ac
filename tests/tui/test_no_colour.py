"""NO_COLOR: every screen in greys, with its state as a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.screen import Screen

from kit.core import resources
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.screens.compare import CompareScreen
from kit.tui.screens.home import HomeScreen
from kit.tui.screens.live import RecordingScreen
from kit.tui.screens.run import RunScreen
from kit.tui.screens.spec import SpecScreen
from kit.tui.screens.verify import VerifyScreen
from tests.committed import H200, QUICKSTART, REPLAY, RUNS
from tests.tui.conftest import drawn

SCREENS: dict[str, tuple[Callable[[], Screen[object]], str]] = {
    "home": (HomeScreen, "✔ complete"),
    "run": (lambda: RunScreen(H200), "✔ complete"),
    "verify": (lambda: VerifyScreen(REPLAY, QUICKSTART), "✔ VERIFIED"),
    "compare": (lambda: CompareScreen([QUICKSTART, REPLAY]), "✔ baseline"),
    "recording": (lambda: RecordingScreen(H200), "1st of 3 launches"),
    "spec": (lambda: SpecScreen(resources.specs_dir() / "quickstart.json"), "✔ valid"),
}


@pytest.mark.parametrize("name", SCREENS)
async def test_greys_and_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make, word = SCREENS[name]
    app = KitApp(Store(RUNS), first=make(), ascii_only=False)
    async with app.run_test(size=(100, 30)) as pilot:
        for _ in range(40):
            if word in drawn(app):
                break
            await pilot.pause(0.25)
        assert word in drawn(app)
        colours = {
            colour.triplet
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour and colour.triplet
        }
        assert colours
        assert all(len(set(triplet)) == 1 for triplet in colours)
