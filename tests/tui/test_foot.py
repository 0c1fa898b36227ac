"""The line of keys: what it shows, and what the mouse does on it."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.screens.help import HelpScreen
from kit.tui.screens.home import HomeScreen
from kit.tui.widgets.foot import Foot
from tests.tui.waiting import press, settled


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
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(size=(30, 24)) as pilot:
        await settled(pilot)
        foot, first = foot_of(pilot), line(pilot)
        assert not first.endswith("Help")
        for _ in range(99):
            foot.on_mouse_scroll_down()
        assert line(pilot)[-1] == foot_text(pilot)[-1] and foot_text(pilot).endswith(line(pilot))
        for _ in range(99):
            foot.on_mouse_scroll_up()
        assert line(pilot) == first


async def test_a_line_that_fits_again_is_shown_from_its_beginning(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(size=(30, 24)) as pilot:
        await settled(pilot)
        for _ in range(99):
            foot_of(pilot).on_mouse_scroll_down()
        await pilot.resize_terminal(160, 24)
        await settled(pilot)
        assert line(pilot) == foot_text(pilot)
        foot_of(pilot).on_mouse_scroll_up()
        assert foot_of(pilot).left == 0


def foot_text(pilot: Pilot[Any]) -> str:
    foot = foot_of(pilot)
    return " ".join(foot._part(binding).plain for binding in foot._shown())


async def test_it_says_what_acts_now(store: Store) -> None:
    async with KitApp(store, first=HomeScreen(), ascii_only=False).run_test(
        size=(160, 24)
    ) as pilot:
        await settled(pilot)
        await press(pilot, "slash")
        assert "Keep" in line(pilot) and "Mark" not in line(pilot)
        await press(pilot, "escape")
        assert "Keep" not in line(pilot) and "Mark" in line(pilot)
