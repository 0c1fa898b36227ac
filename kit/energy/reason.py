"""Why there is no number, or what is in doubt of one: a code with its values, and no sentence.

Sentences are made from it where a person reads them (`kit.energy.reasons`), and nowhere else, so
that nothing needs to read one back. ``str`` of a reason is its sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

CODE = "code"


class Reason:
    """A stable code and the values that belong to it; one that is None or empty is left out.

    A value is a number, a word, another reason, a list of these, or a count by word; none can be
    changed. Two reasons are equal when their documents are, and a copy is made of the document.
    """

    __slots__ = ("code", "values")

    def __init__(self, code: str, /, **values: Any) -> None:
        self.code: Final = code
        self.values: Final = _fixed({n: v for n, v in values.items() if not _is_empty(v)})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The reason of a document, as `document` gives it."""
        return cls(document[CODE], **{name: v for name, v in document.items() if name != CODE})

    def document(self) -> dict[str, Any]:
        """The form in JSON: ``{"code": …, "window_s": 1.5, …}``."""
        return {CODE: self.code} | {name: plain(value) for name, value in self.values.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reason) and self.document() == other.document()

    def __hash__(self) -> int:
        return hash(self.code)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.document(),)

    def __str__(self) -> str:
        from kit.energy.reasons import sentence  # which names scopes, and their rules give reasons

        return sentence(self)

    def __format__(self, how: str) -> str:
        return format(str(self), how)

    def __repr__(self) -> str:
        return f"Reason({self.document()})"


def _fixed(value: Any) -> Any:
    """A value that nobody can change."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _fixed(item) for key, item in value.items()})
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def plain(value: Any) -> Any:
    """A document with every reason in it as JSON has it; JSON has no infinity: it is a word."""
    if isinstance(value, Reason):
        return value.document()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
