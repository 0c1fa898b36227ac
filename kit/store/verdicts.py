"""The last verdict on each run of a store, kept so that a list can show it without hashing.

A verdict belongs to the files that were checked: it is kept with size, times and inode of each, and
a change of one makes the run unchecked again. The file is ``runs/.verdicts.json``. It may be
deleted, and one from another machine matches no file here.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from kit import __version__
from kit.core import jsonio, regular
from kit.core.errors import KitError
from kit.core.model import Record
from kit.record.archive import MAX_MEMBERS, strays
from kit.store.store import VERDICTS, Store

UNCHECKED = "unchecked"
# All levels passed; or the files are as sealed, without numbers computed again.
VERIFIED, INTACT = "verified", "intact"
_MAX_BYTES = 64 << 20
_MAX_DEPTH = 8


class StoredVerdict(Record, frozen=True):
    """A verdict in a word (``failed: CODE`` names the first fault), and its files' identity."""

    files: str
    word: str


class _Verdicts(Record, frozen=True):
    kit: str
    runs: dict[str, StoredVerdict]


def load(store: Store) -> dict[str, StoredVerdict]:
    """The kept verdicts by the run's name; none if the file is missing, damaged or foreign."""
    try:
        data = regular.content(store.root / VERDICTS, _MAX_BYTES)
        verdicts = msgspec.json.decode(data, type=_Verdicts)
    except (OSError, KitError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return verdicts.runs if verdicts.kit == __version__ else {}


def stamp(store: Store) -> int:
    """A number that changes when a verdict is kept."""
    try:
        return (store.root / VERDICTS).lstat().st_mtime_ns
    except OSError:
        return 0


def of(run: Path, verdicts: Mapping[str, StoredVerdict]) -> str:
    """The verdict on a run with its present files; ``unchecked`` without one."""
    verdict = verdicts.get(run.name)
    return verdict.word if verdict and verdict.files == identity(run) else UNCHECKED


def identity(run: Path) -> str:
    """What identifies a run's files without reading them; empty on an error."""
    try:
        return jsonio.digest("\n".join(sorted(_facts(run, "", 0))).encode())
    except (OSError, ValueError):
        return ""


def _facts(folder: Path | str, prefix: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError(prefix)
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number > MAX_MEMBERS:
                raise ValueError(prefix)
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if not strays.folder_of(entry.name):
                    yield from _facts(entry.path, f"{name}/", depth + 1)
            elif not strays.file_of(entry.name):
                facts = entry.stat(follow_symlinks=False)
                times = f"{facts.st_mtime_ns} {facts.st_ctime_ns}"
                yield ascii(f"{name} {facts.st_mode} {facts.st_size} {times} {facts.st_ino}")


def keep(run: Path, files: str, word: str) -> None:
    """Keep a verdict on a sealed run of a store.

    Nothing is kept outside of a store, or in a store that cannot be written.

    Args:
        files: `identity` from before the run was judged.
        word: ``verified``, ``intact`` or ``failed: CODE``.
    """
    with contextlib.suppress(OSError):
        run = run.resolve()
        store = Store(run.parent)
        if not (store.is_run(run) and store.is_made() and files and files == identity(run)):
            return
        verdicts = load(store)
        old = verdicts.get(run.name)
        if old and old.files == files and word in (old.word, INTACT):
            return  # a deeper verdict on the same files says more
        names = set(store.hashes())
        fresh = {name: verdict for name, verdict in verdicts.items() if name in names}
        _write(store, fresh | {run.name: StoredVerdict(files, word)})


def _write(store: Store, verdicts: dict[str, StoredVerdict]) -> None:
    data = msgspec.json.encode(_Verdicts(kit=__version__, runs=verdicts))
    handle, name = tempfile.mkstemp(prefix=VERDICTS, dir=store.root)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(store.root / VERDICTS)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
