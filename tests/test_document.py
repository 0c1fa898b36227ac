"""The records of results.json and its schema say the same; what is written is read back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect as types

from kit.core import jsonio, resources
from kit.energy import results
from kit.energy.reason import Reason
from kit.energy.results import document
from kit.energy.results.document import NoticeRecord, Part, Results
from kit.energy.results.form import MALFORMED, UNWRITTEN
from kit.energy.value import EnergyValue
from kit.record import archive, records
from tests import golden
from tests.committed import ALL

SCHEMA: dict[str, Any] = jsonio.read(resources.schema_path("results"))
# What stands elsewhere in the document than in the records (`kit.energy.results.form`).
MERGED = {"outputs": "metrics"}


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema with what it refers to; its own words go first."""
    while "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        node = SCHEMA["$defs"][name] | {k: v for k, v in node.items() if k != "$ref"}
    return node


def kinds(node: dict[str, Any]) -> set[str]:
    """Which kinds of JSON a part of the schema allows."""
    node = resolved(node)
    if "anyOf" in node:
        return {kind for branch in node["anyOf"] for kind in kinds(branch)}
    if type := node.get("type"):
        return {type} if isinstance(type, str) else set(type)
    values = node.get("enum") or [node["const"]]
    return {"null" if value is None else "string" for value in values}


KINDS: dict[type[types.Type], set[str]] = {
    types.IntType: {"integer"},
    types.FloatType: {"number"},
    types.StrType: {"string"},
    types.LiteralType: {"string"},
    types.BoolType: {"boolean"},
    types.NoneType: {"null"},
    types.StructType: {"object"},
    types.DictType: {"object"},
    types.VarTupleType: {"array"},
    types.TupleType: {"array"},
}


def kinds_of(info: types.Type) -> set[str]:
    if isinstance(info, types.UnionType):
        return {kind for member in info.types for kind in kinds_of(member)}
    if isinstance(info, types.CustomType):
        return {"object"} if info.cls is NoticeRecord else {"object", "string"}
    return KINDS[type(info)]


def differences(info: types.Type, node: dict[str, Any], where: str) -> Iterator[str]:
    """Where a type of the records and a part of the schema do not say the same."""
    node = resolved(node)
    if isinstance(info, types.UnionType):  # of one type with None: the kinds were compared
        (info,) = (kind for kind in info.types if not isinstance(kind, types.NoneType))
    compare: dict[type[types.Type], Callable[..., Iterator[str]]] = {
        types.StructType: of_record,
        types.DictType: of_keys,
        types.VarTupleType: of_items,
        types.TupleType: of_items,
        types.LiteralType: of_words,
        types.CustomType: of_reason,
    }
    if type(info) in compare:
        yield from compare[type(info)](info, node, where)


def of_keys(info: types.DictType, node: dict[str, Any], where: str) -> Iterator[str]:
    named = node.get("properties", {})
    if isinstance(info.key_type, types.LiteralType) and set(info.key_type.values) != set(named):
        yield f"{where}: other keys than the schema's"
    for key, item in named.items():
        yield from of_value(info.value_type, item, f"{where}.{key}")
    if isinstance(rest := node.get("additionalProperties"), dict):
        yield from of_value(info.value_type, rest, f"{where}.*")


def of_items(
    info: types.VarTupleType | types.TupleType, node: dict[str, Any], where: str
) -> Iterator[str]:
    items = (info.item_type,) if isinstance(info, types.VarTupleType) else info.item_types
    if len(items) > 1 and not node["minItems"] == node["maxItems"] == len(items):
        yield f"{where}: another length"
    for item in items:
        yield from of_value(item, node["items"], f"{where}[]")


def of_words(info: types.LiteralType, node: dict[str, Any], where: str) -> Iterator[str]:
    if not set(node.get("enum", ())) <= set(info.values):
        yield f"{where}: {node['enum']}, the record has {info.values}"


def of_reason(info: types.CustomType, node: dict[str, Any], where: str) -> Iterator[str]:
    common = {"code", "launches"} if info.cls is NoticeRecord else set()
    if not common <= set(node.get("properties", {})):
        yield f"{where}: no reason"


def of_value(
    info: types.Type, node: dict[str, Any], where: str, may_lack: bool = False
) -> Iterator[str]:
    """The same of a value; ``may_lack``: None of the record is a key that is left out."""
    mine = kinds_of(info)
    theirs = kinds(node) | ({"null"} if may_lack and "null" in mine else set())
    if not theirs <= mine or (not may_lack and "null" in mine - theirs):
        yield f"{where}: {sorted(mine)}, the schema says {sorted(theirs)}"
    else:
        yield from differences(info, node, where)


def is_former(node: dict[str, Any]) -> bool:
    """Whether the schema says of a key that only older formulas wrote it."""
    return str(resolved(node).get("description", "")).startswith("Before formulas")


