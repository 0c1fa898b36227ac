"""From schema and document to a flat list of fields, in the form's order.

The fields depend on the document and on the open sections alone, not on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kit.core.text import clean
from kit.spec import meters
from kit.tui.form import vocabulary
from kit.tui.form.draft import ABSENT, Where, value_at

Kind = Literal[
    "section",  # a heading that opens and closes
    "switch",  # an optional object: a heading with a box that adds or removes it
    "item",  # the heading of one of a list's elements
    "variant",  # a choice between kinds of object
    "text",
    "long",  # text of several lines, edited in a dialog
    "number",
    "json",  # anything else, as JSON
    "choice",
    "const",
    "tick",  # a box that puts an element into a list
    "add",  # one more element
    "more",  # says how many elements are not shown
    "unknown",  # a key that the schema does not have
]
HEADINGS = ("section", "switch", "item")
_LONG = 10_000  # from this number of characters on a text is not one line
_MOST = 64  # the most elements of a list that are shown: a thousand rows take seconds


@dataclass(frozen=True)
class Field:
    """One row of a form. Two rows are the same widget if all but ``rules`` is equal.

    Attributes:
        where: the path in the document.
        depth: the level of indentation.
        default: the value of a missing key, as JSON; None without one.
        choices: JSON text and label of each choice, of a choice or variant.
        member: the element of a tick box, as JSON.
    """

    where: Where
    kind: Kind
    label: str
    depth: int = 0
    required: bool = False
    default: str | None = None
    choices: tuple[tuple[str, str], ...] = ()
    member: str = ""
    rules: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_heading(self) -> bool:
        return self.kind in HEADINGS

    @property
    def help(self) -> str:
        """The schema's description and bounds."""
        low = self.rules.get("minimum", self.rules.get("exclusiveMinimum"))
        high = self.rules.get("maximum")
        above = "above " if "exclusiveMinimum" in self.rules else ""
        bounds = f" {above}{low} to {high}." if None not in (low, high) else ""
        return f"{self.rules.get('description', '')}{bounds}".strip()


def fields(document: Any, is_open: Callable[[Where], bool]) -> list[Field]:
    """The rows of the form of ``document``; a closed section has only its heading."""
    return list(_Walk(document, is_open).of_object(vocabulary.schema(), (), 0))


class _Walk:
    """One walk through schema and document together."""

    def __init__(self, document: Any, is_open: Callable[[Where], bool]) -> None:
        self._document, self._is_open = document, is_open

    def of_object(self, rules: Mapping[str, Any], where: Where, depth: int) -> Iterator[Field]:
        properties, required = rules.get("properties", {}), rules.get("required", ())
        outer = rules.get("default", {})
        for key, inner in properties.items():
            place = (*where, key)
            inner_rules = vocabulary.resolved(self._document, place, inner)
            if key in outer and "default" not in inner_rules:
                inner_rules["default"] = outer[key]
            yield from self._of(inner_rules, place, depth, key in required)
        value = value_at(self._document, where)
        for key in value if isinstance(value, dict) else ():
            if key not in properties:
                yield Field((*where, key), "unknown", key, depth, rules=_UNKNOWN)

    def _of(
        self, rules: dict[str, Any], where: Where, depth: int, required: bool
    ) -> Iterator[Field]:
        label, value = str(where[-1]), value_at(self._document, where)
        kind = _kind(rules, where, value, required)
        default = json.dumps(rules["default"]) if "default" in rules else None
        yield Field(
            where,
            kind,
            label,
            depth,
            required and default is None,
            default,
            _choices(kind, rules, where, value),
            rules=rules,
        )
        if kind == "switch" and isinstance(value, dict):
            yield from self.of_object(rules, where, depth + 1)
        elif kind == "section" and self._is_open(where):
            yield from self._inside(rules, where, depth + 1, value)

    def _inside(
        self, rules: dict[str, Any], where: Where, depth: int, value: Any
    ) -> Iterator[Field]:
        if "oneOf" in rules:
            choices = _variants(rules)
            yield Field(where, "variant", "kind", depth, True, None, choices, rules=rules)
            rules = vocabulary.branch(rules, value)
        if where == ("meters",):
            yield from self._meters(rules, value if isinstance(value, list) else [], depth)
        elif rules.get("type") == "array":
            yield from self._list(rules, where, depth, value if isinstance(value, list) else [])
        else:
            yield from self.of_object(rules, where, depth)

    def _list(
        self, rules: Mapping[str, Any], where: Where, depth: int, items: list[Any]
    ) -> Iterator[Field]:
        inner = rules["items"]
        if "enum" in inner:
            yield from _ticks(inner["enum"], rules, where, depth, items)
            return
        for index in range(min(len(items), _MOST)):
            place = (*where, index)
            label = f"{where[-1]} {index + 1}"
            yield Field(place, "item", label, depth, rules=inner)
            if self._is_open(place):
                yield from self.of_object(inner, place, depth + 1)
        if len(items) > _MOST:
            rest = f"and {len(items) - _MOST} more, which F4 edits"
            yield Field(where, "more", rest, depth, rules=rules)
        yield Field((*where, len(items)), "add", f"add to {where[-1]}", depth, rules=inner)

    def _meters(self, rules: Mapping[str, Any], items: list[Any], depth: int) -> Iterator[Field]:
        """A box for each meter that kit knows, and rows for other meters of the document."""
        names = [item.get("name") if isinstance(item, dict) else None for item in items]
        registered = vocabulary.named("meter")
        others = [(str(name), "unknown") for name in names if name not in dict(registered)]
        for name, title in (*registered, *dict(others).items()):
            member = json.dumps({"name": name})
            about = {**rules, "description": f"{title}. {rules.get('description', '')}"}
            yield Field(("meters",), "tick", name, depth, member=member, rules=about)
            for index in (n for n, meter in enumerate(names) if meter == name):
                yield from self._alias(rules["items"], index, depth + 1, name)

    def _alias(
        self, rules: Mapping[str, Any], index: int, depth: int, name: str
    ) -> Iterator[Field]:
        where: Where = ("meters", index, "alias")
        needed = meters.is_aliased(name)
        if needed or value_at(self._document, where) is not ABSENT:
            inner = rules["properties"]["alias"]
            yield Field(where, "text", "alias", depth, needed, rules=inner)


