"""A pipeline of one's own: its parts in folders, each found by its path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import KitError, UsageError
from kit.machine import weights
from kit.machine.weights import naming, own
from kit.machine.weights.room import Room
from kit.spec import begin, models
from kit.spec import spec as specs
from tests import pipelines

HERE = Room(memory=64 << 30, gpus=(), disk=100 << 30)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "drawer", pipelines.pipeline())


def test_its_parts_are_found_and_what_is_no_part_is_left_out(folder: Path) -> None:
    found = own.described(own.find(str(folder)))
    assert (found.kind, found.name, found.licence) == ("pipeline", "drawer", "openrail")
    assert [file.path for file in found.files] == pipelines.USED
    assert {file.source for file in found.files} == {f"file:{path}" for path in pipelines.USED}
    assert models.is_model(folder)


def test_it_becomes_a_spec_of_images_that_passes_its_own_check(folder: Path) -> None:
    document = begin.spec_for(own.described(own.find(str(folder))), HERE)
    assert specs.problems(document) == []
    spec = specs.parse(json.dumps(document).encode())
    assert (spec.runtime.name, spec.workload.name) == ("diffusers", "images")
    assert begin.warnings(own.described(own.find(str(folder))), document, HERE) == []


def test_files_of_one_name_in_other_folders_are_other_files(folder: Path, tmp_path: Path) -> None:
    """Each part has a config.json, and so has another model beside it."""
    other = written(tmp_path / "other", {"config.json": b'{"of": "another model"}'})
    wanted = own.described(own.find(str(folder))).spec
    for folders in ((other, folder), (folder, other)):
        assert [d for d in naming.doubts(wanted, folders) if d.level == "fail"] == []
        for file in wanted.files:
            assert weights.require(file, folders) == folder / file.path


def test_a_part_with_other_bytes_is_not_taken(folder: Path) -> None:
    wanted = own.described(own.find(str(folder))).spec
    (folder / "unet/config.json").write_bytes(b'{"of": "something else"}')
    file = next(file for file in wanted.files if file.path == "unet/config.json")
    with pytest.raises(KitError, match=re.escape("unet/config.json")):
        weights.require(file, (folder,))


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (["unet/config.json", "unet/diffusion_pytorch_model.safetensors.index.json"], "lacks unet"),
        (["unet/diffusion_pytorch_model-00002-of-00002.safetensors"], "00002-of-00002"),
        (["text_encoder/model.safetensors"], "lacks text_encoder"),
        (["tokenizer/merges.txt", "tokenizer/vocab.json"], "lacks tokenizer"),
    ],
)
def test_a_part_that_is_missing_is_named(folder: Path, gone: list[str], words: str) -> None:
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(UsageError) as caught:
        own.find(str(folder))
    assert words in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["../outside", "/etc", "a/b", "..", ".", "", "a\nb", "x" * 300])
def test_a_part_of_a_hostile_name_is_none(tmp_path: Path, name: str) -> None:
    written(tmp_path / "outside", {"config.json": b"{}", "model.safetensors": b"secret"})
    hostile: dict[str, Any] = {name: ["diffusers", "UNet2DConditionModel"]}
    folder = written(tmp_path / "drawer", pipelines.pipeline(**hostile))
    assert [file.path for file in own.described(own.find(str(folder))).files] == pipelines.USED


@pytest.mark.parametrize("index", [b"", b"[]", b"{", b"nan", b'{"unet": "x"}', b"\xff" * 9])
def test_an_index_that_is_none_gives_no_part(folder: Path, index: bytes) -> None:
    (folder / pipelines.INDEX).write_bytes(index)
    with pytest.raises(UsageError):
        own.find(str(folder))
