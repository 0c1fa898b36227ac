"""Work off the event loop: in daemon threads, so that quitting the UI never waits for a read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from textual.dom import DOMNode

T = TypeVar("T")


def run_latest(node: DOMNode, work: Callable[[], Awaitable[None]], group: str) -> None:
    """Run the coroutine function ``work``; what of ``group`` is under way is cancelled.

    Textual would take a coroutine as well. One that is cancelled before it begins is never awaited,
    and Python warns of that in the middle of the screen.
    """
    node.run_worker(cast(Any, work), group=group, exclusive=True)


async def in_thread(work: Callable[[], T]) -> T:
    """The result of ``work``, done in a daemon thread; its exceptions are raised here.

    `asyncio.to_thread` has a few threads for all, and the interpreter waits for them at its end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            set_(value)

    def go() -> None:
        try:
            result = work()
        except BaseException as error:  # any exception is passed on
            outcome: tuple[Callable[[Any], None], Any] = (done.set_exception, error)
        else:
            outcome = (done.set_result, result)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            return  # the UI is gone, and with it the loop

    threading.Thread(target=go, name="kit-fetch", daemon=True).start()
    return await done
