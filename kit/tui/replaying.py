"""From a sealed run to the plan that runs it again."""

from __future__ import annotations

from pathlib import Path

from kit.engine import Order
from kit.tui.base import KitScreen


def replay(screen: KitScreen, run: Path) -> None:
    """Bring image and weights of ``run`` here in a thread, then show the plan of its replay.

    What is missing is told with the way to get it; nothing is launched.

    Args:
        screen: who asks; it tells what goes wrong.
        run: the sealed run.
    """
    screen.notify("looking for its image and weights", title="replay", markup=False)
    screen.fetch(
        lambda: _provided(run),
        lambda order: screen.kit.show_plan(order, original=run),
        group="replay",
    )


def _provided(run: Path) -> Order:
    from kit import replay as replaying

    order = replaying.order_of(run)
    # A screen never builds a stranger's recipe: that takes ``kit replay --rebuild``.
    replaying.provide(run, order.spec, rebuild=False, folder=None, say=lambda _: None)
    return order
