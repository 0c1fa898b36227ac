"""Where in host.toml a problem is: line and column, from 1, of a key or of its section."""

from __future__ import annotations

import re

from kit.core.jsonplace import Place, place

_HEADING = re.compile(r"^[ \t]*\[[ \t]*([^]\n]+?)[ \t]*\]", re.MULTILINE)
_STOPPED = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_QUOTES = str.maketrans("", "", " \t\"'")


def stopped(error: ValueError, text: str) -> tuple[str, Place | None]:
    """What TOML's parser says, and where it stopped, if it says where."""
    said = _STOPPED.search(str(error))
    if said is None:
        return str(error), None
    at = Place(int(said[1]), int(said[2])) if said[1] else place(text, len(text.rstrip()))
    return str(error)[: said.start()], at


def of_problem(text: str, section: str, words: str) -> Place | None:
    """The place of the first key that ``words`` name in backticks, else of the section's heading.

    None for a section without a heading, as dotted keys make it.
    """
    for heading in _HEADING.finditer(text):
        if heading[1].translate(_QUOTES) == section:
            following = _HEADING.search(text, heading.end())
            end = following.start() if following else len(text)
            for key in re.findall(r"`(\w+)`", words):
                named = re.compile(rf"^[ \t]*\"?({key})\"?[ \t]*=", re.MULTILINE)
                if found := named.search(text, heading.end(), end):
                    return place(text, found.start(1))
            return place(text, heading.start(1) - 1)
    return None
