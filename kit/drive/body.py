"""HTTP/1.1 answers: head and body out of what was read from a socket. Pure.

Every byte keeps the time at which it was read, so that an event's time is that of its last byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

Reads = Sequence[tuple[int, bytes]]

_MAX_HEAD = 64 << 10


class MalformedAnswerError(ValueError):
    """An answer that cannot be understood; the message is one line for the person."""


class Head(NamedTuple):
    """What the head of an answer says; ``size`` is where the body begins (bytes)."""

    status: int
    chunked: bool
    length: int | None
    size: int


class Answer(NamedTuple):
    """A whole answer: ``body`` without HTTP's framing, by read; ``complete`` if it has its end."""

    status: int
    body: list[tuple[int, bytes]]
    complete: bool


def head_of(data: bytes) -> Head | None:
    """The head at the beginning of ``data``, interim ones (1xx) skipped; None if more must come.

    Raises:
        MalformedAnswerError: it is not HTTP/1.
    """
    start = 0
    while True:
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            _refuse(data[start:])
            return None
        head = _head(data[start:end], end + 4)
        if head.status >= 200:
            return head
        start = head.size


def _refuse(begun: bytes) -> None:
    """Raise for the beginning of what can never become a head."""
    if not b"HTTP/1.".startswith(begun[:7]) or len(begun) > _MAX_HEAD:
        raise MalformedAnswerError(f"the server does not speak HTTP: {shown(begun)}")


def _head(block: bytes, size: int) -> Head:
    first, *lines = block.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    code = rest.partition(b" ")[0]
    if not version.startswith(b"HTTP/1.") or not (len(code) == 3 and code.isdigit()):
        raise MalformedAnswerError(f"the server does not speak HTTP: {shown(first)}")
    fields = {name.strip().lower(): value.strip() for name, _, value in map(_halves, lines)}
    length = fields.get(b"content-length", b"")
    chunked = fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
    return Head(int(code), chunked, int(length) if length.isdigit() else None, size)


def _halves(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")


def answer_of(reads: Reads) -> Answer | None:
    """The answer in ``reads``, as far as it goes; None when not even its head is whole.

    Raises:
        MalformedAnswerError: it is not HTTP, or its framing is broken.
    """
    whole = b"".join(data for _, data in reads)
    head = head_of(whole)
    if head is None:
        return None
    if head.chunked:
        spans, complete = _chunks(whole, head.size)
    else:
        end = len(whole) if head.length is None else head.size + head.length
        spans, complete = [(head.size, min(end, len(whole)))], end <= len(whole)
    return Answer(head.status, list(_timed(whole, spans, reads)), complete)


def _chunks(whole: bytes, begin: int) -> tuple[list[tuple[int, int]], bool]:
    """Where the payloads of HTTP's chunks lie, and whether the last chunk is there."""
    spans: list[tuple[int, int]] = []
    while (line_end := whole.find(b"\r\n", begin)) >= 0:
        size = _size_of(whole[begin:line_end])
        if size == 0:
            return spans, True
        begin = line_end + 2
        spans.append((begin, min(begin + size, len(whole))))
        begin += size + 2
    return spans, False


def _size_of(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        if digits.isalnum():
            return int(digits, 16)
    except ValueError:
        pass
    raise MalformedAnswerError(f"the server's chunked encoding is broken: {shown(line)}")


def _timed(
    whole: bytes, spans: Iterable[tuple[int, int]], reads: Reads
) -> Iterator[tuple[int, bytes]]:
    """The spans of ``whole`` with the times of the reads that brought them; cut where reads end."""
    at, read_end = -1, 0
    for begin, end in spans:
        while begin < end:
            while read_end <= begin:
                at += 1
                read_end += len(reads[at][1])
            cut = min(end, read_end)
            yield reads[at][0], whole[begin:cut]
            begin = cut


def shown(data: bytes) -> str:
    """The beginning of foreign bytes, quoted, for a message."""
    return repr(one_line(data, 80))


def one_line(data: bytes, limit: int) -> str:
    """Foreign bytes as at most ``limit`` printable characters on one line."""
    text = data[: 4 * limit].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]
