"""The Transformers server: what needs no PyTorch as it is, and the rest where PyTorch is there."""

from __future__ import annotations

import http.client
import importlib.util
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import resources
from kit.core.model import Prompt
from kit.spec import runtimes
from tests.runtimes.specs import spec

FOLDER = resources.images_dir() / "transformers"
CHAT, BARE = "/v1/chat/completions", "/v1/completions"
ASKED = {
    "messages": [{"role": "user", "content": "a b"}],
    "max_tokens": 3,
    "temperature": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made  # as when the server's own folder is on the path: serve imports lm
    spec.loader.exec_module(made)
    return made


lm = _module("lm")
serve = _module("serve")


def _post(port: int, path: str, body: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _get(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _events(stream: bytes) -> list[Any]:
    lines = [line[6:] for line in stream.split(b"\n\n") if line.startswith(b"data: ")]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def _text(stream: bytes) -> str:
    return "".join(e["choices"][0]["delta"]["content"] for e in _events(stream) if e["choices"])


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_what_kits_runtime_sends_is_understood(api: str) -> None:
    wanted = spec("transformers", {"api": api})
    prompt = Prompt("p", "Why?", 16)
    path, body = runtimes.get("transformers").request(wanted, prompt, 5)
    asked = serve.read_request(path, json.dumps(body).encode())
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.top_k) == (16, 0, 1, 0)
    assert (asked.stream, asked.include_usage, asked.ignore_eos) == (True, True, True)
    assert asked.seed == wanted.sampling.seed + 5
    assert asked.prompt == ("Why?" if api == "completion" else None)
    assert (asked.messages is None) == (api == "completion")


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
    with pytest.raises(lm.BadRequest, match=message):
        serve.read_request(CHAT, json.dumps(ASKED | change).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"3"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(lm.BadRequest):
        serve.read_request(BARE, body)


# --- text out of tokens -------------------------------------------------------------------------


def _of_bytes(ids: list[int]) -> str:
    """A tokenizer with one token a byte: every character beyond ASCII is spread over several."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_bytes_become_whole_characters_and_nothing_is_lost(text: str) -> None:
    words = lm.Detokenizer(_of_bytes)
    pieces = [words.add(token) for token in text.encode()]
    assert "".join(pieces) + words.rest() == text
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in pieces)


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    words = lm.Detokenizer(_of_bytes)
    assert [words.add(token) for token in "x😀".encode()[:3]] == ["x", "", ""]
    assert words.rest() == "\ufffd"


def test_a_leading_space_survives_after_the_prompt() -> None:
    """As SentencePiece has it: the space of a list's first word is not shown."""

    def decode(ids: list[int]) -> str:
        return "".join(f" word{i}" for i in ids).removeprefix(" ")

    words = lm.Detokenizer(decode, before=[7])
    assert [words.add(8), words.add(9)] == [" word8", " word9"]


def test_a_token_without_text_does_not_eat_the_next_space() -> None:
    def decode(ids: list[int]) -> str:
        return "".join(f" word{i}" for i in ids if i).removeprefix(" ")

    words = lm.Detokenizer(decode)
    assert [words.add(i) for i in (1, 0, 2)] == ["word1", "", " word2"]


# --- a line of requests, over HTTP, with a scripted model -------------------------------------


class Scripted:
    """Says the words of the prompt, each when it is let through; fails on the word ``boom``."""

    def __init__(self) -> None:
        self.let: queue.SimpleQueue[None] | None = None
        self.order: list[str] = []

    def props(self) -> dict[str, Any]:
        return {"dtype": "none"}

    def answer(self, asked: Any) -> tuple[int, Iterator[Any]]:
        text = asked.prompt or asked.messages[-1]["content"]
        if text == "too long":
            raise lm.BadRequest("over the context")
        self.order.append(text)
        return len(text.split()), self._pieces(text.split())

    def _pieces(self, words: list[str]) -> Iterator[Any]:
        for number, word in enumerate(words, 1):
            if self.let is not None:
                self.let.get(timeout=30)
            if word == "boom":
                raise RuntimeError("out of\nmemory")
            yield lm.Piece(word, "length" if number == len(words) else None)


class Served:
    def __init__(self) -> None:
        self.line, self.model = serve.Line("model"), Scripted()
        self.server = serve.Server(("127.0.0.1", 0), self.line)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def load(self) -> None:
        threading.Thread(target=self.line.serve, args=(self.model,), daemon=True).start()
        assert self.line.ready.wait(10)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.server.shutdown()
    made.server.server_close()


def _chat(text: str) -> dict[str, Any]:
    return ASKED | {"messages": [{"role": "user", "content": text}]}


def test_nothing_is_answered_before_the_model_is_there(served: Served) -> None:
    assert _get(served.port, "/health")[0] == 503
    assert _get(served.port, "/props")[0] == 503
    assert _post(served.port, CHAT, ASKED)[0] == 503
    served.load()
    assert _get(served.port, "/health") == (200, {"status": "ok"})
    props = {"runtime": "transformers", "model_alias": "model", "dtype": "none"}
    assert _get(served.port, "/props") == (200, props)
    assert [m["id"] for m in _get(served.port, "/v1/models")[1]["data"]] == ["model"]
    assert _get(served.port, "/nowhere")[0] == 404


def test_a_stream_has_one_event_a_token_and_the_usage_at_its_end(served: Served) -> None:
    served.load()
    status, stream = _post(served.port, CHAT, _chat("a b c"))
    *tokens, usage = _events(stream)
    assert status == 200
    assert [e["choices"][0]["delta"]["content"] for e in tokens] == ["a", "b", "c"]
    assert [e["choices"][0]["finish_reason"] for e in tokens] == [None, None, "length"]
    assert tokens[0]["choices"][0]["delta"]["role"] == "assistant"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == usage["usage"]["prompt_tokens"] == 3
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


def test_an_event_leaves_before_the_next_token_is_made(served: Served) -> None:
    served.model.let = queue.SimpleQueue()
    served.load()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("POST", CHAT, json.dumps(_chat("a b")))
    served.model.let.put(None)
    response = connection.getresponse()
    assert b'"content":"a"' in response.readline()
    served.model.let.put(None)
    assert b'"content":"b"' in response.read()
    connection.close()


def test_the_whole_answer_without_a_stream(served: Served) -> None:
    served.load()
    document = json.loads(_post(served.port, BARE, {"prompt": "a b", "max_tokens": 2})[1])
    assert document["choices"][0]["text"] == "ab"
    assert document["usage"]["total_tokens"] == 4


def test_requests_are_served_in_the_order_of_arrival(served: Served) -> None:
    served.model.let = queue.SimpleQueue()
    served.load()
    threads = []
    for number in range(4):
        thread = threading.Thread(target=_post, args=(served.port, CHAT, _chat(f"{number}")))
        thread.start()
        threads.append(thread)
        _until(lambda n=number: served.line._jobs.qsize() + len(served.model.order) > n)
    for _ in threads:
        served.model.let.put(None)
    for thread in threads:
        thread.join(30)
    assert served.model.order == ["0", "1", "2", "3"]


def _until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


def test_errors_are_told_and_the_server_lives(served: Served) -> None:
    served.load()
    assert _post(served.port, CHAT, _chat("too long"))[0] == 400
    status, body = _post(served.port, CHAT, _chat("boom"))
    assert (status, json.loads(body)["error"]["message"]) == (500, "RuntimeError: out of memory")
    status, stream = _post(served.port, CHAT, _chat("a boom"))
    assert status == 200
    assert _events(stream)[-1]["error"]["type"] == "server_error"
    assert _post(served.port, CHAT, b"{")[0] == 400
    assert _post(served.port, "/nowhere", {})[0] == 404
    assert _text(_post(served.port, CHAT, _chat("a b"))[1]) == "ab"


def test_who_hangs_up_does_not_hold_the_line(served: Served) -> None:
    served.load()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", served.port)) as gone:
            body = json.dumps(_chat("a " * 2000)).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
    assert _text(_post(served.port, CHAT, _chat("a b"))[1]) == "ab"


# --- the process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["--model", "x", "--attn", "none"], ["--model", "x", "-z"]])
def test_bad_flags_end_with_2(flags: list[str]) -> None:
    done = subprocess.run([sys.executable, FOLDER / "serve.py", *flags], capture_output=True)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_what_cannot_be_loaded_ends_with_1_and_one_line() -> None:
    """Without PyTorch, for want of it; with it, for want of a model."""
    command = [sys.executable, FOLDER / "serve.py", "--model", "/none", "--port", str(_free())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot serve /none" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- a real model, of random weights ------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two small layers and a tokenizer of one token a byte, saved as a folder."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed here")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0, **{letter: i for i, letter in enumerate(alphabet, 1)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def running(tiny: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = _free()
    command = [sys.executable, str(FOLDER / "serve.py"), "--model", str(tiny), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        assert "ready" in process.stderr.readline()
        yield process, port
        process.kill()


def _ask(port: int, **changes: Any) -> bytes:
    status, stream = _post(port, CHAT, ASKED | {"ignore_eos": True, "max_tokens": 40} | changes)
    assert status == 200, stream
    return stream


def test_a_model_generates_what_is_asked_for(running: tuple[Any, int]) -> None:
    _, port = running
    *tokens, usage = _events(_ask(port))
    assert len(tokens) == usage["usage"]["completion_tokens"] == 40
    assert usage["usage"]["prompt_tokens"] == len("user: a b\n")
    assert tokens[-1]["choices"][0]["finish_reason"] == "length"
    props = _get(port, "/props")[1]
    assert (props["device"], props["attention"], props["max_context"]) == ("CPU", "sdpa", 128)
    assert (props["dtype"], props["end_tokens"]) == ("float32", [0])
    over = ASKED | {"max_tokens": 128}
    assert b"over the context of 128" in _post(port, CHAT, over)[1]


def test_greedy_repeats_itself_and_sampling_follows_the_seed(running: tuple[Any, int]) -> None:
    _, port = running
    assert _text(_ask(port)) == _text(_ask(port))
    sampled = {"temperature": 1.5, "top_k": 50, "top_p": 0.95}
    first = _text(_ask(port, seed=1, **sampled))
    assert _text(_ask(port, seed=1, **sampled)) == first
    assert _text(_ask(port, seed=2, **sampled)) != first


def test_the_cache_changes_nothing(running: tuple[Any, int], tiny: Path) -> None:
    """The tokens are those of the model run over the whole text for each of them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (c.from_pretrained(tiny) for c in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer("user: a b\n")["input_ids"]
    start = len(ids)
    with torch.inference_mode():
        for _ in range(12):
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            logits[0] = -torch.inf  # the end is never chosen
            ids.append(int(logits.argmax()))
    assert _text(_ask(running[1], max_tokens=12)) == tokenizer.decode(ids[start:])


def test_it_ends_on_sigterm(running: tuple[Any, int]) -> None:
    process, _ = running
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
