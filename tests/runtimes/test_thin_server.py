"""The thin server: HTTP, the line of requests and batches, with a scripted engine."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.prompt import Prompt
from kit.spec import runtimes
from tests.runtimes.specs import spec
from tests.runtimes.thin import (
    ASKED,
    BARE,
    CHAT,
    SERVER,
    Served,
    adapter,
    chat,
    events,
    get,
    post,
    said,
    serve,
    text,
)

# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_what_kits_runtime_sends_is_understood(api: str) -> None:
    wanted = spec("transformers", {"api": api})
    prompt = Prompt("p", "Why?", 16)
    path, body = runtimes.get("transformers").request(wanted, prompt, 5)
    asked = text.read_request(path, json.dumps(body).encode())
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.top_k) == (16, 0, 1, 0)
    assert (asked.stream, asked.include_usage, asked.ignore_eos) == (True, True, True)
    assert asked.seed == wanted.sampling.seed + 5
    assert asked.prompt == ("Why?" if api == "completion" else None)
    assert (asked.messages is None) == (api == "completion")
    assert text.read_request("/tokenize", json.dumps(body).encode()) == asked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop": ["x"], "n": 2}, "not supported: n, stop"),
        ({"max_tokens": 0}, "max_tokens is not between"),
        ({"max_tokens": True}, "max_tokens is not of type int"),
        ({"temperature": -1}, "temperature is not between"),
        ({"temperature": float("nan")}, "temperature is not between"),
        ({"seed": "1"}, "seed is not of type int"),
        ({"stream": 1}, "stream is not of type bool"),
        ({"messages": []}, "messages is not a list"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages is not a list"),
        ({"stream_options": 3}, "stream_options is not an object"),
    ],
)
def test_what_is_not_done_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(adapter.BadRequest, match=message):
        text.read_request(CHAT, json.dumps(ASKED | change).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"3"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(adapter.BadRequest):
        text.read_request(BARE, body)


# --- text out of tokens -------------------------------------------------------------------------


def _of_bytes(ids: list[int]) -> str:
    """A tokenizer with one token a byte: every character beyond ASCII is spread over several."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_bytes_become_whole_characters_and_nothing_is_lost(written: str) -> None:
    words = adapter.Detokenizer(_of_bytes)
    pieces = [words.add(token) for token in written.encode()]
    assert "".join(pieces) + words.rest() == written
    if "\ufffd" not in written:
        assert all("\ufffd" not in piece for piece in pieces)


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    words = adapter.Detokenizer(_of_bytes)
    assert [words.add(token) for token in "x😀".encode()[:3]] == ["x", "", ""]
    assert words.rest() == "\ufffd"


def test_a_leading_space_survives_after_the_prompt() -> None:
    """As SentencePiece has it: the space of a list's first word is not shown."""

    def decode(ids: list[int]) -> str:
        return "".join(f" word{i}" for i in ids).removeprefix(" ")

    words = adapter.Detokenizer(decode, before=[7])
    assert [words.add(8), words.add(9)] == [" word8", " word9"]


def test_a_token_without_text_does_not_eat_the_next_space() -> None:
    def decode(ids: list[int]) -> str:
        return "".join(f" word{i}" for i in ids if i).removeprefix(" ")

    words = adapter.Detokenizer(decode)
    assert [words.add(i) for i in (1, 0, 2)] == ["word1", "", " word2"]


def test_an_engine_that_gives_texts_and_no_ids_is_served_too() -> None:
    """As Python bindings that generate texts alone; the limit is held for them."""

    class Texts(adapter.TextEngine):  # type: ignore[misc, name-defined]
        def tokens(self, row: Any) -> Iterator[Any]:
            yield from (adapter.Piece("one"), adapter.Piece(" two", row.asked.prompt))

    asked = text.read_request(BARE, b'{"prompt": "stop"}')
    two = list(Texts().answer([adapter.Row(asked, [], 5)]))
    assert two == [[(0, ("one", None))], [(0, (" two", "stop"))]]
    one = list(Texts().answer([adapter.Row(asked, [], 1)]))
    assert one == [[(0, ("one", "length"))]]
    with pytest.raises(RuntimeError, match="before the answer was over"):
        list(Texts().answer([adapter.Row(asked._replace(prompt=None), [], 5)]))


