"""What a server is asked after its load, against a real HTTP server of canned answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.core.model import ScheduledRequest
from kit.run import asking
from kit.spec.runtimes.contract import PromptIds


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        answers = {"/props": b'{"slots": 2, "seed": 18446744073709551615}', "/text": b"# HELP x"}
        data = answers.get(self.path)
        self._reply(404 if data is None else 200, data or b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/apply-template":
            return self._reply(200, json.dumps({"prompt": f"<{body['messages']}>"}).encode())
        text = body.get("content", body.get("prompt", ""))
        if "boom" in text:
            return self._reply(500, b"{}")
        if "stream" in body or "stream_options" in body:  # as SGLang does
            return self._reply(501, b"{}")
        if text.startswith("json:"):
            return self._reply(200, text.removeprefix("json:").encode())
        tokens: list[Any] = ["a"] if "word" in text else [ord(letter) for letter in text]
        return self._reply(200, json.dumps({"tokens": tokens}).encode())

    def _reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def _requests(*bodies: dict[str, Any]) -> list[ScheduledRequest]:
    return [
        ScheduledRequest(index=i, stage="measured", item="p", path="/", body=body)
        for i, body in enumerate(bodies)
    ]


def test_the_configuration_is_what_each_path_answers(url: str) -> None:
    found = asking.effective(url, ("/props", "/nowhere", "/text"))
    assert found["/props"] == {"slots": 2, "seed": "18446744073709551615"}
    assert found["/nowhere"] == {"unavailable": "HTTP 404"}
    assert set(found["/text"]) == {"unavailable"}
    assert jsonio.parse(jsonio.canonical(found)) == found
    gone = asking.effective("http://127.0.0.1:9", ("/props",))
    assert gone["/props"] == {"unavailable": "no answer (ConnectionRefusedError)"}


def test_ids_come_back_for_the_requests_own_body(url: str) -> None:
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    bodies = [{"prompt": "ab", **streamed}, {"prompt": "c", **streamed}]
    told = list(asking.prompt_tokens(url, PromptIds("/tokenize"), _requests(*bodies)))
    assert [(line.index, line.count, line.ids) for line in told] == [
        (0, 2, (97, 98)),
        (1, 1, (99,)),
    ]
    assert told[0].ids_sha256 == jsonio.hash_of([97, 98])


def test_a_chat_goes_through_the_servers_template_first(url: str) -> None:
    method = PromptIds("/tokenize", "content", "/apply-template", {"add_special": True})
    told = list(asking.prompt_tokens(url, method, _requests({"messages": "hi"}, {"prompt": "x"})))
    assert [line.ids for line in told] == [tuple(map(ord, "<hi>")), (ord("x"),)]


@pytest.mark.parametrize("text", ["boom", "word"])
def test_what_the_server_cannot_tell_is_left_out(url: str, text: str) -> None:
    bodies = [{"prompt": "a"}, {"prompt": text}, {"prompt": "b"}]
    told = list(asking.prompt_tokens(url, PromptIds("/tokenize"), _requests(*bodies)))
    assert [line.index for line in told] == [0]


@pytest.mark.parametrize(
    "tokens", ["[true]", "[-1]", '""', "{}", "[10000000000000000000000]", "null", "[1.5]"]
)
def test_a_server_that_answers_nonsense_tells_nothing(url: str, tokens: str) -> None:
    """The run was measured: nothing that its server says now may end it, or seal what fails."""
    requests = _requests({"prompt": 'json:{"tokens":' + tokens + "}"})
    assert not list(asking.prompt_tokens(url, PromptIds("/tokenize"), requests))


def test_a_slow_server_is_not_asked_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PROMPTS_S", -1.0)
    requests = _requests({"prompt": "a"}, {"prompt": "b"})
    assert not list(asking.prompt_tokens(url, PromptIds("/tokenize"), requests))


def test_of_many_prompts_the_ids_of_the_first_are_kept(url: str) -> None:
    many = _requests(*({"prompt": "a"} for _ in range(asking.KEPT + 2)))
    told = list(asking.prompt_tokens(url, PromptIds("/tokenize"), many))
    assert len(told) == asking.KEPT + 2
    assert [line.ids is None for line in told] == [False] * asking.KEPT + [True] * 2


def test_a_log_tells_its_last_word(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    log.write_bytes(b"load took 1.5 s\nload took 2.5 s\n\xff\x1b[31mmode=x\n")
    patterns = {"load_s": r"load took ([\d.]+) s", "mode": r"mode=(\w+)", "none": r"(nothing)"}
    assert asking.log_facts(log, patterns) == {"load_s": "2.5", "mode": "x"}
