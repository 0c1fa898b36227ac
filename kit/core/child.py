"""A helper process of the runner: JSON lines out, words in, gone when the runner is.

The driver and the samplers are such processes. They run in a session of their own, so that
ctrl-C on a terminal reaches only the face; they end at EOF on their stdin, so that they never
outlive a runner that was killed.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.core import causes
from kit.core.text import clean

POLL_S = 0.1
_LAST_BYTES = 2000
_LAST_S = 1.0


class Child:
    """``python -m MODULE CONFIG.json``; its stderr goes beside the configuration."""

    def __init__(self, module: str, config: dict[str, Any], path: Path) -> None:
        self._module, self._path = module, path
        self._log = path.with_suffix(".log")
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        path.write_text(json.dumps(config))

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, line: str) -> None:
        """Write one line to the child; a child that is gone is noticed by `lines`."""
        process = self._started()
        try:
            assert process.stdin is not None
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

    def lines(self, timeout_s: float | None = None) -> Iterator[dict[str, Any] | None]:
        """The child's lines as they come, None when there was none for 0.1 s.

        Ends when the child has ended and everything it said was read, or after ``timeout_s``.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while end is None or time.monotonic() < end:
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                yield None
                continue
            if line is None:
                self._lines.put(None)  # so that the next call ends too
                return
            yield line

    def waiting(self) -> list[dict[str, Any]]:
        """The lines that have come since the last call, without waiting."""
        lines: list[dict[str, Any]] = []
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                return lines
            if line is None:
                self._lines.put(None)
                return lines
            lines.append(line)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._started().poll() is not None

    def close(self, timeout_s: float) -> None:
        """Close its stdin and let it end by itself, then kill it; harmless when repeated."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_text(self) -> str:
        """Why it ended, from its log, as `` (exit code N: …)``, for an error message."""
        process = self._started()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_S)  # its pipe may close a moment before it is gone
        code = process.returncode
        cause = causes.read(self._log)
        log_end = self._log.read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace").strip()
        last = clean(log_end.splitlines()[-1]) if log_end else "no message"
        last = cause.lines[0] if cause else last
        end = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f" ({end}: {last})"

    def _read(self) -> None:
        process = self._started()
        assert process.stdout is not None
        for raw in process.stdout:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict):
                self._lines.put(line)
        self._lines.put(None)

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() comes first"
        return self._process
