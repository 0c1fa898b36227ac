"""Canonical JSON (RFC 8785) and hostile-safe parsing: the only way kit hashes structured data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core.canonical import canonical as canonical
from kit.core.errors import KitError
from kit.core.follows import ecma, follows
from kit.core.text import utf8

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MAX_DEPTH = 32
MAX_SAFE_INTEGER = 2**53 - 1
# Possessive, and a string without an end goes up to the end: no byte is looked at twice.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# A number that may be too large: most documents have none, and are read without looking at each.
_LARGE = re.compile(rb"[0-9]{16}|[eE]\+?[0-9]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BRACKETS = re.compile(rb"[][{}]")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a character that JSON writes as two escapes


class JsonRefused(KitError):
    """Bytes that are not the strict JSON kit accepts; ``code`` is a verify reason code, and
    ``line`` where the parser stopped, if it did."""

    exit_code = 4

    def __init__(self, code: str, message: str, line: int | None = None) -> None:
        super().__init__(message, "correct that file, or get a sound copy of it")
        self.code, self.line = code, line


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
    without_strings = _STRINGS.sub(b"", data)
    _refuse_depth(without_strings, name)
    large = _LARGE.search(without_strings)
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _unique(pairs, name),
            parse_constant=lambda constant: _not_finite(constant, name),
            parse_int=(lambda text: _integer(text, name)) if large and not any_integer else None,
            parse_float=(lambda text: _finite(text, name, any_integer)) if large else None,
        )
        if _HALF.search(data):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except JsonRefused:
        raise
    except UnicodeDecodeError as error:
        raise JsonRefused("JSON_MALFORMED", f"{name} is not JSON: it is not UTF-8 text") from error
    except UnicodeEncodeError as error:
        raise JsonRefused(
            "JSON_MALFORMED",
            f"{name} holds half a character: \\ud800 to \\udfff name one only in pairs",
        ) from error
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise JsonRefused("JSON_MALFORMED", f"{name} is not JSON: {error}", line) from error


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


def _refuse_depth(without_strings: bytes, name: str) -> None:
    """Count nesting before the parser recurses, so that depth is a code and not a crash."""
    if without_strings.count(b"[") + without_strings.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(without_strings):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise JsonRefused("JSON_TOO_DEEP", f"{name} nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonRefused("JSON_DUPLICATE_KEY", f"{name} names one key twice")
    return result


def _integer(text: str, name: str) -> int:
    number = int(text)
    if abs(number) > MAX_SAFE_INTEGER:
        raise JsonRefused("JSON_INTEGER", f"{name} holds an integer of 2^53 or more")
    return number


def _finite(text: str, name: str, any_integer: bool) -> float:
    number = float(text)
    if not math.isfinite(number):
        return float(_not_finite(text[:20], name))
    if not (any_integer or is_number(number)):
        raise JsonRefused("JSON_INTEGER", f"{name} holds an integer of 2^53 or more")
    return number


def _not_finite(constant: str, name: str) -> Any:
    raise JsonRefused("JSON_NOT_FINITE", f"{name} holds {constant}, which is not a number")
