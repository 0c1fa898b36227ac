"""The thin server in a test: its modules, a scripted engine, and a client."""

from __future__ import annotations

import http.client
import json
import queue
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from kit.core import resources

SERVER = resources.images_dir() / "server"
CHAT, BARE = "/v1/chat/completions", "/v1/completions"
ASKED = {
    "messages": [{"role": "user", "content": "a b"}],
    "max_tokens": 3,
    "temperature": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}

pytest.importorskip("starlette", reason="Starlette is not installed here")
pytest.importorskip("uvicorn", reason="uvicorn is not installed here")
scripted = ModuleType("engine")
scripted.NAME, scripted.BATCHES, scripted.flags = "scripted", True, lambda _: None  # type: ignore[attr-defined]
sys.modules.setdefault("engine", scripted)  # what serve.py finds beside it in an image
sys.path.append(str(SERVER))

import adapter  # noqa: E402 pytest: disable
import serve  # noqa: E402
import text  # noqa: E402

__all__ = ["ASKED", "BARE", "CHAT", "SERVER", "Scripted", "Served", "adapter", "serve", "text"]


class Scripted(adapter.TextEngine):  # type: ignore[misc, name-defined]
    """Says the words of the prompt, each when it is let through; fails on the word ``boom``.

    A token is a word's number; ``<end>`` ends a text.
    """

    title, max_context = "scripted", 4096

    def __init__(self) -> None:
        self.let: queue.SimpleQueue[None] | None = None
        self.order: list[str] = []
        self.words = ["<end>"]
        self.end_tokens = frozenset({0})

    def props(self) -> dict[str, Any]:
        return {"dtype": "none"}

    def encode(self, text: str, special: bool) -> list[int]:
        new = [word for word in dict.fromkeys(text.split()) if word not in self.words]
        self.words += new
        return [self.words.index(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.words[i] for i in ids if i)

    def render(self, messages: list[dict[str, str]]) -> str | None:
        return messages[-1]["content"]

    def steps(self, rows: list[Any]) -> Iterator[list[int]]:
        self.order.append("+".join(self.decode(row.ids) for row in rows))
        for number in range(max(row.wanted for row in rows)):
            if self.let is not None:
                self.let.get(timeout=30)
            step = [row.ids[number % len(row.ids)] for row in rows]
            if any(self.words[token] == "boom" for token in step):
                raise RuntimeError("out of\nmemory")
            yield step


class Served:
    """The server on a free port, with a `Scripted` engine that is not loaded yet."""

    def __init__(self, batch: int = 1, wait_s: float = 0.25) -> None:
        self.line, self.model = serve.Line("scripted", "model", batch, wait_s), Scripted()
        self.listening = serve.bound("127.0.0.1", 0)
        self.port: int = self.listening.getsockname()[1]
        self.http = serve.Http(self.line, self.listening)
        self.http.start()
        assert self.http.looping.wait(10)

    def load(self) -> None:
        threading.Thread(target=self.line.serve, args=(self.model,), daemon=True).start()
        assert self.line.ready.wait(10)

    def close(self) -> None:
        self.http.server.should_exit = self.http.server.force_exit = True
        self.http.join(10)
        self.listening.close()


def post(port: int, path: str, body: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def events(stream: bytes) -> list[Any]:
    lines = [line[6:] for line in stream.split(b"\n\n") if line.startswith(b"data: ")]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def said(stream: bytes) -> str:
    return "".join(e["choices"][0]["delta"]["content"] for e in events(stream) if e["choices"])


def chat(content: str, **changes: Any) -> dict[str, Any]:
    """A chat whose answer is as long as the prompt."""
    messages = [{"role": "user", "content": content}]
    return ASKED | {"messages": messages, "max_tokens": len(content.split())} | changes
