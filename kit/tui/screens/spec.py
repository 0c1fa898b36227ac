"""The spec builder: a form made from the schema, its JSON beside it, all problems below."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import on
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from kit import spec as specs
from kit.engine import Order
from kit.errors import SpecInvalid, UsageError
from kit.model import Problem, RunSpec
from kit.render.console import count, plain
from kit.tui.base import KitScreen, mark, plain_lines
from kit.tui.form import catalogue, checking, files, keeping, pins
from kit.tui.form.dialogs import AskText
from kit.tui.form.draft import (
    ABSENT,
    Draft,
    Where,
    first_difference,
    from_text,
    line_of,
    place,
    to_text,
)
from kit.tui.form.jsonview import JsonView
from kit.tui.form.sheet import Sheet

BOTH = 100  # columns from which form and JSON stand beside each other
PAUSE_S = 0.15  # after the last key, before what was typed is checked
SKELETON = {"schema": "kit.run-spec/1"}
_REQUIRED: tuple[Where, ...] = (("image",), ("weights",), ("workload",), ("workload", "options"))


class SpecScreen(KitScreen):
    """Write what to run and what to measure. Each field says below the form what it is for.

    Args:
        path: the spec's file, which need not be there yet.
        document: a document to begin with, such as a sealed run's spec. With neither, a template
            is asked for.
    """

    AUTO_FOCUS = ""  # the first field takes the focus once it is there
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True, id="spec.save"),
        Binding("f5", "plan", "Plan", id="spec.plan"),
        Binding("f8", "next_problem", "Problem", id="spec.problem", tooltip="Next problem"),
        Binding("f2", "json", "JSON", id="spec.json", tooltip="Show or hide the JSON"),
        Binding("f4", "editor", "Editor", id="spec.editor", tooltip="Edit the JSON in $EDITOR"),
        Binding("f6", "pin_image", "Pin image", id="spec.pin-image"),
        Binding("f7", "pin_files", "Pin files", id="spec.pin-files"),
        Binding("ctrl+z", "undo", "Undo", priority=True, id="spec.undo"),
        Binding("ctrl+y", "redo", "Redo", priority=True, show=False, id="spec.redo"),
        Binding("escape", "back", "Back", key_display="esc", id="spec.back"),
        Binding("f1", "help", "Help", id="spec.help"),  # "?" is typed into a field
    ]

    def __init__(self, path: Path | None = None, document: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._given = document
        self._file = files.SpecFile(path)
        self._keeper = keeping.Keeper(self, self._file, self._saved)
        self._draft = Draft(SKELETON if document is None else document, catalogue.rules_at)
        self._problems: list[Problem] | None = None
        self._at = -1  # the problem that was gone to last
        self._broken: str | None = None  # a text that is no JSON and waits to be mended
        self._was_read = False
        self._left: Widget | None = None
        self._sheet = Sheet(self._draft, _REQUIRED if document is None and not path else ())
        self._json = JsonView()
        self._list = OptionList(compact=True, markup=False, id="problems", classes="panel -none")
        self._about = Static(id="about", markup=False)

    def body(self) -> Iterable[Widget]:
        form = Vertical(self._sheet, self._about, id="form", classes="panel")
        form.border_title = "Form"
        self._json.add_class("panel")
        self._json.border_title = "JSON (F2)"
        self._list.border_title = "Problems (enter jumps)"
        yield Horizontal(form, self._json, id="both")
        yield self._list

    def on_mount(self) -> None:
        super().on_mount()
        if self._given is None and self._file.path is None:
            self.add_class("-asking")
            keeping.ask_template(self, self._begin_with)
            return
        if self._given is None:
            self._open_file()
        self._begin()

    def _begin_with(self, template: str | None) -> None:
        if template is None:
            super().action_back()
            return
        self.remove_class("-asking")
        if template:
            self._take_text(template, begin=True)
        self._begin()

    def _begin(self) -> None:
        self._redraw()
        self.call_after_refresh(self._focus_first)

    def _focus_first(self) -> None:
        first = next(iter(self._sheet.query(Input)), None)
        if first and self.focused is None:
            first.focus()

    # --- the text as a whole ----------------------------------------------------------------

    def _open_file(self) -> None:
        try:
            text = self._file.read()
        except UsageError as error:
            self.tell_error(error)
            return
        if text is None:
            self._say(f"{self._file.path} is not there yet: saving makes it")
        else:
            self._take_text(text, begin=True)

    def _take_text(self, text: str, *, begin: bool = False) -> None:
        """A whole text as the document; one that is no JSON is kept, to be mended."""
        problem = checking.of_text(text, self._called)
        self._broken = text if problem else None
        if problem:
            self._say(f"{problem.message}\n{problem.remedy}", "error")
            return
        document = from_text(text, self._called)
        self._was_read = True
        if begin:
            self._draft = Draft(document, catalogue.rules_at)
            self._sheet.take(self._draft)
        else:
            self._draft.replace(document)

    def _refuse_broken(self) -> bool:
        if self._broken is not None:
            self._say(f"the text is not JSON yet\n{checking.DROP}", "error")
        return self._broken is not None

    def action_editor(self) -> None:
        """Edit the JSON in $EDITOR; what comes back and is no JSON is kept, to be mended."""
        text = self.copy_text()
        try:
            with self.app.suspend():
                back = files.edited(text, "spec.json")
        except SuspendNotSupported:
            self._say("this terminal cannot be handed to an editor", "warning")
        except UsageError as error:
            self.tell_error(error)
        else:
            if back != text:
                self._take_text(back)
                self._redraw()

    def copy_text(self) -> str:
        """The JSON."""
        return to_text(self._draft.document) if self._broken is None else self._broken

    # --- showing the draft ------------------------------------------------------------------

    @property
    def _called(self) -> str:
        if self._file.path:
            return self._file.path.name
        name = self._draft.get(("name",))
        return name if isinstance(name, str) and name else "a new spec"

    @property
    def _unsaved(self) -> bool:
        return self._draft.modified or self._broken is not None

    def _redraw(self) -> None:
        self._sheet.sync()
        self._show()

    def _show(self) -> None:
        """All but the form itself; what is there is checked once nothing more is typed."""
        self._sheet.disabled = self._broken is not None
        self.crumbs = f"Spec › {self._called}{' (modified)' if self._unsaved else ''}"
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
        problem = checking.of_text(text, self._called)
        self.workers.cancel_group(self, "check-soon")
        self.workers.cancel_group(self, "check")
        self._list_problems([problem] if problem else [])
        self._json.show_text(text, line_of(problem.message) if problem else None)
        self.set_class(self.size.width < BOTH, "-swapped")

    def _say(self, text: str, severity: str = "information") -> None:
        told = plain_lines(text).plain
        self.notify(told, markup=False, severity=cast(Any, severity), timeout=10)

    @on(Sheet.Changed)
    def _form_changed(self, event: Sheet.Changed) -> None:
        self._show()
        if event.told:
            self._say(event.told)

    @on(Sheet.Focused)
    def _field_focused(self, event: Sheet.Focused) -> None:
        field = event.field
        self._about.update(plain(f"{field.label}: ", "bold").append_text(plain(field.help)))
        if self._broken is None:
            self._json.point(field.where)

    @on(Sheet.Long)
    def _long_text(self, event: Sheet.Long) -> None:
        where, value = event.field.where, self._draft.get(event.field.where)
        text = "" if value is ABSENT else str(value)

        def written(answer: str | None) -> None:
            if answer is not None and answer != text:
                self._draft.put(where, answer) if answer else self._draft.drop(where)
                self._redraw()

        self.app.push_screen(AskText(event.field.label, event.field.help, text), written)

    @on(JsonView.Picked)
    def _line_picked(self, event: JsonView.Picked) -> None:
        if self._broken is None:
            self._to_form()
            self._sheet.jump(event.where)

    # --- problems ---------------------------------------------------------------------------

    def _check_soon(self) -> None:
        async def soon() -> None:
            await asyncio.sleep(PAUSE_S)
            document = self._draft.document
            self.fetch(
                lambda: checking.problems(document),
                lambda found: self._checked(document, found),
                group="check",
            )

        # The function, not a coroutine: one that is replaced before it began was never made.
        self.run_worker(cast(Any, soon), group="check-soon", exclusive=True)

    def _checked(self, document: Any, found: list[Problem]) -> None:
        # What was typed meanwhile has a check of its own on its way.
        if document is self._draft.document and self._broken is None:
            self._list_problems(found)

    def _list_problems(self, found: list[Problem]) -> None:
        self._mark(found)
        if found == self._problems:
            return  # drawing the list anew lays the whole screen out
        self._problems = found
        self.state = mark("fail", count(len(found), "problem")) if found else mark("ok", "valid")
        here = self._list.highlighted
        self._list.set_options(Option(checking.line(problem)) for problem in found)
        self._list.highlighted = min(here or 0, len(found) - 1) if found else None
        self._list.set_class(not found, "-none")

    def _mark(self, found: list[Problem]) -> None:
        told = checking.by_place(found)
        self._sheet.show_problems(told)
        self._json.mark(told)

    @on(OptionList.OptionSelected, "#problems")
    def _problem_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._jump(event.option_index)

    def _jump(self, number: int) -> None:
        if self._problems and self._broken is None:
            self._at = number % len(self._problems)
            self._list.highlighted = self._at
            self._to_form()
            self._sheet.jump(place(self._problems[self._at]))

    def action_next_problem(self) -> None:
        """Go to the next problem's field."""
        if self._problems:
            self._jump(self._at + 1)
        else:
            self._say("no problems")

    # --- undo, pins, JSON -------------------------------------------------------------------

    def action_undo(self) -> None:
        """Take the last edit back, or the text that is no JSON."""
        if self._broken is not None:
            self._broken = None
            if not self._was_read:
                self._file.disown()
            self._to_form()
            self._redraw()
        else:
            self._step(self._draft.undo, "undo")

    def action_redo(self) -> None:
        """Do again what was undone."""
        if not self._refuse_broken():
            self._step(self._draft.redo, "redo")

    def _step(self, step: Callable[[], bool], name: str) -> None:
        before = self._draft.document
        if not step():
            self._say(f"nothing to {name}")
            return
        self._sheet.jump(first_difference(before, self._draft.document))
        self._show()

    def action_json(self) -> None:
        """Show or hide the JSON; where there is no room for both, in place of the form."""
        if self.focused and self._sheet in self.focused.ancestors:
            self._left = self.focused
        self.toggle_class("-swapped")
        if self.size.width < BOTH and self.has_class("-swapped"):
            self._json.focus()
        elif self._left and self._left.is_attached:
            self._left.focus()

    def _to_form(self) -> None:
        if self.size.width < BOTH:
            self.remove_class("-swapped")

    def action_pin_image(self) -> None:
        """Write the image's digest, as this machine knows it."""
        self._pin(pins.image)

    def action_pin_files(self) -> None:
        """Write revision, hashes and sizes of the model files, as this machine knows them."""
        self._say("looking for the model files: a large one takes a while to hash")
        self._pin(pins.model_files)

    def _pin(self, find: Callable[[Any], pins.Found]) -> None:
        document = self._draft.document

        def pinned(found: pins.Found) -> None:
            self._draft.replace(pins.applied(self._draft.document, found))
            self._redraw()
            self._say(found.told, "information" if found.pins else "warning")

        if not self._refuse_broken():
            self.fetch(lambda: find(document), pinned, group="pin")

    # --- saving, planning, leaving ------------------------------------------------------------

    def action_save(self) -> None:
        """Write the file; a name is asked for where there is none."""
        if not self._refuse_broken():
            self._keeper.save(self._draft.document, lambda: None)

    def _saved(self, document: Any) -> None:
        self._draft.mark_saved(document)
        self._say(f"wrote {self._file.path}")
        self._show()

    def action_plan(self) -> None:
        """Show what the spec resolves to here; where it has problems, go to the first."""
        if self._refuse_broken():
            return
        document, text = self._draft.document, to_text(self._draft.document).encode()

        def planned(spec: RunSpec) -> None:
            # A file that holds something else is not what is planned.
            self.kit.show_plan(Order(spec=spec), None if self._unsaved else self._file.path)

        def failed(error: Exception) -> None:
            if isinstance(error, SpecInvalid):
                self._checked(document, list(error.problems))
                self._jump(0)
            else:
                self.tell_error(error)

        self.fetch(lambda: specs.parse(text), planned, group="plan", failed=failed)

    def action_back(self) -> None:
        """One screen back; asks where something is not saved."""
        go = super().action_back
        if not self._unsaved:
            go()
            return

        def save() -> None:
            self._keeper.save(self._draft.document, go)

        self._keeper.leave(self._called, None if self._broken is not None else save, go)
