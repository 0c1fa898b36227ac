#!/usr/bin/python3
"""kit's test seam: an OpenAI-compatible server whose tokens, timing and failures are scripted.

Not a language model, and never to be shown as a runtime: it streams made-up words at stated times,
and goes wrong where the script says so, in order to test what kit does then. Standard library
only (Python 3.11).

    server.py [--host ADDRESS] [--port N] [--script JSON]
    server.py serve

The second form speaks Ollama's dialect, as `ollama.py` beside this file says. `SCRIPT` below lists what can be scripted, with the defaults. Requests are counted from 0 in the
order in which they arrive, warm-up included. Answers on `/health`, `/props`, `/v1/models`,
`/v1/chat/completions` (streamed or not) and `/extras/tokenize/count`; one word is one token.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import ollama

SCRIPT = {
    "ready_delay_s": 0.0,  # /health answers 503 until then
    "never_ready": False,  # … or for ever
    "ttft_s": 0.01,  # from a request to its first token
    "tokens_per_s": 500.0,  # of each stream; 0 for as fast as possible
    "tokens_per_chunk": 1,  # words in one SSE chunk
    "natural_tokens": 12,  # where an answer would end by itself, were EOS not ignored
    "prompt_tokens": None,  # reported length of every prompt; null to count its words
    "cached_tokens": 0,  # reported as taken from a cache
    "wrong_token_count": 0,  # added to the reported number of output tokens
    "no_usage": False,  # streams end without usage
    "nondeterministic": False,  # texts differ from one process to the next
    "exit_code": 3,  # of the deaths below
    "die_at_start": False,  # before it listens
    "fail_after_requests": None,  # dies in the middle of the request with this index
    "hang_after_tokens": None,  # streams stop there, and stay open
    "http_500_on": [],  # indices of requests answered with an error
    "garbage_on": [],  # indices of requests answered with nonsense
    "ignore_sigterm": False,
    "allocate_mib": 0,  # memory to touch at start
    "log_kib": 0,  # noise to write to the log at start
}
WORDS = (
    "amber basalt cedar delta ember fjord grove harbour island juniper kelp lagoon meadow "
    "north oak pebble quartz river slate tundra umber valley willow yarrow zephyr"
).split()
MAX_BODY = 16 << 20


class Server:
    """Answers requests by a script; ``seen`` counts the completions asked for so far."""

    def __init__(self, script: dict, store: ollama.Store | None = None) -> None:
        self.script, self.store = script, store
        self.seen = 0
        self.ready_at = time.monotonic() + script["ready_delay_s"]
        self.salt = os.urandom(16).hex() if script["nondeterministic"] else ""

    @property
    def ready(self) -> bool:
        return not self.script["never_ready"] and time.monotonic() >= self.ready_at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after another until the client hangs up."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (asked := await read_request(reader)) is not None:
                await self.answer(*asked, writer)
        writer.close()

    async def answer(self, method: str, path: str, body: bytes, writer) -> None:
        if (method, path) == ("GET", "/health"):
            status = (200, {"status": "ok"}) if self.ready else (503, error("loading model"))
            return await reply(writer, *status)
        if not self.ready:
            return await reply(writer, 503, error("loading model"))
        try:
            if self.store and (own := self.store.answer(method, path, body)):
                return await reply(writer, *own)
            asked = json.loads(body or b"{}")
            return await self.route(method, path, asked, writer)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            return await reply(writer, 400, error(f"bad request: {problem}"))

    async def route(self, method: str, path: str, asked: dict, writer) -> None:
        if (method, path) == ("POST", "/v1/chat/completions"):
            return await self.complete(asked, writer)
        if (method, path) == ("POST", "/extras/tokenize/count"):
            return await reply(writer, 200, {"count": len(asked["input"].split())})
        if (method, path) == ("GET", "/props"):
            return await reply(writer, 200, {"runtime": "loopback", "script": self.script})
        if (method, path) == ("GET", "/v1/models"):
            return await reply(writer, 200, {"object": "list", "data": [{"id": "model"}]})
        return await reply(writer, 404, error(f"no such path: {path}"))

    async def complete(self, asked: dict, writer) -> None:
        arrived, index, script = time.monotonic(), self.seen, self.script
        self.seen += 1
        prompt = "\n".join(m["content"] for m in asked["messages"])
        wanted, eos = int(asked["max_tokens"]), not asked.get("ignore_eos", False)
        count = min(wanted, script["natural_tokens"]) if eos else wanted
        finish = "stop" if eos and count < wanted else "length"
        words = self.words(f"{asked.get('seed')}\n{prompt}", count)
        print(f"loopback: request {index}, {count} tokens", flush=True)
        if index in script["http_500_on"]:
            return await reply(writer, 500, error("scripted failure"))
        if index in script["garbage_on"]:
            return await self.garbage(writer)
        usage = self.usage(prompt, count)
        if not asked.get("stream"):
            return await reply(writer, 200, whole("".join(words), finish, usage))
        told = (asked.get("stream_options") or {}).get("include_usage")
        shown = usage if told and not script["no_usage"] else None
        return await self.stream(writer, words, finish, shown, (arrived, index))

    def words(self, key: str, count: int) -> list[str]:
        """``count`` words that follow from ``key`` (and from the process, if so scripted)."""
        state = hashlib.sha256(f"{self.salt}{key}".encode()).digest()
        found = []
        while len(found) < count:
            found += [WORDS[byte % len(WORDS)] for byte in state]
            state = hashlib.sha256(state).digest()
        return [word if i == 0 else f" {word}" for i, word in enumerate(found[:count])]

    def usage(self, prompt: str, count: int) -> dict:
        length = self.script["prompt_tokens"]
        length = len(prompt.split()) if length is None else length
        told = count + self.script["wrong_token_count"]
        return {
            "prompt_tokens": length,
            "completion_tokens": told,
            "total_tokens": length + told,
            "prompt_tokens_details": {"cached_tokens": self.script["cached_tokens"]},
        }

    async def stream(self, writer, words, finish, usage, start: tuple[float, int]) -> None:
        """The words as server-sent events, each at its scripted time."""
        begin_stream(writer)
        await event(writer, delta({"role": "assistant", "content": None}))
        async for piece in self.paced(words, *start):
            await event(writer, delta({"content": piece}))
        await event(writer, delta({}, finish))
        if usage is not None:
            await event(writer, {**delta({}), "choices": [], "usage": usage})
        writer.write(frame(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async def paced(self, words: list[str], arrived: float, index: int) -> AsyncIterator[str]:
        """Pieces of the answer when they are due; dies or hangs in the middle if so scripted."""
        script, size = self.script, self.script["tokens_per_chunk"]
        period = 1 / script["tokens_per_s"] if script["tokens_per_s"] else 0.0
        for i in range(0, len(words), size):
            await until(arrived + script["ttft_s"] + i * period)
            if script["hang_after_tokens"] is not None and i >= script["hang_after_tokens"]:
                print(f"loopback: request {index} hangs", flush=True)
                await asyncio.Event().wait()
            if script["fail_after_requests"] == index and i >= len(words) // 2:
                die(script, f"scripted death in request {index}")
            yield "".join(words[i : i + size])

    async def garbage(self, writer) -> None:
        """A stream that is no JSON and no UTF-8, and ends without its end."""
        begin_stream(writer)
        writer.write(frame(b"data: {\"choices\": [{\"delta\": \n\n"))
        writer.write(frame(b"\xff\xfe\x00<html>not an event</html>\n\ndata: [1, 2\n\n"))
        writer.write(b"0\r\n\r\n")
        await writer.drain()


# --- HTTP and server-sent events ----------------------------------------------------------------


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
    """(method, path, body) of the next request; None at the end of the connection."""
    line = await reader.readline()
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    length = 0
    while (header := await reader.readline()).strip():
        name, _, value = header.decode("latin-1").partition(":")
        if name.strip().lower() == "content-length":
            length = min(int(value), MAX_BODY)
    return method, path.partition("?")[0], await reader.readexactly(length)


async def reply(writer: asyncio.StreamWriter, status: int, document: dict) -> None:
    data = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await writer.drain()


def begin_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


async def event(writer: asyncio.StreamWriter, document: dict) -> None:
    writer.write(frame(b"data: " + json.dumps(document).encode() + b"\n\n"))
    await writer.drain()


def frame(data: bytes) -> bytes:
    """One chunk of HTTP's chunked transfer encoding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def delta(content: dict, finish: str | None = None) -> dict:
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "model", "choices": [choice]}


