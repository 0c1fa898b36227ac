"""The rows of a form, a class for each kind of field: they show values and report edits."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from kit.show.render.console import plain
from kit.tui.form import edits, values
from kit.tui.form.draft import ABSENT, same
from kit.tui.form.fields import Field
from kit.tui.widgets.line import LineInput
from kit.tui.widgets.panel import Within

LABEL = 26  # columns of a label, as in style.tcss


class Row(Within):
    """One field: its label, which the row draws itself, its control, and its problems below.

    A form has dozens of rows, and each widget in one costs a style and a place in every layout.
    """

    class Edited(Message):
        """The person changed the field to ``value``; ``joined`` while typing."""

        def __init__(self, row: Row, value: Any, joined: bool = False) -> None:
            super().__init__()
            self.row, self.value, self.joined = row, value, joined

    class Pressed(Message):
        """The person pressed the row: to open, tick or add; ``remove``: to remove."""

        def __init__(self, row: Row, *, remove: bool = False) -> None:
            super().__init__()
            self.row, self.remove = row, remove

    def __init__(self, field: Field, *, labelled: bool) -> None:
        super().__init__(classes=f"-{field.kind}{' -labelled' if labelled else ''}")
        self.field = field
        self.is_open = False
        self._note: Static | None = None
        self._taken: tuple[Any, list[str], bool] = (ABSENT, [], False)

    def take(self, value: Any, problems: list[str], is_open: bool) -> None:
        """Show the document's value, its problems, and whether a heading is open."""
        before, self._taken = self._taken, (value, problems, is_open)
        # An update causes a new layout of the screen: unchanged text is not updated.
        if self.is_mounted and not (same(before[0], value) and before[1:] == (problems, is_open)):
            self.on_mount()

    def on_mount(self) -> None:
        # A choice can show values only after all of its widgets exist.
        value, problems, self.is_open = self._taken
        self.show(value)
        self.show_problems(problems)

    def compose(self) -> ComposeResult:
        yield self.control()

    def render(self) -> Content:
        """The field's name, indented, with a star if a value is required."""
        if not self.has_class("-labelled"):
            return Content()
        label = self.field.label + (" *" if self.field.required else "")
        content = Content(plain("  " * self.field.depth + label).plain)
        if self.field.required:
            content = content.stylize("bold", -2)
        if self.has_class("-within"):
            content = content.stylize("bold $primary")
        return content.truncate(LABEL, ellipsis=True)

    def show(self, value: Any) -> None:
        """Show the document's value."""
        raise NotImplementedError

    def show_problems(self, problems: list[str]) -> None:
        """Show the field's problems below it."""
        if not self._note:
            if not problems:
                return
            self._note = Static(classes="note", markup=False)
            self.mount(self._note)
        self._note.display = bool(problems)
        lead = "  " * (self.field.depth + 1)
        self._note.update(
            Text("\n").join(plain(f"{lead}✘ {problem}", "bad") for problem in problems)
        )

    def control(self) -> Widget:
        """The widget that takes the focus."""
        raise NotImplementedError

    def on_click(self) -> None:
        self.control().focus()

    def press(self) -> None:
        """Report that the person pressed the row."""
        self.post_message(self.Pressed(self))

    def heard(self) -> None:
        """Note that the draft has this row's edit."""


class TextRow(Row):
    """A typed line: text, a number or JSON."""

    def __init__(self, field: Field) -> None:
        super().__init__(field, labelled=True)
        self._input = LineInput(
            says={},
            compact=True,
            placeholder=values.hint(field),
            select_on_focus=False,
            classes="value",
        )
        self._known = ""  # the text that this row last reported, or was given
        self._pending = 0  # edits that the draft has not taken in yet

    def control(self) -> Widget:
        return self._input

    def show(self, value: Any) -> None:
        # On a slow link keys come in bursts: a lagging draft must not undo them.
        if self._pending or self._input.value != self._known:
            return
        # "1.50" and 1.5 are the same: what is being typed is left alone.
        if not same(values.read(self.field, self._input.value), value):
            with self._input.prevent(Input.Changed):
                self._input.value = self._known = values.shown(self.field, value)

    def heard(self) -> None:
        self._pending -= 1

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._known, self._pending = event.value, self._pending + 1
        self.post_message(self.Edited(self, values.read(self.field, event.value), joined=True))

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()


class Pressable(Static, can_focus=True):
    """A line to press: by enter, space or the mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "press", "Open", show=False, id="form.press"),
        Binding("delete", "remove", "Remove", id="form.remove"),
        Binding("left,right", "fold", "Open or close", show=False, id="form.fold"),
    ]

    def __init__(self, row: Row, *, can_go: bool = False) -> None:
        super().__init__(classes="value", markup=False)
        self._row, self._can_go = row, can_go

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return self._can_go if action == "remove" else True

    def action_press(self) -> None:
        self._row.press()

    def action_fold(self) -> None:
        if self._row.field.is_heading and self._row.field.kind != "switch":
            self.action_press()

    def action_remove(self) -> None:
        self._row.post_message(Row.Pressed(self._row, remove=True))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()


class Choice(Pressable):
    """The chosen value, with an arrow at the right."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self._shown = Text()

    def show(self, text: Text) -> None:
        """Show a value."""
        self._shown = text
        self.refresh()

    def render(self) -> Text:
        room = max(0, self.size.width - 3)
        text = self._shown.copy()
        text.truncate(room, overflow="ellipsis", pad=True)
        return text.append(" ▼ ", "quiet")


