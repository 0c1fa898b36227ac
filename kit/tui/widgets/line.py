"""A line to type into, over links where keys come in bursts."""

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


# Most lines are filters: what is typed acts at once.
FILTER = {"enter": "Keep", "escape": "Clear"}


class LineInput(Input):
    """An `Input` that keeps the order of keys.

    Letters reach an input at once, but its editing keys go up to the application and come back:
    of ``ctrl+u`` and a word that one packet brings, the word was first. Here both are done where
    they arrive.

    Args:
        says: what keys do while this is typed into, where their own names would mislead.
    """

    _ACTIONS = dict(_own_actions())

    def __init__(self, *args: Any, says: Mapping[str, str] = FILTER, **more: Any) -> None:
        super().__init__(*args, **more)
        self.says = says

    async def on_key(self, event: events.Key) -> None:
        """Do an editing key here; every other one is left to `Input`, which is asked next."""
        action = self._ACTIONS.get(event.key)
        if action is None or event.is_printable:
            return
        event.stop()
        event.prevent_default()
        await self.run_action(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A line does not scroll: those keys are of what it stands in, and so they are told."""
        if action.startswith(("scroll_", "page_")):
            return False
        return super().check_action(action, parameters)
