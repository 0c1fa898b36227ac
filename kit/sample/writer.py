"""Sample rows on disk within a second or two of being read, so that a crash keeps them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from kit.meters import Reading
from kit.samples import HEADER

_SYNC_S = 2.0


class Writer:
    """One CSV file; `add` may be called from any thread, `flush` from one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._file.write(HEADER.encode() + b"\n")
        self._lock = threading.Lock()
        self._waiting: list[Reading] = []
        self._synced = time.monotonic()
        self.rows = 0

    def add(self, readings: Iterable[Reading]) -> None:
        with self._lock:
            self._waiting.extend(readings)

    def flush(self) -> None:
        """Write what is waiting; to the disk itself every two seconds."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        self._file.write("".join(map(self._line, waiting)).encode())
        self._file.flush()
        if time.monotonic() - self._synced >= _SYNC_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        self.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _line(self, r: Reading) -> str:
        seq, self.rows = self.rows, self.rows + 1
        t_dev = "" if r.t_dev is None else r.t_dev
        raw = "" if r.raw is None else r.raw
        return f"{seq},{r.t0},{r.t1},{t_dev},{r.device},{r.quantity},{r.rc},{raw}\n"
