"""A real server on a real socket that answers each request as its body asks: ``{"do": …}``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from typing import Any

Writer = asyncio.StreamWriter
WORDS = ("one", " two", " dreißig😀", " four")
TEXT = "".join(WORDS)
USAGE = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n"
)
LAST = b"0\r\n\r\n"


def event(document: dict[str, Any] | str, end: str = "\n\n") -> bytes:
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return f"data: {text}{end}".encode()


def word(text: str | None) -> bytes:
    delta = {"role": "assistant", "content": None} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def ending(usage: dict[str, Any] | None = USAGE, **more: Any) -> list[bytes]:
    """Finish, usage and the end mark of a good stream."""
    finish = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    events = [event({"choices": [], "usage": usage, **more})] if usage or more else []
    return [finish, *events, event("[DONE]")]


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(events: list[bytes]) -> bytes:
    """A whole chunked answer, one HTTP chunk an event."""
    return HEAD + b"".join(map(frame, events)) + LAST


GOOD = [word(None), *map(word, WORDS), *ending()]


class Server:
    """Listens on 127.0.0.1 in a thread of its own; ``seen`` has (monotonic ns, body) by arrival."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, Any]]] = []
        self.busy = self.busiest = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        self._listening = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._listening.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop_listening(self) -> None:
        """From now on connections are refused."""
        self._loop.call_soon_threadsafe(self._listening.close)

    async def _end(self) -> None:
        self._listening.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    def _call(self, job: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.seen.append((time.monotonic_ns(), body))
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
            try:
                await getattr(self, "do_" + body.get("do", "count"))(writer, body)
            finally:
                self.busy -= 1
            if "keep" not in body:
                writer.close()

    async def _send(self, writer: Writer, *parts: bytes, pause: float = 0.0) -> None:
        for i, part in enumerate(parts):
            if pause and i:
                await asyncio.sleep(pause)
            writer.write(part)
            await writer.drain()

    # --- good answers -----------------------------------------------------------------------

    async def do_good(self, writer: Writer, body: dict[str, Any]) -> None:
        pause = body.get("pause", 0.0)
        await self._send(writer, HEAD, *map(frame, GOOD[:-1]), frame(GOOD[-1]) + LAST, pause=pause)

    async def do_one_segment(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, stream(GOOD))

    async def do_split(self, writer: Writer, body: dict[str, Any]) -> None:
        answer = stream([data.replace(b"\n", b"\r\n") for data in GOOD])
        parts = [answer[i : i + 31] for i in range(0, len(answer), 31)]
        await self._send(writer, *parts, pause=0.0005)

    async def do_until_eof(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, b"HTTP/1.0 200 OK\r\n\r\n", *GOOD)

    async def do_no_usage(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, stream([word(None), *map(word, WORDS), *ending(None)]))

    async def do_cached(self, writer: Writer, body: dict[str, Any]) -> None:
        usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 3}}
        await self._send(writer, stream([*map(word, WORDS), *ending(usage)]))

    async def do_timings(self, writer: Writer, body: dict[str, Any]) -> None:
        timings = {"cache_n": 2, "prompt_n": 3, "predicted_ms": 1.5}
        await self._send(writer, stream([*map(word, WORDS), *ending(timings=timings)]))

    async def do_completion(self, writer: Writer, body: dict[str, Any]) -> None:
        texts = [event({"choices": [{"text": t, "finish_reason": None}]}) for t in WORDS]
        await self._send(writer, stream([b": a comment\n\n", *texts, *ending(None)]))

    async def do_bytes(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, *(p.encode("latin-1") for p in body["parts"]), pause=0.02)

    # --- bad ones ---------------------------------------------------------------------------

    async def do_http_500(self, writer: Writer, body: dict[str, Any]) -> None:
        document = b'{"error":\n\x1b[31m"out of slots"}'
        head = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(document)
        await self._send(writer, head + document)

    async def do_keep_alive_500(self, writer: Writer, body: dict[str, Any]) -> None:
        body["keep"] = True
        await self.do_http_500(writer, body)

    async def do_garbage(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, stream([b"\xff\xfe<html>not an event</html>\n\n"]))

    async def do_bad_json(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, stream([word("one"), event('{"choices": [')]))

    async def do_not_http(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, b"SSH-2.0-OpenSSH_9.2\r\n")

    async def do_error_event(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, stream([word("one"), event({"error": {"message": "no memory"}})]))

    async def do_early_end(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, HEAD, frame(word("one")))

    async def do_reset(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, HEAD, frame(word("one")))
        await asyncio.sleep(0.02)
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def do_hang(self, writer: Writer, body: dict[str, Any]) -> None:
        await self._send(writer, HEAD, frame(word("one")))
        await asyncio.sleep(3600)

    # --- the rest ---------------------------------------------------------------------------

    async def do_count(self, writer: Writer, body: dict[str, Any]) -> None:
        """A token counter as llama-cpp-python's: words, and a mark of the beginning."""
        document = json.dumps({"count": 1 + len(body["input"].split())}).encode()
        await self._send(
            writer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(document), document
        )
