"""The draft: a JSON document with edits by path, undo and redo.

Documents are never changed in place: an edited one shares all unchanged parts with the one before,
so that the whole history costs little more than one document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.model import Problem

Where = tuple[str | int, ...]
Rules = Callable[[Any, Where], Mapping[str, Any]]

_STEP = re.compile(r"\[(\d+)\]|\.([^.\[\]]+)")


class Absent:
    """The value of a missing key (null is a value)."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT = Absent()


class Draft:
    """A JSON document with its history.

    Args:
        document: the first state; it counts as saved if it came from a file.
        rules: returns the JSON Schema at a path of a document, for the order of keys, and for
            the content of new objects on the path of an edit.
    """

    def __init__(self, document: Any, rules: Rules | None = None, *, saved: bool = True) -> None:
        self._states: list[Any] = [document]
        self._now = 0
        self._saved: Any = document if saved else ABSENT
        self._rules = rules or (lambda _document, _where: {})
        self._made: set[Where] = set()
        self._joint: Where | None = None

    @property
    def document(self) -> Any:
        """The present document; not to be changed."""
        return self._states[self._now]

    @property
    def modified(self) -> bool:
        """Whether it differs from the saved document."""
        return not same(self.document, self._saved)

    def get(self, where: Where) -> Any:
        """The value at ``where``; `ABSENT` without one."""
        return value_at(self.document, where)

    def put(self, where: Where, value: Any, *, joined: bool = False) -> None:
        """Write ``value``, and make missing objects on its path.

        Args:
            joined: one step with the edit before, if that was joined and at the same path, so
                that a text typed into one field is undone at once.
        """
        document = self.document
        for depth in range(1, len(where)):
            if value_at(document, where[:depth]) is ABSENT:
                begun = self._rules(document, where[:depth]).get("default", {})
                document = self._with(document, where[:depth], begun)
                self._made.add(where[:depth])
        self.replace(self._with(document, where, value), where if joined else None)

    def drop(self, where: Where, *, joined: bool = False) -> None:
        """Remove a key or an element, and objects that were made only for it."""
        document = without(self.document, where)
        for depth in range(len(where) - 1, 0, -1):
            parent = where[:depth]
            begun = self._rules(document, parent).get("default", {})
            if parent not in self._made or value_at(document, parent) not in ({}, begun):
                break
            document = without(document, parent)
        self.replace(document, where if joined else None)

    def replace(self, document: Any, joint: Where | None = None) -> None:
        """Make ``document`` the next state; undone edits cannot be redone any more."""
        if same(document, self.document):
            return
        if joint is not None and joint == self._joint and self._now:
            self._now -= 1
        del self._states[self._now + 1 :]
        self._joint = joint
        if not same(document, self.document):  # else it was typed back to what it was
            self._states.append(document)
            self._now += 1

    def amend(self, document: Any) -> None:
        """Make ``document`` the present state, as part of the last edit."""
        if not same(document, self.document):
            self._states[self._now] = document

    def settle(self) -> None:
        """End a joined edit: the next typing is a new step."""
        self._joint = None

    def undo(self) -> bool:
        """One step back; returns false if there is none."""
        return self._step(-1)

    def redo(self) -> bool:
        """One step forward again; returns false if there is none."""
        return self._step(1)

    def mark_saved(self, document: Any) -> None:
        """Mark ``document``, one of the states, as the content of the file."""
        self._saved = document
        self.settle()

    def _step(self, by: int) -> bool:
        self.settle()
        if not 0 <= self._now + by < len(self._states):
            return False
        self._now += by
        return True

    def _with(self, document: Any, where: Where, value: Any) -> Any:
        keys = tuple(self._rules(document, where[:-1]).get("properties", {}))
        return with_value(document, where, value, keys)


# --- documents, by path -------------------------------------------------------------------------


