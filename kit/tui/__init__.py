"""The terminal UI: screens over the same rooms as the command line, made for SSH.

The UI runs nothing: a run's runner is a process in a session of its own, found again by its
files. A screen never reads or computes on the event loop: `KitScreen.fetch` does it in a thread
and hands the result back, so that no keystroke waits.
"""

from __future__ import annotations

import os
from pathlib import Path

from kit.store.store import Store


def start(store: Store, attach: str = "", spec: Path | None = None, runs: str = "") -> None:
    """Show the UI until the person leaves it.

    Args:
        attach: the run in flight to show at once; empty for the list of runs.
        spec: the run spec to open at once; its file need not be there yet.
        runs: the store's folder for commands that are named; empty for the default one.
    """
    from kit.tui.app import KitApp

    for name in ("COLUMNS", "LINES"):  # exported by a shell once, and not of this terminal any more
        os.environ.pop(name, None)
    KitApp(store, attach=attach, spec=spec, runs=runs).run()
