"""The names that a spec may use: runtimes, workloads, recipes and meters, and their rules.

The schema says that a runtime has a name and options; kit's registries know the names and their
options. Here both become one set of rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kit.core.errors import KitError
from kit.core.registry import Registry
from kit.machine import images
from kit.measure import meters
from kit.spec import runtimes, workloads
from kit.spec import spec as specs
from kit.tui.form.draft import Where, value_at

_REGISTRIES: dict[str, Any] = {"runtime": runtimes, "workload": workloads}
Named = tuple[tuple[str, str], ...]  # (name, title) of each


@cache
def schema() -> dict[str, Any]:
    """The schema of a run spec."""
    return specs.schema()


@cache
def named(what: str) -> Named:
    """Everything of the kind ``what`` (runtime, workload, recipe, meter), with its title."""
    if what == "recipe":
        return tuple((recipe.name, recipe.title) for recipe in images.recipes())
    registry: Any = meters if what == "meter" else _REGISTRIES[what]
    return tuple((name, _title(registry, name)) for name in registry.names())


def _title(registry: Registry, name: str) -> str:
    try:
        return str(registry.get(name).title)
    except KitError as error:  # registered by a package that cannot be imported
        return error.message


_NAMES: dict[Where, str] = {
    ("runtime", "name"): "runtime",
    ("workload", "name"): "workload",
    ("image", "recipe"): "recipe",
}


def names_at(where: Where) -> Named:
    """The names to choose from at ``where``; none for other fields."""
    return named(_NAMES[where]) if where in _NAMES else ()


def options_of(part: str, name: Any) -> dict[str, Any]:
    """The options' schema of the runtime or workload ``name``; empty without one."""
    try:
        schema: dict[str, Any] = _REGISTRIES[part].get(name).options_schema if name else {}
    except (KitError, TypeError):
        return {}
    return schema


def rules_at(document: Any, where: Where) -> dict[str, Any]:
    """The rules for ``where`` in ``document``, with those of its runtime and workload."""
    rules = schema()
    for depth, step in enumerate(where):
        rules = _inner(rules, value_at(document, where[:depth]), step)
        rules = resolved(document, where[: depth + 1], rules)
    return rules


def resolved(document: Any, where: Where, rules: Any) -> dict[str, Any]:
    """``rules`` with references resolved and the rules of chosen options inserted."""
    result = dict(rules) if isinstance(rules, Mapping) else {}  # a schema may be just `true`
    reference = str(result.pop("$ref", ""))
    if reference:
        result = {**schema()["$defs"].get(reference.rpartition("/")[2], {}), **result}
    if "$ref" in result.get("items", {}):
        result["items"] = resolved(document, (*where, 0), result["items"])
    if len(where) == 2 and where[0] in _REGISTRIES and where[1] == "options":
        name = value_at(document, (where[0], "name"))
        result["properties"] = options_of(str(where[0]), name).get("properties", {})
    return result


def _inner(rules: Mapping[str, Any], value: Any, step: str | int) -> dict[str, Any]:
    if isinstance(step, int):
        return dict(rules.get("items", {}))
    if "oneOf" in rules:
        rules = branch(rules, value)
    return dict(rules.get("properties", {}).get(step) or {})


def branch(rules: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The variant of a ``oneOf`` that is nearest to ``value``; {} without one."""
    if value is None:
        return next((branch for branch in rules["oneOf"] if branch.get("type") == "null"), {})
    if not isinstance(value, dict):
        return {}
    objects = [branch for branch in rules["oneOf"] if branch.get("type") == "object"]
    return max(objects, key=lambda branch: len(set(value) & set(branch["properties"])), default={})
