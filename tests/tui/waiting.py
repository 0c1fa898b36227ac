"""Waiting for a screen to come to rest, without sleeping; and stores to look at."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from kit.store.store import Store
from tests.committed import link_into


async def settled(pilot: Pilot[Any]) -> None:
    """Until no work is under way, twice in a row: work may ask for more work when it has ended."""
    still = 0
    for _ in range(200):
        await pilot.pause()
        still = 0 if len(pilot.app.workers) else still + 1
        if still == 2:
            break
        with contextlib.suppress(WorkerCancelled):
            await pilot.app.workers.wait_for_complete()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, each when what the one before began is done."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


def of_committed_runs(folder: Path) -> Store:
    """A store that has the committed runs and nothing else."""
    root = folder / "runs"
    root.mkdir()
    link_into(root)
    return Store(root)


def notifications(app: Any) -> str:
    """Every notification that is shown."""
    return "\n".join(f"{n.title} {n.message}" for n in app._notifications)
