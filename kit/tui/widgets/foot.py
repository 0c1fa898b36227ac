"""The line of keys at the foot of a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import ActiveBinding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

# What every screen has. The first two are always in sight, since help has all keys; the others come
# where there is room after the screen's own.
_ALWAYS = ("help", "back")
_COMMON = (*_ALWAYS, "copy", "command_palette")
_GAP = Text(" ", end="", no_wrap=True)


class Foot(Widget):
    """The keys that act now, and what they do; a click on one presses it.

    It does what Textual's footer does, which makes a widget for each key, and a new layout of the
    screen, whenever other keys act: at each move of the focus. What the screen itself can do comes
    first, and a key that does not fit is left out: half a word says nothing.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"foot--key", "foot--label", "foot--hover"}
    under: reactive[str] = reactive("")  # the key under the mouse
    left: reactive[int] = reactive(0)  # keys that are out of sight

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._look)

    def _look(self, screen: Screen[Any]) -> None:
        if screen.app.app_focus and screen is self.screen:
            self.refresh()

    def render(self) -> Text:
        own, common = self._parts()
        own = own[min(self.left, self._beyond()) :]
        asked = common[: len(_ALWAYS)]
        fitting = _fitting([*own, *common[len(asked) :]], self.size.width - _width(asked))
        kept = min(fitting, len(own))
        return _GAP.join([*own[:kept], *asked, *common[len(asked) :][: fitting - kept]])

    def _parts(self) -> tuple[list[Text], list[Text]]:
        """The keys of the screen, and those that every screen has: help and back first."""
        shown = list(self._shown())
        common = sorted(
            (active for active in shown if active.binding.action in _COMMON),
            key=lambda active: _COMMON.index(active.binding.action),
        )
        own = [active for active in shown if active not in common]
        return [self._part(active) for active in own], [self._part(active) for active in common]

    def _beyond(self) -> int:
        """How many keys have to go so that the last is in sight; another width changes it."""
        own, common = self._parts()
        room = self.size.width - _width(common[: len(_ALWAYS)])
        return next((n for n in range(len(own)) if _fitting(own[n:], room) == len(own) - n), 0)

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
        self._move(1)

    def on_mouse_scroll_up(self) -> None:
        self._move(-1)

    def _move(self, keys: int) -> None:
        most = self._beyond()
        self.left = max(0, min(min(self.left, most) + keys, most))


def _width(parts: Sequence[Text]) -> int:
    """The columns of keys, each with a blank."""
    return sum(part.cell_len + 1 for part in parts)


def _fitting(parts: Sequence[Text], room: int) -> int:
    """How many of the first keys fit, none of them cut."""
    return sum(_width(parts[: n + 1]) <= room + 1 for n in range(len(parts)))
