"""Ollama, against a dialogue written from its public documentation: the real one was not run here.

A canned server answers as the documentation says that Ollama does, and as servers go wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import ArrivalsSpec, DevicesSpec, LimitsSpec, SamplingSpec, WorkloadSpec
from kit.core.prompt import Prompt
from kit.measure.drive.parse import Raw, finished
from kit.run import steps
from kit.spec import runtimes
from kit.spec.runtimes.contract import ServerRequest, environment, scratch_size
from tests.runtimes.specs import SMOLLM2, spec

OLLAMA = runtimes.get("ollama")
WEIGHTS = b"GGUF" + b"w" * (3 << 20)
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


def _body(step: ServerRequest) -> dict[str, Any]:
    assert step.body is not None
    return dict(step.body)


# --- what it is told ------------------------------------------------------------------------------


def test_nothing_is_left_to_its_own_choice() -> None:
    wanted = spec("ollama", {"context": 512}, arrivals=ArrivalsSpec(concurrency=4))
    env = environment(OLLAMA, wanted)
    assert {
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_CONTEXT_LENGTH": "512",
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_KV_CACHE_TYPE": "f16",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_NO_CLOUD": "1",
    }.items() <= env.items()
    assert all(env[name].startswith("/tmp") for name in ("HOME", "OLLAMA_MODELS"))
    automatic = spec("ollama", {"flash_attention": "auto"})
    assert "OLLAMA_FLASH_ATTENTION" not in OLLAMA.env(automatic)
    assert OLLAMA.argv(wanted) == ("serve",)


def test_the_model_is_uploaded_made_and_loaded_then_unloaded() -> None:
    wanted = spec("ollama", {"context": 512}, sampling=SamplingSpec(top_k=7))
    upload, create, load = OLLAMA.preparing(wanted)
    assert (upload.path, upload.upload) == (f"/api/blobs/sha256:{SMOLLM2.sha256}", SMOLLM2.sha256)
    made = _body(create)
    assert made["files"] == {SMOLLM2.path: f"sha256:{SMOLLM2.sha256}"}
    assert "template" not in made
    assert made["parameters"] == {
        "num_ctx": 512,
        "num_batch": 512,
        "num_gpu": 0,
        "top_k": 7,
        "min_p": 0,
        "repeat_penalty": 1,
    }
    assert _body(load) == {"model": made["model"], "keep_alive": -1, "stream": False}
    (unload,) = OLLAMA.closing(wanted)
    assert _body(unload) == {"model": made["model"], "keep_alive": 0, "stream": False}
    _, asked = OLLAMA.request(wanted, Prompt("p", "Why?", 8), 0)
    assert asked["model"] == made["model"]


def test_a_base_models_prompt_goes_through_no_template() -> None:
    bare = _body(OLLAMA.preparing(spec("ollama", {"api": "completion"}))[1])
    assert bare["template"] == "{{ .Prompt }}"


@pytest.mark.parametrize(("gpus", "asked", "layers"), [(0, None, 0), (1, None, 999), (2, 5, 5)])
def test_layers_follow_from_the_gpus_asked_for(gpus: int, asked: int | None, layers: int) -> None:
    wanted = spec("ollama", {"gpu_layers": asked}, devices=DevicesSpec(gpus=gpus))
    assert _body(OLLAMA.preparing(wanted)[1])["parameters"]["num_gpu"] == layers
    assert ("OLLAMA_SCHED_SPREAD" in OLLAMA.env(wanted)) == (gpus > 1)


def test_its_store_has_room_for_the_model() -> None:
    assert scratch_size(OLLAMA, spec("ollama")) == (1 << 30) + SMOLLM2.size
    assert scratch_size(OLLAMA, spec("ollama", weights=None)) == 1 << 30
    vllm = runtimes.get("vllm")
    assert scratch_size(vllm, spec("vllm")) == vllm.scratch_bytes


# --- what it cannot do ----------------------------------------------------------------------------


def _paths(options: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    return [problem.path for problem in OLLAMA.problems(spec("ollama", options, **changes))]


def test_what_it_cannot_do_is_said_before_the_launch() -> None:
    assert OLLAMA.equal_work is False
    same = WorkloadSpec(name="prompts", options={"max_output_tokens": 64, "unique_prefix": False})
    assert _paths(workload=same) == ["$.workload.options.unique_prefix"]
    small = {"kv_cache": "q8_0"}
    assert _paths(small) == []
    assert _paths({**small, "flash_attention": "off"}) == ["$.runtime.options.kv_cache"]


@pytest.mark.parametrize(("gpus", "mib", "fits"), [(0, 200, False), (0, 256, True), (1, 200, True)])
def test_memory_must_hold_the_store_too(gpus: int, mib: int, fits: bool) -> None:
    limits, devices = LimitsSpec(memory_mib=mib), DevicesSpec(gpus=gpus)
    found = _paths(limits=limits, devices=devices)
    assert found == ([] if fits else ["$.limits.memory_mib"])


# --- a dialogue -----------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Canned answers, in the forms that Ollama's documentation shows."""

    protocol_version = "HTTP/1.1"
    heard: list[tuple[str, str, Any]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/api/blobs/"):
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            self.heard.append(("POST", self.path, len(data)))
            return self._reply(201 if self.path.endswith(digest) else 400, b"")
        asked = json.loads(data)
        self.heard.append(("POST", self.path, asked))
        if self.path == "/api/create":
            return self._reply(200, b'{"status":"success"}')
        if asked["model"] == "absent":
            return self._reply(404, b'{"error":"model \'absent\' not found"}')
        if asked["model"] == "polite":  # an error under a status of success
            return self._reply(200, b'{"error":"llama runner terminated\\u001b[2J"}')
        if asked["model"] == "slow":
            time.sleep(20)
        if asked["model"] == "mute":
            self.close_connection = True
            return None
        reason = "unload" if asked["keep_alive"] == 0 else "load"
        answer = {"model": "model", "response": "", "done": True, "done_reason": reason}
        return self._reply(200, json.dumps(answer).encode())

    def _reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "model.gguf"
    path.write_bytes(WEIGHTS)
    return {DIGEST: path, SMOLLM2.sha256: path}


def _send(url: str, step: ServerRequest, files: dict[str, Path], **changes: Any) -> steps.Outcome:
    given = {"timeout_s": 10.0, "waiting": lambda: False} | changes
    return steps.send(url, step, files, given["timeout_s"], given["waiting"])


def test_the_whole_dialogue_goes_well(url: str, files: dict[str, Path]) -> None:
    model = msgspec.structs.replace(SMOLLM2, sha256=DIGEST, size=len(WEIGHTS))
    usual = spec("ollama")
    assert usual.weights
    wanted = msgspec.structs.replace(
        usual, weights=msgspec.structs.replace(usual.weights, files=(model,))
    )
    Handler.heard.clear()
    outcomes = [
        _send(url, step, files) for step in (*OLLAMA.preparing(wanted), *OLLAMA.closing(wanted))
    ]
    assert [(o.status, o.error) for o in outcomes] == [(201, ""), (200, ""), (200, ""), (200, "")]
    assert [path for _, path, _ in Handler.heard] == [
        f"/api/blobs/sha256:{DIGEST}",
        "/api/create",
        "/api/generate",
        "/api/generate",
    ]
    assert Handler.heard[0][2] == len(WEIGHTS)


def test_another_file_than_the_named_one_is_refused_by_the_server(
    url: str, files: dict[str, Path]
) -> None:
    upload = OLLAMA.preparing(spec("ollama"))[0]
    assert _send(url, upload, files)[:2] == (400, "HTTP 400")


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("absent", 404, "HTTP 404: model 'absent' not found"),
        ("polite", 200, "HTTP 200: llama runner terminated"),
        ("mute", None, "no answer (RemoteDisconnected)"),
    ],
)
def test_a_step_that_fails_says_why(url: str, model: str, status: int | None, words: str) -> None:
    step = ServerRequest("load", "POST", "/api/generate", {"model": model, "keep_alive": -1})
    outcome = _send(url, step, {})
    assert (outcome.status, outcome.error) == (status, words)


