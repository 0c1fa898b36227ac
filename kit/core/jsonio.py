"""Canonical JSON (RFC 8785) and hostile-safe parsing: the only way kit hashes structured data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core import jsonplace
from kit.core.canonical import canonical as canonical
from kit.core.errors import KitError, UsageError
from kit.core.follows import ecma, follows
from kit.core.text import utf8

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MAX_DEPTH = 32
# Bytes of a text in which the place of a fault is looked for; it takes seconds a megabyte.
_PLACED = 4 << 20
MAX_SAFE_INTEGER = 2**53 - 1
# Possessive, and a string without an end goes up to the end: no byte is looked at twice.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# A number that may be too large: most documents have none, and are read without looking at each.
_LARGE = re.compile(rb"[0-9]{16}|[eE]\+?[0-9]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BRACKETS = re.compile(rb"[][{}]")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a character that JSON writes as two escapes


class JsonRefused(KitError):
    """Bytes that are not the strict JSON kit accepts.

    Attributes:
        code: a reason code of verify.
        what: what is wrong, after the file's name: "names one key twice".
        at: the place of it in the text, where it has one.
        advice: what the text's author can do about it.
    """

    exit_code = 4

    def __init__(
        self, code: str, name: str, what: str, at: jsonplace.Place | None = None, advice: str = ""
    ) -> None:
        where = f" (line {at.line}, column {at.column})" if at else ""
        super().__init__(f"{name} {what}{where}", "correct that file, or get a sound copy of it")
        self.code, self.what, self.at, self.advice = code, what, at, advice or self.remedy

    def of_own(self, name: str) -> UsageError:
        """The error for the person who wrote the file ``name``."""
        return UsageError(f"{jsonplace.named(name, self.at)} {self.what}", self.advice)


def is_sha256(text: str) -> bool:
    """Whether a text is 64 lower-case hex digits, as `digest` gives them."""
    return bool(_SHA256.fullmatch(text))


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hash_of(value: Any) -> str:
    """SHA-256 of the canonical form of ``value``."""
    return digest(canonical(value))


def is_number(value: float) -> bool:
    """Whether `parse` reads a number back from its canonical form: finite, and no integer of 2^53
    or more. A double from 1e21 on has an exponent there, and is none."""
    return abs(value) <= MAX_SAFE_INTEGER or (
        isinstance(value, float) and 1e21 <= abs(value) < math.inf
    )


def parse(data: bytes, name: str = "the file", *, any_integer: bool = False) -> Any:
    """Parse strict JSON: UTF-8, no duplicate keys, nesting at most 32, and nothing that has no
    canonical form: no half character (``"\\ud800"`` alone), no NaN, no infinity (``1e400`` is one),
    no integer of 2^53 or more (``1e16`` is one: its canonical form has no exponent).

    Args:
        any_integer: take integers of any size, for documents that are not kit's.

    Raises:
        JsonRefused: with code ``JSON_MALFORMED``, ``JSON_DUPLICATE_KEY``, ``JSON_NOT_FINITE``,
            ``JSON_INTEGER`` or ``JSON_TOO_DEEP``.
    """
    if not data.strip():
        raise JsonRefused(
            "JSON_MALFORMED",
            name,
            "is not JSON: it is empty",
            jsonplace.Place(1, 1),
            "write JSON into it",
        )
    try:
        return _parsed(data, any_integer)
    except _Fault as fault:
        raise fault.refused(data, name) from None
    except UnicodeDecodeError as error:
        at = jsonplace.place(data[: error.start].decode("utf-8"), error.start)
        raise JsonRefused(
            "JSON_MALFORMED", name, "is not JSON: it is not UTF-8 text", at, "save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        at = jsonplace.Place(error.lineno, error.colno)
        why, remedy = jsonplace.in_words(error.msg, error.doc, error.pos)
        raise JsonRefused("JSON_MALFORMED", name, f"is not JSON: {why}", at, remedy) from error
    except (ValueError, RecursionError) as error:
        raise JsonRefused("JSON_MALFORMED", name, f"is not JSON: {error}") from error


def _parsed(data: bytes, any_integer: bool) -> Any:
    without_strings = _STRINGS.sub(b"", data)
    _refuse_depth(without_strings)
    large = _LARGE.search(without_strings)
    document = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_constant=_not_finite,
        parse_int=_integer if large and not any_integer else None,
        parse_float=(lambda text: _finite(text, any_integer)) if large else None,
    )
    if _HALF.search(data):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise _Fault(
                "JSON_MALFORMED",
                "holds half a character: \\ud800 to \\udfff name one only in pairs",
                lambda value: _is_half(value.word) or _is_half(json.dumps(value.where[-1:])),
                "write the character itself, or both of its halves",
            ) from error
    return document


class _Fault(Exception):
    """What `parse` refuses of a text that Python would read, and how to find it in the text."""

    def __init__(
        self, code: str, what: str, is_meant: Callable[[jsonplace.Value], bool], advice: str
    ) -> None:
        super().__init__(what)
        self.code, self.what, self.is_meant, self.advice = code, what, is_meant, advice

    def refused(self, data: bytes, name: str) -> JsonRefused:
        """The error, with the place of what is wrong."""
        is_short = len(data) <= _PLACED  # a stranger's gigabyte is not searched
        text = data.decode("utf-8", "replace") if is_short else ""
        found = jsonplace.first(text, self.is_meant)
        at = found[0] if found else None
        return JsonRefused(self.code, name, self.what, at, self.advice)


def read(path: Path) -> Any:
    """Parse the JSON file at ``path`` strictly."""
    return parse(path.read_bytes(), path.name)


def read_own(path: Path) -> Any:
    """`read` for a file that a person wrote, which may begin with a byte order mark."""
    return parse(utf8(path.read_bytes()), path.name)


def write(path: Path, value: Any) -> bytes:
    """Write ``value`` canonically to ``path``; returns the bytes written."""
    data = canonical(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def faults(schema: Any, document: Any) -> Iterator[ValidationError]:
    """What jsonschema finds wrong with a document; it is loaded only where something may be."""
    if not follows(schema, document):
        yield from validator(schema).iter_errors(document)


def validator(schema: Any) -> Draft202012Validator:
    """A validator of ``schema`` whose patterns mean what JSON Schema says they mean."""
    return _validators()(schema)


@cache
def _validators() -> type[Draft202012Validator]:
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(_: Any, wanted: str, instance: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not ecma(wanted).search(instance):
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    made: Any = extend  # has no types
    strict: type[Draft202012Validator] = made(Draft202012Validator, {"pattern": pattern})
    return strict


def _refuse_depth(without_strings: bytes) -> None:
    """Count nesting before the parser recurses, so that depth is a code and not a crash."""
    if without_strings.count(b"[") + without_strings.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(without_strings):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise _Fault(
                "JSON_TOO_DEEP",
                f"nests deeper than {MAX_DEPTH}",
                lambda value: len(value.where) == MAX_DEPTH and value.word in "[{",
                f"nest objects and lists {MAX_DEPTH} deep at most",
            )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Fault(
            "JSON_DUPLICATE_KEY",
            "names one key twice",
            lambda value: value.again,
            "remove one of the two",
        )
    return result


def _integer(text: str) -> int:
    number = int(text)
    if abs(number) > MAX_SAFE_INTEGER:
        raise _too_large(text)
    return number


def _finite(text: str, any_integer: bool) -> float:
    number = float(text)
    if not math.isfinite(number):
        return float(_not_finite(text))
    if not (any_integer or is_number(number)):
        raise _too_large(text)
    return number


def _too_large(text: str) -> _Fault:
    return _Fault(
        "JSON_INTEGER",
        "holds an integer of 2^53 or more",
        lambda value: value.word == text,
        "write a smaller number",
    )


def _not_finite(constant: str) -> Any:
    raise _Fault(
        "JSON_NOT_FINITE",
        f"holds {constant[:20]}, which is not a number",
        lambda value: value.word == constant,
        "write a number",
    )


def _is_half(word: str) -> bool:
    try:
        json.dumps(json.loads(word), ensure_ascii=False).encode()
    except ValueError as error:
        return isinstance(error, UnicodeEncodeError)
    return False
