"""Every runtime with a spec in specs/runtimes/: a real model in its real image, from run to replay.

Each spec asks for the same work. Each run is sealed, verified, held against llama-server's, and run
again from its archive. `make test-runtimes RUNTIME=vllm` takes one; one that passed on the
same sources is not run again with RESUME=1 (`tests.runtimes.done`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import dispatch
from kit.core import jsonio, resources
from kit.judge import replay as replaying
from kit.machine import containers, images
from kit.record import records
from kit.record.records import RunRecords
from kit.spec import runtimes
from kit.spec import spec as specs
from kit.store.store import Store
from tests.runtimes.done import once

pytestmark = [
    pytest.mark.docker,
    pytest.mark.real,
    pytest.mark.runtimes,
    pytest.mark.timeout(3600),  # an image that is not there yet is built, or compiled, first
]
FOLDER = Path(__file__).parents[2] / "specs/runtimes"
REFERENCE = "llama-server"
# Ollama's image is its maker's: no registry here has it, and test_ollama.py says what was tested.
NAMES = sorted(
    path.stem for path in FOLDER.glob("*.json") if specs.load(path).image.recipe is not None
)
OTHERS = [name for name in NAMES if name != REFERENCE]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("same-work") / "runs")


@pytest.fixture(scope="module")
def reference(store: Store, engine: containers.Engine) -> Path:
    return ran(REFERENCE, store)


def ran(name: str, store: Store) -> Path:
    """The sealed run of the spec called ``name``, one launch long."""
    document = {**json.loads((FOLDER / f"{name}.json").read_text("utf-8")), "launches": 1}
    images.build(document["image"]["recipe"])
    path = store.root.parent / f"{name}.json"
    path.write_bytes(jsonio.canonical(document))
    before = set(store.hashes())
    assert dispatch(["weights", "add", str(path)]) == 0
    assert dispatch(["run", str(path), "--runs", str(store.root)]) == 0
    (made,) = set(store.hashes()) - before
    return store.root / made


def facts(run: Path) -> Iterator[tuple[str, Any]]:
    """What the run shows of the work that was done."""
    loaded: RunRecords = records.read(run)
    answers = [r for r in loaded.requests[0] if r.stage == "measured"]
    yield "status", {r.status for r in answers}
    yield "output", [r.output_tokens for r in answers]
    yield "prompt", [r.prompt_tokens for r in answers]
    yield "cached", {r.cached_tokens for r in answers}
    yield "texts", [r.text for r in loaded.responses[0] if r.stage == "measured"]
    yield "effective", loaded.effective[0]


def test_every_runtime_of_texts_with_an_image_of_kit_has_a_spec() -> None:
    named = {specs.load(FOLDER / f"{name}.json").runtime.name for name in NAMES}
    known = [runtimes.get(name) for name in runtimes.names()]
    assert {r.name for r in known if r.real and r.recipe and r.makes == "text"} <= named


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_work_is_done_sealed_verified_and_done_again(
    name: str, store: Store, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with once(name):
        _the_same_work(name, store, reference, capsys)


def _the_same_work(
    name: str, store: Store, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(name, store)
    assert dispatch(["verify", str(run)]) == 0, capsys.readouterr().out
    _spelled(run, capsys)
    done, there = dict(facts(run)), dict(facts(reference))
    runtime = runtimes.get(specs.load(FOLDER / f"{name}.json").runtime.name)
    assert done["status"] == {"ok"}
    assert all(done["texts"])
    assert not any("unavailable" in str(answer) for answer in done["effective"].values())
    if runtime.equal_work:
        assert done["output"] == there["output"] == [64] * 6
    if runtime.streams_usage:
        assert done["prompt"] == there["prompt"]
        assert done["cached"] <= {0}, "a prompt came from a cache, or nobody tells"
    _compared(runtime, reference, run)
    code = dispatch(["replay", str(run), "--yes", "--runs", str(store.root)])
    assert code == 0, capsys.readouterr().err


def _spelled(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ids of prompts and the counts of answers are those of the pinned tokenizer, if any is."""
    weights = records.read(run).spec.weights
    for file in weights.files if weights else ():
        if file.path == "tokenizer.json":
            tokenizer = str(resources.cache_dir() / "weights" / file.sha256)
            assert dispatch(["verify", str(run), "--tokenizer", tokenizer]) == 0
            assert "tokens by the server" in capsys.readouterr().err


def _compared(runtime: runtimes.Runtime, reference: Path, run: Path) -> None:
    """The comparison says of every point what is so, and lets nothing differ that is asked for."""
    judged = replaying.judge(reference, run, ["runtime", "weights"])
    assert judged.work is not None
    same = {point.what: point.same for point in judged.work.points}
    assert not judged.work.ids_differ, judged.work.ids_differ
    assert same["model"] == "same"
    if runtime.prompt_ids:
        assert same["prompts"] == "same", judged.work
    if runtime.equal_work:
        assert same["answers"] == "same", judged.work
