"""One request on one connection: the driver's hot path.

Arriving data are kept as ``(monotonic ns, bytes)`` alone. `kit.measure.drive.body` and
`kit.measure.drive.parse` parse them when a stage is over. The time is taken where the bytes leave
the socket: in a client library's task it would be the time of the task's turn, late by everything
else that was ready (with 64 streams in step, half a millisecond).

This is a protocol of asyncio, without a client library: with many streams of one token a read, a
read costs 10 µs here and 37 µs in aiohttp (`benchmarks/driver_capacity.py` measures both).
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kit.measure.drive.body import MAX_BODY, Chunked, Head, MalformedAnswerError, head_of

# A server that sends a byte at a time must not fill memory with what surrounds each byte.
_MAX_READS, _MAX_HEAD_READS = 1 << 20, 1024
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_TRAILERS_END = b"\r\n\r\n"
# A line of its own: inside a text a line break would be escaped.
_END_MARKS = (b"\ndata: [DONE]\n\n", b"\ndata:[DONE]\n\n")
_TAIL = 24
# A socket is read and its bytes are copied before the next one is: all can share one buffer.
_BUFFER = memoryview(bytearray(1 << 16))


class Address(NamedTuple):
    """The server's address; ``prefix`` is the path of its base URL, if it has one."""

    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, base_url: str) -> Address:
        """The address in ``http://HOST:PORT[/PREFIX]``.

        Raises:
            ValueError: it is no such URL.
        """
        url = urlsplit(base_url)
        if url.scheme != "http" or url.hostname is None:
            raise ValueError(f"not an http URL: {base_url!r}")
        return cls(url.hostname, url.port or 80, url.path.rstrip("/"))


def post(address: Address, path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a POST of ``body`` as JSON, on a connection that ends with the answer.

    One connection for each request: a server that closes idle ones races with the next request.
    """
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = (
        f"POST {address.prefix}{path} HTTP/1.1",
        f"Host: {host}:{address.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Accept: text/event-stream, application/json",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Exchange(asyncio.BufferedProtocol):
    """Sends one request and collects its answer.

    Attributes:
        reads: arriving data with their times, absolute monotonic ns, with HTTP's framing.
        done: a future that completes with the answer's last byte, or with the connection. Its
            result is None, or the exception that ended the connection.
    """

    def __init__(self, request: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.reads: list[tuple[int, bytes]] = []
        self.done: asyncio.Future[Exception | None] = loop.create_future()
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._size = 0
        self._ends_with = self._head_ends
        self._body_left = 0
        self._tail = b""
        self._unread: list[bytes] = []  # of a chunked body, by `_chunked`
        self._chunked = Chunked()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 asyncio's signature
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        now = time.monotonic_ns()
        if self.done.done():
            return
        data = bytes(_BUFFER[:nbytes])
        self.reads.append((now, data))
        self._size += nbytes
        if self._ends_with(data):
            self._finish(None)
        elif self._size > MAX_BODY:
            self._give_up(f"the answer is longer than {MAX_BODY >> 20} MiB")
        elif len(self.reads) >= _MAX_READS:
            self._give_up(f"the answer came in more than {_MAX_READS} pieces")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc)

    def _give_up(self, reason: str) -> None:
        self._finish(OverflowError(reason))
        self.drop()

    def drop(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, exc: Exception | None) -> None:
        # The connection stays open until the server closes it, as requested: the side that
        # closes first keeps the port for a minute, and a fast client would run out of ports.
        if not self.done.done():
            self.done.set_result(exc)

    # How the end of the answer is recognised; each function takes the latest read.

    def _head_ends(self, data: bytes) -> bool:
        """Wait for the head, which says how the body ends; what is not HTTP ends at once."""
        received = data if len(self.reads) == 1 else b"".join(read for _, read in self.reads)
        try:
            head = head_of(received)
        except MalformedAnswerError:
            return True
        if head is None:
            if len(self.reads) >= _MAX_HEAD_READS:
                self._give_up(f"the answer's head came in more than {_MAX_HEAD_READS} pieces")
            return False
        self._ends_with = self._way_of(head)
        return self._ends_with(received[head.size :])

    def _way_of(self, head: Head) -> Any:
        self._tail = b"\r\n"  # of the head
        if head.chunked:
            return self._last_chunk_ends
        if head.length is not None:
            self._body_left = head.length
            return self._length_ends
        return self._end_mark_ends

    def _last_chunk_ends(self, data: bytes) -> bool:
        """Nearly every last chunk is known by its bytes; the chunks are only counted where one
        may have come with trailers, an extension or more zeros.
        """
        self._unread.append(data)
        tail = self._tail_with(data)
        if tail.endswith(_LAST_CHUNK):
            return True
        if not tail.endswith(_TRAILERS_END):
            return False
        self._chunked.feed(b"".join(self._unread))
        self._unread.clear()
        return self._chunked.ended or bool(self._chunked.fault)

    def _length_ends(self, data: bytes) -> bool:
        self._body_left -= len(data)
        return self._body_left <= 0

    def _end_mark_ends(self, data: bytes) -> bool:
        """The end mark, for answers without framing: the server may keep the connection open."""
        tail = self._tail_with(data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return tail.endswith(_END_MARKS)

    def _tail_with(self, data: bytes) -> bytes:
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]
        return self._tail
