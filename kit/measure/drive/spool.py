"""Requests on disk: the spool while a stage runs, the two record files after it.

A stage ends like the recovery of a crash: the spool is read back and written as records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from kit.core import jsonio
from kit.core.model import Request, Response
from kit.measure.drive.parse import Raw, finished

SPOOL = "driver.spool"
REQUESTS, RESPONSES = "requests.jsonl", "responses.jsonl"
Pair = tuple[Request, Response]
R = TypeVar("R", Request, Response)
_LENGTH = struct.Struct("<I")


class Spool:
    """Appends finished requests, raw; each is passed to the operating system before the next."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, raw: Raw) -> None:
        """Append ``raw``; raises `OSError` if the disk is full."""
        data = self._encoder.encode(raw)
        block = memoryview(_LENGTH.pack(len(data)) + data)
        while block:  # a write may be partial if the disk becomes full
            block = block[self._file.write(block) :]

    def raws(self) -> Iterator[Raw]:
        """Everything appended so far."""
        return read_spool(self._path)

    def close(self) -> None:
        """Remove the spool: its requests are in the record files."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def read_spool(path: Path) -> Iterator[Raw]:
    """The requests in a spool, up to the first incomplete one."""
    decoder = msgspec.msgpack.Decoder(Raw)
    with path.open("rb") as file:
        while len(prefix := file.read(_LENGTH.size)) == _LENGTH.size:
            (size,) = _LENGTH.unpack(prefix)
            try:
                yield decoder.decode(file.read(size))
            except msgspec.MsgspecError:
                return


def records_of(raws: Iterable[Raw], origin: int, out: Path) -> dict[int, Pair]:
    """The records of ``raws``, by index; their images are written below ``out``.

    Raises:
        OSError: an image cannot be written.
    """

    def keep(name: str, data: bytes) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return {raw.index: finished(raw, origin, keep) for raw in raws}


def write_records(out: Path, pairs: Mapping[int, Pair]) -> None:
    """Write both record files, each in one step, by stage (warm-up first) and index."""
    ordered = sorted(pairs.values(), key=lambda pair: (pair[0].stage == "measured", pair[0].index))
    _write_lines(out / REQUESTS, [request for request, _ in ordered])
    _write_lines(out / RESPONSES, [response for _, response in ordered])


def salvage(out: Path, origin: int) -> None:
    """After the end of the driver: turn spooled requests into records.

    Args:
        out: the launch's folder; nothing happens without a spool.
        origin: the run's origin on the monotonic clock (ns).
    """
    spool = out / SPOOL
    if not spool.is_file():
        return
    recorded = _recorded(out)
    spooled = records_of(
        (raw for raw in read_spool(spool) if raw.index not in recorded), origin, out
    )
    if spooled or recorded:
        write_records(out, {**spooled, **recorded})
    spool.unlink()


def _recorded(out: Path) -> dict[int, Pair]:
    """Pairs of records that are in both files; a crash between the two leaves single ones."""
    requests = {r.index: r for r in _records(out / REQUESTS, Request)}
    responses = {r.index: r for r in _records(out / RESPONSES, Response)}
    return {index: (requests[index], responses[index]) for index in requests if index in responses}


def _records(path: Path, kind: type[R]) -> list[R]:
    if not path.is_file():
        return []
    return [msgspec.json.decode(line, type=kind) for line in path.read_bytes().splitlines()]


def _write_lines(path: Path, records: Sequence[Request] | Sequence[Response]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        for record in records:
            file.write(jsonio.canonical(msgspec.to_builtins(record)) + b"\n")
    temporary.replace(path)
