"""The ledger of a store: a line for every attempt, each with the hash of the line before.

Reading never fails: a line that is no entry, or breaks the chain, becomes a fault with a message.
The chain reveals entries that were edited, removed or exchanged. Entries that were removed at the
end are revealed by runs without an entry (see `kit.store.audit`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kit.core import jsonio, regular
from kit.core.errors import KitError, UsageError

NAME = "ledger.jsonl"
GENESIS = "0" * 64
MAX_BYTES = 256 << 20
_MAX_LINE = 64 << 10
_TEXTS = ("run_hash", "spec_hash", "plan_hash", "status", "reason", "utc")
Entry = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """The content of a ledger.

    Attributes:
        entries: those of the right form, oldest first.
        faults: what is wrong with it, by the number of the line (from 0).
        head: SHA-256 of the last complete line; GENESIS without one.
        lines: the number of complete lines.
        torn: whether the last line is incomplete, as after a power loss.
    """

    entries: tuple[Entry, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()
    head: str = GENESIS
    lines: int = 0
    torn: bool = False


def read(path: Path) -> Ledger:
    """The ledger at ``path``; an empty one if there is no file."""
    try:
        return decode(regular.content(path, MAX_BYTES))
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        return Ledger(faults=((0, f"{NAME} cannot be read: {error.strerror}"),))
    except KitError as error:
        return Ledger(faults=((0, error.message),))


def decode(data: bytes) -> Ledger:
    """Parse a ledger into entries and faults."""
    *lines, rest = data.split(b"\n")
    entries, faults, prev = [], [], GENESIS
    for number, line in enumerate(lines):
        entry = _entry(line)
        if entry is None:
            faults.append((number, f"line {number + 1} is not an entry"))
        else:
            entries.append(entry)
            if (entry["seq"], entry["prev"]) != (number, prev):
                fault = "was edited, cut out or exchanged" if number else "it lacks its beginning"
                faults.append((number, f"line {number + 1} does not follow: a line {fault}"))
        prev = jsonio.digest(line)
    if not _is_torn_entry(rest):
        faults.append((len(lines), "its last line has no end, and is no entry that a crash cut"))
    return Ledger(tuple(entries), tuple(faults), prev, len(lines), bool(rest))


def append(path: Path, kind: str, facts: Entry) -> None:
    """Add an entry; several processes may do so at once. A torn last line is overwritten.

    Raises:
        UsageError: the file is no ledger; it is not changed.
        OSError: it cannot be written.
    """
    with _locked(path) as file:
        data = file.read(MAX_BYTES + 1)
        end = data.rfind(b"\n") + 1
        if len(data) > MAX_BYTES or not _is_torn_entry(data[end:]):
            raise UsageError(f"{path} is not as kit writes it", "`kit verify --store` says why")
        last = data[data.rfind(b"\n", 0, max(end - 1, 0)) + 1 : max(end - 1, 0)]
        entry = {
            **facts,
            "kind": kind,
            "seq": data.count(b"\n"),
            "prev": jsonio.digest(last) if end else GENESIS,
        }
        file.truncate(end)
        file.seek(0, os.SEEK_END)
        file.write(jsonio.canonical(entry) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def require(path: Path) -> None:
    """Raise `UsageError` if the file at ``path`` is no ledger, or cannot be read."""
    try:
        data = regular.content(path, MAX_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "check who may read and write the store"
        ) from error
    if not _is_torn_entry(data[data.rfind(b"\n") + 1 :]):
        raise UsageError(f"{path} is not as kit writes it", "`kit verify --store` says why")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    handle = regular.descriptor(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    with os.fdopen(handle, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _is_torn_entry(rest: bytes) -> bool:
    """Whether the bytes after the last line are empty, or an entry that a power loss cut short."""
    return not rest or ((len(rest) < _MAX_LINE and rest.startswith(b"{")) or not rest.strip(b"\0"))


def _entry(line: bytes) -> Entry | None:
    """A line as an entry; None if kit cannot have written it."""
    if len(line) > _MAX_LINE:
        return None
    try:
        document = msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and _is_entry(document) else None


def _is_entry(document: Entry) -> bool:
    texts = all(isinstance(document.get(key, ""), str) for key in _TEXTS)
    chained = isinstance(document.get("seq"), int) and isinstance(document.get("prev"), str)
    if not (texts and chained and isinstance(document.get("kind"), str)):
        return False
    if not isinstance(document.get("id", ""), str | int):
        return False
    # It becomes a path in the store, so that it must be a hash.
    return "run_hash" not in document or bool(
        jsonio.is_sha256(document["run_hash"]) and "status" in document
    )
