"""A draft on the screen: form, JSON and problems, all updated together."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from textual import on
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from kit.core.model import Problem
from kit.core.text import clean
from kit.show.render.console import count, plain
from kit.tui.dialogs import AskText
from kit.tui.form import files, problems
from kit.tui.form.draft import ABSENT, Draft, Where, place
from kit.tui.form.jsonview import JsonView
from kit.tui.form.sheet import Sheet
from kit.tui.screen import KitScreen, badge, plain_lines
from kit.tui.threads import run_latest
from kit.tui.widgets.panel import Panel

BOTH = 100  # columns from which form and JSON are side by side
FLAT = 16  # lines from which Problems fit, as in style.tcss
TOLD_S, WARNED_S = 4.0, 10.0  # how long a message stays: good news, and bad
PAUSE_S = 0.15  # pause after the last key before the draft is checked


class DraftScreen(KitScreen):
    """Shows a draft, and checks it after each pause of typing.

    Args:
        path: the draft's file, which need not exist.
        open_at_first: sections that are open at first, in addition to the runtime's.
    """

    def __init__(self, draft: Draft, path: Path | None, open_at_first: Iterable[Where]) -> None:
        super().__init__()
        self._draft, self._file = draft, files.SpecFile(path)
        self._broken: str | None = None  # a text that is no JSON and has to be repaired
        self._problems: list[Problem] | None = None
        self._at = -1  # the last problem that the person went to
        self._left: Widget | None = None  # what had the focus before the JSON took the form's place
        self._sheet = Sheet(draft, open_at_first)
        self._json = JsonView()
        self._list = OptionList(compact=True, markup=False, id="problems", classes="panel -none")
        self._about = Static(id="about", markup=False)

    def body(self) -> Iterable[Widget]:
        form = Panel(self._sheet, self._about, id="form", classes="panel")
        form.border_title = "Form"
        self._json.add_class("panel")
        self._json.border_title = "JSON (F2)"
        self._list.border_title = "Problems (enter jumps)"
        yield Horizontal(form, self._json, id="both")
        yield self._list

    def _focus_first(self) -> None:
        if self.focused is None and (first := self._sheet.first()):
            first.focus(scroll_visible=False)  # another size than the last may be laid out by now
            self.call_after_refresh(self._sheet.follow)

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
        """Update everything but the form itself; check the draft after a pause of typing."""
        self._sheet.disabled = self._broken is not None
        self.crumbs = f"Spec › {self._called}{' (modified)' if self._unsaved else ''}"
        self.command = f"kit check {shlex.quote(str(self._file.path or 'FILE'))}"
        if self._broken is not None:
            self._show_broken(self._broken)
            return
        self._json.show(self._draft.document)
        if self._problems is None:
            self.state = badge("skip", "checking")
        self._mark(self._problems or [])
        self._check_soon()

    def _show_broken(self, text: str) -> None:
        broken = problems.of_text(text, self._called)
        self.workers.cancel_group(self, "check-soon")
        self.workers.cancel_group(self, "check")
        self._list_problems([broken.problem] if broken else [])
        self._json.show_text(text, broken.line if broken else None)
        self.set_class(self.size.width < BOTH, "-swapped")

    def _say(
        self, text: str, severity: Literal["information", "warning", "error"] = "information"
    ) -> None:
        """Show a message in place of the one before, which may have become untrue."""
        self._hush()
        timeout = TOLD_S if severity == "information" else WARNED_S
        self.notify(plain_lines(text).plain, markup=False, severity=severity, timeout=timeout)

    def _hush(self) -> None:
        """Remove the message: it must not cover a question, nor outlive its cause."""
        self.app.clear_notifications()

    @on(Sheet.Changed)
    def _form_changed(self, event: Sheet.Changed) -> None:
        self._show()
        if event.message:
            self._say(event.message)

    @on(Sheet.Focused)
    def _field_focused(self, event: Sheet.Focused) -> None:
        field = event.field
        about = plain(f"{field.label}: ", "bold").append_text(plain(field.help))
        self._about.update(about, layout=False)  # a layout would draw the whole screen again
        if self._broken is None:
            self._json.point(field.where)

    @on(Sheet.Long)
    def _long_text(self, event: Sheet.Long) -> None:
        where, value = event.field.where, self._draft.get(event.field.where)
        text = "" if value is ABSENT else str(value)
        if clean(text, lines=True) != text:
            self._say("it holds characters that would act on the terminal: F4 edits it", "warning")
            return

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
                lambda: problems.problems(document),
                lambda faults: self._checked(document, faults),
                group="check",
            )

        run_latest(self, soon, "check-soon")

    def _checked(self, document: Any, problems: list[Problem]) -> None:
        # Newer text has its own check under way.
        if document is self._draft.document and self._broken is None:
            self._list_problems(problems)

    def _list_problems(self, faults: list[Problem]) -> None:
        self._mark(faults)
        if faults == self._problems:
            return  # updating the list causes a new layout of the whole screen
        self._problems = faults
        self.state = (
            badge("fail", count(len(faults), "problem")) if faults else badge("ok", "valid")
        )
        here = self._list.highlighted
        self._list.set_options(Option(problems.line(problem)) for problem in faults)
        self._list.highlighted = min(here or 0, len(faults) - 1) if faults else None
        self._list.set_class(not faults, "-none")

    def _mark(self, faults: list[Problem]) -> None:
        messages = problems.by_place(faults)
        self._sheet.show_problems(messages)
        self._json.mark(messages)

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

    def action_json(self) -> None:
        """Show or hide the JSON; in place of the form if both do not fit."""
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
