"""Marks: a person's notes at moments of a run, passed from a face to the runner.

The face writes a small file into the run's scratch folder; only the runner writes the journal. A
file is written under another name first, so that the runner never reads half of one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kit.core import jsonio
from kit.core.text import clean

FOLDER = "marks"
MOST_CHARS = 200
_MOST_BYTES = 4096
_MOST_AT_ONCE = 20


class Mark(NamedTuple):
    """``text``, and when the person entered it: ``at`` ns on CLOCK_MONOTONIC."""

    text: str
    at: int


def leave(folder: Path, text: str) -> None:
    """Leave a mark for the runner, with the present time; an invisible text leaves none."""
    now, words = time.monotonic_ns(), visible(text)
    if not words:
        return
    folder.mkdir(exist_ok=True)
    name = f"{now:020d}-{secrets.token_hex(4)}.json"
    written = folder / f".{name}"
    written.write_bytes(jsonio.canonical({"text": words, "monotonic": str(now)}))
    written.replace(folder / name)


def collect(folder: Path) -> Iterator[Mark]:
    """Take the marks that faces left, oldest first; other files are removed unread."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("[0-9]*.json"))[:_MOST_AT_ONCE]:
        mark = _read(path)
        path.unlink(missing_ok=True)
        if mark and mark.text:
            yield mark


def visible(text: str) -> str:
    """``text`` on one line, without control characters, at most 200 characters."""
    return " ".join(clean(text).split())[:MOST_CHARS]


def _read(path: Path) -> Mark | None:
    try:
        with path.open("rb") as file:
            document: Any = jsonio.parse(file.read(_MOST_BYTES), "a mark")
        return Mark(visible(str(document["text"])), int(document["monotonic"]))
    except (OSError, ValueError, KeyError, TypeError, jsonio.JsonRefused):
        return None
