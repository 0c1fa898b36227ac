"""From the schema to fields: kinds, variants, the chosen runtime's options, text and values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.core import resources
from kit.spec import spec as specs
from kit.tui.form import edits, values
from kit.tui.form.draft import ABSENT, Draft, Where
from kit.tui.form.fields import Field, fields
from kit.tui.form.vocabulary import rules_at

QUICKSTART: dict[str, Any] = json.loads((resources.specs_dir() / "quickstart.json").read_text())
TEMPLATES = sorted(resources.specs_dir().glob("*.json"))


def every(document: Any) -> dict[tuple[Where, str], Field]:
    """All fields with all sections open, by path and member."""
    return {(f.where, f.member): f for f in fields(document, lambda _: True)}


def at(document: Any, *where: str | int) -> Field:
    return next(
        f for f in fields(document, lambda _: True) if f.where == where and f.kind != "variant"
    )


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_every_value_of_a_shipped_spec_has_a_field(path: Any) -> None:
    document = json.loads(path.read_text())
    shown = {f.where for f in fields(document, lambda _: True)}

    def leaves(value: Any, where: Where) -> list[Where]:
        if isinstance(value, dict):
            return [leaf for k, v in value.items() for leaf in leaves(v, (*where, k))]
        if isinstance(value, list) and where != ("meters",):
            return [leaf for n, v in enumerate(value) for leaf in leaves(v, (*where, n))]
        return [where]

    assert set(leaves(document, ())) <= shown
    assert not [f for f in fields(document, lambda _: True) if f.kind == "unknown"]


def test_closed_sections_show_their_heading_alone() -> None:
    shown = [f.label for f in fields(QUICKSTART, lambda _: False)]
    assert shown == list(specs.schema()["properties"])


def test_kinds() -> None:
    document = QUICKSTART
    kinds = {f.where: f.kind for f in fields(document, lambda _: True) if f.kind != "variant"}
    assert kinds[("schema",)] == "const"
    assert kinds[("launches",)] == "number"
    assert kinds[("sampling", "ignore_eos")] == "choice"
    assert kinds[("runtime", "name")] == "choice"
    assert kinds[("runtime", "options", "threads")] == "number"
    assert kinds[("phases", "steady")] == "switch"
    assert kinds[("weights", "files", 0)] == "item"
    assert kinds[("workload", "options", "items")] == "tick"
    assert ("image", "reference") not in kinds
    assert ("phases", "steady", "window_s") not in kinds


def test_defaults_and_stars() -> None:
    assert at(QUICKSTART, "name").required
    assert not at(QUICKSTART, "launches").required
    assert at(QUICKSTART, "launches").default == "3"
    assert values.hint(at(QUICKSTART, "phases", "idle_s")) == "default 10"
    assert values.hint(at(QUICKSTART, "arrivals", "kind")) == "default closed"
    assert "1 to 1000." in at(QUICKSTART, "launches").help


def test_unknown_keys_are_fields_of_their_own() -> None:
    document = {**QUICKSTART, "foo": 1, "runtime": {"name": "llama-server", "options": {"x": 1}}}
    assert at(document, "foo").kind == "unknown"
    assert at(document, "runtime", "options", "x").kind == "unknown"


@pytest.mark.parametrize("document", [{}, {"runtime": 3, "meters": {}, "weights": [1]}])
def test_any_document_has_a_form(document: Any) -> None:
    assert every(document)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ABSENT),
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("null", None),
        ("x", "x"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("1_0", "1_0"),
        ("9" * 400, "9" * 400),
    ],
)
def test_numbers(text: str, value: Any) -> None:
    field = Field(("n",), "number", "n")
    result = values.read(field, text)
    assert result == value and type(result) is type(value)
    assert text in ("", "1e3") or values.shown(field, result) == text


def test_json_fields() -> None:
    field = Field(("n",), "json", "n")
    assert values.read(field, "[1, 2]") == [1, 2] and values.read(field, "[1,") == "[1,"
    assert values.shown(field, [1, 2]) == "[1, 2]"


def test_sections_sum_up_what_they_hold() -> None:
    def summary(key: str, document: Any = QUICKSTART) -> str:
        return values.summary(at(document, key), document.get(key, ABSENT))

    assert summary("meters") == "nvml, rapl, estimate"
    assert summary("devices") == "default"
    assert summary("sampling") == "temperature 0 · seed 1"
    assert summary("workload") == "prompts · options 2 set"
    assert summary("weights", {**QUICKSTART, "weights": None}) == "none"


# --- edits that are more than one value ---------------------------------------------------------


def drafted(**changes: Any) -> Draft:
    return Draft({**QUICKSTART, **changes}, rules_at)


def test_another_runtime_keeps_options_of_equal_name_and_is_one_step() -> None:
    options = {"context": 512, "threads": 2, "ubatch": 64}
    draft = drafted(runtime={"name": "llama-server", "options": options})
    message = edits.choose(draft, ("runtime", "name"), "llama-cpp-python")
    assert draft.get(("runtime", "options")) == {"context": 512, "threads": 2}
    assert draft.get(("image", "recipe")) == "llama-cpp-python"
    assert "ubatch dropped" in message
    assert not specs.problems(draft.document)
    draft.undo()
    assert draft.get(("runtime", "options")) == options and not draft.modified


def test_an_image_of_ones_own_stays_with_another_runtime() -> None:
    image = {"reference": "a/b@sha256:" + "0" * 64}
    draft = drafted(image=image)
    edits.choose(draft, ("runtime", "name"), "transformers")
    assert draft.get(("image",)) == image


def test_another_recipe_never_keeps_the_digest_of_the_one_before() -> None:
    draft, before = drafted(), QUICKSTART["image"]["digest"]
    edits.choose(draft, ("image", "recipe"), "llama-cpp-python")
    assert draft.get(("image", "digest")) != before


def test_variants() -> None:
    draft = drafted()
    image = next(f for f in fields(draft.document, lambda _: True) if f.kind == "variant")
    assert edits.variant_of(image, draft.get(("image",))) == '["recipe", "digest"]'
    edits.choose_variant(draft, image, '["reference"]')
    assert draft.get(("image",)) == {}
    assert edits.variant_of(image, {"reference": ""}) == '["reference"]'
    draft.undo()
    assert draft.get(("image",)) == QUICKSTART["image"]


def test_weights_can_be_none_and_some_again() -> None:
    draft = drafted()
    weights = [f for f in fields(draft.document, lambda _: True) if f.kind == "variant"][1]
    edits.choose_variant(draft, weights, "null")
    assert draft.get(("weights",)) is None
    assert edits.variant_of(weights, None) == "null"
    assert edits.variant_of(weights, ABSENT) is None


def test_meters_are_ticked() -> None:
    draft = drafted()
    every_field = every(draft.document)
    pdu = every_field[("meters",), '{"name": "pdu"}']
    edits.tick(draft, pdu, True)
    assert draft.get(("meters", 3)) == {"name": "pdu"}
    assert at(draft.document, "meters", 3, "alias").required
    for field in every(draft.document).values():
        if field.kind == "tick" and field.where == ("meters",):
            edits.tick(draft, field, False)
    assert draft.get(("meters",)) is ABSENT


def test_meters_that_kit_does_not_know_can_be_taken_out() -> None:
    draft = drafted(meters=[{"name": "ghost"}])
    ghost = every(draft.document)[("meters",), '{"name": "ghost"}']
    assert edits.is_ticked(ghost, draft.get(("meters",)))
    edits.tick(draft, ghost, False)
    assert draft.get(("meters",)) is ABSENT
