"""Where in a text something is: every value, whatever the layout; and what a parser refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio, jsonplace, schemawords
from kit.core.jsonio import JsonRefused
from tests.test_spec import JSON


def offset(text: str, at: jsonplace.Place) -> int:
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: at.line - 1]) + at.column - 1


def paths(value: Any, path: str = "$") -> list[tuple[str, Any]]:
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inside = [one for key in value for one in paths(value[key], f"{path}.{key}")]
    elif isinstance(value, list):
        inside = [one for n, item in enumerate(value) for one in paths(item, f"{path}[{n}]")]
    return [(path, value), *inside]


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_value_and_key_is_found(document: object, indent: int | None, ascii_: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_)
    found = jsonplace.index(text)
    wanted = paths(document)
    for path, value in wanted:
        if [one for one, _ in wanted].count(path) > 1:
            continue  # keys such as "" and "a.b" may lead to one path
        keyed, own = found[path]
        assert json.JSONDecoder().raw_decode(text, offset(text, own))[0] == value
        if keyed != own:
            key = json.JSONDecoder().raw_decode(text, offset(text, keyed))[0]
            assert path.endswith(f".{key}")


@given(st.text('{}[]:,"\\ \n1a', max_size=40))
def test_no_text_is_too_broken_to_be_read(text: str) -> None:
    jsonplace.index(text)
    try:
        jsonio.parse(text.encode())
    except JsonRefused as refused:
        assert refused.at is None or refused.at.line >= 1 <= refused.at.column
        assert refused.advice


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ('{"a": 1,,}', (1, 9), "comma"),
        ('{\n "a": 1,\n}', (3, 1), "remove the comma before this }"),
        ('{"a": 1\n "b": 2}', (2, 2), "put a comma"),
        ('{"a" 1}', (1, 6), "colon"),
        ("{'a': 1}", (1, 2), "double quotes"),
        ("{\n// no\n}", (2, 1), "comment"),
        ('{"a": "b', (1, 7), "quote"),
        ('{"a": [1, 2', (1, 12), "too early|get the whole file"),
        ("[1] x", (1, 5), "remove what follows"),
        ("\n\n", (1, 1), "write JSON into it"),
        ('{"x": [1,\n {"a": 1, "b": 2, "a": 3}]}', (2, 19), "remove one of the two"),
        ('{"a": 1, "\\u0061": 2}', (1, 10), "remove one of the two"),
        ('["NaN", NaN]', (1, 9), "a number"),
        ("[1,\n  1e999]", (2, 3), "a number"),
        ('["1e16", 1e16]', (1, 10), "smaller"),
        ('["a", "\\ud800"]', (1, 7), "halves"),
        ('{"a": {"\\ud800": 1}}', (1, 18), "halves"),
        ("[" * 33 + "]" * 33, (1, 33), "32 deep"),
        ("\ufeffx", (1, 1), ""),
    ],
)
def test_what_is_refused_is_said_with_its_place_and_what_to_do(
    text: str, place: tuple[int, int], advice: str
) -> None:
    with pytest.raises(JsonRefused) as caught:
        jsonio.parse(text.encode(), "my.json")
    assert caught.value.at == place
    assert any(word in caught.value.advice for word in advice.split("|"))
    own = caught.value.of_own("some/folder/my.json")
    assert own.message.startswith(f"some/folder/my.json:{place[0]}:{place[1]} ")
    assert "kit check" not in own.remedy


def test_bytes_that_are_no_text_have_the_place_of_the_first() -> None:
    with pytest.raises(JsonRefused) as caught:
        jsonio.parse(b'{\n "a": "\xff"}')
    assert caught.value.at == (2, 8)


RULES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "What it is for.", "minLength": 1},
        "many": {"type": "integer", "minimum": 2, "maximum": 9, "default": 3, "description": "X."},
        "list": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
        "word": {"enum": ["closed", "open"]},
        "of": {"oneOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]},
    },
}


@pytest.mark.parametrize(
    ("document", "path", "message", "remedy"),
    [
        ({"name": "x", "many": "3"}, "$.many", '"3" stands where a whole number', "such as 3"),
        ({"name": "x", "many": True}, "$.many", "true stands where", "at least 2, at most 9"),
        ({"name": "x", "many": 1}, "$.many", "1 is less than 2", "at least 2"),
        ({"name": "x", "many": 10}, "$.many", "10 is more than 9", "at most 9"),
        ({"name": None}, "$.name", "null stands where a text", "write a text"),
        ({"name": ""}, "$.name", "0 characters, and 1 at least", "write a text"),
        ({"name": "x", "list": {}}, "$.list", "an object stands where a list", "list: [ ]"),
        ({"name": "x", "list": [1, 0]}, "$.list[1]", "0 is not more than 0", "more than 0"),
        ({"name": "x", "word": "close"}, "$.word", '"close" is not one', "did you mean closed?"),
        ({"name": "x", "manny": 3}, "$", 'unknown key "manny"', 'did you mean "many"?'),
        ({"many": 3}, "$", 'the key "name" is missing', 'add "name": a text'),
        ({"name": "x", "of": 3}, "$.of", "3 stands where null or", 'null or {"a": …}'),
        ([], "$", "a list stands where an object", '{"name": …}'),
    ],
)
def test_a_rule_that_is_broken_is_said_in_words_and_its_remedy_says_what_to_write(
    document: Any, path: str, message: str, remedy: str
) -> None:
    [problem] = schemawords.problems(RULES, document)
    assert problem.path == path
    assert message in problem.message and remedy in problem.remedy
    assert "What it is for" not in problem.remedy and "X." not in problem.remedy
