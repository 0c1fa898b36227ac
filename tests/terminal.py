"""A terminal that a test types into and reads: a pane of a tmux server of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PAUSE_S = 0.1


class Terminal:
    """``with Terminal(folder, ["kit"], 100, 30) as terminal: terminal.type("n")``.

    Args:
        folder: where the server's socket lies and the program starts.
        argv: the program.
        columns, rows: the terminal's size.
        env: its environment, on top of tmux's own.
    """

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        columns: int = 100,
        rows: int = 30,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._socket = folder / "tmux.sock"
        self._folder, self._argv, self._env = folder, list(argv), dict(env or {})
        self._size = (columns, rows)

    def __enter__(self) -> Terminal:
        words = [f"{key}={value}" for key, value in self._env.items()]
        command = shlex.join(["env", *words, *self._argv])
        columns, rows = map(str, self._size)
        self.tmux("new-session", "-d", "-x", columns, "-y", rows, "-c", str(self._folder), command)
        self.tmux("set-option", "-g", "remain-on-exit", "on")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def tmux(self, *args: str) -> str:
        """One command to this test's tmux server; returns what it prints."""
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), "-f", "/dev/null", *args],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # whatever the tests' own terminal is
            timeout=20,
        )
        assert done.returncode == 0, f"tmux {args}: {done.stderr}"
        return done.stdout

    def kill(self) -> None:
        """End the tmux server and whatever runs in it."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: ``Enter``, ``Escape``, ``C-z``, ``F5``, ``n``."""
        for key in keys:
            self.tmux("send-keys", key)

    def type(self, text: str) -> None:
        """Characters as they are."""
        self.tmux("send-keys", "-l", "--", text)

    def resize(self, columns: int, rows: int) -> None:
        """Another window size."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def text(self) -> str:
        """What stands on the screen."""
        return self.tmux("capture-pane", "-p")

    def wait(self, pattern: str, timeout_s: float = 30.0) -> str:
        """The screen's text once ``pattern`` is in it; fails with the screen if it never is."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if re.search(pattern, text := self.text()):
                return text
            time.sleep(PAUSE_S)
        raise AssertionError(f"{pattern!r} did not come within {timeout_s} s:\n{self.text()}")

    def wait_gone(self, pattern: str, timeout_s: float = 30.0) -> None:
        """Wait until ``pattern`` is no longer on the screen."""
        end = time.monotonic() + timeout_s
        while re.search(pattern, self.text()):
            assert time.monotonic() < end, f"{pattern!r} stayed:\n{self.text()}"
            time.sleep(PAUSE_S)

    def wait_end(self, timeout_s: float = 30.0) -> int:
        """The exit status of the program, once it has ended; -1 where tmux does not tell it."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            dead, status = (
                self.tmux("display-message", "-p", "#{pane_dead},#{pane_dead_status}")
                .strip()
                .split(",")
            )
            if dead == "1":
                return int(status or -1)
            time.sleep(PAUSE_S)
        raise AssertionError(f"the program did not end within {timeout_s} s:\n{self.text()}")
