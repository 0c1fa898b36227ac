"""The line of keys: what it shows, and what the mouse does on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.screens.compare import CompareScreen
from kit.tui.screens.help import HelpScreen
from kit.tui.screens.home import HomeScreen
from kit.tui.screens.live import LiveScreen, RecordingScreen
from kit.tui.screens.run import RunScreen
from kit.tui.screens.spec import SKELETON, SpecScreen
from kit.tui.screens.verify import VerifyScreen
from kit.tui.widgets.foot import Foot
from tests.committed import H200, QUICKSTART
from tests.tui.conftest import SIZES
from tests.tui.waiting import press, settled

COMMON = ("Help", "Back", "Quit", "Leave", "Copy", "Palette")


def foot_of(pilot: Pilot[Any]) -> Foot:
    return pilot.app.screen.query_one(Foot)


def line(pilot: Pilot[Any]) -> str:
    return foot_of(pilot).render_line(0).text.rstrip()


async def test_a_click_on_a_key_presses_it_and_the_mouse_says_more(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(
        size=(160, 24)
    ) as pilot:
        await settled(pilot)
        at = line(pilot).index("? Help")
        await pilot.hover(Foot, offset=(at, 0))
        assert foot_of(pilot).under == "question_mark"
        await pilot.hover(offset=(0, 0))
        assert foot_of(pilot).under == ""
        tooltips = {
            binding.binding.description: binding.tooltip
            for binding in pilot.app.screen.active_bindings.values()
            if binding.binding.show and binding.tooltip
        }
        for word, tooltip in tooltips.items():
            if word in line(pilot):
                await pilot.hover(Foot, offset=(line(pilot).index(word), 0))
                assert foot_of(pilot).tooltip == tooltip
        await pilot.click(Foot, offset=(at, 0))
        await settled(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)


async def test_a_line_that_is_too_long_is_moved_by_the_wheel(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(size=(40, 24)) as pilot:
        await settled(pilot)
        foot, first = foot_of(pilot), line(pilot)
        assert "R Refresh" not in first
        for _ in range(99):
            foot.on_mouse_scroll_down()
        assert "R Refresh" in line(pilot) and "? Help q Quit" in line(pilot)
        for _ in range(99):
            foot.on_mouse_scroll_up()
        assert line(pilot) == first


async def test_a_line_that_fits_again_is_shown_from_its_beginning(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(size=(40, 24)) as pilot:
        await settled(pilot)
        for _ in range(99):
            foot_of(pilot).on_mouse_scroll_down()
        await pilot.resize_terminal(160, 24)
        await settled(pilot)
        assert sorted(line(pilot)) == sorted(" ".join(keys(pilot)))
        foot_of(pilot).on_mouse_scroll_up()
        assert foot_of(pilot).left == 0


def keys(pilot: Pilot[Any]) -> list[str]:
    """Each key of the line in full."""
    foot = foot_of(pilot)
    return [foot._part(binding).plain for binding in foot._shown()]


SCREENS: dict[str, Callable[[], Screen[Any]]] = {
    "home": HomeScreen,
    "spec": lambda: SpecScreen(document=SKELETON),
    "run": lambda: RunScreen(H200),
    "verify": lambda: VerifyScreen(H200),
    "compare": lambda: CompareScreen([H200, QUICKSTART]),
    "recording": lambda: RecordingScreen(H200),
    "live": lambda: LiveScreen("nothing"),
    "help": lambda: HelpScreen(HomeScreen()),
}


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
@pytest.mark.parametrize("name", SCREENS)
async def test_own_keys_come_first_and_none_is_cut(
    name: str, size: tuple[int, int], store: Store
) -> None:
    async with KitApp(store, first=SCREENS[name](), ascii_only=False).run_test(size=size) as pilot:
        await settled(pilot)
        left, seen = line(pilot), []
        while left:
            fitting = [key for key in keys(pilot) if left == key or left.startswith(f"{key} ")]
            assert fitting, f"{left!r} begins with no whole key"
            seen.append(max(fitting, key=len))
            left = left.removeprefix(seen[-1]).lstrip()
        common = [n for n, key in enumerate(seen) if key.split(" ", 1)[1] in COMMON]
        assert common == list(range(len(seen) - len(common), len(seen))), seen
        for word in ("Help", "Back", "Leave", "Quit"):
            assert sum(key.endswith(word) for key in keys(pilot)) == sum(
                key.endswith(word) for key in seen
            )


async def test_it_says_what_acts_now(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(
        size=(160, 24)
    ) as pilot:
        await settled(pilot)
        await press(pilot, "slash")
        assert "Keep" in line(pilot) and "Mark" not in line(pilot)
        await press(pilot, "escape")
        assert "Keep" not in line(pilot) and "Mark" in line(pilot)
