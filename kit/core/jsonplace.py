"""Where in a JSON text something is, as a person's editor counts: lines and columns from 1.

It reads texts that a parser refused, too, up to the place that it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kit.core.model import Problem

# Possessive: no character is looked at twice. What is none of these is one odd character.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{},:]|[^][{},:"\s]++', re.DOTALL)

# What Python's parser says, for somebody who did not write the parser, and what to do about it.
_IN_WORDS = {
    "Expecting property name enclosed in double quotes": (
        "a key in double quotes belongs here",
        "write the key, or remove what stands here",
    ),
    "Expecting ',' delimiter": (
        "a comma or a closing bracket belongs here",
        "put a comma before it",
    ),
    "Expecting ':' delimiter": ("a colon belongs here", "put a colon after the key"),
    "Expecting value": (
        "a value belongs here",
        "write a number, true, false, null, or a text in double quotes",
    ),
    "Extra data": ("it goes on after its end", "remove what follows its last bracket"),
    "Unterminated string starting at": ("a text has no closing quote", "close it with a quote"),
    "Invalid control character at": (
        "a text holds a line break or a control character",
        "write a line break as \\n, or close the text before it",
    ),
    "Invalid \\escape": ("a backslash begins no escape", "write two backslashes"),
    "Invalid \\uXXXX escape": ("\\u needs four hex digits", "write four of them"),
    "Illegal trailing comma before end of object": ("nothing follows this comma", "remove it"),
    "Illegal trailing comma before end of array": ("nothing follows this comma", "remove it"),
}


class Place(NamedTuple):
    """A line and a column of a text, from 1."""

    line: int
    column: int


class Value(NamedTuple):
    """A value of a JSON text.

    Attributes:
        where: the keys and indices that lead to it; the list is changed as the reading goes on.
        at: where it begins, and ``key_at`` where its key does; -1 for a value without a key.
        word: the text of a number, a word or a string; of an object or an array its bracket.
        again: its object has this key already.
    """

    where: list[str | int]
    at: int
    key_at: int
    word: str
    again: bool


def named(name: str, at: Place | None) -> str:
    """A file's name with a place in it, as editors open it: ``spec.json:3:17``."""
    return f"{name}:{at.line}:{at.column}" if at else name


def place(text: str, at: int) -> Place:
    """Line and column of the character ``at``."""
    begin = text.rfind("\n", 0, at) + 1
    return Place(text.count("\n", 0, begin) + 1, at - begin + 1)


def first(text: str, is_meant: Callable[[Value], bool]) -> tuple[Place, Value] | None:
    """The first value that is meant, with the place of its key or, without one, its own."""
    for value in values(text):
        if is_meant(value):
            at = value.key_at if value.again else value.at
            return place(text, at), value
    return None


def index(text: str) -> dict[str, tuple[Place, Place]]:
    """Places of every key and value by path, as in ``$.meters[0].name``: (key's, value's).

    A value without a key has its own place twice.
    """
    found = {}
    for value in values(text):
        own = place(text, value.at)
        keyed = place(text, value.key_at) if value.key_at >= 0 else own
        found[path_text(value.where)] = (keyed, own)
    return found


def of_problems(text: str, problems: Iterable[Problem]) -> list[Place]:
    """Where in a text each problem is: its key where that is unknown, else its value.

    A problem with a key that is missing is where its object begins.
    """
    found = index(text)
    whole = found["$"]
    return [
        found.get(f"{problem.path}.{problem.key}", whole)[0]
        if problem.key and not problem.missing
        else found.get(problem.path, whole)[1]
        for problem in problems
    ]


def path_text(where: list[str | int]) -> str:
    """A path as kit prints it: ``$.meters[0].name``."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)


def values(text: str) -> Iterator[Value]:
    """Every value of a text in order, as far as it is JSON."""
    where: list[str | int] = []
    keys: list[set[str]] = []  # of each object that is open; empty for an array
    key_at, again, expects_key = -1, False, False
    for found in _TOKENS.finditer(text):
        word, at = found[0], found.start()
        if word in "]}":
            if not keys:
                return
            keys.pop()
            where.pop()
            key_at, again, expects_key = -1, False, False
        elif word == ",":
            if not keys:
                return
            expects_key, key_at = isinstance(where[-1], str), -1
            if isinstance(where[-1], int):
                where[-1] += 1
        elif word == ":":
            expects_key = False
        elif expects_key:
            key_at, key = at, _decoded(word)
            again = key in keys[-1]
            keys[-1].add(key)
            where[-1] = key
        else:
            yield Value(where, at, key_at, word, again)
            key_at, again = -1, False
            if word in "[{":
                keys.append(set())
                where.append("" if word == "{" else 0)
                expects_key = word == "{"


def _decoded(word: str) -> str:
    try:
        return str(json.loads(word))
    except ValueError:
        return word.strip('"')


def in_words(message: str, text: str, at: int) -> tuple[str, str]:
    """What is wrong where Python's parser stops, and what its author can do.

    Args:
        message: what the parser says.
        text, at: what it read, and the character at which it stopped.
    """
    why, remedy = _IN_WORDS.get(message.partition(": ")[0], (message, "correct it there"))
    before, here = text[:at].rstrip(), text[at : at + 1]
    if not here:
        return "it ends too early", "close what is open, or get the whole file"
    if before.endswith(",") and here in "}]":
        remedy = f"remove the comma before this {here}"
    elif here == "," and before.endswith((",", "[", "{")):
        remedy = "remove this comma"
    elif here == "'":
        remedy = "write texts and keys in double quotes, not in single ones"
    elif here in "/#":
        remedy = "remove the comment: JSON has none"
    return why, remedy
