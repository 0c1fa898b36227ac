"""The fixed prompts: the shipped texts, own texts, and how they are cycled."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from kit.core import jsonio
from kit.spec import workloads
from kit.spec.workloads.prompts import shipped

PROMPTS = workloads.get("prompts")


def options(**changes: Any) -> dict[str, Any]:
    defaults = {n: p["default"] for n, p in PROMPTS.options_schema["properties"].items()}
    return defaults | changes


def test_the_shipped_texts_are_those_of_their_source() -> None:
    """A changed comma would make a run incomparable with those before it."""
    assert {name: jsonio.digest(text.encode()) for name, text in shipped().items()} == {
        "healthcare": "ffce59ac6fb0ba7cc878fe250554d65dd1f87e178c643dbcec29dc9db4de4d55",
        "nizza-sunset": "58fd20fb9bc419bfaae4fcb91c11cb1d1d81fbcfbeb34ebb9fe42ff9289bcb61",
    }
    assert shipped()["healthcare"].startswith("Write a detailed analysis of the impact of art")
    assert 'the word "NIZZA" clearly written' in shipped()["nizza-sunset"]


def test_items_are_cycled_through() -> None:
    prompts = PROMPTS.prompts(options(items=["nizza-sunset", "healthcare"], requests=5))
    assert [p.item for p in prompts] == ["nizza-sunset", "healthcare"] * 2 + ["nizza-sunset"]
    assert prompts[1].text == shipped()["healthcare"]
    assert {p.max_tokens for p in prompts} == {64}


def test_own_texts_go_before_shipped_ones() -> None:
    own = [{"id": "a", "text": "First."}, {"id": "b", "text": "Second."}]
    prompts = PROMPTS.prompts(options(texts=own, requests=3, max_output_tokens=7))
    assert [(p.item, p.text, p.max_tokens) for p in prompts] == [
        ("a", "First.", 7),
        ("b", "Second.", 7),
        ("a", "First.", 7),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"items": ["no-such-prompt"]},
        {"texts": [{"id": "a"}]},
        {"texts": [{"id": "Not An Id", "text": "x"}]},
        {"texts": [{"id": "a", "text": ""}]},
        {"requests": 0},
        {"max_output_tokens": 0},
        {"unique_prefix": "yes"},
        {"surprise": 1},
    ],
)
def test_wrong_options_are_refused_by_the_schema(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(options(**wrong), PROMPTS.options_schema)
