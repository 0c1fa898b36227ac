"""A line to type into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.geometry import Size
from textual.reactive import reactive
from textual.widgets import Input

# Most lines are filters: typing acts at once.
FILTER = {"enter": "Keep", "escape": "Clear"}


class LineInput(Input):
    """An `Input` of a given width.

    Args:
        says: what keys do while one types here, if their own names would mislead.
    """

    # A longer text changes nothing around the line: a layout would draw the whole screen again.
    virtual_size: reactive[Size] = reactive(Size(0, 0))

    def __init__(self, *args: Any, says: Mapping[str, str] = FILTER, **more: Any) -> None:
        super().__init__(*args, **more)
        self.says = says
        self.cursor_blink = False  # over a link each blink is sent

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable scrolling: those keys belong to the widget around the line."""
        if action.startswith(("scroll_", "page_")):
            return False
        return super().check_action(action, parameters)
