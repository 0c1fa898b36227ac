"""A model of one's own: what is found at a path, what it says of itself, the spec made of it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.errors import KitError, SpecInvalid, UsageError, WeightsUnavailable
from kit.core.model import WeightsSpec
from kit.machine import weights
from kit.machine.host import register
from kit.machine.weights import gguf, naming, own, room
from kit.machine.weights.room import Room
from kit.spec import begin, levels, runtimes
from kit.spec import spec as specs

COMMIT = "a" * 40
HERE = Room(memory=64 << 30, gpus=(), disk=100 << 30)


def text(value: str) -> tuple[int, bytes]:
    data = value.encode()
    return 8, struct.pack("<Q", len(data)) + data


def number(value: int) -> tuple[int, bytes]:
    return 10, struct.pack("<Q", value)


def numbers(*values: int) -> tuple[int, bytes]:
    return 9, struct.pack(f"<IQ{len(values)}I", 4, len(values), *values)


def gguf_of(facts: dict[str, tuple[int, bytes]]) -> bytes:
    """A GGUF file's beginning with these facts, and some bytes of a model."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts))
    pairs = (text(key)[1] + struct.pack("<I", kind) + data for key, (kind, data) in facts.items())
    return head + b"".join(pairs) + b"\0" * 100


LLAMA = {
    "general.architecture": text("llama"),
    "general.name": text("My Model 7B"),
    "general.license": text("apache-2.0"),
    "llama.block_count": number(32),
    "llama.context_length": number(4096),
    "llama.embedding_length": number(4096),
    "llama.attention.head_count": number(32),
    "llama.attention.head_count_kv": numbers(8, 8, 4),
}
CONFIG = {
    "_name_or_path": "org/tiny",
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder as the hub has it, with files that are not the model."""
    place = tmp_path / "tiny"
    place.mkdir()
    files: dict[str, Any] = {
        "config.json": json.dumps(CONFIG),
        "model.safetensors": "tensors",
        "consolidated.safetensors": "the same again",
        "tokenizer.json": "{}",
        "README.md": "---\nlicense: mit\n---\n# Tiny",
        "pytorch_model.bin": "the same again",
        "modeling.py": "code",
        "empty.json": "",
        ".hidden.json": "{}",
    }
    for name, content in files.items():
        (place / name).write_text(content)
    return place


def model(path: Path | str) -> own.OwnModel:
    return own.described(own.find(str(path)))


def written(path: Path, facts: dict[str, tuple[int, bytes]] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_of(LLAMA if facts is None else facts))
    return path


# --- a file -------------------------------------------------------------------------------------


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "my-7b.Q4.gguf")
    found = model(path)
    data = path.read_bytes()
    assert (found.name, found.licence, found.folder) == ("My Model 7B", "apache-2.0", tmp_path)
    assert found.shape == own.Shape("llama", 4096, 2 * 32 * 8 * (128 + 128), (32, 8))
    (file,) = found.files
    assert (file.path, file.source, file.size) == (path.name, f"file:{path.name}", len(data))
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert str(tmp_path) not in json.dumps(found.weights), "no path of this machine in a spec"


def test_a_file_that_says_nothing_is_called_as_it_is(tmp_path: Path) -> None:
    found = model(written(tmp_path / "mine.gguf", {}))
    assert (found.name, found.licence, found.shape) == ("mine", "", own.Shape())


def blob(folder: Path, facts: dict[str, tuple[int, bytes]]) -> Path:
    """A GGUF file as Ollama keeps it: named by its hash alone."""
    data = gguf_of(facts)
    path = folder / "models" / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("facts", "name"),
    [(LLAMA, "My-Model-7B.gguf"), ({}, "sha256-"), ({"general.name": text("../é ")}, "model.gguf")],
)
def test_a_blob_of_ollamas_is_named_by_its_model_and_found_by_its_hash(
    tmp_path: Path, facts: dict[str, tuple[int, bytes]], name: str
) -> None:
    path = blob(tmp_path, facts)
    assert own.is_model(str(path))
    found = model(path)
    (file,) = found.files
    assert found.kind == "gguf" and found.folder == path.parent
    assert file.path.startswith(name) and file.path.endswith(".gguf")
    assert file.source == f"file:{file.path}"
    assert weights.require(file, [found.folder]) == path
    assert list(naming.doubts(found.spec, [found.folder])) == []
    document = begin.spec_for(found, HERE)
    assert specs.problems(document) == []


def test_what_only_has_the_name_of_a_blob_is_not_taken_for_it(tmp_path: Path) -> None:
    path = blob(tmp_path, LLAMA)
    (file,) = model(path).files
    path.write_bytes(b"GGUF" + bytes(len(path.read_bytes()) - 4))
    assert weights.find(file.sha256, [path.parent], file.path) is None


def test_a_gguf_file_without_the_ending_gets_it(tmp_path: Path) -> None:
    found = model(written(tmp_path / "model.bin"))
    assert [(f.path, f.source) for f in found.files] == [("model.bin.gguf", "file:model.bin")]
    assert weights.require(found.files[0], [tmp_path]) == tmp_path / "model.bin"
    assert specs.problems(begin.spec_for(found, HERE)) == []


@pytest.mark.parametrize("fact", [0, 2**63, 2**64 - 1])
def test_numbers_that_cannot_be_are_none(tmp_path: Path, fact: int) -> None:
    facts = LLAMA | {"llama.context_length": number(fact), "llama.block_count": number(fact)}
    found = model(written(tmp_path / "m.gguf", facts))
    assert found.shape == own.Shape("llama", None, None, (32, 8))
    assert specs.problems(begin.spec_for(found, HERE)) == []


@pytest.mark.parametrize(
    "rest",
    [
        (9, struct.pack("<IQ", 4, 2**63)),
        (9, struct.pack("<IQ", 8, 2**63)),
        (9, struct.pack("<IQ", 9, 1)),
        (8, struct.pack("<Q", 2**64 - 1)),
        (99, b""),
    ],
    ids=["numbers without end", "texts without end", "nested", "a long text", "no type"],
)
def test_what_is_hostile_ends_the_reading(tmp_path: Path, rest: tuple[int, bytes]) -> None:
    path = written(tmp_path / "m.gguf", {"k": text("a\x1b[2Jb"), "x": rest, **LLAMA})
    assert gguf.metadata(path) == {"k": "ab"}


def test_every_cut_of_a_head_is_read_without_an_error(tmp_path: Path) -> None:
    data = gguf_of(LLAMA)
    path = tmp_path / "m.gguf"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert set(gguf.metadata(path)) <= set(LLAMA)


def test_hashing_says_how_far_it_is_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.machine.weights.files._CHUNK", 64)
    path = written(tmp_path / "m.gguf")
    size = path.stat().st_size
    calls: list[tuple[str, float, float | None]] = []
    own.described(own.find(str(path)), lambda *call: calls.append(call))
    assert calls[0] == ("m.gguf", 0, size) and calls[-1] == ("m.gguf", size, size)
    assert len(calls) > 4 and [c[1] for c in calls] == sorted(c[1] for c in calls)

    class Cancelled(Exception):
        pass

    def cancel(_: str, done: float, __: float | None) -> None:
        if done > 64:
            raise Cancelled

    (tmp_path / "n.gguf").write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Cancelled):
        own.described(own.find(str(tmp_path / "n.gguf")), cancel)
    assert weights.known_hash(path), "another file is hashed after that"


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says", "remedy"),
    [
        ("m-00001-of-00003.gguf", gguf_of(LLAMA), "one of 3 parts", "--merge"),
        ("m.gguf", gguf_of({"split.count": number(2)}), "one of 2 parts", "--merge"),
        ("m.gguf", gguf_of({"general.type": text("mmproj")}), "no model by itself", "own .gguf"),
        ("m.gguf", gguf_of({"general.architecture": text("clip")}), "no model", "own .gguf"),
        ("m.gguf", b"<html>", "does not begin with GGUF", ".gguf"),
        ("m.safetensors", b"x", "only a part", "folder"),
        ("my model.gguf", gguf_of(LLAMA), "cannot stand in a spec", "rename"),
        ("ü.gguf", gguf_of(LLAMA), "cannot stand in a spec", "rename"),
        ("folder/notes.txt", b"x", "has no model", "folder"),
        ("folder/model.safetensors", b"x", "has no config.json", "folder"),
        ("folder/config.json", b"{}", "has no model", "folder"),
    ],
)
def test_what_is_no_model_says_why(
    tmp_path: Path, name: str, content: bytes, says: str, remedy: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        own.find(str(path.parent if name.startswith("folder") else path))
    assert says in caught.value.message and remedy in caught.value.remedy


def test_of_several_files_one_must_be_named(tmp_path: Path) -> None:
    for number_ in range(6):
        written(tmp_path / f"m{number_}.gguf")
    with pytest.raises(UsageError, match=r"6 models.*and 2 more"):
        own.find(str(tmp_path))


def test_a_folder_whose_name_is_no_text_is_named_by_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    folder, link = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), tmp_path / "plain"
    folder.mkdir()
    link.symlink_to(folder)
    (folder / "n.gguf").write_bytes(gguf_of(LLAMA))
    with pytest.raises(UsageError, match="not UTF-8"):
        register.add_folder(own.described(own.find(str(folder))).folder)
    register.add_folder(own.described(own.find(str(link))).folder)
    assert register.is_registered(folder)


def test_nothing_is_there(tmp_path: Path) -> None:
    for name in (str(tmp_path / "gone.gguf"), "~nobody-of-this-name/m.gguf"):
        with pytest.raises(UsageError, match="no model"):
            own.find(name)


# --- a folder, the hub's cache --------------------------------------------------------------------


def test_a_folder_is_its_config_tokenizer_and_tensors(folder: Path) -> None:
    found = model(folder)
    names = [file.path for file in found.files]
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (found.name, found.licence, found.kind) == ("org/tiny", "mit", "safetensors")
    assert found.shape == own.Shape("llama", 512, 4 * 2 * 4 * 16, (4, 4))


def test_a_model_of_texts_and_images_tells_the_shape_of_its_text_part(folder: Path) -> None:
    text = {"num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2}
    config = {"model_type": "both", "text_config": text | {"hidden_size": 64}}
    (folder / "config.json").write_text(json.dumps(config))
    shape = own.shape_of([folder / "tokenizer.json", folder / "config.json"])
    assert (shape.heads, shape.kv_bytes) == ((8, 2), 4 * 2 * 2 * 8)


def test_a_path_in_a_config_is_kept_out_of_the_spec(folder: Path) -> None:
    private = CONFIG | {"_name_or_path": "/home/someone/secret"}
    (folder / "config.json").write_text(json.dumps(private))
    assert model(folder).name == "tiny"


@pytest.mark.parametrize("listed", [["a.safetensors"], ["a.safetensors", "b.safetensors"]])
def test_the_index_says_which_tensors_belong_together(folder: Path, listed: list[str]) -> None:
    (folder / "a.safetensors").write_text("a")
    index = {"weight_map": dict(enumerate(listed))}
    (folder / own.INDEX).write_text(json.dumps(index))
    if len(listed) == 2:
        with pytest.raises(UsageError, match=r"lacks b\.safetensors"):
            own.find(str(folder))
    else:
        names = [path.name for path in own.find(str(folder)).paths]
        assert "a.safetensors" in names and "model.safetensors" not in names


def test_the_hubs_cache_is_named_as_the_hub_names_it(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--my-model"
    path = written(repo / "snapshots" / COMMIT / "m.gguf")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for name in ("hf:org/my-model", f"hf:org/my-model@{COMMIT}/m.gguf", str(path)):
        found = model(name)
        assert (found.name, found.revision) == ("org/my-model", COMMIT)
        assert found.files[0].source == f"hf:org/my-model@{COMMIT}/m.gguf"
        assert found.folder == path.parent
        assert specs.problems(begin.spec_for(found, HERE)) == []


@pytest.mark.parametrize("name", ["hf:org/none@main", f"hf:org/none@{COMMIT}/m.gguf"])
def test_what_the_cache_lacks_is_not_fetched(name: str) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        own.find(name)
    assert "hf download org/none" in caught.value.remedy


@pytest.mark.parametrize("name", ["hf:", "hf:a", "hf:../..@x", "hf:a/b@main/../../x", "hf:a/b@-x"])
def test_what_names_no_model_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(KitError):
        own.find(name)


# --- the spec -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_the_spec_passes_and_is_the_models(kind: str, tmp_path: Path, folder: Path) -> None:
    found = model(written(tmp_path / "My_7B.Q4.gguf") if kind == "gguf" else folder)
    document = begin.spec_for(found, HERE)
    spec = specs.parse(json.dumps(document).encode())
    assert spec.runtime.name == ("llama-server" if kind == "gguf" else "transformers")
    assert spec.name == ("my-7b-q4" if kind == "gguf" else "tiny")
    assert spec.runtime.options["context"] <= (found.shape.context or 0)
    assert spec.limits.memory_mib << 20 >= found.size * 1.2
    assert spec.weights and spec.weights.files == found.files


def test_a_safetensors_model_takes_the_gpu_that_is_there(folder: Path) -> None:
    document = begin.spec_for(model(folder), HERE._replace(gpus=(80 << 30,)))
    assert document["devices"] == {"gpus": 1}
    assert specs.problems(document) == []
    assert document["image"]["recipe"] == "transformers-cuda"


@pytest.mark.parametrize(
    ("here", "says"),
    [
        (HERE._replace(memory=1 << 20), "estimated"),
        (HERE._replace(memory=None), None),
        (HERE._replace(disk=1 << 20), "disk"),
        (HERE, None),
    ],
)
def test_what_will_not_fit_is_said_with_numbers(
    tmp_path: Path, here: Room, says: str | None
) -> None:
    found = model(written(tmp_path / "m.gguf"))
    said = begin.warnings(found, begin.spec_for(found, here), here)
    assert len(said) == (says is not None)
    if says:
        assert says in said[0] and "GB" in said[0] and "estimated" in said[0]


def test_a_gpu_that_is_too_small_is_said(folder: Path) -> None:
    here = HERE._replace(gpus=(1 << 20,))
    found = model(folder)
    assert "largest GPU has" in begin.warnings(found, begin.spec_for(found, here), here)[0]


def test_the_cache_of_every_slot_counts(tmp_path: Path) -> None:
    found = model(written(tmp_path / "m.gguf"))
    assert found.shape.kv_bytes
    more = room.needed(found, 1024, 16) - room.needed(found, 1024, 1)
    assert more == 15 * 1024 * found.shape.kv_bytes


@pytest.mark.parametrize("name", runtimes.names())
def test_a_runtime_is_offered_for_kinds_that_there_are(name: str) -> None:
    derived = {"ctranslate2", "onnx-genai"}  # what `kit weights derive` makes, nobody's own
    assert set(runtimes.get(name).loads) <= {"gguf", "safetensors", "pipeline"} | derived
    assert runtimes.get(name).real or not runtimes.get(name).loads


@pytest.mark.parametrize("name", ["x" * 300 + ".gguf", "---.gguf", "Ünder_Scored 1.gguf"])
def test_any_name_becomes_one_of_a_spec(name: str) -> None:
    slug = begin.slug(name)
    assert slug and len(slug) <= 56 and slug == slug.strip("-") and slug.isascii()


# --- levels -------------------------------------------------------------------------------------


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., Any]:
    def make(**changes: Any) -> Any:
        document = begin.spec_for(model(written(tmp_path / "m.gguf")), HERE) | changes
        return specs.parse(json.dumps(document).encode())

    return make


def test_levels_differ_in_name_and_clients_alone(spec_of: Callable[..., Any]) -> None:
    base = spec_of()
    made = levels.at(base, levels.parse("1, 4,16"))
    assert [spec.name for spec in made] == ["m-c1", "m-c4", "m-c16"]
    assert [spec.arrivals.concurrency for spec in made] == [1, 4, 16]
    plain = {"name": "", "arrivals": 0}
    assert all(specs.document(s) | plain == specs.document(base) | plain for s in made)


@pytest.mark.parametrize("written_", ["", "0", "a", "1,,4", "1;4", "4097", "1,1", "-1", "1.5"])
def test_a_list_that_is_none_is_one_error(written_: str) -> None:
    with pytest.raises(UsageError) as caught:
        levels.parse(written_)
    assert caught.value.remedy


def test_a_level_that_cannot_be_is_refused_before_any_run(spec_of: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="as many requests"):
        levels.at(spec_of(), (1, 64))
    with pytest.raises(UsageError, match="closed"):
        levels.at(spec_of(arrivals={"kind": "constant", "rate": 1}), (1,))


def test_a_runtime_that_serves_one_at_a_time_says_so(folder: Path) -> None:
    base = specs.parse(json.dumps(begin.spec_for(model(folder), HERE)).encode())
    assert levels.at(base, (1,))
    with pytest.raises(SpecInvalid):
        levels.at(base, (1, 4))


def test_a_long_name_keeps_its_level(spec_of: Callable[..., Any]) -> None:
    (made,) = levels.at(spec_of(name="x" * 63), (16,))
    assert made.name.endswith("x-c16") and len(made.name) == 63


# --- licences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: mit", "mit"),
        ("license: 'apache-2.0' # as ever", "apache-2.0"),
        ("license: other\nlicense_name: qwen-research\nlicense_link: LICENSE", "qwen-research"),
        ("license: other", "other"),
        ("license_name: mine", ""),
        ("license:\n- mit", ""),
        ("tags: [x]", ""),
    ],
)
def test_a_model_card_names_the_licence(folder: Path, front: str, licence: str) -> None:
    (folder / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: of another text\n")
    assert model(folder).licence == licence


@pytest.mark.parametrize(
    ("facts", "licence"),
    [
        ({"general.license": text("mit")}, "mit"),
        (
            {"general.license": text("other"), "general.license.name": text("llama3.2")},
            "llama3.2",
        ),
        ({"general.license": text("other")}, "other"),
        ({"general.license": number(7)}, ""),
        ({}, ""),
    ],
)
def test_a_gguf_file_names_the_licence(
    tmp_path: Path, facts: dict[str, tuple[int, bytes]], licence: str
) -> None:
    assert model(written(tmp_path / "m.gguf", facts)).licence == licence


# --- pipelines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", ["[]", "[" * 5000, "{", "\0", '{"unet": null}', '{"unet": ["a", 1]}']
)
def test_a_pipeline_that_names_no_part_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="names no part that has safetensors"):
        model(tmp_path)


def test_a_name_is_no_file_and_folder_at_once() -> None:
    file = {"sha256": "0" * 64, "size": 1, "source": "file:x"}
    files = [{**file, "path": path} for path in ("unet", "unet/config.json", "unet2/config.json")]
    wanted = msgspec.convert({"repo": "r", "revision": "1", "files": files}, WeightsSpec)
    (problem,) = naming.problems(wanted)
    assert problem.path == "$.weights.files[0].path"
    assert "the folder of another" in problem.message