def test_a_tokenizer_reads_what_lies_in_the_models_folder(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed here")
    pytest.importorskip("jinja2", reason="jinja2 is not installed here")
    vocabulary = {"<s>": 0, "a": 1, "b": 2}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<s>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    assert adapter.Tokenizer(tmp_path).render([]) is None
    template = (
        "{{ bos_token }}{% for m in messages %}\n"
        "  {% if m.role == 'x' %}{{ raise_exception('no x') }}{% endif %}\n"
        " {{ m.content }}{% endfor %}"
    )
    config = {"chat_template": template, "bos_token": {"content": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    read = adapter.Tokenizer(tmp_path)
    written = read.render([{"role": "user", "content": "a b"}])
    assert written is not None and read.encode(written, False) == [0, 1, 2]
    assert read.decode([0, 1, 2]) == "a b"
    with pytest.raises(ValueError, match="no x"):
        read.render([{"role": "x", "content": "a"}])


# --- a line of requests, over HTTP --------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[Served]:
    """The server with batches of two, which waits long for the second."""
    made = Served(batch=2, wait_s=30)
    made.load()
    yield made
    made.close()


def test_nothing_is_answered_before_the_model_is_there(served: Served) -> None:
    assert get(served.port, "/health")[0] == 503
    assert get(served.port, "/props")[0] == 503
    assert post(served.port, CHAT, ASKED)[0] == 503
    served.load()
    assert get(served.port, "/health") == (200, {"status": "ok"})
    status, props = get(served.port, "/props")
    assert (status, props["runtime"], props["model_alias"]) == (200, "scripted", "model")
    assert (props["dtype"], props["batch"]) == ("none", 1)
    assert [m["id"] for m in get(served.port, "/v1/models")[1]["data"]] == ["model"]
    assert get(served.port, "/nowhere")[0] == get(served.port, CHAT)[0] == 404


def test_a_stream_has_one_event_a_token_and_the_usage_at_its_end(served: Served) -> None:
    served.load()
    status, stream = post(served.port, CHAT, chat("a b c"))
    *tokens, usage = events(stream)
    assert status == 200
    assert [e["choices"][0]["delta"]["content"] for e in tokens] == ["a", "b", "c"]
    assert [e["choices"][0]["finish_reason"] for e in tokens] == [None, None, "length"]
    assert tokens[0]["choices"][0]["delta"]["role"] == "assistant"
    assert (usage["choices"], usage["batch"]) == ([], 1)
    assert usage["usage"]["completion_tokens"] == usage["usage"]["prompt_tokens"] == 3
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


def test_a_text_can_end_by_itself(served: Served) -> None:
    served.load()
    *tokens, usage = events(post(served.port, CHAT, chat("a <end> b"))[1])
    assert [e["choices"][0]["finish_reason"] for e in tokens] == [None, "stop"]
    assert usage["usage"]["completion_tokens"] == 2


def test_an_event_leaves_before_the_next_token_is_made(served: Served) -> None:
    served.model.let = queue.SimpleQueue()
    served.load()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("POST", CHAT, json.dumps(chat("a b")))
    served.model.let.put(None)
    response = connection.getresponse()
    assert b'"content":"a"' in response.readline()
    served.model.let.put(None)
    assert b'"content":"b"' in response.read()
    connection.close()


def test_the_whole_answer_without_a_stream(served: Served) -> None:
    served.load()
    document = json.loads(post(served.port, BARE, {"prompt": "a b", "max_tokens": 2})[1])
    assert document["choices"][0]["text"] == "ab"
    assert document["usage"]["total_tokens"] == 4


def test_tokenize_gives_the_ids_that_are_fed(served: Served) -> None:
    served.load()
    status, body = post(served.port, "/tokenize", chat("a b a"))
    assert (status, json.loads(body)) == (200, {"tokens": [1, 2, 1]})
    bare = post(served.port, "/tokenize", {"prompt": "b", "stream": True})[1]
    assert json.loads(bare) == {"tokens": [2]}
    assert post(served.port, "/tokenize", {"prompt": ""})[0] == 400
    assert post(served.port, "/tokenize", {"prompt": "a", "n": 2})[0] == 400
    assert served.model.order == [], "nothing was generated"


def _together(served: Served, *bodies: dict[str, Any]) -> list[bytes]:
    """The answers to requests that are sent in this order, each when the one before is in line."""
    answers: dict[int, bytes] = {}

    def ask(number: int, body: dict[str, Any]) -> None:
        answers[number] = post(served.port, CHAT, body)[1]

    threads = []
    before = served.line.taken
    for number, body in enumerate(bodies):
        threads.append(threading.Thread(target=ask, args=(number, body)))
        threads[-1].start()
        _until(lambda n=number: served.line.taken - before > n)
    for thread in threads:
        thread.join(30)
    return [answers[number] for number in range(len(bodies))]


def _until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


def test_requests_are_served_in_the_order_of_arrival(served: Served) -> None:
    served.load()
    _together(served, *(chat(f"{number}") for number in range(4)))
    assert served.model.order == ["0", "1", "2", "3"]


def test_errors_are_told_and_the_server_lives(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    served.load()
    assert post(served.port, CHAT, chat("a", max_tokens=5000))[0] == 400
    status, body = post(served.port, CHAT, chat("boom"))
    assert (status, json.loads(body)["error"]["message"]) == (500, "RuntimeError: out of memory")
    told = "scripted: ready, scripted\nscripted: RuntimeError: out of memory\n"
    assert capfd.readouterr().err == told
    status, stream = post(served.port, CHAT, chat("a boom"))
    assert status == 200
    assert events(stream)[-1]["error"]["type"] == "server_error"
    assert post(served.port, CHAT, b"{")[0] == 400
    assert post(served.port, "/nowhere", {})[0] == 404
    assert said(post(served.port, CHAT, chat("a b"))[1]) == "ab"


def test_who_hangs_up_does_not_hold_the_line(served: Served) -> None:
    """The answer of one who is gone is not generated to its end, nor one begun for the next."""
    served.model.let = queue.SimpleQueue()
    served.load()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", served.port)) as gone:
            body = json.dumps(chat("a " * 2000)).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            taken = served.line.taken
            gone.sendall(head.encode() + body)
            _until(lambda n=taken: served.line.taken > n)
    last = threading.Thread(target=post, args=(served.port, CHAT, chat("a b")))
    last.start()
    steps = 0
    while last.is_alive():
        served.model.let.put(None)
        last.join(0.005)
        steps += 1
    assert steps < 1500, "an answer was generated to its end"
    assert served.model.order[-1] == "ab"
    assert len(served.model.order) < 4


def test_a_body_without_length_or_too_long_is_refused(served: Served) -> None:
    served.load()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.putrequest("POST", CHAT)
    connection.putheader("Content-Length", str(serve.MAX_BODY + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    connection.request("POST", CHAT, iter([b"{}"]))  # in chunks
    assert connection.getresponse().status == 411
    connection.close()


# --- batches ------------------------------------------------------------------------------------


def test_a_batch_runs_together_and_each_request_gets_its_own(pairs: Served) -> None:
    one, two = _together(pairs, chat("a b c"), chat("x <end> y z"))
    assert pairs.model.order == ["abc+xyz"]
    *tokens, usage = events(one)
    assert "".join(e["choices"][0]["delta"]["content"] for e in tokens) == "abc"
    assert (usage["batch"], usage["usage"]["completion_tokens"]) == (2, 3)
    assert (said(two), events(two)[-1]["usage"]["completion_tokens"]) == ("x", 2)
    props = get(pairs.port, "/props")[1]
    assert (props["batching"], props["batch"], props["batch_wait_s"]) == ("static", 2, 30)


def test_who_is_refused_takes_no_place_in_a_batch(pairs: Served) -> None:
    one, _, _, three = _together(
        pairs, chat("a b"), chat("", max_tokens=1), chat("x", max_tokens=9999), chat("c d")
    )
    assert pairs.model.order == ["ab+cd"]
    assert (said(one), said(three)) == ("ab", "cd")


def test_an_error_ends_a_whole_batch_but_not_the_server(pairs: Served) -> None:
    one, two = _together(pairs, chat("a b c"), chat("x boom"))
    assert [events(stream)[-1]["error"]["type"] for stream in (one, two)] == ["server_error"] * 2
    one, two = _together(pairs, chat("a"), chat("b"))
    assert (said(one), said(two)) == ("a", "b")


def test_a_batch_that_does_not_fill_runs_after_a_while() -> None:
    served = Served(batch=8, wait_s=0.05)
    served.load()
    *_, usage = events(post(served.port, CHAT, chat("a b"))[1])
    assert usage["batch"] == 1
    served.close()


# --- the process ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an image has it: the server's files and an engine that loads one model."""
    folder = tmp_path_factory.mktemp("image")
    for name in ("serve.py", "adapter.py", "text.py"):
        (folder / name).write_bytes((SERVER / name).read_bytes())
    (folder / "engine.py").write_text(
        "from adapter import TextEngine\n"
        "NAME = 'tiny'\n"
        "def flags(parser): parser.add_argument('--kind', choices=['x'])\n"
        "def load(args):\n"
        "    if args.model != 'good': raise OSError('no\\nsuch file')\n"
        "    return Engine()\n"
        "class Engine(TextEngine):\n"
        "    title = 'one'\n"
        "    def props(self): return {}\n"
    )
    return folder


def test_an_engine_that_cannot_tell_its_configuration_ends_with_1_and_the_cause(
    beside: Path, tmp_path: Path
) -> None:
    """Its thread died and the server answered 503 for ever."""
    for path in beside.glob("*.py"):
        shutil.copy(path, tmp_path)
    engine = tmp_path / "engine.py"
    engine.write_text(engine.read_text().replace("return {}", "return None.version"))
    command = _command(tmp_path, "--model", "good", "--host", "127.0.0.1", "--port", str(_free()))
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("tiny: the engine ended: AttributeError: ")
    assert "Traceback" in done.stderr


def _command(folder: Path, *flags: str) -> list[str]:
    return [sys.executable, str(folder / "serve.py"), *flags]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.mark.parametrize(
    "flags",
    [[], ["--model", "x", "--kind", "none"], ["--model", "x", "-z"], ["--model", "x", "--batch=2"]],
)
def test_bad_flags_end_with_2(beside: Path, flags: list[str]) -> None:
    done = subprocess.run(_command(beside, *flags), capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_what_cannot_be_loaded_ends_with_1_and_one_line(beside: Path) -> None:
    command = _command(beside, "--model", "/none", "--port", str(_free()))
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == ["tiny: cannot serve /none: OSError: no such file"]


def test_a_port_that_is_taken_ends_with_1_and_one_line(beside: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = _command(beside, "--model", "good", "--host", "127.0.0.1", "--port", port)
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.startswith(f"tiny: cannot listen on 127.0.0.1:{port}:")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_on_a_signal_and_writes_no_line_a_request(
    beside: Path, number: signal.Signals
) -> None:
    port = _free()
    command = _command(beside, "--model", "good", "--host", "127.0.0.1", "--port", str(port))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        assert "ready, one" in process.stderr.readline()
        assert get(port, "/health")[0] == 200
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()  # one that goes on would hold the test up for minutes
        process.communicate()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
