"""What people note of the runs of a store: tags and a line of text, in ``runs/notes.json``.

It lies beside the runs: it is not sealed, in no hash, and no export has it. It is written in one
step, by one process at a time. One that is not as kit writes it is never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from kit.core import jsonio, regular
from kit.core.errors import KitError, UsageError
from kit.core.model import Record
from kit.core.text import clean
from kit.store.store import Store

FILE = "notes.json"
SCHEMA = "kit.notes/1"
MOST_CHARS = 2000
_MOST_BYTES = 64 << 20
_TAG = re.compile(r"\w[\w.:/-]{0,39}")


class Note(Record, frozen=True):
    """A person's note on a run."""

    tags: tuple[str, ...] = ()
    text: str = ""


class _Notes(Record, frozen=True):
    schema: str
    runs: dict[str, Note]


def load(store: Store) -> dict[str, Note]:
    """The notes by the run's name; none where there is no file.

    Raises:
        UsageError: the file is not as kit writes it.
    """
    try:
        data = regular.content(store.root / FILE, _MOST_BYTES)
        notes = msgspec.convert(jsonio.parse(data, FILE), _Notes)
        if notes.schema != SCHEMA:
            raise ValueError(f"its schema is {notes.schema!a}")
    except FileNotFoundError:
        return {}
    except (OSError, KitError, msgspec.MsgspecError, ValueError) as error:
        why = error.message if isinstance(error, KitError) else str(error)
        raise UsageError(
            f"{store.root / FILE} cannot be read: {why}", "correct it, or move it away"
        ) from error
    return {run: _shown(note) for run, note in notes.runs.items()}


def of_list(store: Store) -> dict[str, Note]:
    """The notes for a list: none where they cannot be read."""
    try:
        return load(store)
    except UsageError:
        return {}


def _shown(note: Note) -> Note:
    """A note as kit would have written it: the file may have come with a stranger's store."""
    tags = tuple(tag for tag in note.tags if _TAG.fullmatch(tag))
    return Note(tags, _one_line(note.text)[:MOST_CHARS])


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def stamp(store: Store) -> int:
    """A number that changes when a note is written."""
    try:
        return (store.root / FILE).lstat().st_mtime_ns
    except OSError:
        return 0


def write(store: Store, run: str, text: str) -> Note:
    """Set the text of a run's note; an empty one removes it.

    Raises:
        UsageError: it is too long, or the notes cannot be read or written.
    """
    text = _one_line(text)
    if len(text) > MOST_CHARS:
        raise UsageError(f"a note has at most {MOST_CHARS} characters", "shorten it")
    return _changed(store, run, lambda note: Note(note.tags, text))


def tag(store: Store, run: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Note:
    """Add tags to a run, and remove others.

    Raises:
        UsageError: one is no tag, or the notes cannot be read or written.
    """
    more, less = list(add), set(remove)
    for word in (*more, *less):
        if not _TAG.fullmatch(word):
            raise UsageError(
                f"{word[:60]!a} is no tag", "take up to 40 letters, digits and . _ : / -"
            )
    return _changed(
        store, run, lambda note: Note(tuple(sorted({*note.tags, *more} - less)), note.text)
    )


def forget(store: Store, run: str) -> None:
    """Remove the note on a run that is gone."""
    if run in of_list(store):
        _changed(store, run, lambda _: Note())


def _changed(store: Store, run: str, change: Callable[[Note], Note]) -> Note:
    try:
        with _alone(store):
            notes = load(store)
            note = change(notes.pop(run, Note()))
            _write(store, notes | ({run: note} if note != Note() else {}))
            return note
    except OSError as error:
        raise UsageError(
            f"cannot write {store.root / FILE}: {error.strerror}", "check who may write there"
        ) from error


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Wait until no other process changes the notes; the store's folder is the lock."""
    handle = os.open(store.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(store: Store, runs: dict[str, Note]) -> None:
    data = jsonio.canonical(msgspec.to_builtins(_Notes(SCHEMA, runs)))
    handle, name = tempfile.mkstemp(prefix=f".{FILE}", dir=store.root)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(store.root / FILE)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
