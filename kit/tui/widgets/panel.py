"""Widgets that show whether they have the focus."""

from __future__ import annotations

from textual import on
from textual.containers import Vertical
from textual.events import DescendantBlur, DescendantFocus
from textual.widget import Widget


class Within(Widget):
    """Has the class ``-within`` while the focus is in it; no style of what is inside depends on it.

    The pseudo-class ``:focus-within`` would do the same, but on each move of the focus Textual then
    looks up the style of every widget in the outermost one: a quarter of a second in a long form.
    """

    @on(DescendantFocus)
    @on(DescendantBlur)
    def _look(self) -> None:
        focused = self.screen.focused
        within = focused is not None and self in focused.ancestors
        if within != self.has_class("-within"):
            self.set_class(within, "-within", update=False)
            self.app.stylesheet.update_nodes([self])
            self.refresh()


class Panel(Within, Vertical):
    """A frame around widgets that can have the focus."""