def test_a_step_is_given_up_in_time_or_when_asked(url: str) -> None:
    step = ServerRequest("load", "POST", "/api/generate", {"model": "slow", "keep_alive": -1})
    late = _send(url, step, {}, timeout_s=0.2)
    assert late.status is None
    assert late.error.startswith("no answer within 0.")
    asked = iter([False, True, True])
    assert _send(url, step, {}, waiting=lambda: next(asked)).seconds < 5


def test_nobody_listens() -> None:
    step = ServerRequest("load", "POST", "/", {})
    assert _send("http://127.0.0.1:9", step, {}).error == "no answer (ConnectionRefusedError)"


# --- what it answers ------------------------------------------------------------------------------

_STREAM = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model",'
    '"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant",'
    '"content":"Blue"},"finish_reason":null}]}',
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model",'
    '"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant",'
    '"content":""},"finish_reason":"stop"}]}',
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model",'
    '"system_fingerprint":"fp_ollama","choices":[],"usage":{"prompt_tokens":26,'
    '"completion_tokens":2,"total_tokens":28}}',
    "[DONE]",
)


def test_a_stream_with_its_usage_is_a_good_answer() -> None:
    body = b"".join(f"data: {line}\n\n".encode() for line in _STREAM)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    whole = head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    raw = Raw(
        index=0,
        stage="measured",
        item="p",
        intended=0,
        sent=1,
        done=9,
        status="ok",
        error=None,
        code=None,
        reads=[(5, whole)],
        end_mark=OLLAMA.end_mark,
    )
    request, response = finished(raw, 0)
    assert (request.status, request.error) == ("ok", None)
    assert (request.prompt_tokens, request.output_tokens) == (26, 2)
    assert response.text == "Blue"


_LOG = """\
time=2026-01-21T07:58:24.393Z level=INFO source=routes.go:1 msg="server config" env="map[A:1 B:[x]]"
time=2026-01-21T07:58:24.397Z level=INFO source=routes.go:2 msg="Listening on [::]:11434 (version 0.34.4)"
time=2026-01-21T07:58:24.398Z level=INFO source=types.go:3 msg="inference compute" id=GPU-1 library=CUDA name=CUDA0
load_tensors: offloaded 31/31 layers to GPU
time=2026-01-21T07:58:26.735Z level=INFO source=server.go:4 msg="llama runner started in 1.26 seconds"
"""  # noqa: E501 lines of a log


def test_its_log_tells_what_is_in_effect_and_not_which_gpu() -> None:
    found = {n: re.findall(pattern, _LOG)[-1] for n, pattern in OLLAMA.log_facts.items()}
    assert found == {
        "version": "0.34.4",
        "settings": "A:1 B:[x]",
        "device": "library=CUDA name=CUDA0",
        "layers": "31/31",
        "runner_s": "1.26",
    }
