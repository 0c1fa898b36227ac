"""A container's log, streamed to a bounded file, so that it survives any end of the run.

The log is written from the container's start, so that it exists even if kit is killed or somebody
removes the container. It never polls: a thread waits for the engine's stream, and collects lines
for a fifth of a second before it continues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Protocol

from kit.core.errors import KitError

HEAD, TAIL = 4 << 20, 12 << 20
_GATHER_S = 0.2
_IDLE_S = 0.005  # a chunk that took longer was waited for: no more is buffered
_END_S = 5.0


class LogStream(Protocol):
    """The source of a log: a container."""

    def stream_log(self) -> Iterable[bytes]: ...


class LogFile:
    """A file that keeps the first 4 MiB and at least the last 12 MiB of what is written to it.

    It never holds more than 28 MiB, is readable at any moment, and notes how much was left out.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: IO[bytes] = path.open("w+b", buffering=0)
        self._size, self._after_note, self._left_out = 0, HEAD, 0

    def write(self, chunk: bytes) -> None:
        """Append to the log; the bytes are on disk when this returns."""
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(chunk)
        if self._size > HEAD + 2 * TAIL:
            self._shorten()

    def close(self) -> None:
        """Bring the file to its final size, 16 MiB and a note at most."""
        if self._size > self._after_note + TAIL:
            self._shorten()
        self._file.close()

    def _shorten(self) -> None:
        self._left_out += self._size - TAIL - self._after_note
        note = f"\n[kit: {self._left_out} bytes of this log are left out here]\n".encode()
        self._file.seek(0)
        head = self._file.read(HEAD)
        self._file.seek(self._size - TAIL)
        tail = self._file.read(TAIL)
        written = self._path.with_suffix(".tmp")
        fresh = written.open("w+b", buffering=0)
        try:
            for part in (head, note, tail):
                view = memoryview(part)
                while view:
                    view = view[fresh.write(view) :]
            written.replace(self._path)
        except OSError:  # a full disk
            fresh.close()
            written.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._after_note = fresh, HEAD + len(note)
        self._size = self._after_note + TAIL


class KeptLog:
    """The log of a started container, streamed to ``path`` by a thread of its own."""

    def __init__(self, source: LogStream, path: Path) -> None:
        self._source, self.path = source, path
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._keep, name="container log", daemon=True)
        self._thread.start()

    def is_whole(self, timeout_s: float = _END_S) -> bool:
        """Whether all of an ended container's log is on disk; waits for the stream's end."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self.fault is None

    def _keep(self) -> None:
        try:
            file = LogFile(self.path)
            try:
                since = time.monotonic()
                for chunk in self._source.stream_log():
                    waited_s = time.monotonic() - since
                    file.write(chunk)
                    if waited_s > _IDLE_S:
                        time.sleep(_GATHER_S)
                    since = time.monotonic()
            finally:
                file.close()
        except (KitError, OSError) as error:
            self.fault = error
