"""The canonical form of a document (RFC 8785), byte for byte as the package rfc8785 writes it.

The journal, every hash and every check of an archive need it, and the package is written in Python.
Here the json module's encoder in C writes the text. The package writes only what the encoder would
write in another form, such as the numbers 2.0 and 1e-05, and says what has no canonical form.
"""

from __future__ import annotations

import json
import re
from typing import Any

import rfc8785

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
# From here on keys may sort another way in UTF-16, and halves of characters begin.
_HIGH = re.compile("[\ud800-\U0010ffff]")
_STRING = re.compile(r'("(?:[^"\\]++|\\.)*+")')
# Floats of a whole value or with an exponent, and integers that may be 2^53 or more.
_NUMBER = re.compile(r"-?\d+(?:\.0(?!\d)|(?:\.\d+)?e[-+]\d+)|(?<![\d.])-?\d{16,}(?![\d.])")


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of ``value``.

    Raises:
        rfc8785.CanonicalizationError: it has none.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        return rfc8785.dumps(value)
    if _HIGH.search(text) or not _has_text_keys(value):
        return rfc8785.dumps(value)
    if _NUMBER.search(text):
        text = _with_numbers(text)
    return text.encode()


def _has_text_keys(value: Any) -> bool:
    """Whether every key is text: the encoder would write ``{1: 2}`` as ``{"1":2}``."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return False
        value = value.values()
    elif not isinstance(value, list | tuple):
        return True
    return all(_has_text_keys(v) for v in value if isinstance(v, dict | list | tuple))


def _with_numbers(text: str) -> str:
    """``text`` with the numbers between its strings in the package's form."""
    pieces = _STRING.split(text)  # strings are every second one
    between = _NUMBER.sub(lambda number: _number(number[0]), "\0".join(pieces[::2]))
    pieces[::2] = between.split("\0")
    return "".join(pieces)


def _number(text: str) -> str:
    value = float(text) if "." in text or "e" in text else int(text)
    return rfc8785.dumps(value).decode()
