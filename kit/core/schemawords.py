"""What JSON Schema refuses, in words: where, what is wrong, and what to write instead.

A remedy says what to write. What a field is for is no remedy: `kit schema` says that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from kit.core import jsonio
from kit.core.model import Problem
from kit.core.nearest import nearest, one_of

# jsonschema's stubs say "maybe unset" of everything; what a validator raises has it all set.
ValidationError = Any

_VALUE_CHARS = 60
_MOST = 100  # of a list of 100,000 wrong values, nobody reads every one
_KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

_SENTENCES = {
    "pattern": "{shown} does not have the right form",
    "enum": "{shown} is not one of the values allowed",
    "not": "{shown} is not pinned: it can move",
    "minimum": "{shown} is less than {limit}",
    "exclusiveMinimum": "{shown} is not more than {limit}",
    "maximum": "{shown} is more than {limit}",
    "minLength": "the text has {size} characters, and {limit} at least are needed",
    "maxLength": "the text has {size} characters, and {limit} at most are allowed",
    "minItems": "the list has {size} entries, and {limit} at least are needed",
    "maxItems": "the list has {size} entries, and {limit} at most are allowed",
}


def problems(rules: Mapping[str, Any], document: Any, root: str = "$") -> Iterator[Problem]:
    """What ``rules``, a JSON Schema, refuses of ``document``: everything, or the first hundred.

    Paths begin with ``root``.
    """
    errors = islice(jsonio.faults(rules, document), _MOST)
    # The validator gives one error for each missing key, in the order of the rule that needs them.
    missing: dict[tuple[object, ...], Iterator[str]] = {}
    for error in sorted(errors, key=_order):
        for leaf in _leaves(error):
            path = root + "".join(
                f"[{p}]" if isinstance(p, int) else f".{p}" for p in leaf.absolute_path
            )
            if leaf.validator == "required":
                rule = (*leaf.absolute_path, None, *leaf.absolute_schema_path)
                keys = missing.setdefault(rule, _missing(leaf))
                known = _properties(rules, leaf.absolute_path) | _properties(leaf.schema)
                yield _absent(path, next(keys, ""), known)
            else:
                key = _unknown(leaf)[0] if leaf.validator == "additionalProperties" else ""
                yield Problem(path, _message(leaf), _remedy(leaf), key=key)


def _order(error: ValidationError) -> list[str]:
    return [step if isinstance(step, str) else f"{step:09}" for step in error.path]


def _properties(rules: Mapping[str, Any], path: Iterable[object] = ()) -> dict[str, Any]:
    """The properties of what lies at ``path``, where the schema's own properties lead there."""
    for key in path:
        rules = rules.get("properties", {}).get(key, {})
    return dict(rules.get("properties", {}))


def _absent(path: str, key: str, properties: Mapping[str, Any]) -> Problem:
    wanted = _form(properties.get(key, {}))
    return Problem(path, f'the key "{key}" is missing', f'add "{key}": {wanted}', key, missing=True)


def _missing(error: ValidationError) -> Iterator[str]:
    return (key for key in error.validator_value if key not in error.instance)


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """For a failed ``oneOf``, the errors of the branch that the author probably meant."""
    if error.validator == "oneOf" and error.context and isinstance(error.instance, dict):
        by_branch: dict[int, list[ValidationError]] = {}
        for child in error.context:
            by_branch.setdefault(int(child.schema_path[0]), []).append(child)
        meant = min(by_branch.values(), key=lambda errors: _distance(errors, error.instance))
        for child in meant:
            yield from _leaves(child)
    else:
        yield error


def _distance(errors: list[ValidationError], instance: Mapping[str, Any]) -> tuple[int, int]:
    """How far ``instance`` is from a branch: wrong keys count more than wrong values.

    A branch that allows no object was never meant.
    """
    structural = ("type", "additionalProperties", "required")
    if any(e.validator == "type" and e.instance is instance for e in errors):
        return 1 << 30, len(instance)
    return sum(1 + 2 * (e.validator in structural) for e in errors), len(instance)


def _unknown(error: ValidationError) -> list[str]:
    return sorted(set(error.instance) - set(error.schema.get("properties", {})))