def of_record(info: types.StructType, node: dict[str, Any], where: str) -> Iterator[str]:
    left_out = UNWRITTEN if info.cls is EnergyValue else frozenset()
    moved = set(MERGED) if info.cls is Results else set()
    fields = {f.encode_name: f for f in info.fields if f.name not in left_out | moved}
    properties = {k: v for k, v in node["properties"].items() if not is_former(v)}
    for key in fields.keys() ^ properties.keys():
        yield f"{where}.{key}: in the {'record' if key in fields else 'schema'} alone"
    required = {key for key, field in fields.items() if field.required}
    if required != set(node.get("required", ())):
        yield f"{where}: requires {sorted(required)}, the schema {node.get('required')}"
    for key in fields.keys() & properties.keys():
        if info.cls is Results and key in ("metrics", "primary"):
            continue
        field = fields[key]
        yield from of_value(field.type, properties[key], f"{where}.{key}", not field.required)
    if info.cls is Results:
        yield from of_metrics(info, properties, where)


def of_metrics(info: types.StructType, node: dict[str, Any], where: str) -> Iterator[str]:
    """The metrics and the texts, which stand under one key, and the copy of the primary one."""
    fields = {f.name: f.type for f in info.fields}
    metrics, primary = dict(node["metrics"]["properties"]), node["primary"]
    for name, key in MERGED.items():
        yield from of_value(fields[name], node[key]["properties"][name], f"{where}.{name}")
        metrics.pop(name)
    yield from of_value(fields["metrics"], {"type": "object", "properties": metrics}, "metrics")
    yield from of_value(fields["primary"], {"type": "string"}, f"{where}.primary")
    if set(primary["properties"]) != {"metric"}:
        yield f"{where}.primary: more than the metric's name"


def test_the_records_and_the_schema_say_the_same() -> None:
    assert list(differences(types.type_info(Results), SCHEMA, "$")) == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("launch", {"extra": {"type": "string"}}),
        ("net", {"joules": {"type": "string"}}),
        ("percentiles", {"n": {"type": ["integer", "null"]}}),
        ("steady", {"status": {"enum": ["steady", "warm"]}}),
    ],
)
def test_a_schema_that_changes_alone_is_found(
    monkeypatch: pytest.MonkeyPatch, path: str, change: dict[str, Any]
) -> None:
    node = SCHEMA["$defs"][path]
    monkeypatch.setitem(node, "properties", node["properties"] | change)
    assert list(differences(types.type_info(Results), SCHEMA, "$"))


def test_every_record_is_reached_from_the_results() -> None:
    made = {
        record
        for _, record in inspect.getmembers(document, inspect.isclass)
        if issubclass(record, Part) and record not in (Part, document.Mean)
    }
    assert made - set(_reached(types.type_info(Results))) == set()


def _reached(info: types.Type) -> Iterator[type]:
    if isinstance(info, types.StructType):
        yield info.cls
        for field in info.fields:
            yield from _reached(field.type)
    for name in ("value_type", "item_type"):
        if hasattr(info, name):
            yield from _reached(getattr(info, name))
    for kind in getattr(info, "types", ()):
        yield from _reached(kind)


# --- written and read -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    sealed = golden.copied(tmp_path_factory.mktemp("document") / "runs")
    return results.compute(records.load(archive.open_source(sealed)))


def test_what_is_written_is_read_back(run_results: Results) -> None:
    written = jsonio.canonical(results.to_document(run_results))
    again = results.from_document(jsonio.parse(written))
    assert again == found_as_stored(run_results)
    assert jsonio.canonical(results.to_document(again)) == written


def found_as_stored(run_results: Results) -> Results:
    """Without what the document does not keep: how often a meter is renewed."""
    launches = []
    for launch in run_results.launches:
        phases = []
        for phase in launch.phases:
            energy = {
                scope: msgspec.structs.replace(
                    value, period_s=None, **({} if value.joules else {"terms": {}, "devices": {}})
                )
                for scope, value in phase.energy.items()
            }
            phases.append(msgspec.structs.replace(phase, energy=energy))
        launches.append(msgspec.structs.replace(launch, phases=tuple(phases)))
    return msgspec.structs.replace(run_results, launches=tuple(launches))


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_a_document_of_older_formulas_is_read(run: Path) -> None:
    stored = jsonio.read(run / "results.json")
    read = results.from_document(stored)
    assert read.formulas == stored["formulas"] and len(read.launches) == len(stored["launches"])
    for name, metric in read.metrics.items():
        assert metric.value == stored["metrics"][name].get("value")
        assert (metric.value is None) == (metric.reason is not None)
    reasons = {str(m.reason) for m in read.metrics.values() if m.reason}
    codes = {m.get("reason") for m in stored["metrics"].values()} - {None}
    assert reasons == {t if isinstance(t, str) else str(Reason(**t)) for t in codes}


ODD: list[Any] = [None, 7, "x", [], {}, [[]], {"code": 3}, {"code": []}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_has_not_the_form_is_refused_with_one_kind_of_error(
    run_results: Results, odd: object
) -> None:
    """Each place of the document in turn: it is read, or an error that the faces expect."""
    written = jsonio.canonical(results.to_document(run_results))
    for path in _places(msgspec.json.decode(written)):
        damaged = msgspec.json.decode(written)
        *way, last = path
        place: Any = damaged
        for step in way:
            place = place[step]
        place[last] = odd
        try:
            results.from_document(damaged)
        except MALFORMED:
            continue


def _places(value: Any, path: tuple[Any, ...] = (), depth: int = 6) -> Iterator[tuple[Any, ...]]:
    """Every key of a document; of a list, its first item alone."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list) and depth:
            yield from _places(item, (*path, key), depth - 1)
