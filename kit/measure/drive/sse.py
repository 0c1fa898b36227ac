"""Server-sent events of a body, by the rules of the HTML standard. Pure.

Comments and unknown fields, which the standard ignores, are returned too: servers put errors
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kit.measure.drive.body import Reads

BOM = b"\xef\xbb\xbf"
COMMENT, STRAY = b":", b"?"
_FIELDS = frozenset((b"data", b"event", b"id", b"retry"))


class Event(NamedTuple):
    """One event, with the time of the read of its last byte.

    ``name`` is the server's name of it, mostly empty; ``error`` also for a field ``error:``
    (llama.cpp); `COMMENT` for a comment and `STRAY` for a line that is no field of an event.
    """

    time_ns: int
    name: bytes
    data: bytes


def events(body: Reads, complete: bool = True, between: bytes = b"\n\n") -> Iterator[Event]:
    """Every event in ``body``.

    Args:
        complete: whether the body is complete; if not, an event that was cut short is left out.
        between: the separator of events; one newline if every line is a document.
    """
    if any(b"\r" in data for _, data in body):
        body = list(_newlines(body))
    content = b"".join(data for _, data in body)
    at, arrived, end = -1, 0, 0
    blocks = content.split(between)
    for block in blocks if complete else blocks[:-1]:
        end = min(end + len(block) + len(between), len(content))
        if not block:  # a server may send nothing but newlines, by the million
            continue
        while arrived < end:
            at += 1
            arrived += len(body[at][1])
        if block.startswith(BOM) and end <= len(block) + len(between):
            block = block.removeprefix(BOM)
        for name, data in _fields(block):
            yield Event(body[at][0], name, data)


def _newlines(body: Reads) -> Iterator[tuple[int, bytes]]:
    """The body with LF as newline. A CR ends its line at once: no event waits for a LF."""
    after_cr = False
    for time_ns, data in body:
        plain = data.removeprefix(b"\n") if after_cr else data
        after_cr = data.endswith(b"\r")
        yield time_ns, plain.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The content of one block, as (name, data)."""
    if block.startswith(b"data:") and b"\n" not in block:
        yield b"", block[5:].strip()
        return
    name, lines = b"", []
    for line in block.split(b"\n"):
        field, colon, value = line.partition(b":")
        field, value = _field_name(field), value.strip()
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
        elif field == b"error":
            yield b"error", value
        elif colon and not field:
            yield COMMENT, value
        elif line.lstrip().startswith((b"{", b"[")):
            lines.append(line)  # a document without its field: gateways put errors so
        elif line.strip() and field not in _FIELDS:
            yield STRAY, line
    if lines:
        yield name, b"\n".join(lines)


def _field_name(field: bytes) -> bytes:
    """The field's name in lower case; capitals are a server's slip."""
    return field if field in _FIELDS else field.strip().lower()