_UNKNOWN = {
    "description": "The schema has no such key: kit refuses the spec while it is there. "
    "Delete removes it, F4 edits it."
}


def _ticks(
    members: list[Any], rules: Mapping[str, Any], where: Where, depth: int, items: list[Any]
) -> Iterator[Field]:
    others = [item for item in items if item not in members]
    for member in (*members, *others):
        yield Field(where, "tick", str(member), depth, member=json.dumps(member), rules=rules)


def _kind(rules: Mapping[str, Any], where: Where, value: Any, required: bool) -> Kind:
    if "oneOf" in rules:
        return "section"
    if rules.get("type") == "object" and "properties" in rules:
        return "section" if required or "default" in rules else "switch"
    if rules.get("type") == "array" and ({"enum", "properties"} & rules.get("items", {}).keys()):
        return "section"
    return _scalar_kind(rules, where, value)


def _scalar_kind(rules: Mapping[str, Any], where: Where, value: Any) -> Kind:
    kinds = rules.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "const" in rules:
        return "const"
    if "enum" in rules or "boolean" in kinds or vocabulary.names_at(where):
        return "choice"
    if {"integer", "number"} & set(kinds):
        return "number"
    if "string" not in kinds:
        return "json"
    text = value if isinstance(value, str) else ""
    if rules.get("maxLength", 0) >= _LONG or "\n" in text:
        return "long"
    # Characters that would act on the terminal, or be invisible, are shown and edited as JSON.
    return "text" if clean(text) == text else "json"


def _choices(
    kind: Kind, rules: Mapping[str, Any], where: Where, value: Any
) -> tuple[tuple[str, str], ...]:
    """The choices; an invalid present value is one too, and flagged."""
    if kind != "choice":
        return ()
    named = vocabulary.names_at(where)
    members = [name for name, _ in named] or rules.get("enum", [False, True])
    choices = [(json.dumps(member), _word(member)) for member in members]
    if value is not ABSENT and json.dumps(value) not in dict(choices):
        choices.append((json.dumps(value), f"{_word(value)} (unknown)"))
    return tuple(choices)


def _variants(rules: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Each variant, as the JSON list of its required keys, which is also its label."""
    variants = [("null", "none") for variant in rules["oneOf"] if variant.get("type") == "null"]
    objects = [variant for variant in rules["oneOf"] if variant.get("type") == "object"]
    for variant in objects:
        label = str(variant["required"][0]) if len(objects) > 1 else "given"
        variants.append((json.dumps(list(variant["required"])), label))
    return tuple(variants)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
