"""The index of a store, ``runs/.index.json``: rows of sealed runs, for display alone.

A row is taken from it if every document that it was read from still has the same size, inode, time
of modification and time of change. Whoever writes a file changes the last one, and cannot set it
back: a row is stale only where the clock was turned back or the device written to beneath the
file system. An index that came with a copy of the store matches no file. It is no proof: whoever
may write the index may write what he likes into it, as he may into the runs; `kit verify` decides.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from kit import __version__
from kit.core.errors import KitError
from kit.core.model import Record
from kit.show.runlist.reading import Files
from kit.show.runlist.runrow import Row, bounded
from kit.store.store import Store

INDEX = ".index.json"
_MAX_INDEX = 128 << 20
# Raised when a row gets another field, or is read from other files.
FORM = 4
Entries = dict[str, tuple[Files, Row]]


class _Index(Record, frozen=True):
    """The content of `.index.json`: rows of sealed runs, with the facts of their files."""

    kit: str
    form: int
    rows: Entries


def load(store: Store) -> Entries:
    """The rows of the index; none if it is missing, damaged, or another kit's."""
    try:
        index = msgspec.json.decode(bounded(store.root / INDEX, _MAX_INDEX), type=_Index)
    except (OSError, KitError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return index.rows if (index.kit, index.form) == (__version__, FORM) else {}


def keep(store: Store, entries: Entries) -> None:
    """Write the index in one step; in a store that cannot be written there is none."""
    data = msgspec.json.encode(_Index(kit=__version__, form=FORM, rows=entries))
    name = ""
    try:
        handle, name = tempfile.mkstemp(prefix=INDEX, dir=store.root)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(store.root / INDEX)
    except OSError:
        with contextlib.suppress(OSError):
            if name:
                Path(name).unlink()
