"""The spec builder: a form made from the schema, its JSON beside it, all problems below."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from kit import jsonio, resources
from kit import spec as specs
from kit.engine import Order
from kit.errors import KitError, SpecInvalid, UsageError
from kit.model import Problem, RunSpec
from kit.render.console import count, plain
from kit.tui.base import KitScreen, mark
from kit.tui.form import catalogue, files, pins
from kit.tui.form.dialogs import Ask, AskLine, AskText
from kit.tui.form.draft import (
    ABSENT,
    Draft,
    Where,
    from_text,
    line_of,
    path_text,
    place,
    to_text,
    words,
)
from kit.tui.form.jsonview import JsonView
from kit.tui.form.sheet import Sheet

BOTH = 100  # columns from which form and JSON stand beside each other
FIRST = "quickstart"  # of the templates
PAUSE_S = 0.15  # after the last key, before what was typed is checked
SKELETON = {"schema": "kit.run-spec/1"}
_REQUIRED: tuple[Where, ...] = (("image",), ("weights",), ("workload",), ("workload", "options"))
_BROKEN = "F4 opens it in your editor again; ctrl+z drops it and keeps the form's"


class SpecScreen(KitScreen):
    """Write what to run and what to measure; every field says what it is for.

    Args:
        path: the spec's file, which need not be there yet.
        document: a document to begin with, such as a sealed run's spec. With neither, a template
            is asked for.
    """

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True, id="spec.save"),
        Binding("f5", "plan", "Plan", id="spec.plan"),
        Binding("f8", "next_problem", "Problem", id="spec.problem", tooltip="Next problem"),
        Binding("f2", "json", "JSON", id="spec.json", tooltip="Show or hide the JSON"),
        Binding("f4", "editor", "Editor", id="spec.editor", tooltip="Edit the JSON in $EDITOR"),
        Binding("f6", "pin_image", "Pin image", id="spec.pin-image"),
        Binding("f7", "pin_weights", "Pin files", id="spec.pin-weights"),
        Binding("ctrl+z", "undo", "Undo", priority=True, id="spec.undo"),
        Binding("ctrl+y", "redo", "Redo", priority=True, show=False, id="spec.redo"),
        Binding("escape", "back", "Back", key_display="esc", id="spec.back"),
        Binding("f1", "help", "Help", id="spec.help"),  # "?" is typed into a field
    ]

    def __init__(self, path: Path | None = None, document: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._file = files.SpecFile(path)
        self._given = document
        self._draft = Draft(SKELETON if document is None else document, catalogue.rules_at)
        self._problems: list[Problem] | None = None
        self._at = -1
        self._broken: str | None = None
        self._loaded = False
        self._left: Widget | None = None
        self._sheet = Sheet(self._draft, _REQUIRED if document is None and not path else ())
        self._json = JsonView()
        self._list = OptionList(compact=True, markup=False, id="problems", classes="panel -none")
        self._about = Static(id="about", markup=False)

    def body(self) -> Iterable[Widget]:
        left = Vertical(self._sheet, self._about, id="form", classes="panel")
        left.border_title = "Form"
        self._json.add_class("panel")
        self._json.border_title = "JSON (F2 hides)"
        self._list.border_title = "Problems (enter jumps)"
        yield Horizontal(left, self._json, id="both")
        yield self._list

    def on_mount(self) -> None:
        super().on_mount()
        if self._given is None and self._file.path is None:
            self._ask_template()
            return
        if self._given is None:
            self._open_file()
        self._show()
        self.call_after_refresh(self._focus_first)

    def _focus_first(self) -> None:
        if self.focused is None:
            for first in self._sheet.query(Input):
                first.focus()
                break

    # --- where the document comes from ------------------------------------------------------

    def _open_file(self) -> None:
        try:
            text = self._file.read()
        except UsageError as error:
            self.tell_error(error)
            return
        if text is None:
            self.notify(f"{self._file.path} is not there yet: saving makes it", markup=False)
        else:
            self._take_text(text, begin=True)

    def _take_text(self, text: str, *, begin: bool = False) -> None:
        """A whole text as the document; one that is no JSON is kept, to be mended."""
        try:
            document = from_text(text, self._called)
        except UsageError as error:
            self._broken = text
            self.notify(f"{error.message}\n{_BROKEN}", severity="error", markup=False, timeout=12)
        else:
            self._broken, self._loaded = None, True
            if begin:
                self._begin(document)
            else:
                self._draft.replace(document)
        self._sheet.sync()
        self._show()

    def _begin(self, document: dict[str, Any]) -> None:
        self._draft = Draft(document, catalogue.rules_at)
        self._sheet.take(self._draft)

    def _ask_template(self) -> None:
        paths = sorted(resources.specs_dir().glob("*.json"), key=lambda p: (p.stem != FIRST, p))
        found = {path.stem: path for path in paths}
        answers = [(name, f"{name}\n{_about(path)}") for name, path in found.items()]
        answers.append(("", "empty\nonly what the schema asks for, to be filled in"))

        def chosen(answer: str | None) -> None:
            if answer is None:
                super(SpecScreen, self).action_back()
                return
            self.remove_class("-asking")
            if answer:
                self._take_text(found[answer].read_text("utf-8"), begin=True)
            self._show()
            self.call_after_refresh(self._focus_first)

        self.add_class("-asking")
        self.app.push_screen(Ask("New spec: begin with", "", answers), chosen)

    # --- showing the draft ------------------------------------------------------------------

    @property
    def _called(self) -> str:
        if self._file.path:
            return self._file.path.name
        name = self._draft.get(("name",))
        return name if isinstance(name, str) and name else "a new spec"

    def _show(self) -> None:
        """All but the form itself: the JSON, the lines above and below; and check it anew."""
        self._sheet.disabled = self._broken is not None
        unsaved = " (modified)" if self._draft.modified or self._broken is not None else ""
        self.crumbs = f"Spec › {self._called}{unsaved}"
        self.command = f"kit check {shlex.quote(str(self._file.path or 'FILE'))}"
        if self._broken is not None:
            self._show_broken(self._broken)
            return
        self._json.show(self._draft.document)
        if self._problems is None:
            self.state = mark("skip", "checking")
        self._mark(self._problems or [])
        self._check_soon()

    def _show_broken(self, text: str) -> None:
        told = _why_broken(text, self._called)
        self._json.show_text(text, line_of(told))
        self._checked(self._draft.document, [Problem("$", told, _BROKEN)])
        self._json.show_text(text, line_of(told))

    @on(Sheet.Changed)
    def _form_changed(self, event: Sheet.Changed) -> None:
        self._show()
        if event.told:
            self.notify(event.told, markup=False)

    @on(Sheet.Focused)
    def _field_focused(self, event: Sheet.Focused) -> None:
        field = event.field
        self._about.update(Text.assemble((f"{field.label}: ", "bold"), plain(field.help)))
        if self._broken is None:
            self._json.point(field.where)

    @on(Sheet.Long)
    def _long_text(self, event: Sheet.Long) -> None:
        where, value = event.field.where, self._draft.get(event.field.where)

        def written(text: str | None) -> None:
            if text is not None:
                self._draft.put(where, text) if text else self._draft.drop(where)
                self._redraw()

        text = "" if value is ABSENT else str(value)
        self.app.push_screen(AskText(event.field.label, event.field.help, text), written)

    @on(JsonView.Picked)
    def _line_picked(self, event: JsonView.Picked) -> None:
        if self._broken is None:
            self._sheet.jump(event.where)

    def _redraw(self) -> None:
        self._sheet.sync()
        self._show()

    # --- problems ---------------------------------------------------------------------------

    def _check_soon(self) -> None:
        async def soon() -> None:
            await asyncio.sleep(PAUSE_S)
            self._check()

        # The function, not a coroutine: one that is replaced before it began was never made.
        self.run_worker(cast(Any, soon), group="check-soon", exclusive=True)

    def _check(self) -> None:
        document = self._draft.document
        self.fetch(
            lambda: _problems(document),
            lambda found: self._checked(document, found),
            group="check",
        )

    def _checked(self, document: Any, found: list[Problem]) -> None:
        if document is not self._draft.document or (self._broken is not None and not found):
            return  # something was typed meanwhile: its own check is on its way
        self._problems = found
        self.state = mark("fail", count(len(found), "problem")) if found else mark("ok", "valid")
        self._mark(found)
        here = self._list.highlighted
        self._list.set_options(Option(_line(problem)) for problem in found)
        self._list.highlighted = min(here or 0, len(found) - 1) if found else None
        self._list.set_class(not found, "-none")

    def _mark(self, found: list[Problem]) -> None:
        told: dict[Where, list[str]] = {}
        for problem in found:
            told.setdefault(place(problem), []).append(words(problem))
        self._sheet.show_problems(told)
        self._json.mark(told)

    @on(OptionList.OptionSelected, "#problems")
    def _problem_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._jump(event.option_index)

    def _jump(self, number: int) -> None:
        if self._problems:
            self._at = number % len(self._problems)
            self._list.highlighted = self._at
            self.remove_class("-swapped")
            self._sheet.jump(place(self._problems[self._at]))

    def action_next_problem(self) -> None:
        """Go to the next problem's field."""
        if self._problems:
            self._jump(self._at + 1)
        else:
            self.notify("no problems", markup=False)

    # --- undo, pins, JSON -------------------------------------------------------------------

    def action_undo(self) -> None:
        """Take the last edit back, or the text that is no JSON."""
        if self._broken is not None:
            self._broken = None
            if not self._loaded:
                self._file.disown()
        elif not self._draft.undo():
            self.notify("nothing to undo", markup=False)
            return
        self._redraw()

    def action_redo(self) -> None:
        """Do again what was undone."""
        if self._broken is None and self._draft.redo():
            self._redraw()
        else:
            self.notify("nothing to redo", markup=False)

    def action_json(self) -> None:
        """Show or hide the JSON; where there is no room for both, in place of the form."""
        before = self.focused
        self.toggle_class("-swapped")
        if before and self._sheet in before.ancestors:
            self._left = before
        if self.size.width < BOTH and self.has_class("-swapped"):
            self._json.focus()
        elif self._left and self._left.is_attached:
            self._left.focus()

    def action_pin_image(self) -> None:
        """Write the image's digest, as this machine knows it."""
        self._pin(pins.pin_image)

    def action_pin_weights(self) -> None:
        """Write revision, hashes and sizes of the model files, as this machine knows them."""
        self._pin(pins.pin_weights)

    def _pin(self, pin: Any) -> None:
        if self._refuse_broken():
            return
        document = self._draft.document

        def pinned(found: pins.Pinned) -> None:
            if found.found and document is self._draft.document:
                self._draft.replace(found.document)
                self._redraw()
            severity = "information" if found.found else "warning"
            self.notify(found.told, markup=False, severity=severity, timeout=12)  # type: ignore[arg-type]

        self.fetch(lambda: pin(document), pinned, group="pin")

    # --- the editor -------------------------------------------------------------------------

    def action_editor(self) -> None:
        """Edit the JSON in $EDITOR; what comes back and is no JSON is kept, to be mended."""
        text = to_text(self._draft.document) if self._broken is None else self._broken
        try:
            with self.app.suspend():
                back = files.edited(text, "spec.json")
        except SuspendNotSupported:
            self.notify("this terminal cannot be handed to an editor", severity="warning")
        except UsageError as error:
            self.tell_error(error)
        else:
            if back != text:
                self._take_text(back)

    def _refuse_broken(self) -> bool:
        if self._broken is not None:
            self.notify(_BROKEN, title="not JSON", severity="error", markup=False)
        return self._broken is not None

    # --- saving, planning, leaving ------------------------------------------------------------

    def action_save(self) -> None:
        """Write the file; a name is asked for where there is none."""
        if not self._refuse_broken():
            self._save(leave=False)

    def _save(self, *, leave: bool) -> None:
        if self._file.path:
            self._write(self._file.path, leave=leave)
            return
        name = self._draft.get(("name",))
        proposed = f"{name}.json" if isinstance(name, str) and name else "run-spec.json"

        def named(answer: str | None) -> None:
            if answer:
                self._write(Path(answer).expanduser(), leave=leave)

        self.app.push_screen(AskLine("Save as", "A file's name; enter writes it.", proposed), named)

    def _write(self, path: Path, *, leave: bool, force: bool = False) -> None:
        document = self._draft.document
        text = to_text(document)

        def done(state: files.Written) -> None:
            if state != "written":
                self._ask_overwrite(path, state, leave)
                return
            self._draft.mark_saved(document)
            self.notify(f"wrote {path}", markup=False)
            self._show()
            if leave:
                super(SpecScreen, self).action_back()

        self.fetch(lambda: self._file.write(path, text, force=force), done, group="save")

    def _ask_overwrite(self, path: Path, state: files.Written, leave: bool) -> None:
        why = "is there already" if state == "exists" else "was changed since it was read"
        answers = [("no", "Keep that file"), ("yes", "Overwrite it")]

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self._write(path, leave=leave, force=True)

        self.app.push_screen(Ask("Overwrite?", f"{path} {why}.", answers), answered)

    def action_plan(self) -> None:
        """Show what the spec resolves to here; where it has problems, go to the first."""
        if self._refuse_broken():
            return
        document, path = self._draft.document, self._file.path

        def planned(spec: RunSpec) -> None:
            # A file that holds something else is not what is planned.
            self.kit.show_plan(Order(spec=spec), None if self._draft.modified else path)

        def failed(error: Exception) -> None:
            if not isinstance(error, SpecInvalid):
                self.tell_error(error)
                return
            self._checked(document, list(error.problems))
            self._jump(0)

        text = to_text(document).encode()
        self.fetch(lambda: specs.parse(text), planned, group="plan", failed=failed)

    def action_back(self) -> None:
        """One screen back; asks where something is not saved."""
        if not self._draft.modified and self._broken is None:
            super().action_back()
            return
        answers = [("stay", "Keep editing"), ("drop", "Leave without saving")]
        if self._broken is None:
            answers.insert(1, ("save", "Save, then leave"))

        def answered(answer: str | None) -> None:
            if answer == "save":
                self._save(leave=True)
            elif answer == "drop":
                super(SpecScreen, self).action_back()

        told = f"{self._called} has changes that are not saved."
        self.app.push_screen(Ask("Leave?", told, answers), answered)

    def copy_text(self) -> str:
        """The JSON."""
        return to_text(self._draft.document) if self._broken is None else self._broken


def _about(path: Path) -> str:
    """What a template says of itself."""
    return str(jsonio.read(path).get("description", ""))


def _problems(document: Any) -> list[Problem]:
    """All problems of a document; where it cannot even be checked, that is one."""
    try:
        return specs.problems(document)
    except KitError as error:
        return [Problem("$", error.message, error.remedy or "")]
    except Exception as error:  # such as a number that has no canonical form
        return [Problem("$", f"kit cannot check this: {error}", "undo the last edit, or use F4")]


def _why_broken(text: str, name: str) -> str:
    try:
        from_text(text, name)
    except UsageError as error:
        return error.message
    return ""


def _line(problem: Problem) -> Text:
    """One problem in one line: where, what, and what to do."""
    line = plain(f"✘ {path_text(place(problem))}  ", "bad").append_text(plain(words(problem)))
    return line.append_text(plain(f"  → {problem.remedy}", "quiet")) if problem.remedy else line
