"""Safetensors in several files: taken whole, or refused with one error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.core.errors import SpecInvalid, UsageError
from kit.core.model import WeightFile, WeightsSpec
from kit.machine import weights
from kit.machine.weights import own, shards
from kit.spec import spec as specs
from tests import safetensors
from tests.test_pin import TEMPLATE

SHARDS = sorted(name for name in safetensors.model(3) if name.endswith(".safetensors"))
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))


def laid(folder: Path, files: Files) -> Path:
    """A model's folder, with nothing in folders of it."""
    folder.mkdir()
    for name, data in files.items():
        if "/" not in name:
            (folder / name).write_bytes(data)
    return folder


def spec_of(path: Path, files: tuple[WeightFile, ...]) -> Path:
    document = json.loads(json.dumps(TEMPLATE))
    listed = [
        {"path": f.path, "source": f.source, "sha256": f.sha256, "size": f.size} for f in files
    ]
    document["weights"] = {"repo": "mine", "revision": "1", "files": listed}
    path.write_text(json.dumps(document))
    return path


def test_all_parts_are_taken_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = safetensors.model(3)
    folder = laid(tmp_path / "model", files)
    model = own.described(own.find(str(folder)))
    assert model.kind == "safetensors" and model.licence == "apache-2.0"
    assert {f.path for f in model.files} >= {*SHARDS, shards.INDEX, "config.json"}
    assert model.size > sum(len(files[name]) for name in SHARDS), "every part counts for memory"
    # 2 layers, 2 heads of 4 numbers, keys and values, 16 bits each
    assert own.shape_of(folder / f.path for f in model.files).kv_bytes == 2 * 2 * 2 * 4 * 2
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    (tmp_path / "host.toml").write_text(f'[weights]\nfolders = ["{folder}"]\n')
    path = spec_of(tmp_path / "spec.json", model.files)
    assert dispatch(["weights", "add", str(path)]) == 0
    assert dispatch(["check", str(path)]) == 0
    (folder / SHARDS[1]).write_bytes(b"changed" * 20)
    assert dispatch(["weights", "add", str(path)]) == 3
    assert SHARDS[1] in capsys.readouterr().err


def _indexed(change: Callable[[dict[str, str]], None]) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        index = json.loads(files[shards.INDEX])
        change(index["weight_map"])
        files[shards.INDEX] = json.dumps(index).encode()

    return apply


def _parent(where: dict[str, str]) -> None:
    where["layer.1"] = "../" + SHARDS[0]


BROKEN: dict[str, tuple[Callable[[Files], object], str]] = {
    "a part lacks": (lambda f: f.pop(SHARDS[1]), f"lacks {SHARDS[1]}, which"),
    "a part too many": (
        lambda f: f.update({"model-00004-of-00004.safetensors": f[SHARDS[0]]}),
        "has model-00004-of-00004.safetensors, which",
    ),
    "a part not listed": (_indexed(lambda w: w.pop("layer.2")), f"has {SHARDS[1]}, which"),
    "outside": (_indexed(_parent), "is no file beside it"),
    "absolute": (_indexed(lambda w: w.update(x="/etc/passwd")), "is no file beside it"),
    "in a folder": (_indexed(lambda w: w.update(x="a/b.safetensors")), "is no file beside it"),
    "no text": (
        lambda f: f.update({shards.INDEX: b'{"weight_map": {"a": [1]}}'}),
        "no file beside",
    ),
    "an empty map": (_indexed(lambda w: w.clear()), "lists no file"),
    "no map": (lambda f: f.update({shards.INDEX: b"{}"}), "lists no file"),
    "a list": (lambda f: f.update({shards.INDEX: b"[]"}), "lists no file"),
    "no JSON": (lambda f: f.update({shards.INDEX: b"<html>"}), "lists no file"),
    "no index, a part lacks": (
        lambda f: (f.pop(SHARDS[2]), f.pop(shards.INDEX)),
        f"lacks {SHARDS[2]}",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_folder_that_is_not_whole_is_one_error(name: str, tmp_path: Path) -> None:
    files = safetensors.model(3)
    change, says = BROKEN[name]
    change(files)
    with pytest.raises(UsageError) as caught:
        own.find(str(laid(tmp_path / "model", files)))
    assert says in caught.value.message
    assert "all of them" in caught.value.remedy


def test_another_form_of_the_same_weights_beside_them_is_left_out(tmp_path: Path) -> None:
    """Some repositories hold a model twice: in parts, and whole in the maker's own form."""
    files = {**safetensors.model(2), "consolidated.safetensors": b"the same in one file"}
    found = own.find(str(laid(tmp_path / "model", files)))
    assert "consolidated.safetensors" not in {path.name for path in found.paths}


def described(folder: Path, files: Files) -> tuple[WeightFile, ...]:
    return own.described(own.find(str(laid(folder, files)))).files


def test_a_spec_that_lacks_a_part_is_one_problem(tmp_path: Path) -> None:
    files = described(tmp_path / "model", safetensors.model(3))
    path = spec_of(tmp_path / "spec.json", tuple(f for f in files if f.path != SHARDS[1]))
    with pytest.raises(SpecInvalid) as caught:
        specs.load(path)
    (problem,) = caught.value.problems
    assert SHARDS[1] in problem.message and problem.path == "$.weights.files"


def test_a_spec_with_another_index_is_one_doubt(tmp_path: Path) -> None:
    """Its parts are numbered without a gap: only the index tells that they are not the model's."""
    folder = tmp_path / "model"
    files = described(folder, safetensors.model(3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / shards.INDEX).write_bytes(safetensors.model(2)[shards.INDEX])
    sha256 = weights.file_sha256(tmp_path / "other" / shards.INDEX)
    mixed = tuple(
        WeightFile(path=f.path, source=f.source, sha256=sha256, size=f.size)
        if f.path == shards.INDEX
        else f
        for f in files
    )
    wanted = WeightsSpec(repo="mine", revision="1", files=mixed)
    found = weights.doubts(wanted, [folder, tmp_path / "other"])
    (doubt,) = (d for d in found if d.code == "WEIGHTS_SHARDS")
    assert doubt.level == "fail" and "lacks model-00001-of-00002.safetensors" in doubt.message
    sound = WeightsSpec(repo="mine", revision="1", files=files)
    assert not [d for d in weights.doubts(sound, [folder]) if d.code == "WEIGHTS_SHARDS"]


def test_parts_of_many_models_are_looked_at_once() -> None:
    parts = {f"a-{number:05}-of-00512.safetensors" for number in range(1, 513)}
    names = {f"{stem}{part}" for stem in range(100) for part in parts}
    began = time.process_time()
    assert shards.lacking(names) == ""
    assert time.process_time() - began < 2, "the work grows as the names do"
    assert shards.lacking(names - {"7a-00040-of-00512.safetensors"}) == (
        "7a-00040-of-00512.safetensors"
    )
