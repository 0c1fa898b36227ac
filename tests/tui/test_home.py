"""Home: the runs of a store, whatever state they are in, and what the keys do with them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from kit.core import jsonio
from kit.core.errors import ImageUnavailable
from kit.judge.replay import ImagePart
from kit.show import runlist
from kit.show.render.console import GLYPHS
from kit.show.render.rows import BADGES
from kit.show.runlist import Row
from kit.store import notes
from kit.store.store import InFlight, Store
from kit.tui import settings
from kit.tui.app import KitApp
from kit.tui.rowlist import SORTS
from kit.tui.runtable import PAGE, RunTable, cells, columns
from kit.tui.screens.home import HomeScreen
from kit.tui.states import state_of
from tests.committed import H200, QUICKSTART, REPLAY
from tests.strangers import undertaking
from tests.test_runlist import MANIFEST, SPEC, made
from tests.tui.conftest import SIZES, ScreenText, drawn
from tests.tui.waiting import notifications, of_committed_runs, press, settled

HOSTILE = "\x1b[2J\x1b]0;x\x07[bold green]VERIFIED[/] \u202eevil"


@pytest.fixture
def three(tmp_path: Path) -> Store:
    """A store with the committed runs."""
    return of_committed_runs(tmp_path)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Which screens were asked for, in place of showing them."""
    calls: list[tuple[str, Any]] = []
    for name in ("spec", "live", "run", "compare", "verify", "plan"):

        def record(_: KitApp, *args: Any, _name: str = name, **more: Any) -> None:
            calls.append((_name, (*args, *more.values())))

        monkeypatch.setattr(KitApp, f"show_{name}", record)
    return calls


def home(store: Store, *, ascii_only: bool = False) -> KitApp:
    return KitApp(store, first=HomeScreen(), ascii_only=ascii_only)


async def test_a_window_of_one_column_lists_the_states(three: Store) -> None:
    app = home(three)
    async with app.run_test(size=(20, 6)) as pilot:
        await settled(pilot)
        assert "complete" in drawn(app) and "bug" not in drawn(app)


@pytest.mark.parametrize("size", [(60, 15), *SIZES])
async def test_the_list_fits_every_size(
    three: Store, size: tuple[int, int], screen_text: ScreenText
) -> None:
    app = home(three)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await screen_text(app)


async def test_the_panel_follows_the_cursor(three: Store, screen_text: ScreenText) -> None:
    app = home(three)
    async with app.run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "down", "down")
        notices = jsonio.read(H200 / "results.json")["notices"]
        assert f"{len(notices)} caveats" in drawn(app)
        await screen_text(app)


async def test_a_wider_terminal_shows_more(three: Store) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "AMD EPYC" not in drawn(pilot.app)
        await pilot.resize_terminal(140, 40)
        await settled(pilot)
        assert "AMD EPYC" in drawn(pilot.app) and "±SE" in drawn(pilot.app)


async def test_a_run_tells_what_replayed_it(three: Store) -> None:
    async with home(three).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        assert f"replays {QUICKSTART.name[:12]}" in drawn(pilot.app)
        await press(pilot, "down")
        assert f"replayed by {REPLAY.name[:12]}" in drawn(pilot.app)


async def test_an_empty_store_says_how_to_begin(store: Store, screen_text: ScreenText) -> None:
    app = home(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await screen_text(app)
    assert not store.root.exists()


async def test_ascii(three: Store, screen_text: ScreenText) -> None:
    app = home(three, ascii_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert drawn(app).isascii()
        await screen_text(app)


def odd(store: Store) -> None:
    """One run of every odd state: broken, failed, hostile, unsealed."""
    made(store, 1, manifest=b"{")
    made(store, 2, manifest={**MANIFEST, "status": "failed", "reason": "exit code 137"})
    made(store, 3, spec={**SPEC, "name": HOSTILE})
    dead = store.begin()
    dead.write("spec.json", {**SPEC, "name": "left behind"})
    dead.release()


async def test_every_state_is_a_row_with_its_word(store: Store) -> None:
    odd(store)
    app = home(store)
    async with app.run_test(size=(140, 30)) as pilot:
        await settled(pilot)
        text = drawn(app)
        for words in ("✘ broken", "✘ failed", "✔ complete", "! unsealed", "left behind"):
            assert words in text
        assert "2 sealed · ! 1 unsealed · ✘ 1 broken" in text.splitlines()[0]
        assert "[bold green" in text and "\x1b" not in text and "\u202e" not in text


async def test_what_cannot_be_opened_says_why(store: Store, shown: list[tuple[str, Any]]) -> None:
    odd(store)
    async with home(store).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"unsealed", "enter")
        await press(pilot, "enter")
        assert "kit recover" in notifications(pilot.app) and not shown
        await press(pilot, "v")
        assert not shown


@pytest.mark.parametrize("key", ["enter", "v"])
async def test_a_broken_run_leads_to_what_is_wrong_with_it(store: Store, key: str) -> None:
    odd(store)
    async with home(store).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"broken", "enter")
        await press(pilot, "r")
        assert "manifest.json is not JSON" in notifications(pilot.app)
        await press(pilot, key)
        assert type(pilot.app.screen).__name__ == "VerifyScreen"
        assert "JSON_MALFORMED" in drawn(pilot.app)


