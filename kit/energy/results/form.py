"""The document ``results.json`` from its records, and back.

The document has the records' fields by their JSON names, with these differences:

    outputs     stands under ``metrics``, beside the numbers
    primary     is a copy of the metric that it names, with the name as ``metric``
    energies    without what follows from their place (``scope``) or is of no reader (``period_s``);
                an unmeasured one is its status and reason alone, any other has every other field
    notices     a reason with the launches that it is about

A field that may be missing is left out where it is None or empty; an object never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from kit.core.units import significant
from kit.energy.reason import CODE, Reason, plain
from kit.energy.results.document import NoticeRecord, Results
from kit.energy.results.older import readable
from kit.energy.value import EnergyValue

T = TypeVar("T")

# What reading a document raises that has not the form that kit writes.
MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
UNWRITTEN = frozenset({"scope", "period_s"})  # of an energy
_UNMEASURED = frozenset({"status", "reason"})


def to_document(results: Results) -> dict[str, Any]:
    """The document as JSON has it."""
    document: dict[str, Any] = _plain(results)
    document["metrics"] = {"outputs": document.pop("outputs"), **document["metrics"]}
    document["primary"] = {"metric": results.primary, **document["metrics"][results.primary]}
    return document


def from_document(document: Mapping[str, Any]) -> Results:
    """A stored document of any formulas (`kit.energy.results.older`).

    Raises:
        AttributeError, LookupError, TypeError, ValueError: `MALFORMED`.
    """
    newest = readable(document)
    metrics = dict(newest["metrics"])
    launches = [_with_scopes(launch) for launch in newest["launches"]]
    fields = {"primary": newest["primary"]["metric"], "launches": launches, "metrics": metrics}
    return part({**newest, **fields, "outputs": metrics.pop("outputs")}, Results)


def part(value: object, form: type[T]) -> T:
    """One part of a stored document as its record.

    Raises:
        ValueError: it has not that form.
    """
    return msgspec.convert(value, form, dec_hook=_decoded)


def rounded(value: T) -> T:
    """A record with every float in it to 12 significant digits, as the document stores them."""
    copy: T = _rounded(value)
    return copy


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return significant(value)
    if isinstance(value, msgspec.Struct):
        changed = {n: _rounded(getattr(value, n)) for n in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    if isinstance(value, Reason):
        return type(value)(value.code, **_rounded(value.values))
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_rounded(item) for item in value)
    return value


# --- writing ----------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, EnergyValue):
        return _energy(value)
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return plain(value)


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    fields = {}
    for name, key, is_required in _named(type(value)):
        item = getattr(value, name)
        if is_required or item not in (None, "", ()):
            fields[key] = _plain(item)
    return fields


def _named(record: type[msgspec.Struct]) -> Iterator[tuple[str, str, bool]]:
    """A record's fields: name, name in JSON, and whether it is always there.

    As `msgspec.structs.fields`, which makes the types of the fields again at every call.
    """
    names, defaults = record.__struct_fields__, record.__struct_defaults__
    without = (msgspec.NODEFAULT,) * (len(names) - len(defaults))
    for name, key, default in zip(
        names, record.__struct_encode_fields__, without + defaults, strict=True
    ):
        yield name, key, default is msgspec.NODEFAULT


def _energy(value: EnergyValue) -> dict[str, Any]:
    if value.joules is None:
        fields = _UNMEASURED
    else:
        left = UNWRITTEN | {"reason", *(() if value.doubts else ("doubts",))}
        fields = frozenset(value.__struct_fields__) - left
    return {name: _plain(getattr(value, name)) for name in fields}


# --- reading ----------------------------------------------------------------------------------


def _with_scopes(launch: dict[str, Any]) -> dict[str, Any]:
    """A launch whose energies have their scope, and only what kit knows of them."""
    names = {*EnergyValue.__struct_fields__} - UNWRITTEN
    phases = [
        phase
        | {
            "energy": {
                scope: {k: v for k, v in energy.items() if k in names} | {"scope": scope}
                for scope, energy in phase["energy"].items()
            }
        }
        for phase in launch["phases"]
    ]
    return launch | {"phases": phases}


def _decoded(kind: type, value: Any) -> Any:
    """A reason or a notice from the document; a sentence of older formulas is one that was said."""
    if not issubclass(kind, Reason):
        raise TypeError(f"no {kind.__name__} is stored")
    if isinstance(value, str) and kind is Reason:
        return Reason("said", said=value)
    if not isinstance(value, dict) or not isinstance(value.get(CODE), str):
        raise ValueError("a reason has no code")
    reason = kind.of(value)
    if isinstance(reason, NoticeRecord) and not all(isinstance(n, int) for n in reason.launches):
        raise ValueError("a notice's launches are no numbers")
    return reason
