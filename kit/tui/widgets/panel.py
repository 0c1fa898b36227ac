"""A frame around widgets that can have the focus."""

from __future__ import annotations

from textual import on
from textual.containers import Vertical
from textual.events import DescendantBlur, DescendantFocus


class Panel(Vertical):
    """Has the class ``-within`` while the focus is in it.

    The pseudo-class ``:focus-within`` would do the same, but on each move of the focus Textual then
    looks up the style of every widget in the frame again: a quarter of a second in a long form.
    """

    @on(DescendantFocus)
    @on(DescendantBlur)
    def _look(self) -> None:
        focused = self.screen.focused
        self.set_class(focused is not None and self in focused.ancestors, "-within")
