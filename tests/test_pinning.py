"""What this machine knows of images and model files, and that a source is parsed in one place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import kit
from kit.core.errors import UsageError
from kit.machine import containers, pinning

COMMIT = "a" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with ``m.gguf`` of org/repo, whose branch main was ``COMMIT``."""
    repo = tmp_path / "hub" / "models--org--repo"
    file = repo / "snapshots" / COMMIT / "m.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"model")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (tmp_path / "secret").write_bytes(b"not of the cache")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_cached_file_gives_its_hash_and_the_commit_for_the_branch(
    cache: Path, revision: str
) -> None:
    facts, messages = pinning.file(f"hf:org/repo@{revision}/m.gguf")
    assert facts == {
        "sha256": hashlib.sha256(b"model").hexdigest(),
        "size": 5,
        "source": f"hf:org/repo@{COMMIT}/m.gguf",
    }
    assert COMMIT[:12] in messages
    assert pinning.revision(f"hf:org/repo@{revision}/m.gguf") == COMMIT


@pytest.mark.parametrize(
    "source",
    [
        "hf:../x@main/f",
        "hf:org/repo@main/../../../../../secret",
        "hf:org/repo@main//etc/passwd",
        "hf:org/repo@../snapshots/m.gguf",
        "hf:org@main/m.gguf",
        "hf:org/repo@elsewhere/m.gguf",
    ],
)
def test_no_source_leads_out_of_the_cache(cache: Path, source: str) -> None:
    facts, messages = pinning.file(source)
    assert facts == {}
    assert "not in the hub's cache" in messages and "git ls-remote" in messages


def test_a_source_names_its_revision() -> None:
    assert pinning.revision("pypi:name==1.2/a/b.gguf") == "name==1.2"
    assert pinning.revision("file:m.gguf") is None
    assert pinning.revision("hf:org/repo@gone/m.gguf") is None
    assert pinning.revision("nothing") is None


def test_an_image_that_nothing_here_knows_is_told_with_how_to_fetch_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> None:
        raise UsageError("no engine answers", "start one")

    monkeypatch.setattr(containers, "connect", none)
    answer = pinning.reference("vllm/vllm-openai:v1")
    assert (answer.pin, answer.to_fetch) == ("", True)
    assert (
        "no engine answers" in answer.message
        and "docker pull vllm/vllm-openai:v1" in answer.message
    )


def test_one_module_knows_the_form_of_a_hub_source() -> None:
    room = Path(kit.__file__).parent
    text = {p.relative_to(room).as_posix(): p.read_text("utf-8") for p in room.rglob("*.py")}
    assert [name for name, content in text.items() if "hf:(" in content] == [
        "machine/weights/source.py"
    ]
    assert [name for name, content in text.items() if "models--" in content] == [
        "machine/weights/hub.py"
    ]