def _message(error: ValidationError) -> str:
    shown, limit = _shown(error.instance), error.validator_value
    match error.validator:
        case "type":
            return f"{shown} stands where {_kind(limit)} belongs"
        case "oneOf":
            return f"{shown} stands where {_form(error.schema)} belongs"
        case "const":
            return f"{shown} stands where {_shown(limit)} belongs"
        case "additionalProperties":
            keys = _unknown(error)
            return f"unknown key{'s' * (len(keys) > 1)} {', '.join(map(_shown, keys))}"
        case None | "not" if not limit:
            return "this is not allowed here"
        case keyword if keyword in _SENTENCES:
            size = len(error.instance) if isinstance(error.instance, str | list) else 0
            return _SENTENCES[keyword].format(shown=shown, limit=limit, size=size)
        case _:
            message = str(error.message)
            return message if len(message) <= 200 else message[:199] + "…"


def _remedy(error: ValidationError) -> str:
    schema, limit = error.schema, error.validator_value
    match error.validator:
        case None | "not" if not limit:
            return "remove it"
        case "enum":
            return one_of(str(error.instance), [str(value) for value in limit])
        case "const":
            return f"write {_shown(limit)}"
        case "additionalProperties":
            return _rename(error)
        case "maxLength" | "maxItems":
            return "shorten it"
        case "minItems":
            return "add one"
        case "type" if limit == "array" and error.instance is not None:
            return "put it into a list: [ ]"
        case "pattern" | "not" if schema.get("examples") or schema.get("description"):
            return _like(schema)
        case _:
            return f"write {_form(schema)}"


def _rename(error: ValidationError) -> str:
    allowed = error.schema.get("properties", {})
    keys = _unknown(error)
    remove = "remove it" if len(keys) == 1 else "remove them"
    remove += f"; allowed here: {', '.join(allowed)}" if allowed else ": no key is allowed here"
    meant = nearest(keys[0], allowed)
    if not meant:
        return remove
    is_there = " (which is there already)" if meant in error.instance else ""
    return f"did you mean {_shown(meant)}{is_there}? Else {remove}"


def _like(schema: Mapping[str, Any]) -> str:
    """A remedy for a text of the wrong form: its description says what the form is."""
    example = "".join(f"write it like {text}" for text in schema.get("examples", [])[:1])
    return ". ".join(filter(None, (example, schema.get("description", "").rstrip("."))))


def _shown(value: Any) -> str:
    """A value as it stands in the text; a list or an object by its kind."""
    if isinstance(value, dict | list):
        return _KINDS["object" if isinstance(value, dict) else "array"]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"


def _number(value: float) -> str:
    """4294967295 and 0.05, each with all its digits."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _kind(types: str | list[str]) -> str:
    return " or ".join(_KINDS[one] for one in ([types] if isinstance(types, str) else types))


def _form(schema: Mapping[str, Any]) -> str:
    """What belongs somewhere, and an example: ``a whole number, at least 1, such as 3``."""
    if "oneOf" in schema:
        return " or ".join(_form(branch) for branch in schema["oneOf"])
    if "const" in schema:
        return _shown(schema["const"])
    if "enum" in schema:
        return " or ".join(map(_shown, schema["enum"]))
    if schema.get("type") == "object":
        keys = schema.get("required", ())
        return f"{{{', '.join(f'{_shown(key)}: …' for key in keys)}}}" if keys else "an object"
    if schema.get("type") == "array":
        return "a list: [ ]"
    words = [_kind(schema["type"]) if "type" in schema else "a value"]
    words += [f"at least {_number(schema['minimum'])}"] if "minimum" in schema else []
    least = schema.get("exclusiveMinimum")
    words += [f"more than {_number(least)}"] if least is not None else []
    highest = schema.get("maximum", jsonio.MAX_SAFE_INTEGER)
    words += [f"at most {_number(highest)}"] if highest < jsonio.MAX_SAFE_INTEGER else []
    sample = [*schema.get("examples", []), schema.get("default")][0]
    words += [f"such as {_shown(sample)}"] if sample not in (None, "") else []
    return ", ".join(words)
