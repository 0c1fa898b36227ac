"""The terminal UI: screens over the same packages as the command line, made for SSH.

The UI runs nothing: a run's runner is a process in its own session, found again by its files. A
screen never reads or computes on the event loop: `KitScreen.fetch` does it in a thread and returns
the result, so that no key has to wait.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

from kit.store.store import Store


def start(store: Store, attach: str = "", spec: Path | None = None, runs: str = "") -> None:
    """Show the UI until the person leaves it.

    Args:
        attach: the run in flight to show first; empty for the list of runs.
        spec: the run spec to open first; its file need not exist.
        runs: the store's folder in named commands; empty for the default one.
    """
    from kit.tui.app import KitApp

    for name in (
        "COLUMNS",
        "LINES",
    ):  # exported by a shell earlier, and perhaps not true of this terminal
        os.environ.pop(name, None)
    gc.freeze()  # what was imported stays: the collector need not look at it at each key
    KitApp(store, attach=attach, spec=spec, runs=runs).run()
