"""Python's tracebacks in a process's lines: which exception came first, and what it led to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from kit.core.causes.lines import Line

_HEAD = re.compile(r"(?:^|\s)(?:Exception Group )?Traceback \(most recent call last\):\s*$")
_FRAME = re.compile(r'\s*File "(?P<file>[^"]*)", line (?P<line>\d+)')
_NAME = re.compile(r"[A-Za-z_][\w.]*(?:\[[\w., ]+\])?(?::|$)")
_CAUSED = "The above exception was the direct cause"
_DURING = "During handling of the above exception"
# Look-ups are expected to fail: what was raised while one was handled says more.
_LOOKUPS = re.compile(
    r"(?:[\w.]+\.)?(?:KeyError|StopIteration|StopAsyncIteration|AttributeError|queue\.Empty|Empty"
    r"|CancelledError|GeneratorExit|LookupError|IndexError)\b"
)
_MOST_MESSAGE = 3


class Raised(NamedTuple):
    """An exception with its traceback: lines ``first`` to ``last``, counted in the process's lines.

    ``text`` is the exception with the rest of its message below it.
    """

    first: int
    last: int
    at: Line
    text: tuple[str, ...]


class Chain(NamedTuple):
    """Exceptions of which each led to the next; ``root`` is the one to look at."""

    root: Raised
    final: Raised
    first: int
    last: int


def chains(lines: Sequence[Line]) -> list[Chain]:
    """The tracebacks of one process in order, those that belong together as one."""
    result: list[Chain] = []
    at = 0
    while at < len(lines):
        if not _HEAD.search(lines[at].text):
            at += 1
            continue
        chain = _chain(lines, at)
        if chain is None:
            at += 1
            continue
        result.append(chain)
        at = chain.last + 1
    return result


def _chain(lines: Sequence[Line], at: int) -> Chain | None:
    first = root = final = _raised(lines, at)
    if first is None or root is None or final is None:
        return None
    while (link := _link(lines, final.last + 1)) is not None:
        relation, head = link
        following = _raised(lines, head)
        if following is None:
            break
        if relation == _DURING and root is final and _LOOKUPS.match(root.text[0]):
            root = following
        final = following
    return Chain(root, final, first.first, final.last)


def _link(lines: Sequence[Line], at: int) -> tuple[str, int] | None:
    """How the next traceback follows from the one before, and where it begins."""
    relation = ""
    for place in range(at, min(at + 6, len(lines))):
        words = lines[place].words
        if _HEAD.search(words):
            return (relation, place) if relation else None
        if words.startswith((_CAUSED, _DURING)):
            relation = _CAUSED if words.startswith(_CAUSED) else _DURING
        elif words:
            return None
    return None


def _raised(lines: Sequence[Line], head: int) -> Raised | None:
    """The exception below the traceback that begins at ``head``; None where it is cut off."""
    depth = lines[head].indent if lines[head].words.startswith(("Tr", "Ex")) else 0
    place, code, frame = head + 1, "", ""
    while place < len(lines):
        line = lines[place]
        if match := _FRAME.match(line.text.replace("|", " ")):
            frame = f"{match['file'].rpartition('/')[2]}:{match['line']}"
            code = lines[place + 1].words if place + 1 < len(lines) else ""
        elif line.words and line.indent <= depth:
            break
        place += 1
    if place >= len(lines) or not _NAME.match(lines[place].words):
        return None
    text = [lines[place].words]
    last = place
    for line in lines[place + 1 : place + 1 + _MOST_MESSAGE]:
        if not line.words or (line.indent <= depth and not text[-1].endswith(":")):
            break
        text.append(line.words)
        last += 1
    if ":" not in text[0] and frame:
        text.append(f"at {frame}: {code}")
    return Raised(head, last, lines[place], tuple(text))
