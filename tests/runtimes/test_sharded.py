"""A real model in three safetensors files gives the texts of the same model in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import dispatch
from kit.core import resources
from kit.machine import containers, images
from kit.machine.weights import own
from kit.record import records
from kit.store.store import Store
from tests import safetensors
from tests.runtimes.done import once
from tests.runtimes.specs import SPECS

pytestmark = [
    pytest.mark.docker,
    pytest.mark.real,
    pytest.mark.runtimes,
    pytest.mark.timeout(3600),  # images and the derived model may have to be made first
]
COUNT = 3


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_a_model_in_parts_answers_as_the_whole_one(
    name: str, engine: containers.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with once(f"sharded-{name}"):
        _answers_as_the_whole_one(name, tmp_path, monkeypatch)


def _answers_as_the_whole_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((SPECS / f"{name}.json").read_text())
    document |= {"launches": 1, "phases": {"idle_s": 0, "loaded_idle_s": 0, "warmup_requests": 0}}
    document["workload"]["options"] |= {"requests": 2, "max_output_tokens": 16}
    images.build(document["image"]["recipe"])
    whole = ran(document, tmp_path / "whole")

    folder = tmp_path / "model"
    parts(document["weights"], folder)
    (tmp_path / "host.toml").write_text(f'[weights]\nfolders = ["{folder}"]\n')
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    in_parts = own.described(own.find(str(folder)))
    assert sum(f.path.endswith(".safetensors") for f in in_parts.files) == COUNT
    assert ran({**document, "weights": in_parts.weights}, tmp_path / "parts") == whole


def parts(weights: dict[str, Any], folder: Path) -> None:
    """The model of a spec, whose files are here, in a folder, in parts."""
    folder.mkdir()
    for file in weights["files"]:
        data = (resources.cache_dir() / "weights" / file["sha256"]).read_bytes()
        whole = {file["path"]: data}
        split = safetensors.split(data, COUNT) if file["path"] == "model.safetensors" else whole
        for path, content in split.items():
            (folder / path).write_bytes(content)


def ran(document: dict[str, Any], folder: Path) -> list[str]:
    """The texts of a run of the spec, which is sealed and verified."""
    folder.mkdir()
    path, store = folder / "spec.json", Store(folder / "runs")
    path.write_text(json.dumps(document))
    assert dispatch(["weights", "add", str(path)]) == 0
    assert dispatch(["run", str(path), "--runs", str(store.root)]) == 0
    (made,) = store.hashes()
    assert dispatch(["verify", str(store.root / made)]) == 0
    return [response.text for response in records.read(store.root / made).responses[0]]
