"""Command lines in the UI: each names the store that the UI shows."""

from __future__ import annotations

import re
import shlex
from itertools import groupby

# The commands that read the store; the others have no --runs.
OF_THE_STORE = frozenset(
    [
        "attach",
        "compare",
        "doctor",
        "export",
        "import",
        "ls",
        "note",
        "plan",
        "recompute",
        "recover",
        "replay",
        "report",
        "rm",
        "run",
        "show",
        "tag",
        "tui",
        "verify",
    ]
)
_QUOTED = re.compile(r"`(kit [^`\n]+)`")


def with_store(command: str, runs: str) -> str:
    """``command``, which may be several joined by ``&&``, with ``--runs`` where it exists.

    Args:
        runs: the folder of runs; empty for the default one.
    """
    if not runs or "\n" in command or not command.startswith("kit "):
        return command
    try:
        words = shlex.split(command)
    except ValueError:  # no command line, whatever it begins with
        return command
    parts = [list(part) for both, part in groupby(words, "&&".__eq__) if not both]
    return " && ".join(shlex.join(_part_with_store(part, runs)) for part in parts)


def _part_with_store(words: list[str], runs: str) -> list[str]:
    knows = words[0] == "kit" and len(words) > 1 and words[1] in OF_THE_STORE
    return [*words, "--runs", runs] if knows and "--runs" not in words else words


def in_prose(text: str, runs: str) -> str:
    """``text`` with each command between backticks as `with_store` has it."""
    return _QUOTED.sub(lambda match: f"`{with_store(match[1], runs)}`", text)
