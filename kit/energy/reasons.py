"""The sentence of a reason or a notice, made from the table of codes for every face.

A reason (`kit.energy.reason.Reason`) is a code with values; `kit.energy.reasontable` and
`kit.energy.noticetable` have each code's sentence. Nothing reads a sentence. Results before
formulas 5 hold sentences: `sentence` gives these as they stand.

A `Wording` is what all of it is called: `TODAY`, or what sealed results of other formulas hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kit.core.units import QUANTITIES
from kit.energy import names, noticetable, reasontable
from kit.energy.reason import CODE, Reason


class Wording(NamedTuple):
    """What reasons are called: the template of each code, and by vocabulary what a word is."""

    sentences: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]


_VOCABULARIES: dict[str, Mapping[str, str]] = {
    "view": {
        "counter": "the energy counter",
        "samples": "the 20 ms power samples",
        "average": "average power",
        "instant": "instant power",
    },
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
    "unit": {"degC": "°C", "percent": "%"},
    "quantity": {name: quantity.text for name, quantity in QUANTITIES.items()},
    "scope": {n: title.full for n, title in {**names.SCOPES, **names.COMPARATORS}.items()},
}
KINDS = {**reasontable.KINDS, **noticetable.KINDS}
TODAY = Wording({code: kind.sentence for code, kind in KINDS.items()}, _VOCABULARIES)

_LAUNCHES = "launches"
_DIGITS = {"J": 4, "W": 4, "VA": 4, "s": 3}
_LEAST = 0.1  # of a unit: smaller numbers are shown in thousandths, such as ms
_PARTS = re.compile(r"\[(?P<optional>[^\]]*)\]|(?P<always>[^\[]+)")
_SIGNIFICANT = re.compile(r"(\+?)(\d)")
_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}")


def sentence(reason: object, wording: Wording = TODAY) -> str:
    """The sentence of a reason, as a record or as JSON has it; a string is given as it stands.

    Of a document that may be damaged: a code that is not known is shown with its values.
    """
    code, values = _taken_apart(reason)
    if code is None:
        return str(reason)
    template = wording.sentences.get(code)
    if template is None:
        shown = (f"{name} {_shown(value, '', wording)}" for name, value in values.items())
        return ", ".join([code, *shown])
    return "".join(_part(match, values, wording) for match in _PARTS.finditer(template))


def _taken_apart(reason: object) -> tuple[str | None, Mapping[str, Any]]:
    if isinstance(reason, Reason):
        return reason.code, reason.values
    if isinstance(reason, Mapping) and isinstance(reason.get(CODE), str):
        return reason[CODE], {k: v for k, v in reason.items() if k != CODE}
    return None, {}


def _part(match: re.Match[str], values: Mapping[str, Any], wording: Wording) -> str:
    text = match["always"] if match["optional"] is None else match["optional"]
    used = [name for name, _ in _FIELD.findall(text)]
    if match["optional"] is not None and any(name not in values for name in used):
        return ""
    return _FIELD.sub(lambda f: _shown(values.get(f[1], "?"), f[2] or "", wording), text)


def _shown(value: Any, how: str, wording: Wording) -> str:
    """One value, as the template asks for it."""
    if "|" in how:
        several = len(value) if isinstance(value, list | tuple) else value
        return how.split("|")[several != 1]
    if _taken_apart(value)[0] is not None:
        return sentence(value, wording)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}×" for name, count in value.items())
    if isinstance(value, list | tuple):
        return _joined([_shown(v, how if how.isalpha() else "", wording) for v in value], how)
    if isinstance(value, str):
        return _word(value, how, wording)
    try:
        return _number(value, how)
    except (TypeError, ValueError):
        return str(value)


def _joined(each: list[str], how: str) -> str:
    if how in ("and", "columns") and len(each) > 1:
        return f"{', '.join(each[:-1])} and {each[-1]}"
    return (" and " if how.isalpha() else how or ", ").join(each)


def _word(value: str, how: str, wording: Wording) -> str:
    """A word of a vocabulary; also what JSON has for a number that is not finite."""
    said = value.upper() if how == "upper" else wording.words.get(how, {}).get(value, value)
    return said + "%" * how.endswith("%") + f" {how}" * (how in _DIGITS)


def _number(value: Any, how: str) -> str:
    """``0.71``, ``1,235``; with its unit ``61.35 kJ``, ``22.9 ms``, ``1,234 W``."""
    if how == "ms":
        return format(value * 1e3, ".1f")
    if how in _DIGITS:
        size, prefix = _size(value, how)
        return f"{_digits(value / size, _DIGITS[how])} {prefix}{how}"
    if match := _SIGNIFICANT.fullmatch(how):
        return _digits(value, int(match[2]), match[1])
    return format(value, how)


def _size(value: float, unit: str) -> tuple[float, str]:
    """Factor and prefix of a number's unit: ``k`` for many joules, ``m`` for less than 0.1."""
    if 0 < abs(value) < _LEAST:
        return 1e-3, "m"
    large = ((1e6, "M"), (1e3, "k")) if unit == "J" else ()
    return next((of for of in large if abs(value) >= of[0]), (1.0, ""))


def _digits(value: float, digits: int, sign: str = "") -> str:
    """A number by its significant digits, without an exponent where it is large."""
    whole = abs(value) >= 10 ** (digits - 1)
    return format(value, f"{sign},.0f" if whole else f"{sign}.{digits}g")


class Notice(NamedTuple):
    """A notice as a person reads it: its code, and the sentence with its launches."""

    code: str
    message: str


def notices(
    found: Iterable[Reason | Mapping[str, Any]], count: int, wording: Wording = TODAY
) -> list[Notice]:
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
        notice = Notice(own.code, sentence(own, wording))
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
