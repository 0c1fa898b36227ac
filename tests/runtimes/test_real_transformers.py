"""Transformers with a small real model in kit's own image, as its runtime states."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.model import ArrivalsSpec, RunSpec
from kit.core.prompt import Prompt
from kit.machine import containers
from kit.run.launch import Running
from kit.spec import runtimes
from tests.runtimes import test_real as real
from tests.runtimes.specs import spec

pytestmark = [
    pytest.mark.docker,
    pytest.mark.real,
    pytest.mark.runtimes,
    pytest.mark.timeout(900),  # where the image is not there yet, it is built first
]
RUNTIME = runtimes.get("transformers")
PROMPTS = [
    Prompt("sky", "Why is the sky blue?", 24),
    Prompt(
        "sea", "Name three reasons why the water of the sea tastes of salt, and rivers not.", 12
    ),
]


@contextmanager
def _running(engine: containers.Engine, wanted: RunSpec, folder: Path, index: int) -> Iterator[Any]:
    with real._launched(engine, wanted, folder, index) as running:
        yield running
        running.stop(10)
    lines = (folder / f"{index}.log").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"transformers: listening on {_listen(wanted, engine)}",
        "transformers: ready",
    ], "noise hides what goes wrong"


def _listen(wanted: RunSpec, engine: containers.Engine) -> str:
    network, _ = containers.network_plan(engine.facts())
    return f"{'127.0.0.1' if network == 'host' else '0.0.0.0'}:{RUNTIME.port}"


def _events(running: Running, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection(running.base_url.removeprefix("http://"), timeout=300)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    assert response.status == 200, data
    assert data.endswith(b"data: [DONE]\n\n")
    return [json.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]


def _ask(running: Running, wanted: RunSpec, number: int) -> tuple[str, dict[str, Any]]:
    """The text and the last event; there was one event a token."""
    prompt = PROMPTS[number]
    *tokens, last = _events(running, *RUNTIME.request(wanted, prompt, number))
    assert len(tokens) == last["usage"]["completion_tokens"] == prompt.max_tokens
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    return "".join(event["choices"][0]["delta"]["content"] for event in tokens), last


def test_transformers_does_what_its_runtime_says(engine: containers.Engine, tmp_path: Path) -> None:
    one = spec("transformers", {"context": 512})
    with _running(engine, one, tmp_path, 0) as running:
        alone = [_ask(running, one, number) for number in range(2)]
        assert _ask(running, one, 0)[0] == alone[0][0], "a repeated prompt changed its text"
        for number, (_, last) in enumerate(alone):
            _, body = RUNTIME.request(one, PROMPTS[number], number)
            ids = real._post(running.base_url, "/tokenize", body)["tokens"]
            assert len(ids) == last["usage"]["prompt_tokens"]
        effective = running.effective(RUNTIME.effective_paths)
    assert effective["/props"]["device"] == "CPU"
    assert (effective["/props"]["dtype"], effective["/props"]["batch"]) == ("float32", 1)
    msgspec.json.encode(effective)

    two = spec("transformers", {"context": 512, "batch": 2}, arrivals=ArrivalsSpec(concurrency=2))
    with _running(engine, two, tmp_path, 1) as running, ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda number: _ask(running, two, number), range(2)))
        props = running.effective(RUNTIME.effective_paths)["/props"]
    assert (props["batching"], props["batch"]) == ("static", 2)
    for (before, _), (now, last) in zip(alone, together, strict=True):
        assert last["batch"] == 2, "they did not run together"
        assert now == before, "in float32, padding changed a text"


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_transformers_runs_quantised(
    engine: containers.Engine, tmp_path: Path, quantisation: str
) -> None:
    wanted = spec("transformers", {"context": 512, "quantisation": quantisation})
    with _running(engine, wanted, tmp_path, 2) as running:
        text, _ = _ask(running, wanted, 0)
        props = running.effective(RUNTIME.effective_paths)["/props"]
    assert props["quantised"].startswith(quantisation)
    # A quarter or an eighth of float32, and the embedding, which keeps it: 21 % of the weights.
    assert props["parameter_bytes"] < props["parameters"] * 4 * (
        0.42 if quantisation == "int8" else 0.37
    )
    assert len(text.split()) > 10
