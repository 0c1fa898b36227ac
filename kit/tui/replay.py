"""The steps to a replay: check the run, list what it would do, ask, fetch, show the plan.

Before the yes nothing is fetched, built or written, and no meter is read.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from kit.core.errors import ArchiveRefused
from kit.show import render
from kit.store.store import Store
from kit.tui.dialogs import Consent
from kit.tui.screen import KitScreen

if TYPE_CHECKING:
    from kit.judge.replay import Undertaking


def replay(screen: KitScreen, run: Path) -> None:
    """List what a replay of ``run`` would do, ask, and do it after a yes."""
    store = screen.kit.store

    def ask(undertaking: Undertaking) -> None:
        if undertaking.obstacle:
            screen.show_error(undertaking.obstacle)
            return
        window = Consent(
            render.undertaking_list(undertaking), render.QUESTION, "Do this", "Not now"
        )
        screen.app.push_screen(window, lambda yes: _provide(screen, undertaking) if yes else None)

    _show_message(screen, "checking the run, its image and its weights")
    screen.fetch(lambda: looked_at(run, store), ask, group="replay")


def _provide(screen: KitScreen, agreed: Undertaking) -> None:
    from kit.judge import replay as replaying

    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        loop.call_soon_threadsafe(_show_message, screen, text)

    def ready(_: None) -> None:
        screen.kit.show_plan(agreed.order, original=agreed.original)

    screen.fetch(lambda: replaying.provide(agreed, say), ready, group="replay")


def _show_message(screen: KitScreen, text: str) -> None:
    screen.notify(text, title="replay", markup=False)


def looked_at(run: Path, store: Store) -> Undertaking:
    """What a replay of ``run`` would do; a missing image would be built from the sealed recipe.

    Raises:
        KitError: the run does not verify, or kit does not accept its spec.
    """
    from kit.judge import admission
    from kit.judge import replay as replaying

    verdict = admission.verify(run)
    if not verdict.passed:
        first = verdict.failures[0]
        raise ArchiveRefused(first.code, f"the run does not verify: {first.message}", "v shows why")
    return replaying.undertake(run, store, rebuild=True)