def value_at(document: Any, where: Where) -> Any:
    """The value at ``where``, or `ABSENT`."""
    for step in where:
        in_list = isinstance(document, list) and isinstance(step, int) and step < len(document)
        if not in_list and not (isinstance(document, dict) and step in document):
            return ABSENT
        document = document[step]
    return document


def with_value(document: Any, where: Where, value: Any, order: tuple[str, ...] = ()) -> Any:
    """A copy of ``document`` with ``value`` at ``where``; ``order`` places a new key."""
    if not where:
        return value
    head, rest = where[0], where[1:]
    if isinstance(head, int):
        items = list(document) if isinstance(document, list) else []
        inner = items[head] if head < len(items) else ABSENT
        items[head : head + 1] = [with_value(inner, rest, value, order)]
        return items
    keys = dict(document) if isinstance(document, dict) else {}
    is_new = head not in keys
    keys[head] = with_value(keys.get(head, ABSENT), rest, value, order)
    return _ordered(keys, head, order) if is_new and not rest else keys


def without(document: Any, where: Where) -> Any:
    """A copy of ``document`` without the value at ``where``."""
    if value_at(document, where) is ABSENT or not where:
        return document
    head, rest = where[0], where[1:]
    if rest:
        return with_value(document, (head,), without(document[head], rest))
    if isinstance(document, list):
        return [item for index, item in enumerate(document) if index != head]
    return {key: value for key, value in document.items() if key != head}


def _ordered(keys: dict[str, Any], new: str, order: tuple[str, ...]) -> dict[str, Any]:
    """``keys`` with ``new`` before the first key that ``order`` has after it."""
    later = set(order[order.index(new) + 1 :]) if new in order else set()
    names = [key for key in keys if key != new]
    place = next((n for n, key in enumerate(names) if key in later), len(names))
    names.insert(place, new)
    return {name: keys[name] for name in names}


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON texts: `True` is not 1, and the order of keys counts."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def first_difference(one: Any, other: Any) -> Where:
    """The path of the first place where two documents differ."""
    pairs: list[tuple[str | int, Any, Any]] = []
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(k, one.get(k, ABSENT), other.get(k, ABSENT)) for k in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(n, *both) for n, both in enumerate(zip(one, other, strict=True))]
    for step, left, right in pairs:
        if not same(left, right):
            return (step, *first_difference(left, right))
    return ()


# --- text ---------------------------------------------------------------------------------------


def to_text(document: Any) -> str:
    """The document as readable JSON: indented by two, keys in their order, one final newline."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    # Half of a surrogate pair is a JSON string but no UTF-8: it stays escaped.
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def from_text(text: str, name: str) -> dict[str, Any]:
    """The document of a text.

    Raises:
        NoDocumentError: it is not strict JSON, or not an object.
    """
    try:
        document = jsonio.parse(text.encode("utf-8", "surrogatepass"), name)
    except jsonio.JsonRefused as error:
        line = error.at and error.at.line
        raise NoDocumentError(error.message, "F4 opens it in your editor", line) from error
    if not isinstance(document, dict):
        raise NoDocumentError(
            f"{name} holds no JSON object", "a spec begins with { and ends with }"
        )
    return document


class NoDocumentError(UsageError):
    """A text that is no spec; ``line`` is where a parser stopped, None where it did not."""

    def __init__(self, message: str, remedy: str, line: int | None = None) -> None:
        super().__init__(message, remedy)
        self.line = line


# --- problems -----------------------------------------------------------------------------------


def parts(path: str) -> Where:
    """``$.meters[0].name`` as a path."""
    return tuple(int(index) if index else key for index, key in _STEP.findall(path))


def place(problem: Problem) -> Where:
    """The path of a problem's field, also for a missing or unknown key."""
    return (*parts(problem.path), *([problem.key] if problem.key else []))


def words(problem: Problem) -> str:
    """The message of a problem for the field at `place`."""
    return "is required" if problem.missing else problem.message


def path_text(where: Where) -> str:
    """A path as kit prints it: ``$.meters[0].name``."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
