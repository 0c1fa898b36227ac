"""What a key may cost: few widgets drawn, no layout, no list drawn again for one line of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from kit.core import resources
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.form.jsonview import JsonView
from kit.tui.form.rows import Choice, ChoiceRow, Choices
from kit.tui.power import PowerPlot
from kit.tui.screen import KitScreen
from kit.tui.screens.home import HomeScreen
from kit.tui.screens.run import RunScreen
from kit.tui.screens.spec import SpecScreen
from kit.tui.widgets.changingtext import ChangingText
from tests.committed import H200
from tests.tui.waiting import of_committed_runs, press, settled

SIZE = (140, 40)


class Count:
    """Calls of methods, counted."""

    def __init__(self) -> None:
        self.n = 0


@contextmanager
def counted(owner: type, name: str) -> Iterator[Count]:
    count, before = Count(), getattr(owner, name)

    def counting(*args: Any, **more: Any) -> Any:
        count.n += type(args[0]) is not Screen  # the application's own, which is under every other
        return before(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, counting)
        yield count


def form() -> SpecScreen:
    return SpecScreen(resources.specs_dir() / "quickstart.json")


async def test_the_form_comes_with_one_layout(store: Store) -> None:
    with counted(Screen, "_refresh_layout") as layouts:
        async with KitApp(store, first=(screen := form())).run_test(size=SIZE) as pilot:
            await settled(pilot)
            assert len(screen._sheet._rows) > 20
    assert layouts.n <= 4  # without rows, with all of them, for its scroll bar and its help


async def test_a_choice_is_one_widget_until_someone_chooses(store: Store) -> None:
    async with KitApp(store, first=(screen := form())).run_test(size=SIZE) as pilot:
        await settled(pilot)
        rows = list(screen.query(ChoiceRow))
        assert rows and all(len(row.children) == 1 for row in rows)
        line = rows[0].query_one(Choice)
        line.focus()
        await press(pilot, "enter")
        assert screen.focused is screen.query_one(Choices)
        await press(pilot, "t")  # a letter goes to the next word that begins with it
        chosen = screen.query_one(Choices)
        assert str(chosen.highlighted_option and chosen.highlighted_option.prompt).startswith("t")
        await press(pilot, "escape")
        assert screen.focused is line and not screen.query(Choices)
        assert not screen._unsaved


@pytest.mark.parametrize("key", ["down", "x"])
async def test_a_key_in_the_form_draws_what_it_changes(store: Store, key: str) -> None:
    async with KitApp(store, first=form()).run_test(size=SIZE) as pilot:
        await press(pilot, "down", "down")
        with (
            counted(Screen, "_refresh_layout") as layouts,
            counted(Widget, "render_lines") as drawn,
            counted(JsonView, "render_line") as lines,
        ):
            await pilot.press(key)
            for _ in range(5):
                await pilot.pause()
        assert layouts.n == 0 and drawn.n < 40
        assert lines.n <= 6


class WithText(KitScreen):
    """A screen with a text."""

    def body(self) -> Iterable[Widget]:
        yield ChangingText(id="text")


async def test_a_layout_is_made_only_for_another_height(store: Store) -> None:
    app = KitApp(store, first=(screen := WithText()))
    async with app.run_test(size=SIZE) as pilot:
        text = screen.query_one(ChangingText)
        text.styles.height = "auto"
        text.update("a\nb")
        await settled(pilot)
        with (
            counted(Screen, "_refresh_layout") as layouts,
            counted(ChangingText, "render_line") as lines,
        ):
            text.update("a\nc")
            await settled(pilot)
            assert layouts.n == 0 and lines.n == 1
            text.update("a\nb\nc")
            await settled(pilot)
            assert layouts.n == 1 and text.size.height == 3


async def test_a_drawing_that_was_made_is_kept(store: Store) -> None:
    async with KitApp(store, first=RunScreen(H200)).run_test(size=SIZE) as pilot:
        await press(pilot, "2", "right")
        with counted(PowerPlot, "build") as built:
            await press(pilot, "plus", "minus", "plus", "minus", "plus", "0")
        assert built.n == 1


async def test_a_run_seen_before_is_shown_without_drawing_its_plot(tmp_path: Any) -> None:
    app = KitApp(of_committed_runs(tmp_path), first=HomeScreen())
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "down", "down", "up", "up")
        times = []
        for _ in range(3):  # a busy machine may look at the store again between two keys
            with counted(PowerPlot, "build") as built:
                await press(pilot, "down", "down", "up", "up")
            times.append(built.n)
        assert 0 in times


async def test_a_message_takes_a_place_and_covers_nothing(store: Store) -> None:
    app = KitApp(store, first=(screen := HomeScreen()))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settled(pilot)
        screen.notify("first\nsecond", timeout=60)
        await settled(pilot)
        (toast,) = screen.query("Toast").results(Widget)
        assert toast.region.height == 2
        for widget in screen.query("TopLine, #home-body, #command, Foot").results(Widget):
            assert not widget.region.overlaps(toast.region), widget
        assert _text(pilot).count("second") == 1


def _text(pilot: Pilot[Any]) -> str:
    from tests.tui.conftest import drawn

    return drawn(pilot.app)