async def test_the_ui_marks_states_as_the_command_line_does(store: Store) -> None:
    for state, name in BADGES.items():
        assert state_of(state).plain == f"{GLYPHS[name][0]} {state}"


async def test_a_run_that_goes_on_is_watched(store: Store, shown: list[tuple[str, Any]]) -> None:
    flight = store.begin()
    async with home(store).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "enter")
        assert "● 1 running" in drawn(pilot.app)
    flight.release()
    assert shown == [("live", (flight.id,))]


async def test_a_run_that_begins_or_is_sealed_shows_by_itself(store: Store) -> None:
    async with home(store).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        flight = store.begin()
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen)
        screen._look_again()
        await settled(pilot)
        assert flight.id[:8] in drawn(pilot.app)
        flight.release()
        store.discard(flight.id)
        made(store, 1)
        screen._look_again()
        await settled(pilot)
        assert "1 sealed" in drawn(pilot.app) and flight.id[:8] not in drawn(pilot.app)


async def test_keys_lead_to_screens(three: Store, shown: list[tuple[str, Any]]) -> None:
    newest = three.root / REPLAY.name
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "enter", "v", "n", "e")
    assert shown[:3] == [("run", (newest,)), ("verify", (newest,)), ("spec", ())]
    assert shown[3][0] == "spec" and shown[3][1][0]["name"] == "quickstart"


async def test_marked_runs_are_compared_in_the_order_of_their_marks(
    three: Store, shown: list[tuple[str, Any]]
) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "c")
        assert not shown and "mark a run with space" in notifications(pilot.app)
        await press(pilot, "down", "space", "up", "c")
        assert "1 marked" in drawn(pilot.app) and "*✔ complete" in drawn(pilot.app)
        await press(pilot, "space", "down", "down", "c")
    runs = [three.root / run.name for run in (QUICKSTART, REPLAY)]
    assert shown == [("compare", (runs,)), ("compare", (runs,))]


async def test_the_filter_looks_into_every_column_and_esc_clears_it(three: Store) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"h200")
        assert "1 of 3" in drawn(pilot.app) and "quickstart" not in drawn(pilot.app)
        await press(pilot, "escape")
        assert "3 of 3" in drawn(pilot.app)
        assert isinstance(pilot.app.focused, RunTable)


async def test_esc_never_ends_the_ui_and_q_says_that_it_does(three: Store) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        assert "q Quit" in drawn(pilot.app)
        await press(pilot, "z", "escape", "slash", "escape", "escape", "escape")
        assert not pilot.app._exit and not pilot.app.screen.maximized
        await press(pilot, "q")
        assert pilot.app._exit


async def test_sorting_goes_round(three: Store) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table = pilot.app.screen.query_one(RunTable)
        orders = []
        for _ in range(len(SORTS) + 1):
            orders.append([row.run for row in table.rows_shown])
            await press(pilot, "o")
            if len(orders) == 4:
                joules = {row.run: row.joules or 0.0 for row in table.rows_shown}
        assert orders[1] == [H200.name, REPLAY.name, QUICKSTART.name], "by name"
        assert orders[2] == sorted(joules, key=lambda run: joules[run]), "by J/token"
        assert orders[0] == orders[-1] and "sort: name ▲" in drawn(pilot.app)
        await press(pilot, "i")
        assert "sort: name ▼" in drawn(pilot.app)


