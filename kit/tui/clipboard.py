"""Copying over SSH: the app writes OSC 52; this module copies into tmux and a file."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

_TMUX_S = 2.0


def copied(text: str) -> str:
    """Copy ``text`` for terminals without OSC 52; returns the places, as text."""
    path = _write(text)
    ways = ["terminal"] + (["tmux"] if _in_tmux(text) else [])
    return f"{', '.join(ways)}; {path}" if path else ", ".join(ways)


def _in_tmux(text: str) -> bool:
    """Copy into tmux's buffer, which also passes it on to the terminal if allowed."""
    if not os.environ.get("TMUX"):
        return False
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode(),
            capture_output=True,
            timeout=_TMUX_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _write(text: str) -> Path | None:
    """Copy into a private file of the person, which each copy overwrites."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = folder / f"kit-copied-{os.getuid()}.txt"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return None
    return path
