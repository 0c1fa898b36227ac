"""The scripted server itself, as a local process: what it is told to do wrong, it does."""

from __future__ import annotations

import http.client
import json
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from kit.core import resources
from tests.runtimes.specs import defaults

SERVER = resources.images_dir() / "loopback" / "server.py"


class Served(NamedTuple):
    process: subprocess.Popen[str]
    port: int

    def ask(
        self, method: str, path: str, body: Any = None, read_s: float = 10
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=read_s)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def complete(self, text: str = "a b c", tokens: int = 6, **changes: Any) -> tuple[int, bytes]:
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
            "seed": 1,
        }
        return self.ask("POST", "/v1/chat/completions", body | changes)


@contextmanager
def serving(**script: Any) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SERVER), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--script", json.dumps({"tokens_per_s": 0, "ttft_s": 0} | script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield Served(process, port)
        process.kill()


def _events(stream: bytes) -> list[Any]:
    lines = [line[6:] for line in stream.split(b"\n\n") if line.startswith(b"data: ")]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def _text(stream: bytes) -> str:
    chunks = [e["choices"][0]["delta"] for e in _events(stream) if e["choices"]]
    return "".join(delta.get("content") or "" for delta in chunks)


def test_the_script_and_the_runtimes_options_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SERVER.parent))
    assert runpy.run_path(str(SERVER))["SCRIPT"] == defaults("loopback")


def test_a_stream_has_as_many_words_as_asked_for() -> None:
    with serving(cached_tokens=2) as served:
        status, stream = served.complete(tokens=6)
        usage = _events(stream)[-1]["usage"]
    assert status == 200
    assert len(_text(stream).split()) == 6
    assert usage["completion_tokens"] == 6
    assert usage["prompt_tokens"] == 3
    assert usage["prompt_tokens_details"] == {"cached_tokens": 2}


def test_text_follows_from_seed_and_prompt_alone() -> None:
    with serving() as one, serving() as two:
        first = _text(one.complete("hello")[1])
        assert _text(two.complete("hello")[1]) == first
        assert _text(one.complete("hallo")[1]) != first
        assert _text(one.complete("hello", seed=2)[1]) != first


def test_nondeterministic_texts_differ_between_processes() -> None:
    with serving(nondeterministic=True) as one, serving(nondeterministic=True) as two:
        first = _text(one.complete()[1])
        assert _text(one.complete()[1]) == first
        assert _text(two.complete()[1]) != first


def test_the_end_of_a_text_is_honoured_unless_ignored() -> None:
    with serving(natural_tokens=3) as served:
        short = served.complete(ignore_eos=False)[1]
        assert len(_text(short).split()) == 3
        assert _events(short)[-2]["choices"][0]["finish_reason"] == "stop"
        assert len(_text(served.complete()[1]).split()) == 6


def test_usage_can_be_wrong_or_missing() -> None:
    with serving(wrong_token_count=2) as served:
        assert _events(served.complete(tokens=6)[1])[-1]["usage"]["completion_tokens"] == 8
    with serving(no_usage=True) as served:
        assert all("usage" not in e for e in _events(served.complete()[1]))
        counted = served.ask("POST", "/extras/tokenize/count", {"input": "one two"})
        assert json.loads(counted[1]) == {"count": 2}


def test_readiness_can_be_late_or_never() -> None:
    with serving(ready_delay_s=0.4) as served:
        assert served.ask("GET", "/health")[0] == 503
        assert served.complete()[0] == 503
        time.sleep(0.5)
        assert served.ask("GET", "/health")[0] == 200
    with serving(never_ready=True) as served:
        assert served.ask("GET", "/health")[0] == 503


def test_scripted_failures_hit_the_requests_they_name() -> None:
    with serving(http_500_on=[1], garbage_on=[2]) as served:
        assert served.complete()[0] == 200
        assert served.complete()[0] == 500
        status, garbage = served.complete()
        assert (status, b"\xff\xfe" in garbage, b"[DONE]" in garbage) == (200, True, False)
        assert served.complete()[0] == 200


def test_dying_in_the_middle() -> None:
    with serving(fail_after_requests=1, exit_code=9) as served:
        assert served.complete()[0] == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            served.complete()
        assert served.process.wait(10) == 9


def test_hanging_keeps_the_stream_open() -> None:
    with serving(hang_after_tokens=2) as served:
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "stream": True}
        with pytest.raises(TimeoutError):
            served.ask("POST", "/v1/chat/completions", body | {"ignore_eos": True}, read_s=0.5)
        assert served.process.poll() is None


def test_words_come_at_their_pace() -> None:
    with serving(tokens_per_s=20, ttft_s=0.1) as served:
        begun = time.monotonic()
        served.complete(tokens=5)
        assert time.monotonic() - begun > 0.29


def test_bad_requests_are_refused_and_the_server_lives() -> None:
    with serving() as served:
        assert served.ask("POST", "/v1/chat/completions", {"messages": 3})[0] == 400
        assert served.ask("POST", "/v1/chat/completions", [])[0] == 400
        assert served.ask("GET", "/nowhere")[0] == 404
        assert served.complete()[0] == 200


def test_it_ends_on_sigterm() -> None:
    with serving() as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0


def test_an_unknown_script_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, SERVER, "--script", '{"no_such": 1}'], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
