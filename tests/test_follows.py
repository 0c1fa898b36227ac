"""A document follows a schema here exactly where jsonschema finds no fault in it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio, resources
from kit.core.follows import follows
from tests.committed import QUICKSTART, REPLAY
from tests.properties import examples

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2.0, 1.5, 1e300, 2**53, "", "a", "a\n", "ab", "é", "abcdef"),
    *([], [1], [1, "a"], [None, True, 2], [[1]], {}, {"a": 1}, {"a": "x", "b": None}, {"b": [1]}),
    {"a": {"a": 1}},
)
RULES: tuple[dict[str, Any], ...] = (
    *({"type": name} for name in ("null", "boolean", "integer", "number", "string", "array")),
    *({"type": "object"}, {"type": ["string", "null"]}, {"type": []}),
    *({"const": value} for value in (None, True, 1, 0, 2, "a", [1], {})),
    *({"enum": value} for value in ([1, "a"], [True], [], [None, 0], [[1]])),
    *({"minimum": 1}, {"maximum": 1}, {"exclusiveMinimum": 1}, {"minLength": 1}, {"maxLength": 1}),
    *({"pattern": "^a$"}, {"pattern": "b"}, {"pattern": r"^[a$]\$?$"}),
    *({"minItems": 1}, {"maxItems": 1}, {"items": {"type": "integer"}}, {"items": False}),
    *({"maxProperties": 1}, {"required": ["a"]}, {"propertyNames": {"const": "a"}}),
    *({"properties": {"a": {"type": "integer"}}}, {"properties": {"a": False}}),
    *({"additionalProperties": False}, {"additionalProperties": {"type": "null"}}),
    {"properties": {"a": True}, "additionalProperties": False},
    *({"title": "t", "description": "d", "default": 1, "examples": [1]}, {}),
    {"$defs": {"x": {"type": "string"}}, "$ref": "#/$defs/x"},
    {"$defs": {"x": {"properties": {"a": {"$ref": "#/$defs/x"}}, "maxProperties": 1}},
     "$ref": "#/$defs/x", "type": ["object", "array"]},
    *({"minProperties": 1}, {"multipleOf": 2}, {"patternProperties": {"a": False}}),  # not known
)  # fmt: skip


def is_valid(schema: Any, document: Any) -> bool:
    return jsonio.validator(schema).is_valid(document)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_rule_means_what_jsonschema_says(rule: dict[str, Any]) -> None:
    known = not {"minProperties", "multipleOf", "patternProperties"} & rule.keys()
    exact = known and rule not in ({"const": [1]}, {"const": {}}, {"enum": [[1]]})
    for value in VALUES:
        for schema in (rule, {"$defs": rule.get("$defs", {}), "not": rule}):
            assert not follows(schema, value) or is_valid(schema, value), (schema, value)
            assert not exact or follows(schema, value) is is_valid(schema, value), (schema, value)


def test_rules_together_mean_what_jsonschema_says() -> None:
    few = [rule for rule in RULES if "$ref" not in rule][::3]
    for one, other in itertools.product(few, few):
        for schema in (
            {"anyOf": [one, other]},
            {"oneOf": [one, other]},
            {"allOf": [one, {"not": other}]},
            {"if": one, "then": other, "else": {"type": "string"}},
            {"if": one, "else": other},
        ):
            check = jsonio.validator(schema).is_valid
            for value in VALUES:
                assert not follows(schema, value) or check(value), (schema, value)


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"not": {"additionalProperties": False, "patternProperties": {"^a": {}}}}, {"a": 1}),
        ({"not": {"items": {"type": "string"}, "prefixItems": [{}]}}, [1]),
        (
            {
                "properties": {
                    "x": {
                        "$id": "https://e/x",
                        "$defs": {"t": {"type": "string"}},
                        "properties": {"y": {"$ref": "#/$defs/t"}},
                    }
                },
                "$defs": {"t": True},
            },
            {"x": {"y": 1}},
        ),
    ],
)
def test_a_rule_that_changes_another_one_is_never_passed_over(
    schema: dict[str, Any], document: Any
) -> None:
    assert not is_valid(schema, document) and not follows(schema, document)


def test_an_unknown_schema_is_left_to_jsonschema() -> None:
    for schema in ({"$ref": "#"}, {"$ref": "#/$defs/none"}, {"type": "text"}, {"$ref": "other"}):
        assert not follows(schema, 1)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    if not isinstance(document, dict | list):
        return []
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    return [(document, key) for key in keys] + [p for key in keys for p in places(document[key])]


@pytest.mark.parametrize("name", ["spec.json", "plan.json", "results.json", "env/start.json"])
@examples(30)
@given(st.data())
def test_a_changed_document_is_refused_as_jsonschema_does(name: str, data: st.DataObject) -> None:
    schema = {"spec.json": "run-spec", "plan.json": "plan", "results.json": "results"}
    rules = jsonio.read(resources.schema_path(schema.get(name, "environment")))
    document = jsonio.read(data.draw(st.sampled_from((QUICKSTART, REPLAY))) / name)
    assert follows(rules, document)
    container, key = data.draw(st.sampled_from(places(document)))
    change = data.draw(st.sampled_from(("value", "absent", "more")))
    if change == "absent":
        del container[key]
    else:
        container_key = "more" if change == "more" and isinstance(container, dict) else key
        container[container_key] = data.draw(st.sampled_from(VALUES))
    assert follows(rules, document) is is_valid(rules, document)
