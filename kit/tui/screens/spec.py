"""The spec builder: a form from the schema, its JSON, and all problems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType

from kit.core.errors import SpecInvalid, UsageError
from kit.core.model import RunSpec
from kit.run.runner import Order
from kit.spec import spec as specs
from kit.tui.form import edits, files, origin, pins, problems, save, vocabulary
from kit.tui.form.draft import Draft, Where, first_difference, from_text, to_text
from kit.tui.form.view import FLAT, DraftScreen

SKELETON = {"schema": "kit.run-spec/1"}
_REQUIRED: tuple[Where, ...] = (("image",), ("weights",), ("workload",), ("workload", "options"))


class SpecScreen(DraftScreen):
    """Write what to run and what to measure. Each field says below the form what it is for.

    Args:
        path: the spec's file, which need not exist.
        document: the first document, such as a sealed run's spec. Without both it asks for a
            template or a file.
    """

    AUTO_FOCUS = ""  # the first field takes the focus when it exists
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
        draft = Draft(SKELETON if document is None else document, vocabulary.rules_at)
        super().__init__(draft, path, _REQUIRED if document is None and path is None else ())
        self._given, self._was_read = document, False
        self._keeper = save.Keeper(self, self._file, self._saved)

    def on_mount(self) -> None:
        super().on_mount()
        if self._given is None and self._file.path is None:
            self.add_class("-asking")
            self.crumbs = "Spec › new"
            origin.ask_begin(self, self._begin_with)
            return
        if self._given is None:
            self._open_file()
        self._begin()

    def _begin_with(self, source: Path | str | None) -> None:
        """Begin with a template's text or with a file; None: the person went back."""
        if source is None:
            super().action_back()
            return
        self.remove_class("-asking")
        if isinstance(source, Path):
            self._file.path = source
            self._open_file()
        elif source:
            self._take_text(source, begin=True)
        self._begin()

    def _begin(self) -> None:
        self.call_later(self._fill)

    async def _fill(self) -> None:
        """Show the form once all of it is there: each part by itself would be a layout."""
        if not self._sheet.is_attached:  # it was left at once
            return
        with self.app.batch_update():
            for coming in self._sheet.sync():
                await coming
            self._show()
        self.call_after_refresh(self._focus_first)

    # --- the text as a whole ----------------------------------------------------------------

    def _open_file(self) -> None:
        try:
            text = self._file.read()
        except UsageError as error:
            self.show_error(error)
            return
        if text is None:
            self._say(f"{self._file.path} is not there yet: saving makes it")
        else:
            self._take_text(text, begin=True)

    def _take_text(self, text: str, *, begin: bool = False) -> None:
        """Take a whole text as the document; a text that is no JSON is kept for repair."""
        broken = problems.of_text(text, self._called)
        self._broken = text if broken else None
        if broken:
            if self.app.size.height < FLAT:  # elsewhere Problems shows it
                self._say(f"{broken.problem.message}\n{broken.problem.remedy}", "error")
            return
        self._hush()
        document = from_text(text, self._called)
        self._was_read = True
        if begin:
            self._draft = Draft(document, vocabulary.rules_at)
            self._sheet.take(self._draft)
        else:
            self._draft.replace(edits.unpinned(self._draft.document, document))

    def _refuse_broken(self) -> bool:
        if self._broken is not None:
            self._say(f"the text is not JSON yet\n{problems.DROP}", "error")
        return self._broken is not None

    def action_editor(self) -> None:
        """Edit the JSON in $EDITOR; a text that is no JSON is kept for repair."""
        text = self.copy_text()
        try:
            with self.app.suspend():
                back = files.edited(text, "spec.json")
        except SuspendNotSupported:
            self._say("this terminal cannot be handed to an editor", "warning")
        except UsageError as error:
            self.show_error(error)
        else:
            if back != text:
                self._take_text(back)
                self._redraw()

    def copy_text(self) -> str:
        """The JSON."""
        return to_text(self._draft.document) if self._broken is None else self._broken

    def keep_draft(self) -> Path | None:
        return save.keep(self._file.path, self.copy_text()) if self._unsaved else None

    # --- undo, pins -------------------------------------------------------------------

    def action_undo(self) -> None:
        """Undo the last edit, or drop the text that is no JSON."""
        if self._broken is not None:
            self._broken = None
            self._hush()
            if not self._was_read:
                self._file.disown()
            self._to_form()
            self._redraw()
        else:
            self._step(self._draft.undo, "undo")

    def action_redo(self) -> None:
        """Redo the last undone edit."""
        if not self._refuse_broken():
            self._step(self._draft.redo, "redo")

    def _step(self, step: Callable[[], bool], name: str) -> None:
        before = self._draft.document
        if not step():
            self._say(f"nothing to {name}")
            return
        self._sheet.jump(first_difference(before, self._draft.document))
        self._show()

    def take_spec(self, spec: RunSpec) -> bool:
        """Take the plan's changes of the spec, as one edit that can be undone."""
        document = self._draft.document

        def changed(new: Any) -> None:
            self._draft.replace(new)
            self._redraw()

        self.fetch(lambda: edits.changed_to(document, spec), changed, group="take")
        return True

    def action_pin_image(self) -> None:
        """Write the image's digest from what this machine knows."""
        self._pin(pins.image)

    def action_pin_files(self) -> None:
        """Write revision, hashes and sizes of the model files from what this machine knows."""
        self._say("looking for the model files: a large one takes a while to hash")
        self._pin(pins.model_files)

    def _pin(self, find: Callable[[Any], pins.KnownPins]) -> None:
        document = self._draft.document

        def pinned(result: pins.KnownPins) -> None:
            self._draft.replace(pins.applied(self._draft.document, result))
            self._redraw()
            self._say(result.message, "information" if result.pins else "warning")

        if not self._refuse_broken():
            self.fetch(lambda: find(document), pinned, group="pin")

    # --- saving, planning, leaving ------------------------------------------------------------

    def action_save(self) -> None:
        """Write the file; ask for a name if there is none."""
        if not self._refuse_broken():
            self._keeper.save(self._draft.document, lambda: None)

    def _saved(self, document: Any) -> None:
        self._draft.mark_saved(document)
        self._say(f"wrote {self._file.path}")
        self._show()

    def action_plan(self) -> None:
        """Show what the spec resolves to here; if it has problems, go to the first."""
        if self._refuse_broken():
            return
        document, text = self._draft.document, to_text(self._draft.document).encode()
        # If the file's content differs, it is not what is planned.
        path = None if self._unsaved else self._file.path

        def planned(spec: RunSpec) -> None:
            self.kit.show_plan(Order(spec=spec), path)

        def failed(error: Exception) -> None:
            if isinstance(error, SpecInvalid):
                self._checked(document, list(error.problems))
                self._jump(0)
            else:
                self.show_error(error)

        self.fetch(lambda: specs.parse(text), planned, group="plan", failed=failed)

    def action_back(self) -> None:
        """Go one screen back; ask about unsaved changes."""
        go = super().action_back
        self._hush()
        if not self._unsaved:
            go()
            return

        def save() -> None:
            self._keeper.save(self._draft.document, go)

        self._keeper.leave(self._called, None if self._broken is not None else save, go)