class Choices(OptionList):
    """A list over the form, which goes when it loses the focus; a letter finds its next word."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False, id="form.leave-choices")
    ]

    def action_leave(self) -> None:
        """Choose nothing."""
        self.screen.set_focus(self.parent.control() if isinstance(self.parent, Row) else None)

    def on_blur(self) -> None:
        self.remove()

    def on_key(self, event: events.Key) -> None:
        """Go to the next word with the typed letter."""
        if not event.is_printable or event.character in (None, " "):
            return
        event.stop()
        words = [str(option.prompt).casefold() for option in self.options]
        here = (self.highlighted or 0) + 1
        for n in (*range(here, len(words)), *range(here)):
            if words[n].startswith(str(event.character).casefold()):
                self.highlighted = n
                break


class ChoiceRow(Row):
    """One of several values, or a variant of an object.

    A `Select` has eight widgets each; this has one, and a list while a person chooses.
    """

    def __init__(self, field: Field) -> None:
        super().__init__(field, labelled=True)
        blank = field.kind == "choice" and not field.required
        self._prompt = values.hint(field) if blank else "choose one"
        self._labels = dict(field.choices)
        self._value: str | None = None
        self._line = Choice(self)

    def control(self) -> Widget:
        return self._line

    def show(self, value: Any) -> None:
        if self.field.kind == "variant":
            self._value = edits.variant_of(self.field, value)
        else:
            self._value = None if value is ABSENT else json.dumps(value)
        label = self._labels.get(self._value or "")
        self._line.show(plain(self._prompt, "quiet") if label is None else plain(label))

    def press(self) -> None:
        """Show the list of choices."""
        if self.query(Choices):
            return
        answers = [Option(plain(label)) for label in self._labels.values()]
        choices = Choices(Option(plain(self._prompt, "quiet")), *answers, compact=True)
        names = [None, *self._labels]
        choices.highlighted = names.index(self._value) if self._value in names else 0
        self.mount(choices)
        choices.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._line.focus()
        name = [None, *self._labels][event.option_index]
        if name == self._value:
            return
        value: Any = ABSENT if name is None else name
        if self.field.kind == "choice" and name is not None:
            value = json.loads(name)
        self.post_message(self.Edited(self, value))


class PressRow(Row):
    """A row to press: headings, boxes, constants, long texts."""

    def __init__(self, field: Field) -> None:
        super().__init__(field, labelled=field.kind in ("const", "long", "unknown"))
        self._line = Pressable(self, can_go=field.kind in ("item", "unknown"))

    def control(self) -> Widget:
        return self._line

    def show(self, value: Any) -> None:
        self._line.update(self._text(value))

    def _text(self, value: Any) -> Text:
        """The text of the line, for each kind of field."""
        lead, label = "  " * self.field.depth, self.field.label
        match self.field.kind:
            case "section" | "item":
                return self._heading(f"{lead}{'▼' if self.is_open else '▶'} {label}", value)
            case "switch":
                return self._heading(f"{lead}{_box(value is not ABSENT)} {label}", value)
            case "tick":
                return plain(f"{lead}{_box(edits.is_ticked(self.field, value))} {label}")
            case "add":
                return plain(f"{lead}+ {label}", "name")
            case "more":
                return plain(f"{lead}  {label}", "quiet")
            case "const":
                return _constant(self.field, value)
            case _:
                return _preview(self.field, value)

    def _heading(self, text: str, value: Any) -> Text:
        heading = plain(text, "name")
        heading.append(" *" if self.field.required else "", "name")
        if not self.is_open:
            gap = " " * max(2, LABEL - heading.cell_len)
            heading.append_text(plain(gap + values.summary(self.field, value), "quiet"))
        return heading


def _box(on: bool) -> str:
    return "[x]" if on else "[ ]"


def _constant(field: Field, value: Any) -> Text:
    wanted = field.rules["const"]
    if same(value, wanted):
        return plain(wanted, "quiet")
    return plain(f"{wanted} (enter writes it)")


def _preview(field: Field, value: Any) -> Text:
    """The beginning of a long text, and its length."""
    if field.kind == "unknown":
        return plain(json.dumps(value, ensure_ascii=False)[:200])
    if value is ABSENT:
        return plain("enter writes it", "quiet")
    text = values.shown(field, value)
    words = plain(text[:60].strip() + ("…" if len(text) > 60 else ""))
    return words.append_text(plain(f"  {len(text):,} characters, enter edits", "quiet"))


def row_of(field: Field) -> Row:
    """The row that shows ``field``."""
    if field.kind in ("text", "number", "json"):
        return TextRow(field)
    return ChoiceRow(field) if field.kind in ("choice", "variant") else PressRow(field)
