"""A line to type into, for links over which keys come in bursts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual import events
from textual.binding import Binding
from textual.widgets import Input


def _own_actions() -> Iterator[tuple[str, str]]:
    for binding in Input.BINDINGS:
        keys, action = (
            (binding.key, binding.action) if isinstance(binding, Binding) else binding[:2]
        )
        for key in keys.split(","):
            yield key.strip(), action


# Most lines are filters: typing acts at once.
FILTER = {"enter": "Keep", "escape": "Clear"}


class LineInput(Input):
    """An `Input` that keeps the order of keys.

    Letters reach an input at once, but editing keys go to the application and come back: if
    ``ctrl+u`` and a word come in one packet, the word would be first. Here both act where they
    arrive.

    Args:
        says: what keys do while one types here, if their own names would mislead.
    """

    _ACTIONS = dict(_own_actions())

    def __init__(self, *args: Any, says: Mapping[str, str] = FILTER, **more: Any) -> None:
        super().__init__(*args, **more)
        self.says = says

    async def on_key(self, event: events.Key) -> None:
        """Handle an editing key here; `Input` handles every other one."""
        action = self._ACTIONS.get(event.key)
        if action is None or event.is_printable:
            return
        event.stop()
        event.prevent_default()
        await self.run_action(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable scrolling: those keys belong to the widget around the line."""
        if action.startswith(("scroll_", "page_")):
            return False
        return super().check_action(action, parameters)
