"""The line of keys at the foot of a screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import ActiveBinding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

_STEP = 4  # columns that a turn of the wheel moves a line that is too long


class Foot(Widget):
    """The keys that act now, and what they do; a click on one presses it.

    It does what Textual's footer does, which makes a widget for each key, and a new layout of the
    screen, whenever other keys act: at each move of the focus.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"foot--key", "foot--label", "foot--hover"}
    under: reactive[str] = reactive("")  # the key under the mouse
    left: reactive[int] = reactive(0)  # columns that are out of sight

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._look)

    def _look(self, screen: Screen[Any]) -> None:
        if screen.app.app_focus and screen is self.screen:
            self.refresh()

    def render(self) -> Text:
        line = self._line()
        return line[min(self.left, self._beyond(line)) :]

    def _line(self) -> Text:
        parts = [self._part(binding) for binding in self._shown()]
        return Text(" ", end="", no_wrap=True).join(parts)

    def _beyond(self, line: Text) -> int:
        """How many columns of a line do not fit; other keys or another width change it."""
        return max(0, line.cell_len - self.size.width)

    def _shown(self) -> Iterator[ActiveBinding]:
        """The first key of each action that is shown."""
        actions = set()
        for active in self.screen.active_bindings.values():
            if active.binding.show and active.binding.action not in actions:
                actions.add(active.binding.action)
                yield active

    def _part(self, active: ActiveBinding) -> Text:
        binding = active.binding
        key, text_style = map(self.get_component_rich_style, ("foot--key", "foot--label"))
        if binding.key == self.under:
            key = text_style = self.get_component_rich_style("foot--hover")
        more = Style(dim=not active.enabled or None, meta={"key": binding.key})
        shown = self.app.get_key_display(binding)
        part = Text.assemble((shown, key), (f" {binding.description}", text_style))
        part.stylize(more)
        return part

    def _at(self, event: events.MouseEvent) -> ActiveBinding | None:
        return self.screen.active_bindings.get(event.style.meta.get("key", ""))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        active = self._at(event)
        if active and active.enabled:
            self.app.simulate_key(active.binding.key)
        elif active:
            self.app.bell()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        active = self._at(event)
        self.under = active.binding.key if active else ""
        self.tooltip = (active.tooltip or None) if active else None

    def on_leave(self) -> None:
        self.under = ""

    def on_mouse_scroll_down(self) -> None:
        self._move(_STEP)

    def on_mouse_scroll_up(self) -> None:
        self._move(-_STEP)

    def _move(self, columns: int) -> None:
        most = self._beyond(self._line())
        self.left = max(0, min(min(self.left, most) + columns, most))
