"""The schemas name what the registries name: `make schemas` writes these parts of them."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest

from kit.core import resources
from tests.test_docs import ROOT

MADE = runpy.run_path(str(ROOT / "scripts/schemas.py"))
PLACES = [*MADE["_LISTS"], *MADE["_OBJECTS"]]


@pytest.mark.parametrize("name", MADE["SCHEMAS"])
def test_a_schema_is_as_the_registries_have_it(name: str) -> None:
    text = resources.schema_path(name).read_text()
    assert MADE["filled"](name, text) == text, "make schemas"


def at(document: Any, place: str) -> Any:
    for key in place.split("/"):
        document = document[key]
    return document


@pytest.mark.parametrize(("schema", "place"), PLACES, ids=[place for _, place in PLACES])
def test_what_is_missing_comes_in_and_what_is_unknown_goes(schema: str, place: str) -> None:
    whole = json.loads(resources.schema_path(schema).read_text())
    edited = json.loads(json.dumps(whole))
    part = at(edited, place)
    if isinstance(part, list):
        part[:] = [*part[1:], "steam"]
    else:
        del part[next(iter(part))]
        part["steam"] = {}
    filled = MADE["filled"](schema, json.dumps(edited, indent=2))
    found, known = at(json.loads(filled), place), at(whole, place)
    assert list(found)[-1] == next(iter(known))
    assert set(found) == set(known)
    assert MADE["filled"](schema, filled) == filled
