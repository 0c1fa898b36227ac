"""`kit weights pin` against a server that speaks the hub's documented API (`tests/hub.py`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.cli import main
from kit.core import resources
from kit.core.model import RunSpec
from kit.machine import images
from kit.spec import runtimes, template
from kit.spec import spec as specs
from tests import hub, pipelines, safetensors

REPO = "someone/model-7b"
FOLDER = resources.specs_dir() / "models"
MODELS = sorted(FOLDER.glob("*.json"))
TEMPLATE = json.loads((FOLDER / "qwen2.5-7b-instruct.json").read_text())
# What the document says of the Delft comparison names by repository.
DELFT = {
    "Qwen/Qwen2.5-7B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "codellama/CodeLlama-7b-Instruct-hf",
    "mistralai/Mistral-7B-Instruct-v0.3",
}
THEIRS = {"reference": f"x@sha256:{'1' * 64}"}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return written(tmp_path, {"repo": REPO})


def written(folder: Path, weights: dict[str, Any] | None, **changes: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps({**TEMPLATE, **changes, "weights": weights}, indent=2) + "\n")
    return path


def pin(at: hub.Hub, monkeypatch: pytest.MonkeyPatch, *specs: Path, yes: bool = True) -> int:
    monkeypatch.setenv("HF_ENDPOINT", at.url)
    return main.dispatch(["weights", "pin", *map(str, specs), *(["--yes"] if yes else [])])


def weights_in(path: Path) -> dict[str, Any]:
    weights: dict[str, Any] = json.loads(path.read_text())["weights"]
    return weights


def test_a_pipeline_is_pinned_with_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = json.loads((FOLDER / "stable-diffusion-v1-5.json").read_text())
    path = tmp_path / "sd.json"
    path.write_text(json.dumps({**asked, "weights": {"repo": REPO}}))
    with hub.running({REPO: pipelines.pipeline()}) as at:
        assert pin(at, monkeypatch, path) == 0
    found = specs.load(path)
    assert found.weights
    assert [file.path for file in found.weights.files] == pipelines.USED
    assert found.weights.files[1].source.endswith("/scheduler/scheduler_config.json")
    assert found.runtime.name == "diffusers"


# --- what is filled in ------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
def test_a_template_becomes_a_run_spec(
    shards: int, spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, before = safetensors.model(shards), spec.read_text()
    with hub.running({REPO: files}) as at:
        assert pin(at, monkeypatch, spec) == 0
    found = specs.load(spec)
    assert found.weights and found.weights.repo == REPO
    assert found.weights.revision == hub.commit_of(REPO)
    assert found.weights.licence == "apache-2.0"
    assert found.weights.files[0].path == "config.json"
    left_out = {".gitattributes", "README.md", "original/params.json"}
    assert {file.path for file in found.weights.files} == files.keys() - left_out
    for file in found.weights.files:
        assert file.sha256 == hashlib.sha256(files[file.path]).hexdigest()
        assert file.size == len(files[file.path])
        assert file.source == f"hf:{REPO}@{hub.commit_of(REPO)}/{file.path}"
    shown = capsys.readouterr().out
    assert f'+    "revision": "{hub.commit_of(REPO)}",' in shown
    after = spec.read_text()
    at_weights = before.index('"weights"')
    assert after[:at_weights] == before[:at_weights], "what is not of the weights stays as it was"
    assert after.endswith(before[before.index('"workload"') :])
    assert not any(name.endswith(".safetensors") for name in at.asked), "no large file is fetched"


def test_what_was_pinned_can_be_fetched(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub.running({REPO: safetensors.model(2)}) as at:
        assert pin(at, monkeypatch, spec) == 0
        assert main.dispatch(["weights", "add", str(spec)]) == 0
        asked = len(at.asked)
        assert pin(at, monkeypatch, spec) == 0
        assert len(at.asked) == asked, "of a spec that lacks nothing the hub is not asked"
    assert "nothing lacks" in capsys.readouterr().err


def test_of_a_branch_with_every_hash_it_is_said_that_it_may_move(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub.running({REPO: safetensors.model(2)}) as at:
        assert pin(at, monkeypatch, spec) == 0
        commit = f'"revision": "{hub.commit_of(REPO)}"'
        of_branch = spec.read_text().replace(commit, '"revision": "v1.0"')
        spec.write_text(of_branch)
        capsys.readouterr()
        assert pin(at, monkeypatch, spec) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing lacks" in said
    assert said.count("revision v1.0 is a branch or a tag, which may move: the hashes pin") == 1
    assert spec.read_text() == of_branch
    assert main.dispatch(["check", str(spec)]) == 0
    assert "v1.0 is a branch or a tag" in " ".join("".join(capsys.readouterr()).split())


def test_one_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: b"GGUF" + name.encode() for name in ("m-q4.gguf", "m-q8.gguf")}
    gguf = {"runtime": {"name": "transformers"}, "image": THEIRS}
    with hub.running({REPO: files}) as at:
        all_of_it = written(tmp_path, {"repo": REPO}, **gguf)
        assert pin(at, monkeypatch, all_of_it) == 2
        named = written(tmp_path, {"repo": REPO, "files": [{"path": "m-q8.gguf"}]}, **gguf)
        assert template.is_template(json.loads(named.read_text()))
        assert pin(at, monkeypatch, named) == 0
    (file,) = weights_in(named)["files"]
    assert file["sha256"] == hashlib.sha256(files["m-q8.gguf"]).hexdigest()


def test_only_what_lacks_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = safetensors.model()
    commit, data = hub.commit_of(REPO), files["config.json"]
    mine = {"path": "config.json", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    others = [{"path": name} for name in ("model.safetensors", "tokenizer.json")]
    weights = {"repo": REPO, "revision": commit, "licence": "MIT", "files": [mine, *others]}
    path = written(tmp_path, weights)
    with hub.running({REPO: files}) as at:
        assert pin(at, monkeypatch, path) == 0
    pinned = weights_in(path)
    assert [file["path"] for file in pinned["files"]] == [
        mine["path"],
        *(f["path"] for f in others),
    ]
    assert pinned["licence"] == "MIT"


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"size": 7}, {"source": f"hf:{REPO}@{'0' * 40}/config.json"}]
)
def test_what_was_pinned_is_never_replaced(
    change: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = {"repo": REPO, "files": [{"path": "config.json", **change}]}
    path = written(tmp_path, weights)
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, path) == 2
    assert weights_in(path) == weights
    assert "what is pinned is never replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("card", "tags", "licence"),
    [
        ({"license": "other", "license_name": "llama3"}, [], "llama3"),
        ({}, ["license:mit"], "mit"),
        (None, [], None),
        ({"license": ["mit", "apache-2.0"]}, [], None),
        ({"license": "\x1b[31mred"}, [], None),
    ],
)
def test_the_licence_is_that_of_the_card_or_the_tags(
    card: Any, tags: list[str], licence: str | None, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(document: dict[str, Any]) -> Any:
        return document | {"cardData": card, "tags": tags}

    with hub.running({REPO: safetensors.model()}, answer) as at:
        assert pin(at, monkeypatch, spec) == 0
    assert weights_in(spec).get("licence") == licence


def test_nothing_is_written_without_a_yes(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = spec.read_bytes()
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, spec, yes=False) == 2
    assert spec.read_bytes() == before
    shown = capsys.readouterr()
    assert '+    "revision"' in shown.out and "--yes" in shown.err


def test_the_token_goes_to_the_hub(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, spec) == 0
    assert set(at.tokens) == {"Bearer secret"}


@pytest.mark.parametrize(("token", "code"), [("secret\n", 0), ("sec\nret", 3), ("secret\u2026", 3)])
def test_a_token_that_is_none_is_not_shown(
    token: str,
    code: int,
    spec: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, spec) == code
    assert set(at.tokens) == (set() if code else {"Bearer secret"})
    shown = capsys.readouterr()
    assert "sec" not in shown.err + shown.out
    assert not code or "$HF_TOKEN is no token" in shown.err


# --- how it is written ------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", [2, "\t"])
def test_lines_stay_as_they_were(
    newline: str, indent: Any, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(json.loads(spec.read_text()), indent=indent)
    spec.write_bytes(text.replace("\n", newline).encode())
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, spec) == 0
    data = spec.read_bytes().decode()
    text = json.dumps(json.loads(data), indent=indent)
    assert data == text.replace("\n", newline)


def test_a_spec_that_cannot_be_written_leaves_the_others_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / ("a" * 64)).mkdir()
    (folder / "manifest.json").write_text("{}")
    first, sealed = (written(place, {"repo": REPO}) for place in (tmp_path, folder))
    before = first.read_bytes()
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, first, sealed) == 2
    assert "lies in the sealed run" in capsys.readouterr().err
    assert first.read_bytes() == before
    assert not list(tmp_path.glob(".kit-*"))


def test_what_was_edited_meanwhile_is_not_overwritten(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = spec.read_text() + "\n"

    def answer(document: dict[str, Any]) -> Any:
        spec.write_text(edited)
        return document

    with hub.running({REPO: safetensors.model()}, answer) as at:
        assert pin(at, monkeypatch, spec) == 2
    assert "was changed meanwhile" in capsys.readouterr().err
    assert spec.read_text() == edited


def test_a_pipe_cannot_be_pinned(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = os.pipe()
    os.write(ends[1], spec.read_bytes())
    os.close(ends[1])
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, Path(f"/dev/fd/{ends[0]}")) == 2
    os.close(ends[0])
    assert "is no file that can be changed" in capsys.readouterr().err


def test_the_difference_does_not_speak_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.json"
    document = {**TEMPLATE, "description": "\x9b2J\u202eodd", "weights": {"repo": REPO}}
    path.write_text(json.dumps(document, ensure_ascii=False))
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, path) == 0
    shown = capsys.readouterr().out
    assert '"odd"' in shown and not {"\x9b", "\u202e"} & set(shown)


# --- what is refused --------------------------------------------------------------------------


def _sibling(**change: Any) -> Change:
    """The API's answer with another entry for the first safetensors."""

    def answer(document: dict[str, Any]) -> Any:
        for entry in document["siblings"]:
            if entry["rfilename"] == "model.safetensors":
                entry.update(change)
        return document

    return answer


