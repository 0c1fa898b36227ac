"""The document's JSON next to the form, with problem lines marked. Draws only visible lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kit.show.render.console import plain
from kit.tui.form import pretty
from kit.tui.form.draft import Where

_MARGIN = 6  # "! 123 "
_WIDEST, _STEP = 1000, 64


class JsonView(ScrollView, can_focus=True):
    """JSON text with line numbers; ``!`` marks lines with a problem."""

    class Picked(Message):
        """A person clicked on the line of ``where``."""

        def __init__(self, where: Where) -> None:
            super().__init__()
            self.where = where

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[pretty.JsonLine] = []
        self._marked: set[int] = set()
        self._here: int | None = None

    def show(self, document: Any) -> None:
        """Show a document."""
        self._set(pretty.lines(document))

    def show_text(self, text: str, wrong: int | None) -> None:
        """Show a text that is no JSON, with a mark at the line of the error."""
        self._set([pretty.JsonLine(line, ()) for line in text.splitlines()])
        self._marked = {wrong - 1} if wrong else set()
        if wrong:
            self.scroll_to_region(Region(0, wrong - 1, 1, 1), animate=False)

    def mark(self, problems: Mapping[Where, list[str]] | Iterable[Where]) -> None:
        """Mark the lines of these paths."""
        lines = (pretty.line_at(self._lines, where) for where in problems)
        before, self._marked = self._marked, {number for number in lines if number is not None}
        self._draw_again(before ^ self._marked)

    def point(self, where: Where) -> None:
        """Scroll to the line of ``where``, and highlight it."""
        self._highlight(pretty.line_at(self._lines, where))
        self._follow()

    def _highlight(self, number: int | None) -> None:
        before, self._here = self._here, number
        if before != number:
            self._draw_again(n for n in (before, number) if n is not None)

    def _draw_again(self, numbers: Iterable[int]) -> None:
        """Draw some lines: all of them would take longer than the form beside them."""
        for number in numbers:
            self.refresh_line(number)

    def on_resize(self) -> None:
        # Scrolling without space has no effect.
        self.scroll_to(0, 0, animate=False, force=True)
        self._follow()

    def _follow(self) -> None:
        if self._here is not None and self.size.height:
            self.scroll_to_region(Region(0, self._here, 1, 1), animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        number = event.y - self.gutter.top + self.scroll_offset.y
        if 0 <= number < len(self._lines):
            self.post_message(self.Picked(self._lines[number].where))

    def _set(self, lines: list[pretty.JsonLine]) -> None:
        before, self._lines = self._lines, lines
        self._highlight(None)
        widest = max((len(line.text) for line in lines), default=0)
        # In steps: another size is a layout of the whole screen, which no typed letter should be.
        room = min(-(-widest // _STEP) * _STEP, _WIDEST)
        self.virtual_size = Size(room + _MARGIN, len(lines))
        if len(before) != len(lines):
            self.refresh()
            return
        pairs = enumerate(zip(before, lines, strict=True))
        self._draw_again(n for n, (old, new) in pairs if old.text != new.text)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        number, width = y + top, self.scrollable_content_region.width
        if number >= len(self._lines):
            return Strip.blank(width, self.visual_style.rich_style)
        line = self._drawn(number)
        strip = Strip(line.render(self.app.console), line.cell_len)
        gutter, rest = strip.crop(0, _MARGIN), strip.crop(_MARGIN + left)
        full = Strip.join([gutter, rest]).adjust_cell_length(width).crop(0, width)
        return full.apply_style(self.visual_style.rich_style)

    def _drawn(self, number: int) -> Text:
        marked = number in self._marked
        text = plain(f"{'!' if marked else ' '}{number + 1:>4} ", "doubt" if marked else "quiet")
        style = "doubt" if marked else ("name" if number == self._here else "")
        text.append_text(plain(self._lines[number].text[:_WIDEST], style))
        text.end = ""
        return text
