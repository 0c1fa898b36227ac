"""Values as text and back: the text in a field, and the summary of a closed section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kit.core import jsonio
from kit.core.text import clean
from kit.show.render.console import count
from kit.tui.form.draft import ABSENT
from kit.tui.form.fields import Field

_SHOWN = 24


def shown(field: Field, value: Any) -> str:
    """``value`` as the text in the field."""
    if value is ABSENT:
        return ""
    if isinstance(value, str) and field.kind != "json":
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if clean(text) == text else json.dumps(value)


def read(field: Field, text: str) -> Any:
    """The value of ``text`` in the field; an invalid text stays text, and becomes a problem.

    An empty field is `ABSENT`.
    """
    if not text:
        return ABSENT
    if field.kind == "number":
        return _number(text.strip())
    return _json(text) if field.kind == "json" else text


def _number(text: str) -> Any:
    if text == "null":
        return None
    for kind in (int, float):
        try:
            number: int | float = kind(text)
        except ValueError:
            continue
        # This also rejects NaN and infinity.
        return number if abs(number) <= jsonio.MAX_SAFE_INTEGER and "_" not in text else text
    return text


def _json(text: str) -> Any:
    try:
        return jsonio.parse(text.encode("utf-8", "surrogatepass"))
    except jsonio.JsonRefused:
        return text


def hint(field: Field) -> str:
    """The placeholder of an empty field: the default, or an example."""
    if field.default == '""':
        return "optional"
    if field.default is not None:
        return f"default {_unquoted(json.loads(field.default))}"
    examples = field.rules.get("examples", [])
    if field.required and examples:
        return f"such as {_unquoted(examples[0])}"
    return "not given"


def summary(field: Field, value: Any) -> str:
    """A section in one line."""
    if value is ABSENT:
        return "default" if field.default is not None else "not given"
    if isinstance(value, Mapping):
        return " · ".join(_pair(key, inner) for key, inner in value.items()) or "default"
    if isinstance(value, list):
        return ", ".join(_name(item) for item in value) or "none"
    return "none" if value is None else _unquoted(value)


def _pair(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{key} {len(value)} set"
    if isinstance(value, list):
        return count(len(value), key.removesuffix("s"))
    return (
        _cut(_unquoted(value))
        if key in ("name", "path", "repo")
        else f"{key} {_cut(_unquoted(value))}"
    )


def _name(item: Any) -> str:
    if isinstance(item, Mapping):
        words = [str(item[key]) for key in ("name", "alias", "path", "id") if key in item]
        return _cut(" ".join(words) or "?")
    return _cut(_unquoted(item))


def _unquoted(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