async def test_copy_gives_the_command_that_shows_the_run(three: Store) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "y")
        assert pilot.app.clipboard == f"kit show {REPLAY.name}"


async def test_copy_gives_a_command_that_works_in_every_state(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, left = store.begin(), store.begin()
    left.release()
    async with home(store).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        copied = set()
        for _ in range(2):
            await press(pilot, "y", "down")
            copied.add(pilot.app.clipboard)
    assert copied == {f"kit attach {going.id}", "kit recover"}
    going.release()


async def test_thousands_of_runs_are_put_into_the_table_by_pages(store: Store) -> None:
    for number in range(1_200):
        made(store, number)
    async with home(store).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table = pilot.app.screen.query_one(RunTable)
        assert len(table.rows_shown) == 1_200 and table.row_count == PAGE
        assert "1,200 sealed" in drawn(pilot.app)
        for _ in range(6):
            await press(pilot, "pagedown")
        assert table.row_count == 2 * PAGE
        await press(pilot, "end")
        assert table.row_count == 1_200 and table.cursor_row == 1_199


async def test_a_replay_of_a_run_that_does_not_verify_is_refused(
    store: Store, shown: list[tuple[str, Any]]
) -> None:
    made(store, 1)
    async with home(store).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "r")
        assert "does not verify" in notifications(pilot.app) and not shown


@pytest.fixture
def provided(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was provided for a replay, on a machine that has everything."""
    calls: list[Any] = []
    monkeypatch.setattr("kit.judge.replay.undertake", lambda run, *_, **__: undertaking(run))
    monkeypatch.setattr(
        "kit.judge.replay.provide", lambda *a, **__: (a[1]("fetched"), calls.append(a))
    )
    return calls


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_a_replay_lists_everything_first_and_a_no_does_nothing(
    three: Store, shown: list[tuple[str, Any]], provided: list[Any], key: str
) -> None:
    async with home(three).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "r")
        text = drawn(pilot.app)
        assert "THE HOST'S OWN NETWORK" in text and "Do exactly this?" in text
        assert "docker run kit/golden" in text and not provided
        await press(pilot, key)
        assert "Do exactly this?" not in drawn(pilot.app)
    assert not provided and not shown


async def test_the_list_can_be_read_to_its_end_in_a_small_terminal(
    three: Store, shown: list[tuple[str, Any]], provided: list[Any]
) -> None:
    async with home(three).run_test(size=(60, 16)) as pilot:
        await settled(pilot)
        await press(pilot, "r")
        assert "docker run" not in drawn(pilot.app) and "Do exactly this?" in drawn(pilot.app)
        for _ in range(4):
            await press(pilot, "pagedown")
        assert "docker run" in drawn(pilot.app)


async def test_a_replay_provides_what_it_needs_after_a_yes_and_shows_the_plan(
    three: Store, shown: list[tuple[str, Any]], provided: list[Any]
) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "r")
        assert not provided
        await press(pilot, "y")
        assert "fetched" in notifications(pilot.app) and len(provided) == 1
    ((name, (order, original)),) = shown
    assert name == "plan" and original.name == REPLAY.name
    assert order.parents == ({"run_hash": REPLAY.name, "relation": "replay-of"},)


async def test_a_missing_image_is_told_with_its_remedy(
    three: Store, shown: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ImageUnavailable("no such image here", "`kit images build` makes it")
    absent = ImagePart("absent", "kit/golden", "sha256:1", error=error)
    undertake = lambda run, *_, **__: undertaking(run, image=absent)  # noqa: E731
    monkeypatch.setattr("kit.judge.replay.undertake", undertake)
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "r")
        assert "no such image here" in notifications(
            pilot.app
        ) and "images build`" in notifications(pilot.app)
    assert not shown


async def test_the_columns_fit_after_the_terminal_changed_under_another_screen(
    three: Store,
) -> None:
    async with home(three).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        table = pilot.app.screen.query_one(RunTable)
        before = [column.label.plain for column in table.ordered_columns]
        await press(pilot, "enter")
        await pilot.resize_terminal(140, 45)
        await settled(pilot)
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        await press(pilot, "q")
        assert [column.label.plain for column in table.ordered_columns] == before
        await pilot.resize_terminal(99, 45)
        await settled(pilot)
        assert len(table.ordered_columns) > len(before)


# --- notes, tags, deletion, another store -------------------------------------------------------


async def test_a_note_and_tags_are_shown_and_found_by_the_filter(three: Store) -> None:
    async with home(three).run_test(size=(140, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "N", *"fan", "enter")
        await press(pilot, "t", *"+warm", "enter")
        assert "#warm fan" in drawn(pilot.app)
        await press(pilot, "slash", *"#warm", "enter")
        assert "1 of 3" in drawn(pilot.app)
    assert notes.load(three)[REPLAY.name] == notes.Note(("warm",), "fan")


async def test_a_former_reading_does_not_end_the_present_one(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], object]] = []
    async with home(three).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen)
        with monkeypatch.context() as patch:
            patch.setattr(screen, "_next_batch", lambda *of: late.append(partial(former, *of)))
            former = HomeScreen._next_batch.__get__(screen)
            screen.action_refresh()
        screen.action_refresh()
        (next_of_former,) = late
        next_of_former()
        await settled(pilot)
        assert next(screen._coming, None) is None, "the present one was not read to its end"


async def test_a_run_that_is_gone_does_not_begin_the_reading_anew_each_time(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes longer to read than the time between two looks is read to its end."""
    flight = InFlight(three, "ab12cd34")
    flight.take()
    flight.path.mkdir(parents=True)
    begun, go_on = [], threading.Event()

    def slow(store: Store) -> Iterator[list[Row]]:
        begun.append(store)
        yield runlist.in_flight(store)
        go_on.wait(20)
        yield from []

    async with home(three).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen) and "ab12cd34" in drawn(pilot.app)
        shutil.rmtree(flight.path)
        flight.release()
        monkeypatch.setattr(runlist, "batches", slow)
        for _ in range(5):
            screen._look_again()
            await pilot.pause(0.1)
        assert len(begun) == 1 and "running" not in drawn(pilot.app)
        go_on.set()
        await settled(pilot)
        assert len(begun) == 1 and "reading" not in drawn(pilot.app)


