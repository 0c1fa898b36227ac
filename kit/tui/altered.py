"""Which files of a run are not what was sealed, with the hash that was and the hash that is."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from kit.core.errors import ArchiveRefused
from kit.record import archive, manifest
from kit.show.render.console import grid, plain

_MOST = 3  # as many as the check names


class Altered(NamedTuple):
    """A file with the SHA-256 that its manifest lists, and its own."""

    path: str
    sealed: str
    found: str


def altered(run: Path) -> tuple[Altered, ...]:
    """The first files of ``run`` whose bytes have another hash than the manifest lists."""
    source = archive.open_source(run)
    try:
        _, listed = manifest.read(source)
        gone = {entry.path for entry in manifest.absentees(source, listed)}
        hashed = (
            Altered(entry.path, entry.sha256, _hash(source, entry.path))
            for entry in listed.files
            if entry.path not in gone
        )
        return tuple(islice((each for each in hashed if each.sealed != each.found), _MOST))
    except ArchiveRefused:
        return ()  # the verdict already says what cannot be read
    finally:
        source.close()


def _hash(source: archive.Source, path: str) -> str:
    whole = hashlib.sha256()
    for piece in source.pieces(path):
        whole.update(piece)
    return whole.hexdigest()


def altered_table(files: tuple[Altered, ...]) -> Table:
    """Each file, and below it both hashes in full."""
    table = grid({"no_wrap": True, "style": "quiet"}, {"overflow": "fold"})
    for file in files:
        table.add_row("file", plain(file.path))
        table.add_row("sealed", plain(file.sealed))
        table.add_row("found", plain(file.found, "bad"))
    return table
