"""The way to a replay: check the run, provide what it needs, then ask on the Plan screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kit.engine import Order
from kit.errors import ArchiveRefused, ImageUnavailable
from kit.replay import Say
from kit.tui.base import KitScreen


def replay(screen: KitScreen, run: Path) -> None:
    """Check ``run``, bring its image and weights here, then show the plan that replays it."""
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        loop.call_soon_threadsafe(_tell, screen, text)

    def ready(order: Order) -> None:
        screen.kit.show_plan(order, original=run)

    _tell(screen, "checking the run, its image and its weights")
    screen.fetch(lambda: prepared(run, say), ready, group="replay")


def _tell(screen: KitScreen, text: str) -> None:
    screen.notify(text, title="replay", markup=False)


def prepared(run: Path, say: Say) -> Order:
    """The order that replays ``run``, with everything at hand that it needs.

    Raises:
        KitError: the run does not verify, or something that it needs is missing.
    """
    from kit import replay as replaying
    from kit.verify import verify

    verdict = verify(run)
    if not verdict.passed:
        first = verdict.failures[0]
        raise ArchiveRefused(first.code, f"the run does not verify: {first.message}", "v shows why")
    order = replaying.order_of(run)
    try:
        replaying.provide(run, order.spec, rebuild=False, folder=None, say=say)
    except ImageUnavailable as missing:
        short = verdict.run_hash[:12] if verdict.run_hash else run.name
        remedy = missing.remedy.replace("add --rebuild", f"`kit replay {short} --rebuild`")
        raise ImageUnavailable(missing.message, remedy) from missing
    return order