def _replaced(**change: Any) -> Change:
    return lambda document: {**document, **change}


def _as(status: int, headers: dict[str, str], body: bytes) -> Change:
    return lambda _: (status, headers, body)


SHA = "a" * 64
HOSTILE: dict[str, tuple[Change, int, str]] = {
    "no sha": (_replaced(sha=None), 3, "it gives no commit"),
    "branch as sha": (_replaced(sha="main"), 3, "it gives no commit"),
    "another model": (_replaced(id="other/model"), 3, "answers with 'other/model'"),
    "no list": (_replaced(siblings={"a": 1}), 3, "no list of files"),
    "parent": (_sibling(rfilename="../../etc/passwd"), 3, "a file outside of the model"),
    "backslashes": (_sibling(rfilename="..\\x.safetensors"), 3, "a file outside of the model"),
    "absolute": (_sibling(rfilename="/etc/passwd"), 3, "a file outside of the model"),
    "odd name": (_sibling(rfilename="a b.safetensors"), 2, "cannot stand in a spec"),
    "two of a name": (_sibling(rfilename="config.json"), 3, "one file twice"),
    "negative": (_sibling(size=-1), 3, "no size"),
    "size as text": (_sibling(size="7"), 3, "no size"),
    "two sizes": (_sibling(lfs={"sha256": SHA, "size": 1}), 3, "two sizes"),
    "no hash": (_sibling(lfs={"size": 8}), 3, "no SHA-256"),
    "short hash": (_sibling(lfs={"sha256": "abc", "size": 8}), 3, "no SHA-256"),
    "large, no hash": (_sibling(lfs=None, size=1 << 40), 3, "too large to be fetched"),
    "empty": (_sibling(size=0, lfs={"sha256": SHA, "size": 0}), 2, "0 is less than 1"),
    "html": (_as(200, {}, b"<!DOCTYPE html><title>Log in</title>"), 3, "what is not JSON"),
    "nothing": (_as(200, {}, b""), 3, "what is not JSON"),
    "truncated": (_as(200, {"Content-Length": "999999"}, b'{"id": "some'), 3, "what is not JSON"),
    "a list": (_as(200, {}, b"[]"), 3, "no JSON object"),
    "deep": (_as(200, {}, b"[" * 100_000), 3, "nests deeper"),
    "huge": (_as(200, {}, b" " * (17 << 20)), 3, "more than 16 MiB"),
    "elsewhere": (_as(307, {"Location": "http://localhost:9/x"}, b""), 3, "to another host"),
    "to a file": (_as(302, {"Location": "file:///etc/passwd"}, b""), 3, "answers with HTTP 302"),
    "in circles": (_as(302, {"Location": "?blobs=true"}, b""), 3, "answers with HTTP 302"),
    "gated": (_as(401, {}, b""), 3, "gated, private, or not there"),
    "missing": (_as(404, {}, b""), 3, "has no someone/model-7b at this revision"),
    "ill": (_as(500, {}, b""), 3, "answers with HTTP 500"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_that_cannot_be_is_one_error(
    name: str, spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, code, says = HOSTILE[name]
    before = spec.read_bytes()
    with hub.running({REPO: safetensors.model()}, answer) as at:
        assert pin(at, monkeypatch, spec) == code
    shown = capsys.readouterr().err
    assert says in shown and "fix:" in shown
    assert shown.count("error:") == 1 and "Traceback" not in shown
    assert spec.read_bytes() == before


def test_a_listing_without_end_is_refused(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = {f"a{n}.json": b"{}" for n in range(600)}
    with hub.running({REPO: {**safetensors.model(), **many}}) as at:
        assert pin(at, monkeypatch, spec) == 2
    assert len(at.asked) == 1, "no file of it is fetched"
    assert "files of a model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (lambda _, data: (200, {}, data + b"x"), "and lists"),
        (lambda _, data: (200, {"Content-Length": "999"}, data[:-1]), "and lists"),
        (lambda _, data: (302, {"Location": "http://localhost:9/x"}, b""), "to another host"),
        (lambda _, data: (403, {}, b""), "gated, private, or not there"),
    ],
    ids=["longer", "shorter", "elsewhere", "gated"],
)
def test_a_small_file_that_is_not_the_listed_one_is_one_error(
    serve: Callable[[str, bytes], hub.Reply],
    says: str,
    spec: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = spec.read_bytes()
    with hub.running({REPO: safetensors.model()}, serve=serve) as at:
        assert pin(at, monkeypatch, spec) == 3
    assert says in capsys.readouterr().err
    assert spec.read_bytes() == before


def test_offline_is_one_error_with_a_remedy(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main.dispatch(["weights", "pin", str(spec), "--yes"]) == 3
    shown = capsys.readouterr().err
    assert "Connection refused" in shown and "pin on a machine that is connected" in shown


@pytest.mark.parametrize(
    ("weights", "changes", "code", "says"),
    [
        (None, {"runtime": {"name": "loopback"}, "image": THEIRS}, 2, "needs no weights"),
        ({"repo": "norepository"}, {}, 3, "no repository of the hub"),
        ({"repo": "../../api"}, {}, 3, "no repository of the hub"),
        ({"repo": REPO}, {"launches": 0}, 2, "launches"),
        ({"repo": REPO, "files": [{"path": "model.gguf"}]}, {}, 2, "has no file model.gguf"),
        ({"repo": REPO, "files": [{"path": "config.json"}]}, {}, 2, "loads a model's folder"),
        ({"repo": REPO, "files": [{"path": "a", "source": "file:a"}]}, {}, 2, "do not come from"),
    ],
)
def test_a_spec_that_cannot_be_pinned_is_one_error(
    weights: dict[str, Any] | None,
    changes: dict[str, Any],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, weights, **changes)
    before = path.read_bytes()
    with hub.running({REPO: safetensors.model()}) as at:
        assert pin(at, monkeypatch, path) == code
    assert says in capsys.readouterr().err
    assert path.read_bytes() == before


# --- specs/models -----------------------------------------------------------------------------


def test_the_models_of_the_documents_have_templates() -> None:
    repos = {json.loads(path.read_text())["weights"]["repo"] for path in MODELS}
    assert repos >= DELFT
    assert {"meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"} <= repos
    assert len(repos) == len(MODELS) > 20


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_each_is_a_template_and_pins_nothing(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(path.read_text())
    assert specs.problems(document) == [template.UNPINNED]
    assert document["weights"].keys() == {"repo"}
    runtime = runtimes.get(document["runtime"]["name"])
    assert document["image"]["recipe"] in (runtime.recipe, runtime.gpu_recipe)
    assert document["image"]["digest"] == images.recipe(document["image"]["recipe"]).image_id
    assert path.stem.replace(".", "-") == document["name"]
    assert main.dispatch(["run", str(path)]) == 2
    assert "`kit weights pin SPEC`" in capsys.readouterr().err


def test_check_says_template(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.dispatch(["check", str(MODELS[0]), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["template"] is True and said["valid"] is False


def test_all_of_them_are_pinned_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, repos = [], {}
    for path in MODELS:
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
        document = json.loads(path.read_text())
        of_images = document["workload"]["name"] == "images"
        files = pipelines.pipeline() if of_images else safetensors.model(2)
        repos[document["weights"]["repo"]] = files
    with hub.running(repos) as at:
        assert pin(at, monkeypatch, *copies) == 0
    assert all(isinstance(specs.load(copy), RunSpec) for copy in copies)
    assert main.dispatch(["check", *map(str, copies[:1])]) == 0


def test_init_begins_with_a_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tmp_path / "spec.json"
    assert main.dispatch(["init", "--template", f"models/{MODELS[0].stem}", str(name)]) == 0
    assert name.read_bytes() == MODELS[0].read_bytes()
    assert "kit weights pin" in capsys.readouterr().err
