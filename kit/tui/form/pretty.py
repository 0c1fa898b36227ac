"""A document's JSON text in lines, each with the path of its value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from kit.tui.form.draft import Where


class JsonLine(NamedTuple):
    """One line of the text, and its path in the document."""

    text: str
    where: Where


def lines(document: Any) -> list[JsonLine]:
    """The lines of `kit.tui.form.draft.to_text`, in order."""
    return list(_lines(document, (), "", ""))


def _lines(value: Any, where: Where, lead: str, end: str) -> Iterator[JsonLine]:
    """The lines of ``value``; ``lead`` comes before the first one, ``end`` after the last."""
    indent = " " * (len(lead) - len(lead.lstrip(" ")))
    children = _children(value, where, indent + "  ")
    if not children:
        yield JsonLine(lead + json.dumps(value, ensure_ascii=False) + end, where)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield JsonLine(lead + opening, where)
    for number, (child, place, key) in enumerate(children):
        yield from _lines(child, place, key, "," if number < len(children) - 1 else "")
    yield JsonLine(indent + closing + end, where)


def _children(value: Any, where: Where, indent: str) -> list[tuple[Any, Where, str]]:
    if isinstance(value, dict):
        return [
            (child, (*where, key), f"{indent}{json.dumps(key, ensure_ascii=False)}: ")
            for key, child in value.items()
        ]
    if isinstance(value, list):
        return [(child, (*where, index), indent) for index, child in enumerate(value)]
    return []


def line_at(lines: list[JsonLine], where: Where) -> int | None:
    """The number of the line at which ``where``, or its nearest existing ancestor, begins."""
    first: dict[Where, int] = {}
    for number, line in enumerate(lines):
        first.setdefault(line.where, number)
    for depth in range(len(where), -1, -1):
        if where[:depth] in first:
            return first[where[:depth]]
    return None
