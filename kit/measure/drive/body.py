"""HTTP/1.1 answers: head and body, from the bytes that were read from a socket. Pure.

Every byte keeps the time at which it was read, so that an event's time is that of its last byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Reads = Sequence[tuple[int, bytes]]

MAX_BODY = 64 << 20
_MAX_HEAD = 64 << 10
_PACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class MalformedAnswerError(ValueError):
    """An answer that cannot be understood; the message is one line for the person."""


class Head(NamedTuple):
    """The head of an answer; ``size`` is the offset of the body (bytes)."""

    status: int
    chunked: bool
    length: int | None
    size: int
    encoding: str = ""


class Answer(NamedTuple):
    """A whole answer.

    Attributes:
        body: without HTTP's framing and compression, by read.
        complete: HTTP says that it is complete. Without a length and without chunks it cannot say
            so: then it is true, ``framed`` is false, and the body must show its own end.
        fault: a fault in the framing or the compression; the body ends there.
    """

    status: int
    body: list[tuple[int, bytes]]
    complete: bool
    framed: bool = True
    fault: str = ""


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
        if start > _MAX_HEAD:  # interim heads without end
            raise MalformedAnswerError(f"the server does not speak HTTP: {quoted(data)}")


def _refuse(begun: bytes) -> None:
    """Raise if the bytes cannot be the beginning of a head."""
    if not b"HTTP/1.".startswith(begun[:7]) or len(begun) > _MAX_HEAD:
        raise MalformedAnswerError(f"the server does not speak HTTP: {quoted(begun)}")


def _head(block: bytes, size: int) -> Head:
    first, *lines = block.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    code = rest.partition(b" ")[0]
    if not version.startswith(b"HTTP/1.") or not (len(code) == 3 and code.isdigit()):
        raise MalformedAnswerError(f"the server does not speak HTTP: {quoted(first)}")
    fields = {name.strip().lower(): value.strip() for name, _, value in map(_halves, lines)}
    length = fields.get(b"content-length", b"")
    return Head(
        status=int(code),
        chunked=fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked"),
        length=int(length) if length.isdigit() else None,
        size=size,
        encoding=one_line(fields.get(b"content-encoding", b"").lower(), 40),
    )


def _halves(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")


class Chunked:
    """Decodes HTTP's chunked encoding read by read.

    Attributes:
        ended: the last chunk and its trailers have come.
        fault: a fault in the encoding; after it nothing more is decoded.
    """

    def __init__(self) -> None:
        self.ended = False
        self.fault = ""
        self._rest = b""  # of an incomplete line
        self._left = 0  # bytes of payload still to come
        self._take_line = self._size_line

    def feed(self, data: bytes) -> bytes:
        """The payload in the next read."""
        data, self._rest = self._rest + data, b""
        at, payload = 0, []
        while not (self.ended or self.fault):
            if self._left:
                piece = data[at : at + self._left]
                payload.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._take_line(data[at:end])
            at = end + 2
        return b"".join(payload)

    def _keep(self, rest: bytes) -> None:
        self._rest = rest
        if len(rest) > _MAX_HEAD:
            self._refuse(rest)

    def _refuse(self, line: bytes) -> None:
        self.fault = f"the server's chunked encoding is broken: {quoted(line)}"

    def _size_line(self, line: bytes) -> None:
        size = _size_of(line)
        if size is None:
            self._refuse(line)
        elif size:
            self._left, self._take_line = size, self._after_payload
        else:
            self._take_line = self._trailer

    def _after_payload(self, line: bytes) -> None:
        if line:
            self._refuse(line)
        self._take_line = self._size_line

    def _trailer(self, line: bytes) -> None:
        self.ended = not line


def _size_of(line: bytes) -> int | None:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16) if digits.isalnum() else None
    except ValueError:
        return None


def answer_of(reads: Reads) -> Answer | None:
    """The answer in ``reads``, perhaps incomplete; None if not even its head is complete.

    Raises:
        MalformedAnswerError: it is not HTTP.
    """
    head = head_of(b"".join(data for _, data in reads))
    if head is None:
        return None
    body = list(_from(reads, head.size))
    chunked = Chunked()
    if head.chunked:
        body = [(t, payload) for t, data in body if (payload := chunked.feed(data))]
        complete = chunked.ended
    elif head.length is not None:
        complete = sum(len(data) for _, data in body) >= head.length
        body = list(_until(body, head.length))
    else:
        complete = True
    framed = head.chunked or head.length is not None
    answer = Answer(head.status, body, complete, framed, chunked.fault)
    return answer if head.encoding in ("", "identity") else _unpacked(answer, head.encoding)


def _from(reads: Reads, begin: int) -> Iterator[tuple[int, bytes]]:
    """``reads`` without their first ``begin`` bytes."""
    for time_ns, data in reads:
        if begin < len(data):
            yield time_ns, data[begin:]
        begin = max(0, begin - len(data))


def _until(reads: Reads, end: int) -> Iterator[tuple[int, bytes]]:
    """The first ``end`` bytes of ``reads``."""
    for time_ns, data in reads:
        if end > 0:
            yield time_ns, data[:end]
        end -= len(data)


# --- compression, though none was asked for ---------------------------------------------------


def _unpacked(answer: Answer, encoding: str) -> Answer:
    """``answer`` without its compression; each byte keeps the time of its read."""
    if encoding not in _PACKED:
        fault = f"the server compressed its answer ({encoding}), though it was asked not to"
        return answer._replace(body=[], fault=answer.fault or fault)
    body: list[tuple[int, bytes]] = []
    unpack, room, fault = zlib.decompressobj(_GZIP_OR_ZLIB), MAX_BODY, answer.fault
    try:
        for time_ns, data in answer.body:
            while data and room > 0:
                if unpack.eof:  # a server may pack each piece by itself
                    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
                plain = unpack.decompress(data, room)
                data = unpack.unused_data
                room -= len(plain)
                body.append((time_ns, plain))
    except zlib.error as error:
        # The amount before the fault depends on the reads: none of it is kept.
        body, fault = [], fault or f"the server's compression is broken: {error}"
    if room <= 0:
        fault = fault or f"the answer is longer than {MAX_BODY >> 20} MiB"
    # A compressed body that was cut off shows it, even without HTTP's framing.
    return answer._replace(body=body, complete=answer.complete and unpack.eof, fault=fault)


# --- foreign bytes in messages ----------------------------------------------------------------


def quoted(data: bytes) -> str:
    """The beginning of foreign bytes, quoted, for a message."""
    return repr(one_line(data, 80))


def one_line(data: bytes, limit: int) -> str:
    """Foreign bytes as at most ``limit`` printable characters on one line."""
    text = data[: 4 * limit].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]
