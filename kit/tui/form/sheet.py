"""The form: the rows of a draft, updated with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import AwaitMount, Widget
from textual.widgets import Input

from kit.tui.form import edits
from kit.tui.form.draft import ABSENT, Draft, Where
from kit.tui.form.fields import Field, fields
from kit.tui.form.rows import Row, row_of

_OPEN_AT_FIRST: tuple[Where, ...] = (("runtime",), ("runtime", "options"))


class Sheet(VerticalScroll, can_focus=False):
    """A form over ``draft``. It writes edits into the draft, and posts `Changed`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next field", show=False, id="form.next"),
        Binding("up", "app.focus_previous", "Previous field", show=False, id="form.previous"),
    ]

    class Changed(Message):
        """The draft has changed; ``message`` names the consequences of the edit."""

        def __init__(self, message: str = "") -> None:
            super().__init__()
            self.message = message

    class Focused(Message):
        """The focus went to ``field``."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    class Long(Message):
        """A text is to be edited in a dialog."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, draft: Draft, open_at_first: Iterable[Where] = ()) -> None:
        super().__init__()
        self._draft = draft
        self._open: set[Where] = {*_OPEN_AT_FIRST, *open_at_first}
        self._rows: dict[Field, Row] = {}
        self._faults: Mapping[Where, list[str]] = {}

    # --- drawing ----------------------------------------------------------------------------

    def take(self, draft: Draft) -> None:
        """Hold another draft, which the next `sync` shows."""
        self._draft = draft

    def sync(self) -> list[AwaitMount]:
        """Show the present draft: add and remove rows, update the others.

        Returns:
            What to wait for until the new rows are there.
        """
        wanted = fields(self._draft.document, self._open.__contains__)
        with self.app.batch_update():
            coming = self._arrange(wanted)
            for field, row in self._rows.items():
                self._show(field, row)
        return coming

    def show_problems(self, problems: Mapping[Where, list[str]]) -> None:
        """Show problems at their fields, by path."""
        self._faults = problems
        for field, row in self._rows.items():
            self._show(field, row)

    def _arrange(self, wanted: list[Field]) -> list[AwaitMount]:
        """Remove unneeded rows, and insert new ones in their places."""
        coming: list[AwaitMount] = []
        fields = set(wanted)
        for field in [shown for shown in self._rows if shown not in fields]:
            self._rows.pop(field).remove()
        rows: dict[Field, Row] = {}
        batch: list[Row] = []
        for field in wanted:
            row = self._rows.get(field)
            if row is None:
                rows[field] = row_of(field)
                batch.append(rows[field])
                continue
            if batch:
                coming.append(self.mount(*batch, before=row))
                batch = []
            rows[field] = row
            row.field = field
        if batch:
            coming.append(self.mount(*batch))
        self._rows = rows
        return coming

    def _show(self, field: Field, row: Row) -> None:
        problems, is_open = self._problems_of(field), field.where in self._open
        row.take(self._draft.get(field.where), problems, is_open)

    def _problems_of(self, field: Field) -> list[str]:
        """The problems of a row; a closed section counts all problems inside it."""
        if field.kind in ("tick", "variant", "add", "more"):
            return []
        if not field.is_heading or field.where in self._open or field.kind == "switch":
            return self._faults.get(field.where, [])
        inside = [
            message
            for where, messages in self._faults.items()
            if where[: len(field.where)] == field.where
            for message in messages
        ]
        return inside if len(inside) < 2 else [f"{len(inside)} problems in here"]

    # --- where the focus is -----------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = _row_around(event.widget)
        if row:
            self.post_message(self.Focused(row.field))

    def on_resize(self) -> None:
        # A list of problems or a longer help appeared below: keep the edited field visible.
        self.call_after_refresh(self.follow)

    def follow(self) -> None:
        """Keep the field of the focus in view, and with the first one what stands above it."""
        row = _row_around(self.screen.focused) if self.screen.focused else None
        if row and row in self._rows.values():
            is_first = self.screen.focused is self.first()
            if is_first and row.virtual_region.bottom <= self.size.height:
                self.scroll_home(animate=False)  # show what stands above it too
            else:
                self.scroll_to_widget(row, animate=False)

    def first(self) -> Input | None:
        """The uppermost field that takes text."""
        return next(iter(self.query(Input)), None)

    def on_descendant_blur(self) -> None:
        self._draft.settle()

    def jump(self, where: Where) -> None:
        """Open the sections around ``where``, and focus its field, or the nearest one."""
        self._open |= {where[:depth] for depth in range(1, len(where) + 1)}
        self.sync()
        fields = [
            field
            for field in self._rows
            if field.where == where[: len(field.where)]
            and field.kind not in ("tick", "add", "more")
        ]
        if fields:
            nearest = max(fields, key=lambda field: len(field.where))
            self.call_after_refresh(self._focus_on, self._rows[nearest])

    def _bring_in(self, heading: Row) -> None:
        """Scroll to show an opened section, at least its heading."""
        inside = len(heading.field.where)
        for field, row in self._rows.items():
            if field.where[:inside] == heading.field.where and row.is_attached:
                self.scroll_to_widget(row, animate=False)
        if heading.is_attached:
            self.scroll_to_widget(heading, animate=False)

    def _focus_on(self, row: Row) -> None:
        if row.is_attached:
            row.control().focus()
            self.scroll_to_widget(row, animate=False)

    # --- what a person does -----------------------------------------------------------------

    @on(Row.Edited)
    def _edited(self, event: Row.Edited) -> None:
        event.stop()
        event.row.heard()
        field, message = event.row.field, ""
        if field.kind == "variant":
            edits.choose_variant(self._draft, field, event.value)
            self._open.add(field.where)
        elif field.kind == "choice":
            message = edits.choose(self._draft, field.where, event.value)
        else:
            message = edits.write(self._draft, field.where, event.value, joined=event.joined)
        self._changed(message)

    @on(Row.Pressed)
    def _pressed(self, event: Row.Pressed) -> None:
        event.stop()
        field = event.row.field
        if event.remove:
            self._draft.drop(field.where)
            self._changed("")
        elif field.kind in ("section", "item"):
            self._open ^= {field.where}
            self.sync()
            self.call_after_refresh(self._bring_in, event.row)
        elif field.kind == "long":
            self.post_message(self.Long(field))
        elif field.kind not in ("unknown", "more"):
            self._write(field)

    def _write(self, field: Field) -> None:
        value = self._draft.get(field.where)
        match field.kind:
            case "switch":
                edits.switch(self._draft, field.where, value is ABSENT)
            case "tick":
                edits.tick(self._draft, field, not edits.is_ticked(field, value))
            case "add":
                edits.add(self._draft, field.where)
                self.jump((*field.where, next(iter(field.rules.get("properties", {})), "")))
            case "const":
                self._draft.put(field.where, field.rules["const"])
        self._changed("")

    def _changed(self, message: str) -> None:
        self.sync()
        self.post_message(self.Changed(message))


def _row_around(widget: Widget) -> Row | None:
    return next(
        (ancestor for ancestor in widget.ancestors_with_self if isinstance(ancestor, Row)), None
    )
