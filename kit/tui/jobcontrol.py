"""Ctrl+Z: the terminal goes back to the shell, until its `fg`."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def has_shell() -> bool:
    """Whether a shell with job control waits behind this program, which `fg` could come from.

    None does where the program is all that a terminal runs: `ssh -t HOST kit`, `tmux new kit`.
    """
    try:
        parent = os.getppid()
        while parent > 1 and os.getpgid(parent) == os.getpgrp():  # a wrapper, such as `uv run`
            parent = _parent_of(parent)
        return parent > 1 and os.getsid(parent) == os.getsid(0)
    except (OSError, ValueError, IndexError):
        return False


def stop() -> None:
    """Stop this program and its wrappers until `fg`, once the terminal is as the shell left it.

    A runner is in a session of its own, and goes on.
    """
    os.killpg(os.getpgrp(), signal.SIGSTOP)


def _parent_of(pid: int) -> int:
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return int(facts.split()[1])
