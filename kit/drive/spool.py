"""Requests on disk: the spool while a stage runs, the two record files after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from kit import jsonio
from kit.drive.parse import Raw, finished
from kit.model import Request, Response

SPOOL = "driver.spool"
Pair = tuple[Request, Response]


class Spool:
    """Appends finished requests, raw; a line a request, with the OS before the next one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._encoder = msgspec.json.Encoder()

    def add(self, raw: Raw) -> None:
        self._file.write(self._encoder.encode(raw) + b"\n")
        self._file.flush()


def write_records(out: Path, known: Iterable[Pair], raws: Iterable[Raw], origin: int) -> list[Pair]:
    """Write ``requests.jsonl`` and ``responses.jsonl`` with ``known`` and what ``raws`` say.

    Returns:
        The pairs parsed from ``raws``, by index.
    """
    new = sorted((finished(raw, origin) for raw in raws), key=lambda pair: pair[0].index)
    both = [*known, *new]
    _write_lines(out / "requests.jsonl", [request for request, _ in both])
    _write_lines(out / "responses.jsonl", [response for _, response in both])
    return new


def salvage(out: Path, origin: int) -> None:
    """After the driver ended, however it did: turn what it spooled into records.

    Args:
        out: the launch's folder; nothing happens where there is no spool.
        origin: the run's origin on the monotonic clock (ns).
    """
    spool = out / SPOOL
    if not spool.is_file():
        return
    raws = {raw.index: raw for raw in _sound_lines(spool.read_bytes())}
    known = _known(out)
    missing = [raw for index, raw in raws.items() if index not in {r.index for r, _ in known}]
    if missing or not known:
        write_records(out, known, missing, origin)
    spool.unlink()


def _known(out: Path) -> list[Pair]:
    requests, responses = out / "requests.jsonl", out / "responses.jsonl"
    if not (requests.is_file() and responses.is_file()):
        return []
    first = [msgspec.json.decode(line, type=Request) for line in _lines(requests)]
    second = [msgspec.json.decode(line, type=Response) for line in _lines(responses)]
    return list(zip(first, second, strict=False))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _sound_lines(data: bytes) -> Iterable[Raw]:
    """The spool's lines up to the first one that a crash tore."""
    for line in data.splitlines():
        try:
            yield msgspec.json.decode(line, type=Raw)
        except msgspec.MsgspecError:
            return


def _write_lines(path: Path, records: list[Request] | list[Response]) -> None:
    lines = [jsonio.canonical(msgspec.to_builtins(record)) + b"\n" for record in records]
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(b"".join(lines))
    temporary.replace(path)