async def test_a_look_that_takes_long_is_not_replaced_by_the_next(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def slow(_: Store) -> tuple[int, int, int]:
        looks.append(1)
        time.sleep(0.3)
        return 3, 0, 0

    async with home(three).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen)
        monkeypatch.setattr(runlist, "stamp", slow)
        for _ in range(3):
            screen._look_again()
            await pilot.pause(0.05)
        assert len(looks) == 1
        await settled(pilot)
        screen._look_again()
        await settled(pilot)
        assert len(looks) == 2


async def test_a_run_is_deleted_only_after_a_yes(three: Store) -> None:
    link = three.root / REPLAY.name
    async with home(three).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "D", "enter")
        assert link.exists()
        await press(pilot, "D", "y")
        assert not link.exists() and "2 sealed" in drawn(pilot.app)
    assert (REPLAY / "manifest.json").is_file()


async def test_another_store_is_shown_and_both_are_remembered(
    three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    monkeypatch.setattr("kit.tui.settings._path", lambda: tmp_path / "ui.json")
    other = Store(tmp_path / "other runs")
    made(other, 1)
    async with home(three).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "S", "down", "enter")
        pilot.app.screen.query_one(Input).value = str(other.root)
        await press(pilot, "enter")
        assert "1 sealed" in drawn(pilot.app) and "Runs of other runs" in drawn(pilot.app)
        assert "kit ls --runs" in drawn(pilot.app)
        await press(pilot, "S", "down", "enter")
        assert "3 sealed" in drawn(pilot.app)
    assert settings.load().stores == (str(three.root), str(other.root))


def test_a_run_of_images_has_its_joules_with_their_unit_in_a_column_of_tokens() -> None:
    shown = columns(100)
    of_images = Row("complete", "a", name="b", joules_image=88.757, per_image="88.76 ± 0.5 J")
    of_texts = Row("complete", "a", name="b", energy="0.91 cpu")
    texts = [{cell.plain.strip() for cell in cells(r, shown, False)} for r in (of_images, of_texts)]
    assert "88.76 J/img" in texts[0]
    assert "0.91 cpu" in texts[1]
