"""The draft: edits by path, undo, redo, what an emptied field leaves behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.errors import UsageError
from kit.core.model import Problem
from kit.tui.form import pretty
from kit.tui.form.draft import (
    ABSENT,
    Draft,
    NoDocumentError,
    from_text,
    parts,
    path_text,
    place,
    same,
    to_text,
    value_at,
    words,
)

KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
DOCUMENTS = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=3
)
JSON = st.recursive(
    LEAVES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
EDITS = st.lists(st.tuples(PATHS, LEAVES | st.just(ABSENT), st.booleans()), max_size=12)


def edit(draft: Draft, edits: list[tuple[Any, Any, bool]]) -> None:
    for where, value, joined in edits:
        if value is ABSENT:
            draft.drop(where, joined=joined)
        else:
            draft.put(where, value, joined=joined)


@given(DOCUMENTS, EDITS)
def test_undoing_everything_gives_the_document_it_began_with(
    document: dict[str, Any], edits: list[tuple[Any, Any, bool]]
) -> None:
    draft, before = Draft(document), json.dumps(document)
    edit(draft, edits)
    after = draft.document
    steps = 0
    while draft.undo():
        steps += 1
    assert same(draft.document, document) and json.dumps(document) == before
    assert not draft.modified and steps <= len(edits)
    while draft.redo():
        steps -= 1
    assert same(draft.document, after) and steps == 0


@given(DOCUMENTS, PATHS, LEAVES)
def test_what_was_put_where_nothing_was_can_be_dropped_without_a_trace(
    document: dict[str, Any], where: Any, value: Any
) -> None:
    for depth in range(len(where)):  # put makes objects, and takes no value's place for them
        if not isinstance(value_at(document, where[:depth]), dict | type(ABSENT)):
            return
    if value_at(document, where) is not ABSENT:
        return
    draft = Draft(document)
    draft.put(where, value)
    assert same(draft.get(where), value)
    draft.drop(where)
    assert same(draft.document, document)


@given(JSON)
def test_text_and_lines_are_one(document: Any) -> None:
    lines = pretty.lines(document)
    assert "\n".join(line.text for line in lines) + "\n" == to_text(document)
    assert json.loads(to_text(document)) == document


def test_each_line_knows_its_place() -> None:
    lines = pretty.lines({"a": [{"b": 1}], "c": {}})
    assert [line.text for line in lines][2:4] == ["    {", '      "b": 1']
    assert lines[3].where == ("a", 0, "b")
    assert pretty.line_at(lines, ("a", 0, "b")) == 3
    assert pretty.line_at(lines, ("c", "not there")) == 6


def test_what_is_typed_into_one_field_is_one_step() -> None:
    draft = Draft({})
    for text in ("a", "ab", "abc"):
        draft.put(("name",), text, joined=True)
    draft.settle()
    draft.put(("name",), "abcd", joined=True)
    assert draft.undo() and draft.document == {"name": "abc"}
    assert draft.undo() and draft.document == {}
    assert not draft.undo()


def test_typing_back_leaves_no_step() -> None:
    draft = Draft({"a": "x"})
    draft.put(("a",), "xy", joined=True)
    draft.put(("a",), "x", joined=True)
    assert not draft.undo() and not draft.modified


def test_an_edit_forgets_what_was_undone() -> None:
    draft = Draft({})
    draft.put(("a",), 1)
    draft.undo()
    draft.put(("b",), 2)
    assert not draft.redo() and draft.document == {"b": 2}


def test_a_new_key_stands_where_the_schema_has_it_and_objects_begin_with_their_default() -> None:
    rules = {
        (): {"properties": {"a": {}, "b": {}, "c": {}}},
        ("b",): {"default": {"kind": "x"}, "properties": {"kind": {}, "n": {}}},
    }
    draft = Draft({"a": 1, "c": 3}, lambda _document, where: rules.get(where, {}))
    draft.put(("b", "n"), 2)
    assert json.dumps(draft.document) == '{"a": 1, "b": {"kind": "x", "n": 2}, "c": 3}'
    draft.drop(("b", "n"))
    assert draft.document == {"a": 1, "c": 3}


def test_true_is_not_one() -> None:
    assert not same({"a": True}, {"a": 1}) and not same([1], [1.0])
    draft = Draft({"a": 1})
    draft.put(("a",), True)
    assert draft.modified


def test_half_a_surrogate_pair_stays_escaped() -> None:
    text = to_text({"a": "\ud800"})
    assert text.encode() and json.loads(text) == {"a": "\ud800"}


@pytest.mark.parametrize(("text", "line"), [('{\n "a": 1,\n}', 3), ("", 1), ('{"a" 1}', 1)])
def test_broken_json_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(NoDocumentError) as raised:
        from_text(text, "x.json")
    assert raised.value.line == line


def test_a_list_is_no_spec() -> None:
    with pytest.raises(UsageError, match="no JSON object"):
        from_text("[1]", "x.json")


def test_a_problem_is_about_the_key_that_is_missing_or_unknown() -> None:
    missing = Problem(
        "$.image", "'digest' is a required property", "add it", "digest", missing=True
    )
    assert place(missing) == ("image", "digest") and words(missing) == "is required"
    assert place(Problem("$", "unknown 'foo', 'goo'", "", "foo")) == ("foo",)
    assert place(Problem("$.meters[1].alias", "bad", "")) == ("meters", 1, "alias")
    assert path_text(parts("$.meters[1].alias")) == "$.meters[1].alias"
