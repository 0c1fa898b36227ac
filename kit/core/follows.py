"""Whether a document follows a JSON Schema. Most do, and this says so without jsonschema.

That package says what is wrong where one does not; it takes a quarter of a second to be imported
and to check a run, in each process. Here stand the rules that kit's schemas use, and where a
schema has another one, the package decides (`kit.core.jsonio.faults`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Rule = Callable[[Any, Any, Mapping[str, Any], Any], bool]
_TOKENS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)  # of a regular expression


def follows(schema: Any, document: Any) -> bool:
    """Whether ``document`` surely follows ``schema``: never true where jsonschema finds a fault.

    False also where the schema has a rule that is not known here.
    """
    try:
        return _follows(schema, document, schema)
    except _Unknown:
        return False


@cache
def ecma(pattern: str) -> re.Pattern[str]:
    r"""A pattern as JSON Schema means it, with every ``$`` that is an anchor as ``\Z``.

    In Python ``$`` also matches before a last line feed, so that ``"name\n"`` would pass as a name.
    """
    return re.compile(_TOKENS.sub(lambda m: r"\Z" if m[0] == "$" else m[0], pattern))


class _Unknown(Exception):
    """A rule that is not known here."""


def _follows(schema: Any, value: Any, root: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    # All of them first: a "no" of the known ones would be a "yes" inside ``not`` or ``if``.
    if schema.keys() - _KNOWN or (schema is not root and "$id" in schema):
        raise _Unknown(schema)
    return all(
        _RULES[word](rule, value, schema, root) for word, rule in schema.items() if word in _RULES
    )


def _ref(rule: str, value: Any, _: Any, root: Any) -> bool:
    target = root
    if not rule.startswith("#/") or "~" in rule or "%" in rule:
        raise _Unknown(rule)
    for part in rule[2:].split("/"):
        if not isinstance(target, dict) or part not in target:
            raise _Unknown(rule)
        target = target[part]
        if isinstance(target, dict) and "$id" in target:
            raise _Unknown(rule)
    return _follows(target, value, root)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _type(rule: Any, value: Any, _: Any, __: Any) -> bool:
    names = [rule] if isinstance(rule, str) else rule
    if not all(name in _TYPES for name in names):
        raise _Unknown(rule)
    return any(_TYPES[name](value) for name in names)


def _same(one: Any, other: Any) -> bool:
    """Whether they are one value of JSON: 1 is 1.0, and not true."""
    if isinstance(one, dict | list):
        raise _Unknown(one)
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _properties(rule: Any, value: Any, _: Any, root: Any) -> bool:
    if not isinstance(value, dict):
        return True
    return all(_follows(rule[key], value[key], root) for key in rule if key in value)


def _additional(rule: Any, value: Any, schema: Mapping[str, Any], root: Any) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", ())
    return all(_follows(rule, value[key], root) for key in value if key not in known)


def _conditional(rule: Any, value: Any, schema: Mapping[str, Any], root: Any) -> bool:
    branch = "then" if _follows(rule, value, root) else "else"
    return branch not in schema or _follows(schema[branch], value, root)


def _of(kind: type | tuple[type, ...], holds: Callable[[Any, Any], bool]) -> Rule:
    """A rule about values of one kind, which others follow."""
    return lambda rule, value, _, __: not isinstance(value, kind) or holds(rule, value)


def _of_numbers(holds: Callable[[Any, Any], bool]) -> Rule:
    return lambda rule, value, _, __: not _is_number(value) or holds(rule, value)


_RULES: dict[str, Rule] = {
    "$ref": _ref,
    "type": _type,
    "const": lambda rule, value, _, __: _same(rule, value),
    "enum": lambda rule, value, _, __: any(_same(one, value) for one in rule),
    "minimum": _of_numbers(lambda rule, value: not value < rule),
    "maximum": _of_numbers(lambda rule, value: not value > rule),
    "exclusiveMinimum": _of_numbers(lambda rule, value: not value <= rule),
    "minLength": _of(str, lambda rule, value: len(value) >= rule),
    "maxLength": _of(str, lambda rule, value: len(value) <= rule),
    "pattern": _of(str, lambda rule, value: bool(ecma(rule).search(value))),
    "minItems": _of(list, lambda rule, value: len(value) >= rule),
    "maxItems": _of(list, lambda rule, value: len(value) <= rule),
    "maxProperties": _of(dict, lambda rule, value: len(value) <= rule),
    "required": _of(dict, lambda rule, value: all(key in value for key in rule)),
    "items": lambda rule, value, _, root: (
        not isinstance(value, list) or all(_follows(rule, each, root) for each in value)
    ),
    "propertyNames": lambda rule, value, _, root: (
        not isinstance(value, dict) or all(_follows(rule, key, root) for key in value)
    ),
    "properties": _properties,
    "additionalProperties": _additional,
    "anyOf": lambda rule, value, _, root: any(_follows(each, value, root) for each in rule),
    "allOf": lambda rule, value, _, root: all(_follows(each, value, root) for each in rule),
    "oneOf": lambda rule, value, _, root: sum(_follows(each, value, root) for each in rule) == 1,
    "not": lambda rule, value, _, root: not _follows(rule, value, root),
    "if": _conditional,
}
# They say nothing of a document by themselves.
_SILENT = frozenset(
    ("$schema", "$id", "$defs", "title", "description", "default", "examples", "then", "else")
)
_KNOWN = _RULES.keys() | _SILENT
