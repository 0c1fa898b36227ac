"""Small files of ``/proc`` and ``/sys``; a value that cannot be read is absent with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Absent = dict[str, str]


def absent(reason: str) -> Absent:
    """The value of a fact that could not be read: ``{"absent": reason}``."""
    return {"absent": reason}


def is_absent(value: Any) -> bool:
    """Whether ``value`` is a fact that could not be read."""
    return isinstance(value, dict) and value.keys() == {"absent"}


def text(path: Path, missing: str) -> str | Absent:
    """The stripped content of ``path``, or absent; ``missing`` is the reason without a file."""
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return absent(missing)
    except PermissionError:
        return absent("permission denied")
    except OSError as error:
        return absent(error.strerror or type(error).__name__)


def number(path: Path, missing: str) -> int | Absent:
    """The integer in ``path``, or absent."""
    content = text(path, missing)
    if isinstance(content, dict):
        return content
    try:
        return int(content)
    except ValueError:
        return absent("not a number")
