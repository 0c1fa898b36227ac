"""Models in a store as Ollama lays one out, **written from the documentation of its format**."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import dispatch
from kit.core.errors import KitError
from kit.machine import weights
from kit.machine.weights import naming, own
from kit.spec import begin
from kit.spec import spec as specs
from tests.test_own_model import HERE, LLAMA, gguf_of, text

LICENCE = "\n  LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n\nRelease Date: 25 September 2024\n\n…"
KIND = "application/vnd.ollama.image."
UNLICENSED = {key: value for key, value in LLAMA.items() if key != "general.license"}
GGUF = gguf_of(UNLICENSED | {"general.name": text("Llama 3.2 1B Instruct")})


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))


def layer(store: Path, kind: str, data: bytes) -> dict[str, Any]:
    """A blob, and its line of a manifest."""
    sha256 = hashlib.sha256(data).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{sha256}").write_bytes(data)
    return {"mediaType": f"{KIND}{kind}", "digest": f"sha256:{sha256}", "size": len(data)}


def manifest(store: Path) -> dict[str, Any]:
    config = layer(store, "config", b'{"model_format":"gguf"}')
    layers = [
        layer(store, "model", GGUF),
        layer(store, "template", b"{{ .Prompt }}"),
        layer(store, "license", LICENCE.encode()),
        layer(store, "params", b'{"stop":["<|eot_id|>"]}'),
    ]
    return {"schemaVersion": 2, "config": config, "layers": layers}


def pulled(
    store: Path, document: Any, name: str = "library/llama3.2/1b", host: str = "registry.ollama.ai"
) -> Path:
    path = store / "manifests" / host / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def model(named: Path | str) -> own.OwnModel:
    return own.described(own.find(str(named)))


@pytest.mark.parametrize("by", ["name", "manifest", "store"])
def test_a_model_is_found_by_name_by_manifest_or_alone_in_its_store(
    by: str, tmp_path: Path
) -> None:
    store = tmp_path / "models"
    path = pulled(store, manifest(store))
    named = {"name": "ollama:llama3.2:1b", "manifest": str(path), "store": str(store)}[by]
    assert own.is_model(named)
    found = model(named)
    (file,) = found.files
    assert (found.kind, found.name, file.path) == ("gguf", "llama3.2:1b", "llama3.2-1b.gguf")
    assert file.sha256 == hashlib.sha256(GGUF).hexdigest()
    assert found.licence.startswith("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT, Release Date")
    assert hashlib.sha256(LICENCE.encode()).hexdigest() in found.licence
    assert weights.require(file, [found.folder]).name == f"sha256-{file.sha256}"
    assert specs.problems(begin.spec_for(found, HERE)) == []


def test_add_prints_the_file_and_registers_the_blobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "models"
    pulled(store, manifest(store))
    assert dispatch(["weights", "add", "ollama:llama3.2:1b", "--yes"]) == 0
    assert hashlib.sha256(GGUF).hexdigest() in capsys.readouterr().out
    assert str(store / "blobs") in (tmp_path / "host.toml").read_text()
    spec = tmp_path / "spec.json"
    assert dispatch(["init", "--model", "ollama:llama3.2:1b", str(spec)]) == 0
    assert dispatch(["check", str(spec)]) == 0
    assert dispatch(["weights", "ls", str(spec)]) == 0
    assert "here" in capsys.readouterr().out
    loaded = specs.load(spec).weights
    assert loaded and loaded.licence.startswith("LLAMA 3.2")
    assert naming.doubts(loaded, [store / "blobs"]) == []


@pytest.mark.parametrize(
    ("name", "host", "named", "shown"),
    [
        ("library/gemma3/latest", "registry.ollama.ai", "ollama:gemma3", "gemma3:latest"),
        ("library/gemma3/270m", "ollama.com", "ollama:gemma3:270m", "gemma3:270m"),
        ("someone/m/q8", "registry.ollama.ai", "ollama:someone/m:q8", "someone/m:q8"),
        ("org/m/q8", "hf.co", "ollama:hf.co/org/m:q8", "hf.co/org/m:q8"),
    ],
)
def test_names_are_those_of_ollama(
    name: str, host: str, named: str, shown: str, tmp_path: Path
) -> None:
    store = tmp_path / "models"
    pulled(store, manifest(store), name, host)
    assert model(named).name == shown


def test_a_newer_store_names_manifests_by_links(tmp_path: Path) -> None:
    store = tmp_path / "models"
    data = json.dumps(manifest(store)).encode()
    blob = layer(store, "manifest", data)["digest"].replace(":", "-")
    path = store / "manifest-v2/ollama.com/library/llama3.2/1b"
    path.parent.mkdir(parents=True)
    path.symlink_to(store / "blobs" / blob)
    assert model("ollama:llama3.2:1b").name == model(path).name == "llama3.2:1b"


def test_what_a_file_says_of_its_licence_comes_first(tmp_path: Path) -> None:
    store = tmp_path / "models"
    document = manifest(store)
    document["layers"][0] = layer(store, "model", gguf_of(LLAMA))
    assert model(pulled(store, document)).licence == "apache-2.0"


# --- what is refused --------------------------------------------------------------------------

Document = dict[str, Any]


def _without(kind: str) -> Callable[[Document, Path], Any]:
    def change(document: Document, _: Path) -> Any:
        kept = [one for one in document["layers"] if one["mediaType"] != KIND + kind]
        return {**document, "layers": kept}

    return change


def _with(kind: str, data: bytes) -> Callable[[Document, Path], Any]:
    return lambda document, store: {
        **document,
        "layers": [*document["layers"], layer(store, kind, data)],
    }


def _digest(given: Any) -> Callable[[Document, Path], Any]:
    def change(document: Document, _: Path) -> Any:
        document["layers"][2]["digest"] = given
        return document

    return change


def _blob(number: int, change: Callable[[Path], object]) -> Callable[[Document, Path], Any]:
    def apply(document: Document, store: Path) -> Any:
        change(store / "blobs" / document["layers"][number]["digest"].replace(":", "-"))
        return document

    return apply


def _flip(path: Path) -> None:
    path.write_bytes(b"GGUF" + bytes(path.stat().st_size - 4))


BROKEN: dict[str, tuple[Callable[[Document, Path], Any], str]] = {
    "no model": (_without("model"), "no GGUF files"),
    "two models": (_with("model", b"GGUF another"), "2 GGUF files"),
    "an adapter": (_with("adapter", b"GGUF adapter"), "has an adapter"),
    "the model lacks": (_blob(0, Path.unlink), "(model) is missing"),
    "the licence lacks": (_blob(2, Path.unlink), "(license) is missing"),
    "the model is another": (_blob(0, _flip), "other content than its name says"),
    "the licence is another": (_blob(2, _flip), "other content than its name says"),
    "the model is cut": (_blob(0, lambda p: p.write_bytes(b"GGUF")), "has 4 bytes, and"),
    "a folder as digest": (_digest("sha256:../../../etc/passwd"), "without kind, SHA-256"),
    "another hash": (_digest("md5:" + "0" * 32), "without kind, SHA-256"),
    "no text as digest": (_digest(7), "without kind, SHA-256"),
    "a layer that is none": (lambda d, _: {**d, "layers": [*d["layers"], 7]}, "without kind"),
    "no layers": (lambda d, _: {**d, "layers": None}, "lists no layers"),
    "a list": (lambda *_: [], "is no JSON object"),
    "HTML": (lambda *_: "<html>", "is not JSON"),
    "nothing": (lambda *_: "", "is not JSON"),
    "no end": (lambda *_: '{"layers": [' + " " * (2 << 20), "is not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_is_not_whole_is_one_error(name: str, tmp_path: Path) -> None:
    store = tmp_path / "models"
    change, says = BROKEN[name]
    path = pulled(store, change(manifest(store), store))
    with pytest.raises(KitError) as caught:
        model(path)
    assert says in caught.value.message and caught.value.remedy


@pytest.mark.parametrize("name", ["ollama:", "ollama:../../x:y", "ollama:a/b/c/d:e", "ollama:a b"])
def test_a_name_that_leads_out_of_the_store_is_refused(name: str) -> None:
    with pytest.raises(KitError, match="is no model of Ollama's"):
        own.find(name)


def test_a_model_that_is_not_here_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(KitError) as caught:
        own.find("ollama:qwen2.5:7b")
    assert "`ollama pull qwen2.5:7b`" in caught.value.remedy


def test_an_empty_variable_names_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_MODELS", "")
    store = tmp_path / ".ollama/models"
    pulled(store, manifest(store))
    assert model("ollama:llama3.2:1b").kind == "gguf"


def test_of_several_models_all_are_named(tmp_path: Path) -> None:
    store = tmp_path / "models"
    pulled(store, manifest(store))
    pulled(store, manifest(store), "library/gemma3/270m")
    with pytest.raises(KitError, match=r"has 2 models: gemma3:270m, llama3\.2:1b"):
        own.find(str(store))
