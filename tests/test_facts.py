"""The facts of a quantity: record, docstring and schema say the same; a plan keeps its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import facts, jsonio, resources
from kit.core.model import MeterDevice, Plan
from tests.committed import ALL

SCHEMA = jsonio.read(resources.schema_path("plan"))["$defs"]
DERIVED: dict[str, Any] = msgspec.json.schema_components([Plan], ref_template="#/$defs/{name}")[1]
RECORDS = [facts.QuantityFacts, facts.Probe]


def stated(name: str) -> dict[str, dict[str, Any]]:
    """What the record itself says of each of its fields that may be absent."""
    found = {}
    for key, told in DERIVED[name]["properties"].items():
        (found[key],) = (kind for kind in told["anyOf"] if kind != {"type": "null"})
    return found


def documented(record: type) -> dict[str, str]:
    """What a docstring says of each attribute."""
    _, _, told = (record.__doc__ or "").partition("Attributes:\n")
    lines = re.sub(r"\n {9,}", " ", told)
    return dict(re.findall(r"^ {8}(\w+): (.+)$", lines, re.MULTILINE))


def as_schema(kind: dict[str, Any]) -> dict[str, Any]:
    """A tuple of equal parts, as the schema writes it; anything else as it is."""
    if "prefixItems" not in kind:
        return kind
    first, *others = kind["prefixItems"]
    assert all(other == first for other in others)
    return {k: v for k, v in kind.items() if k != "prefixItems"} | {"items": first}


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_record_docstring_and_schema_agree(record: type) -> None:
    own, schema, words = stated(record.__name__), SCHEMA[record.__name__], documented(record)
    assert list(own) == list(schema["properties"]) == list(words)
    for key, told in schema["properties"].items():
        said = {"description": words[key], **as_schema(own[key])}
        # 0 or a millionth of a second: what msgspec has no word for.
        narrower = {k: v for k, v in told.items() if k != "anyOf"}
        assert narrower == said, key


@pytest.mark.parametrize("name", sorted(DERIVED.keys() - {r.__name__ for r in RECORDS}))
def test_every_other_record_of_a_plan_has_the_fields_of_its_schema(name: str) -> None:
    own, schema = DERIVED[name], SCHEMA[name]
    assert set(own["properties"]) == set(schema["properties"])
    assert set(own["required"]) == set(schema["required"])
    assert schema["additionalProperties"] is False


def values_of(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    """A value at the least limit of each fact; of a flag, no."""
    for key, told in stated(kind.__name__).items():
        told = as_schema(told)
        if told.get("$ref") == "#/$defs/Probe":
            yield key, dict(values_of(facts.Probe))
        elif "enum" in told:
            yield key, told["enum"][0]
        elif told["type"] == "array":
            yield key, [told["items"]["minimum"]] * told["minItems"]
        elif told["type"] == "string":
            yield key, "0" * 64
        else:
            yield key, False if told["type"] == "boolean" else told.get("minimum", 0)


def test_a_fact_that_is_said_is_written_and_one_that_is_not_is_absent() -> None:
    said = dict(values_of(facts.QuantityFacts))
    read = msgspec.convert(said, facts.QuantityFacts)
    assert jsonio.canonical(msgspec.to_builtins(read)) == jsonio.canonical(said)
    assert msgspec.to_builtins(facts.NO_FACTS) == {}
    document = {"device": "x", "description": "", "quantities": {"cpu_energy": said}}
    schema = {"$defs": SCHEMA, "$ref": "#/$defs/MeterDevice"}
    jsonio.validator(schema).validate(document)


@pytest.mark.parametrize("run", ALL, ids=lambda run: run.name[:8])
def test_the_devices_of_a_committed_run_are_written_again_byte_for_byte(run: Path) -> None:
    """Its plan is older: fields that it lacks would come with their defaults."""
    for meter in jsonio.read(run / "plan.json")["meters"]:
        for sealed in meter["devices"]:
            device = msgspec.convert(sealed, MeterDevice)
            assert jsonio.canonical(msgspec.to_builtins(device)) == jsonio.canonical(sealed)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("gain", "0.05"),
        ("gain", True),
        ("wrap", 1.5),
        ("valid_w", [1]),
        ("reason", 7),
        ("cause", "forgotten"),
        ("probe", 3),
    ],
)
def test_a_fact_of_another_type_is_refused_by_record_and_schema(fact: str, value: Any) -> None:
    document = {"device": "x", "description": "", "quantities": {"cpu_energy": {fact: value}}}
    with pytest.raises(msgspec.ValidationError, match=rf"(Expected|Invalid) .*{fact}"):
        msgspec.convert(document, MeterDevice)
    schema = {"$defs": SCHEMA, "$ref": "#/$defs/MeterDevice"}
    assert not jsonio.validator(schema).is_valid(document)
