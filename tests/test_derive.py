"""Model files made from others: refused where kit cannot vouch for them, and the same each time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from kit.cli.main import dispatch
from kit.core import jsonio
from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.model import Derivation, WeightFile, WeightsSpec
from kit.judge.replay import undertaking
from kit.machine import images, weights
from kit.machine.weights import derive, naming, origins
from kit.spec import spec as specs
from tests.runtimes.specs import SMOLLM2

ROOT = Path(__file__).parents[1]
FILE = WeightFile(
    path="model.safetensors", source="file:model.safetensors", sha256="a" * 64, size=1
)


def test_a_derivation_names_the_locked_image_of_this_kit() -> None:
    found = derive.derivation("safetensors", (SMOLLM2,))
    assert found.digest == images.recipe("convert").image_id
    with pytest.raises(UsageError, match="derives no 'onyx'"):
        derive.derivation("onyx", (SMOLLM2,))
    with pytest.raises(UsageError, match=r"from one \.gguf file, not from model.safetensors"):
        derive.derivation("onnx", (FILE,))


@pytest.mark.parametrize("change", [{"digest": "sha256:" + "0" * 64}, {"recipe": "loopback"}])
def test_a_strangers_image_makes_no_files(change: dict[str, str], tmp_path: Path) -> None:
    """The sources are here, so that only the image is in the way."""
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    sha256 = weights.file_sha256(tmp_path / "a.gguf")
    source = WeightFile(path="a.gguf", source="file:a.gguf", sha256=sha256, size=4)
    good = derive.derivation("safetensors", (source,))
    wanted = WeightsSpec(
        repo="r", revision="1", files=(FILE,), derived=msgspec.structs.replace(good, **change)
    )
    with pytest.raises(WeightsUnavailable, match="derived by another image"):
        derive.ensure_derived(wanted, (tmp_path,))


def test_what_is_here_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    sha256 = weights.file_sha256(tmp_path / "model.safetensors")
    here = msgspec.structs.replace(FILE, sha256=sha256)
    nobodys = Derivation(form="x", recipe="none", digest="sha256:" + "0" * 64, files=(SMOLLM2,))
    wanted = WeightsSpec(repo="r", revision="1", files=(here,), derived=nobodys)
    derive.ensure_derived(wanted, (tmp_path,))


def test_the_shipped_specs_name_the_image_and_the_source_that_kit_has() -> None:
    derived = [
        made
        for path in sorted((ROOT / "specs/runtimes").glob("*.json"))
        if (spec := specs.load(path)).weights and (made := spec.weights.derived)
    ]
    assert derived
    assert {d.digest for d in derived} == {images.recipe("convert").image_id}
    assert {f.sha256 for d in derived for f in d.files} == {SMOLLM2.sha256}


def test_a_spec_without_a_derivation_has_the_hash_that_it_had() -> None:
    spec = specs.load(ROOT / "specs/quickstart.json")
    assert "derived" not in json.loads(jsonio.canonical(specs.document(spec)))["weights"]


ONNX = ["runtimes/onnxruntime-genai", "gpu/onnxruntime-genai"]  # a graph for CPUs, one for GPUs


@pytest.mark.docker
@pytest.mark.runtimes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["runtimes/vllm", "runtimes/ctranslate2", *ONNX])
def test_the_same_files_come_out_as_in_the_shipped_specs(name: str) -> None:
    shipped = specs.load(ROOT / f"specs/{name}.json").weights
    assert shipped and shipped.derived
    with derive.made(shipped.derived, ()) as out:
        made = {path.name: weights.file_sha256(path) for path in out.iterdir()}
        about = json.loads((out / "tokenizer_config.json").read_text())
    assert made == {file.path: file.sha256 for file in shipped.files}
    assert (about["bos_token"], about["eos_token"]) == ("<|im_start|>", "<|im_end|>")


@pytest.mark.docker
@pytest.mark.runtimes
@pytest.mark.timeout(600)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(2000))
    sha256 = weights.file_sha256(tmp_path / "a.gguf")
    source = WeightFile(path="a.gguf", source="file:a.gguf", sha256=sha256, size=2004)
    with (
        pytest.raises(WeightsUnavailable, match="could not be converted: ") as caught,
        derive.made(derive.derivation("safetensors", (source,)), (tmp_path,)),
    ):
        pass
    assert "\n" not in caught.value.message


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_form_that_was_derived_here_says_nothing_of_other_files(cache: Path) -> None:
    """A spec that calls safetensors a form of which this machine knows other files."""
    derived = Derivation(form="onnx", recipe="convert", digest="sha256:" + "0" * 64, files=(FILE,))
    wanted = WeightsSpec(repo="r", revision="1", files=(FILE,), derived=derived)

    def doubted() -> bool:
        found = naming.doubts(wanted, (cache,))
        return any("nothing here shows that these files are onnx" in d.message for d in found)

    assert doubted()
    origins.note_derived(derived, {"model.onnx": "b" * 64})
    assert doubted()
    origins.note_derived(derived, {FILE.path: FILE.sha256})
    assert not doubted()
    assert origins.of_derivation(derived).keys() == {"model.onnx", FILE.path}


def test_a_replay_says_how_to_derive_what_is_missing(cache: Path) -> None:
    """A replay derives nothing by itself: its list says what to do before it."""
    spec = specs.load(ROOT / "specs/runtimes/vllm.json")
    assert spec.weights
    absent = list(undertaking._files(spec, (cache,)))
    assert {part.state for part in absent} == {"absent"}
    assert all(p.error and "`kit weights add`" in p.error.remedy for p in absent)
    published = msgspec.structs.replace(spec.weights, derived=msgspec.UNSET)
    others = undertaking._files(msgspec.structs.replace(spec, weights=published), (cache,))
    assert all(p.error and "--weights" in p.error.remedy for p in others)


GGUF_SPEC = str(ROOT / "specs/runtimes/llama-server.json")


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), shutil.Error([("a", "b", "full")])]
)
def test_a_derivation_that_fails_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    """The next attempt would be refused: the folder must not exist."""

    @contextmanager
    def made(*_: object) -> Iterator[Path]:
        (tmp_path / "made").mkdir()
        (tmp_path / "made/model.safetensors").write_bytes(b"x")
        yield tmp_path / "made"

    def full(*_: object) -> None:
        raise fault

    monkeypatch.setattr(derive, "made", made)
    monkeypatch.setattr(shutil, "copy", full)
    assert dispatch(["weights", "derive", GGUF_SPEC, str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_known_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(derive, "made", lambda *_: pytest.fail("it began"))
    assert dispatch(["weights", "derive", GGUF_SPEC, str(tmp_path / "file/new")]) == 2


def test_only_plain_files_come_out(tmp_path: Path) -> None:
    """A link in the container's folder would be read with this user's rights."""
    (tmp_path / "model.safetensors").symlink_to("/etc/passwd")
    with pytest.raises(WeightsUnavailable, match=r"model\.safetensors is no plain file"):
        derive._refuse_odd(tmp_path)


def test_without_a_known_cause_the_last_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"loading\nderive: ValueError: \x1b[31mno tokenizer\n\n")
    assert derive._last_line(tmp_path / "log") == "derive: ValueError: no tokenizer"
    assert derive._last_line(tmp_path / "none") == ""
