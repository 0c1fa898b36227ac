"""The runner's journal, ``events.jsonl``: append, follow, check. The only link to the faces.

Every line is canonical JSON with the SHA-256 of the line before it, so that truncating,
reordering or editing is detected. Only the runner writes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from kit.core.jsonio import canonical, digest, parse
from kit.core.model import Event

GENESIS = "0" * 64
FILE = "events.jsonl"
_RAW = time.CLOCK_MONOTONIC_RAW
_ONE_INSTANT_NS, _TRIES = 100_000, 5


class Clock:
    """The run's clock: nanoseconds since ``origin`` on CLOCK_MONOTONIC."""

    def __init__(self, origin: int | None = None) -> None:
        self.origin = time.monotonic_ns() if origin is None else origin

    def now(self) -> int:
        return time.monotonic_ns() - self.origin

    def anchor(self) -> dict[str, str]:
        """The present instant on three clocks (ns, decimal strings), to convert time stamps."""
        for _ in range(_TRIES):
            begin, raw, wall = self.now(), time.clock_gettime_ns(_RAW), time.time_ns()
            if self.now() - begin < _ONE_INSTANT_NS:  # it was not suspended in between
                break
        return {"monotonic": str(begin), "monotonic_raw": str(raw), "realtime": str(wall)}


class Journal:
    """Appends events, each completely or not at all; synced to disk at most once a second."""

    SYNC_EVERY_NS = 1_000_000_000

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = path.open("ab", buffering=0)
        self._end = self._file.tell()
        self._clock = clock
        self._seq = 0
        self._prev = GENESIS
        self._synced = 0

    def add(self, kind: str, **data: Any) -> Event:
        """Append one event with the present time; returns it.

        Raises:
            OSError: it could not be written; the journal is unchanged and can still be used.
        """
        event = Event(seq=self._seq, t=self._clock.now(), kind=kind, data=data, prev=self._prev)
        line = canonical(msgspec.to_builtins(event))
        self._write(line + b"\n")
        self._seq += 1
        self._prev = digest(line)
        self._sync_when_due(event.t)
        return event

    def _write(self, data: bytes) -> None:
        """Write a line. If a full disk cuts it short, remove it: it would break the chain."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(data)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def _sync_when_due(self, now: int) -> None:
        if now - self._synced >= self.SYNC_EVERY_NS:
            os.fsync(self._file.fileno())
            self._synced = now


class BrokenChain(ValueError):
    """A journal with a broken hash chain; ``line`` is the first bad line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"events.jsonl line {line}: {message}")
        self.line = line


def decode(data: bytes) -> list[Event]:
    """Parse a whole journal and check its chain.

    Raises:
        BrokenChain: at the first line that is malformed, out of order or breaks the chain.
    """
    events: list[Event] = []
    prev, last_t = GENESIS, 0
    for number, line in enumerate(data.splitlines()):
        event = decode_line(line, number)
        if event.seq != number or event.prev != prev:
            raise BrokenChain(number, "it does not follow the line before")
        if event.t < last_t:
            raise BrokenChain(number, "its time runs backwards")
        prev, last_t = digest(line), event.t
        events.append(event)
    return events


def of_kinds(data: bytes, kinds: Iterable[str]) -> list[Event]:
    """The events of these kinds in a journal, whose chain is not looked at; odd lines are left out.

    A journal of days is read in a moment: lines of other kinds are not parsed.
    """
    kinds = tuple(kinds)
    wanted = [b'"kind":"%s"' % kind.encode() for kind in kinds]
    found = []
    for number, line in enumerate(data.splitlines()):
        if any(kind in line for kind in wanted):
            with suppress(BrokenChain):
                found.append(decode_line(line, number))
    return [event for event in found if event.kind in kinds]


def valid_prefix(data: bytes) -> bytes:
    """The longest prefix of ``data`` that is a valid journal (for recovery after a crash)."""
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    try:
        decode(b"".join(lines))
    except BrokenChain as broken:
        lines = lines[: broken.line]
    return b"".join(lines)


class _Lines:
    """Cuts pieces of a journal into complete lines with their numbers."""

    def __init__(self) -> None:
        self._rest, self._number = b"", 0

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Complete lines with their numbers from 0; an incomplete rest waits for the next call."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._number += 1
            yield self._number - 1, line


def tail(path: Path, follow: Callable[[], bool], poll_s: float = 0.1) -> Iterator[Event]:
    """Yield the journal's events as they are written, until ``follow()`` is false and all are read.

    A journal that is moved meanwhile is still read to its end.

    Raises:
        BrokenChain: at the first line that is not an event.
    """
    while not path.exists():
        if not follow():
            return
        time.sleep(poll_s)
    lines = _Lines()
    with path.open("rb") as file:
        while True:
            go_on = follow()
            for number, line in lines.take(file.read()):
                yield decode_line(line, number)
            if not go_on:
                return
            time.sleep(poll_s)


class Reader:
    """Reads the new events of a journal, for a face that watches.

    A line that cannot be read is skipped, so that the rest can be shown.

    Attributes:
        path: the journal's path; to be set again when the journal was moved.
        broken: the numbers, from 1, of the skipped lines.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.broken = path, list[int]()
        self._at, self._lines = 0, _Lines()

    def read(self) -> list[Event]:
        """The new events; none if there is no journal yet, or none any more."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return []
        self._at += len(data)
        events = (self._event(line, number) for number, line in self._lines.take(data))
        return [event for event in events if event]

    def _event(self, line: bytes, number: int) -> Event | None:
        try:
            return decode_line(line, number)
        except BrokenChain:
            self.broken.append(number + 1)
            return None


def decode_line(line: bytes, number: int) -> Event:
    """One line of a journal by itself; ``number`` is for the error.

    Raises:
        BrokenChain: it is not an event.
    """
    try:
        return msgspec.convert(parse(line, "an event"), Event)
    except Exception as error:
        raise BrokenChain(number, f"it is not an event ({error})") from error
