"""Write what kit's registries name into the schemas: scopes, phases, metrics, notices, causes.

The files in ``kit/schemas/`` stay whole, for any validator: only these parts of them are made, and
everything else is written by hand, each entry's description too. What a part has already keeps its
place; what no registry names any more goes, and what is new comes last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, get_args

from kit.core import facts, model, resources
from kit.energy import names, scopes
from kit.energy.noticetable import KINDS
from kit.energy.results import document

_SCOPES, _OTHERS = tuple(scopes.SCOPES), tuple(scopes.COMPARATORS)
_NOTICES = [code for code in KINDS if code.isupper()]
_NET, _ENERGY = "$defs/launch/properties/net", "$defs/phase/properties/energy"

_of_both = [n for n in names.METRICS if n not in names.OF_TEXTS | names.OF_IMAGES]

SCHEMAS = ("plan", "results", "run-spec")
# By schema and place: the names of a list, or of an object with what each is by its definition.
_LISTS: dict[tuple[str, str], Iterable[str]] = {
    ("plan", "$defs/MeterPlan/properties/scope/enum"): ("", *_SCOPES, *_OTHERS, "none"),
    ("plan", "$defs/MeterPlan/properties/cause/enum"): get_args(model.Cause),
    ("plan", "$defs/QuantityFacts/properties/cause/enum"): get_args(facts.Cause),
    ("plan", "$defs/Repeat/properties/kind/enum"): get_args(model.Determinism),
    ("run-spec", "properties/determinism/enum"): get_args(model.Determinism),
    ("run-spec", "properties/primary_metric/enum"): names.METRICS,
    ("results", "properties/metrics/required"): _of_both,
    ("results", "$defs/metricsOfTexts/required"): [n for n in names.METRICS if n in names.OF_TEXTS],
    ("results", "$defs/metricsOfImages/required"): [
        n for n in names.METRICS if n in names.OF_IMAGES
    ],
    ("results", "$defs/metricName/enum"): names.METRICS,
    ("results", "$defs/phase/properties/phase/enum"): names.PHASES,
    ("results", f"{_NET}/required"): _SCOPES,
    ("results", f"{_ENERGY}/required"): _SCOPES,
    ("results", "$defs/nets/required"): names.NETS,
    ("results", "$defs/metric/properties/status/enum"): get_args(document.Status),
}
_OBJECTS: dict[tuple[str, str], dict[str, str]] = {
    ("results", "properties/metrics/properties"): dict.fromkeys(names.METRICS, "metric"),
    ("results", f"{_NET}/properties"): dict.fromkeys(_SCOPES, "nets"),
    ("results", f"{_ENERGY}/properties"): dict.fromkeys(_SCOPES, "energy")
    | dict.fromkeys(_OTHERS, "comparator"),
    ("results", "$defs/nets/properties"): dict.fromkeys(names.NETS, "net"),
}
_CODES = ("results", "properties/notices/items/properties/code/description")


def main() -> None:
    for name in SCHEMAS:
        path = resources.schema_path(name)
        path.write_text(filled(name, path.read_text()))


def filled(schema: str, text: str) -> str:
    """The text of a schema with every part of it as the registries have it."""
    for (name, place), known in _LISTS.items():
        if name == schema:
            text = _with(text, place, lambda had, known=known: _ordered(had, known))
    for (name, place), kinds in _OBJECTS.items():
        if name == schema:
            text = _with(text, place, lambda had, kinds=kinds: _entries(had, kinds))
    return _with(text, _CODES[1], _codes) if schema == _CODES[0] else text


def _ordered(had: Iterable[str], known: Iterable[str]) -> list[str]:
    kept = [name for name in had if name in known]
    return [*kept, *(name for name in known if name not in kept)]


def _entries(had: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    return {n: had.get(n, {"$ref": f"#/$defs/{kinds[n]}"}) for n in _ordered(had, kinds)}


def _codes(had: str) -> str:
    return f"Stable: {', '.join(_ordered(re.findall('[A-Z_]{3,}', had), _NOTICES))}."


def _with(text: str, place: str, change: Any) -> str:
    """``text`` whose value at a place is changed; one that stays keeps its bytes."""
    begin, end = _span(text, place.split("/"))
    had = json.loads(text[begin:end])
    value = change(had)
    if value == had and list(value) == list(had):
        return text
    return text[:begin] + _written(value, text[:begin]) + text[end:]


def _span(text: str, place: list[str]) -> tuple[int, int]:
    """Where the value at a place of a JSON text begins and ends.

    Raises:
        KeyError: the place is not there.
    """
    decoder, at = json.JSONDecoder(), text.index("{")
    for key in place:
        at += 1
        while True:
            name, at = decoder.raw_decode(text, _skipped(text, at))
            at = _skipped(text, at)
            if name == key:
                break
            _, at = decoder.raw_decode(text, at)
            at = _skipped(text, at)
            if text[at] == "}":
                raise KeyError("/".join(place))
    return at, decoder.raw_decode(text, at)[1]


def _skipped(text: str, at: int) -> int:
    """The next place that is no space, comma or colon."""
    while text[at] in " \n,:":
        at += 1
    return at


def _written(value: Any, before: str) -> str:
    """A list or a text in one line, an object with a line for each of its entries."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    line = before.rpartition("\n")[2]
    indent = " " * (len(line) - len(line.lstrip()))
    lines = (f'{indent}  "{k}": {json.dumps(v, ensure_ascii=False)}' for k, v in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


if __name__ == "__main__":
    main()
