"""Keys one after another: each acts on what the key before it left behind.

Several keys may come in one packet: typed ahead, pasted, or over a slow link. Textual hands each to
the widget that has the focus at that moment, and a key that moves the focus acts only later, on its
way up from that widget: of ``a Tab b`` both letters would go to the first field. Here a key waits
until the one before it has acted, and what that one opened is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textual import events
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker

from kit.tui._textual_hacks import FrugalApp

# A key waits so long at most for what the one before it set off, s.
LIMIT_S = 10.0
# Groups that begin so are of workers that end with their screen, and for which no key waits.
ENDLESS = "endless"

_Place = tuple[Screen[Any], Widget | None]


class TypeAhead(FrugalApp):
    """An application that hands out keys and pasted text one by one."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Event] = deque()
        self._typing: asyncio.Task[None] | None = None

    async def on_event(self, event: events.Event) -> None:
        """Put keys and pasted text into a queue; everything else goes on at once."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if not self.is_handing_out_keys:
            self._typing = asyncio.create_task(self._hand_out())

    @property
    def is_handing_out_keys(self) -> bool:
        """Whether a key has not acted yet."""
        return self._typing is not None and not self._typing.done()

    async def _hand_out(self) -> None:
        while self._typed:
            event, before = self._typed.popleft(), self._place
            workers = set(self.workers)
            try:
                await super().on_event(event)
            except Exception as bug:  # nobody awaits this task
                self.fail(bug)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LIMIT_S):
                    await self._acted()
                    if not (_is_text(event, before) and self._place == before):
                        await self._settled(workers)

    @property
    def _place(self) -> _Place:
        return self.screen, self.focused

    @property
    def _is_quitting(self) -> bool:
        """Whether a key that quits was typed."""
        acting = self.screen.active_bindings
        keys = (event.key for event in self._typed if isinstance(event, events.Key))
        return any(key in acting and acting[key].binding.action == "quit" for key in keys)

    async def _acted(self) -> None:
        """Wait until the key has gone up from the focused widget to the application."""
        for pump in (self.focused or self.screen).ancestors_with_self:
            await _done(pump, pump.call_later)

    async def _settled(self, before: set[Worker[Any]]) -> None:
        """Wait for what the key set off: a screen, other widgets, work in threads.

        Who quits waits for no work.
        """
        place = None
        while self._typed and place != self._place:
            place = self._place
            for worker in {w for w in self.workers if not w.group.startswith(ENDLESS)} - before:
                while worker.is_running and not self._is_quitting:
                    await asyncio.sleep(0.01)
                    place = None
            screen = self.screen
            await _done(screen, screen.call_after_refresh)
            await self._acted()


def _is_text(event: events.Event, place: _Place) -> bool:
    """Whether it only adds text to one field, which nothing that follows must wait for."""
    is_text = isinstance(event, events.Paste) or (
        isinstance(event, events.Key) and event.is_printable
    )
    return is_text and isinstance(place[1], Input)


async def _done(pump: MessagePump, call: Callable[[Callable[[], None]], bool]) -> None:
    """Wait until ``call``, a method of ``pump``, has called back: what it was sent is handled."""
    done = asyncio.Event()
    call(done.set)
    while pump.is_running and not done.is_set():  # a pump that closes calls nobody back
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.05)
