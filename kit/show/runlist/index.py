"""The index of a store, ``runs/.index.json``: rows of sealed runs, for display alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from kit import __version__
from kit.core.errors import KitError
from kit.core.model import Record
from kit.show.runlist.runrow import Row, bounded
from kit.store.store import Store

INDEX = ".index.json"
_MAX_INDEX = 128 << 20
Entries = dict[str, tuple[int, int, Row]]


class _Index(Record, frozen=True):
    """The content of `.index.json`: rows of sealed runs, with their manifest's mtime and size."""

    kit: str
    rows: Entries


def load(store: Store) -> Entries:
    """The rows of the index; none if it is missing, damaged, or another kit's."""
    try:
        index = msgspec.json.decode(bounded(store.root / INDEX, _MAX_INDEX), type=_Index)
    except (OSError, KitError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return index.rows if index.kit == __version__ else {}


def keep(store: Store, entries: Entries) -> None:
    """Write the index in one step; in a store that cannot be written there is none."""
    data = msgspec.json.encode(_Index(kit=__version__, rows=entries))
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
