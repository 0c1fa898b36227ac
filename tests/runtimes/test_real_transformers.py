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

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.core.model import ArrivalsSpec, RunSpec
from kit.core.prompt import Prompt
from kit.machine import containers, images
from kit.record import records
from kit.record.records import RunRecords
from kit.run.launch import Running
from kit.spec import runtimes
from kit.store.store import Store
from tests.runtimes import test_real as real
from tests.runtimes.specs import SPECS, spec

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
        effective = running.effective(RUNTIME)
    assert effective["/props"]["device"] == "CPU"
    assert (effective["/props"]["dtype"], effective["/props"]["batch"]) == ("float32", 1)
    msgspec.json.encode(effective)

    two = spec("transformers", {"context": 512, "batch": 2}, arrivals=ArrivalsSpec(concurrency=2))
    with _running(engine, two, tmp_path, 1) as running, ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda number: _ask(running, two, number), range(2)))
        props = running.effective(RUNTIME)["/props"]
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
        props = running.effective(RUNTIME)["/props"]
    assert props["quantised"].startswith(quantisation)
    # A quarter or an eighth of float32, and the embedding, which keeps it: 21 % of the weights.
    assert props["parameter_bytes"] < props["parameters"] * 4 * (
        0.42 if quantisation == "int8" else 0.37
    )
    assert len(text.split()) > 10


def _run(store: Store, changes: dict[str, Any], gguf: bool) -> RunRecords:
    """The sealed and verified run of kit's spec with two short answers."""
    document = json.loads((SPECS / "transformers.json").read_text("utf-8"))
    document["runtime"]["options"] |= changes
    document["workload"]["options"] |= {"requests": 2, "max_output_tokens": 24}
    if gguf:
        document["weights"] = json.loads((SPECS / "llama-server.json").read_text("utf-8"))[
            "weights"
        ]
        document["limits"]["memory_mib"] = 6144
    path = store.root.parent / "spec.json"
    path.write_bytes(jsonio.canonical(document | {"launches": 1}))
    before = set(store.hashes())
    assert dispatch(["weights", "add", str(path)]) == 0
    assert dispatch(["run", str(path), "--runs", str(store.root)]) == 0
    (made,) = set(store.hashes()) - before
    assert dispatch(["verify", str(store.root / made)]) == 0
    return records.read(store.root / made)


@pytest.mark.parametrize("gguf", [False, True], ids=["safetensors", "gguf"])
def test_three_ranks_give_what_one_gives(
    engine: containers.Engine, tmp_path: Path, gguf: bool
) -> None:
    """SmolLM2 has nine attention heads, three of keys and values. Of a GGUF file each rank
    dequantises the whole, and keeps its part."""
    assert images.build("transformers").matches_lock
    store = Store(tmp_path / "runs")
    alone, shared = (_run(store, options, gguf) for options in ({}, {"tensor_parallel": 3}))
    for run in (alone, shared):
        assert [r.output_tokens for r in run.requests[0] if r.stage == "measured"] == [24, 24]
    assert [(r.stage, r.text) for r in shared.responses[0]] == [
        (r.stage, r.text) for r in alone.responses[0]
    ]
    one, three = alone.effective[0]["/props"], shared.effective[0]["/props"]
    assert (one["tensor_parallel"], three["tensor_parallel"]) == (1, 3)
    assert [rank["device"] for rank in three["ranks"]] == ["CPU"] * 3
    assert three["parameters"] == one["parameters"]
    assert one["parameter_bytes"] <= three["parameter_bytes"] < 1.01 * one["parameter_bytes"]