def whole(text: str, finish: str, usage: dict) -> dict:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "model": "model", "choices": [choice], "usage": usage}


def error(message: str) -> dict:
    return {"error": {"message": message, "type": "loopback"}}


async def until(when: float) -> None:
    wait = when - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)


def die(script: dict, words: str) -> None:
    print(f"loopback: {words}", file=sys.stderr, flush=True)
    os._exit(script["exit_code"])


# --- starting -----------------------------------------------------------------------------------


def read_script(text: str) -> dict:
    given = json.loads(text)
    if unknown := sorted(set(given) - set(SCRIPT)):
        raise ValueError(f"unknown in the script: {', '.join(unknown)}")
    return {**SCRIPT, **given}


async def run(script: dict, host: str, port: int, store: ollama.Store | None) -> None:
    server = await asyncio.start_server(Server(script, store).serve, host, port, limit=MAX_BODY)
    print(f"loopback: listening on {host}:{port}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("dialect", nargs="?", choices=["serve"])
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--script", type=read_script, default=dict(SCRIPT))
    args = parser.parse_args()
    script, store = args.script, None
    if args.dialect:
        args.host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
        args.port, store = int(port), ollama.Store(os.environ["OLLAMA_MODELS"])
    ending = signal.SIG_IGN if script["ignore_sigterm"] else lambda *_: os._exit(0)
    signal.signal(signal.SIGTERM, ending)
    signal.signal(signal.SIGINT, ending)
    held = b"x" * (script["allocate_mib"] << 20)
    for _ in range(script["log_kib"]):
        print("-" * 1023)
    if script["die_at_start"]:
        die(script, "scripted death at start")
    try:
        asyncio.run(run(script, args.host, args.port, store))
    except OSError as problem:
        die(script, f"cannot listen on {args.host}:{args.port}: {problem.strerror}")
    del held
    return 0


if __name__ == "__main__":
    sys.exit(main())
