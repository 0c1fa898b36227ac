"""Writes sample rows to disk within a second after reading, so that a crash loses few."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from kit.core.model import Sample
from kit.measure.meters import Reading

HEADER = ",".join(
    Sample._fields
)  # kit.record.samples imports numpy, which the sampler does not need
_SYNC_S = 2.0


class Writer:
    """One CSV file; `add` may be called from any thread, `flush` from one.

    `flush` raises OSError when the file cannot be written (a full disk).
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self._file.write(HEADER.encode() + b"\n")
        self._waiting: deque[Reading] = deque()
        self._synced = time.monotonic()
        self._failed = False
        self.rows = 0

    def add(self, readings: Iterable[Reading]) -> None:
        self._waiting.extend(readings)  # atomic: no lock for which a reading thread could wait

    def flush(self) -> list[Reading]:
        """Write and return the new rows; synced to disk every two seconds."""
        readings = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._failed:
            return readings
        if readings:
            self._write("".join(map(self._line, readings)).encode())
        if time.monotonic() - self._synced >= _SYNC_S:
            os.fdatasync(self._file.fileno())
            self._synced = time.monotonic()
        return readings

    def close(self) -> None:
        """Write and sync the rest; may be called again."""
        if self._file.closed:
            return
        try:
            self.flush()
            os.fdatasync(self._file.fileno())
        finally:
            self._file.close()

    def _write(self, data: bytes) -> None:
        end = self._file.tell()
        unwritten = memoryview(data)
        try:
            while unwritten:
                unwritten = unwritten[self._file.write(unwritten) :]
        except OSError:
            self._failed = True  # later rows would leave a gap in the numbers
            self._file.truncate(end + data.rfind(b"\n", 0, len(data) - len(unwritten)) + 1)
            raise

    def _line(self, r: Reading) -> str:
        seq, self.rows = self.rows, self.rows + 1
        t_dev = "" if r.t_dev is None else r.t_dev
        raw = "" if r.raw is None else r.raw
        return f"{seq},{r.t0},{r.t1},{t_dev},{r.device},{r.quantity},{r.rc},{raw}\n"
