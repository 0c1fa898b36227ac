"""Paths on the command line: none is empty, and ``-`` is standard output where a file is written.

It imports nothing of kit, so that ``kit --help`` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import Parameter

STDOUT = Path("-")


def _path(_: Any, tokens: Sequence[Any]) -> Path:
    """A path as it was typed.

    Raises:
        ValueError: it is empty, or an option that was mistyped; `kit.cli.wrong` says it in words.
    """
    value = str(tokens[0].value)
    if not value or (value.startswith("-") and value != str(STDOUT)):
        raise ValueError(value)
    return Path(value)


# The spec of a command: SPEC in its usage.
Spec = Parameter(name=("--spec", "--file"))
Named = Parameter(converter=_path)
Written = Parameter(converter=_path, allow_leading_hyphen=True)
