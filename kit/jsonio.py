"""Canonical JSON (RFC 8785) and hostile-safe parsing: the only way kit hashes structured data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from kit.errors import KitError
from kit.text import utf8

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

MAX_DEPTH = 32
MAX_SAFE_INTEGER = 2**53 - 1
_TOKENS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)  # of a regular expression
# Possessive, and a string without an end goes up to the end: no byte is looked at twice.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[][{}]")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a character that JSON writes as two escapes


class JsonRefused(KitError):
    """Bytes that are not the strict JSON kit accepts; ``code`` is a verify reason code."""

    exit_code = 4

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, "correct that file, or get a sound copy of it")
        self.code = code


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of ``value``: what is stored in an archive and what is hashed."""
    return rfc8785.dumps(value)


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hash_of(value: Any) -> str:
    """SHA-256 of the canonical form of ``value``."""
    return digest(canonical(value))


def parse(data: bytes, what: str = "the file") -> Any:
    """Parse strict JSON: UTF-8, no duplicate keys, no NaN, nesting at most 32, whole characters.

    ``"\\ud800"`` alone is half a character: such text can be neither encoded nor hashed.

    Raises:
        JsonRefused: with code ``JSON_MALFORMED``, ``JSON_DUPLICATE_KEY``, ``JSON_NOT_FINITE``
            or ``JSON_TOO_DEEP``.
    """
    _refuse_depth(data, what)
    try:
        found = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _unique(pairs, what),
            parse_constant=lambda name: _not_finite(name, what),
        )
        if _HALF.search(data):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except JsonRefused:
        raise
    except UnicodeDecodeError as error:
        raise JsonRefused("JSON_MALFORMED", f"{what} is not JSON: it is not UTF-8 text") from error
    except UnicodeEncodeError as error:
        raise JsonRefused(
            "JSON_MALFORMED",
            f"{what} holds half a character: \\ud800 to \\udfff name one only in pairs",
        ) from error
    except (ValueError, RecursionError) as error:
        raise JsonRefused("JSON_MALFORMED", f"{what} is not JSON: {error}") from error


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


def validator(schema: Any) -> Draft202012Validator:
    """A validator of ``schema`` whose patterns mean what JSON Schema says they mean.

    In Python ``$`` also matches before a last line feed, so that ``"name\\n"`` would pass as a
    name; here it is the end of the text.
    """
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(_: Any, wanted: str, instance: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not _ecma(wanted).search(instance):
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    made: Any = extend  # has no types
    strict: Draft202012Validator = made(Draft202012Validator, {"pattern": pattern})(schema)
    return strict


@cache
def _ecma(pattern: str) -> re.Pattern[str]:
    r"""``pattern`` with every ``$`` that is an anchor as ``\Z``."""
    return re.compile(_TOKENS.sub(lambda m: r"\Z" if m[0] == "$" else m[0], pattern))


def _refuse_depth(data: bytes, what: str) -> None:
    """Count nesting before the parser recurses, so that depth is a code and not a crash."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise JsonRefused("JSON_TOO_DEEP", f"{what} nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonRefused("JSON_DUPLICATE_KEY", f"{what} names one key twice")
    return found


def _not_finite(name: str, what: str) -> Any:
    raise JsonRefused("JSON_NOT_FINITE", f"{what} holds {name}, which is not a number")
