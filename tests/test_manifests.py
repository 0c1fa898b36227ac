"""The digests behind an image's id in containerd's store, from what such an engine saves."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.core import jsonio
from kit.machine import images
from kit.machine.containers import manifests
from kit.machine.images import bundle, make

AMD64 = ("linux", "amd64")
CONFIG = "sha256:" + "c" * 64


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive(*blobs: bytes, lie: bool = False) -> bytes:
    """What an engine saves: blobs by digest, a layer of noise before them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for data in (b"\x1f\x8b" + bytes(3 << 20), *blobs):
            name = digest(data + b"!" * lie).removeprefix("sha256:")
            member = tarfile.TarInfo(f"blobs/sha256/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def pieces(data: bytes, size: int = 70_001) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


MANIFEST = jsonio.canonical({"schemaVersion": 2, "config": {"digest": CONFIG}, "layers": []})
OTHER = jsonio.canonical({"schemaVersion": 2, "config": {"digest": "sha256:" + "d" * 64}})
INDEX = jsonio.canonical(
    {
        "manifests": [
            {"digest": digest(OTHER), "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": digest(MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}},
        ]
    }
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path))


def test_a_manifest_leads_to_its_configuration() -> None:
    found = manifests.of(digest(MANIFEST), pieces(archive(MANIFEST)), AMD64)
    assert found == manifests.Digests(None, digest(MANIFEST), CONFIG)


def test_an_index_leads_to_the_manifest_of_the_platform() -> None:
    found = manifests.of(digest(INDEX), pieces(archive(OTHER, INDEX, MANIFEST)), AMD64)
    assert found == manifests.Digests(digest(INDEX), digest(MANIFEST), CONFIG)


@pytest.mark.parametrize(
    "saved",
    [archive(MANIFEST, lie=True), archive(), archive(b"{", b"[]"), archive(b'{"config": 3}')],
)
def test_what_is_not_saved_or_lies_is_unknown(saved: bytes) -> None:
    found = manifests.of(digest(MANIFEST), pieces(saved), AMD64)
    assert (found.manifest_digest, found.config_digest) == (None, None)
    again = manifests.of(digest(MANIFEST), pieces(archive(MANIFEST)), AMD64)
    assert again.config_digest == CONFIG, "what was not found is looked for again"


def test_an_image_is_saved_once_to_know_it() -> None:
    first = manifests.of(digest(MANIFEST), pieces(archive(MANIFEST)), AMD64)
    assert manifests.of(digest(MANIFEST), iter(()), AMD64) == first


def test_an_image_of_kit_is_identical_in_both_stores(tmp_path: Path) -> None:
    """kit's own archive names it by its manifest there, and by its configuration here."""
    recipe = images.recipe("loopback")
    layer = tmp_path / "layer.tar"
    layer.write_bytes(bytes(10_240))
    config = jsonio.canonical({"architecture": "amd64", "os": "linux"})
    layers = [make.Layer(layer, digest(layer.read_bytes()), layer.stat().st_size)]
    path = tmp_path / "image.tar"
    manifest = bundle.write(path, recipe.reference, config, layers)
    found = manifests.of(manifest, pieces(path.read_bytes()), AMD64)
    assert found == manifests.Digests(None, manifest, digest(config))
