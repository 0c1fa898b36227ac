"""The sentence of a reason or a notice, made from the table of codes for every face.

A reason (`kit.core.reason.Reason`) is a code with values; `kit.energy.reasontable` has each code's
sentence. Nothing reads a sentence. Results before formulas 5 hold sentences: `sentence` gives
these as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kit.core.reason import CODE, Reason
from kit.core.units import QUANTITIES
from kit.energy import names
from kit.energy.reasontable import KINDS

# What the words of a value are called in a sentence.
_VOCABULARIES: dict[str, Mapping[str, str]] = {
    "view": {
        "counter": "the energy counter",
        "samples": "the 20 ms power samples",
        "average": "average power",
        "instant": "instant power",
    },
    "shown": {"samples": "power samples"},
    "reading": {
        "tick": "tick of the energy counter",
        "sample": "power sample",
        "power": "power reading",
        "reading": "reading",
        "answer": "answer",
        "account": "answer of CodeCarbon",
    },
    "criterion": {"event_reasons": "clock event reasons"},
    "place": {"before": "before the block", "within": "within the block"},
    "columns": {
        "prompt_tokens": "prompt lengths",
        "output_tokens": "output lengths",
        "seconds": "durations",
        "prefill_s": "prefill times",
        "decode_s": "decode times",
        "idle_s": "idle times",
    },
    "quantity": {name: quantity.text for name, quantity in QUANTITIES.items()},
    "scope": {n: title.full for n, title in {**names.SCOPES, **names.COMPARATORS}.items()},
}

_LAUNCHES = "launches"
_PARTS = re.compile(r"\[(?P<optional>[^\]]*)\]|(?P<always>[^\[]+)")
_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}")


def sentence(reason: object) -> str:
    """The sentence of a reason, as a record or as JSON has it; a string is given as it stands.

    Of a document that may be damaged: a code that is not known is shown with its values.
    """
    code, values = _taken_apart(reason)
    if code is None:
        return str(reason)
    kind = KINDS.get(code)
    if kind is None:
        return ", ".join([code, *(f"{name} {_shown(v, '')}" for name, v in values.items())])
    return "".join(_part(match, values) for match in _PARTS.finditer(kind.sentence))


Reason.sentence = sentence  # type: ignore[method-assign, assignment]


def _taken_apart(reason: object) -> tuple[str | None, Mapping[str, Any]]:
    if isinstance(reason, Reason):
        return reason.code, reason.values
    if isinstance(reason, Mapping) and isinstance(reason.get(CODE), str):
        return reason[CODE], {k: v for k, v in reason.items() if k != CODE}
    return None, {}


def _part(match: re.Match[str], values: Mapping[str, Any]) -> str:
    text = match["always"] if match["optional"] is None else match["optional"]
    used = [name for name, _ in _FIELD.findall(text)]
    if match["optional"] is not None and any(name not in values for name in used):
        return ""
    return _FIELD.sub(lambda field: _shown(values.get(field[1], "?"), field[2] or ""), text)


def _shown(value: Any, how: str) -> str:
    """One value, as the template asks for it."""
    if _taken_apart(value)[0] is not None:
        return sentence(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}×" for name, count in value.items())
    if isinstance(value, list | tuple):
        return _joined([_shown(v, how if how.isalpha() else "") for v in value], how)
    if isinstance(value, str):
        said = value.upper() if how == "upper" else _VOCABULARIES.get(how, {}).get(value, value)
        return said + "%" * how.endswith("%")
    if how == "ms":
        return _shown(value * 1e3, ".1f") if isinstance(value, int | float) else str(value)
    try:
        return format(value, how)
    except (TypeError, ValueError):
        return str(value)


def _joined(each: list[str], how: str) -> str:
    if how == "columns":
        return f"{', '.join(each[:-1])} and {each[-1]}" if each else ""
    return (" and " if how.isalpha() else how or ", ").join(each)


class Notice(NamedTuple):
    """A notice as a person reads it: its code, and the sentence with its launches."""

    code: str
    message: str


def notices(found: Iterable[Reason | Mapping[str, Any]], count: int) -> list[Notice]:
    """The notices of a run of ``count`` launches, as records or as JSON has them, of any formulas.

    Launches whose notice reads alike, though their numbers differ a little, share one.
    """
    spoken: list[tuple[Notice, list[int]]] = []
    shared: dict[Notice, list[int]] = {}
    for each in found:
        code, values = _taken_apart(each)
        if "message" in values:  # before formulas 5
            spoken.append((Notice(str(code), str(values["message"])), []))
            continue
        own = Reason(str(code), **{k: v for k, v in values.items() if k != _LAUNCHES})
        notice = Notice(own.code, sentence(own))
        launches = list(values.get(_LAUNCHES, ()))
        if launches and notice in shared:
            shared[notice] += launches
            continue
        if launches:
            shared[notice] = launches
        spoken.append((notice, launches))
    return [_of_launches(notice, launches, count) for notice, launches in spoken]


def _of_launches(notice: Notice, launches: list[int], count: int) -> Notice:
    """``launch 1: …``, ``launches 0, 2: …``, ``every launch: …``."""
    if not launches:
        return notice
    listed = f"launch{'es' * (len(launches) > 1)} {', '.join(map(str, sorted(launches)))}"
    whose = "every launch" if len(launches) == count > 1 else listed
    return notice._replace(message=f"{whose}: {notice.message}")
