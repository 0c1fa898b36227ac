"""The digests of an image in containerd's store, which the engine does not tell.

There an image's id is the digest of its manifest, or of an index of manifests. What the engine
saves holds these documents. Each is what its digest names, so that following them from the id gives
the configuration's digest, by which a classic store and a lock name the same image.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kit.core import jsonio, resources

_BLOBS = "blobs/sha256/"
_MOST_BYTES = 1 << 20  # manifests and indexes are small; layers are left out


class Digests(NamedTuple):
    """The digests that an image's id leads to; None where what was saved does not hold them."""

    index_digest: str | None = None
    manifest_digest: str | None = None
    config_digest: str | None = None


def of(image_id: str, saved: Iterable[bytes], platform: tuple[str, str]) -> Digests:
    """The digests of ``image_id`` from the archive that the engine saves; found ones are cached.

    Args:
        saved: the archive in pieces; it is read to its end where the cache does not know the image.
        platform: operating system and architecture, for an index of several.
    """
    path = resources.cache_dir() / "manifests" / f"{image_id.removeprefix('sha256:')}.json"
    try:
        return Digests(**jsonio.read(path))
    except (OSError, jsonio.JsonRefused, TypeError):
        found = followed(image_id, _documents(saved), platform)
    if found.config_digest:
        path.parent.mkdir(parents=True, exist_ok=True)
        jsonio.write(path, found._asdict())
    return found


def followed(image_id: str, documents: dict[str, Any], platform: tuple[str, str]) -> Digests:
    """Follow the documents (by digest) from ``image_id`` to the configuration."""
    index, manifest = None, image_id
    listed = _part(documents.get(image_id), "manifests")
    if isinstance(listed, list):
        index, manifest = (
            image_id,
            next((str(_part(m, "digest")) for m in listed if _platform(m) in (platform, None)), ""),
        )
    config = _part(_part(documents.get(manifest), "config"), "digest")
    known = isinstance(config, str)
    return Digests(index, manifest if known else None, config if known else None)


def _platform(entry: Any) -> tuple[str, str] | None:
    about = _part(entry, "platform")
    return None if about is None else (str(_part(about, "os")), str(_part(about, "architecture")))


def _part(document: Any, key: str) -> Any:
    return document.get(key) if isinstance(document, dict) else None


def _documents(saved: Iterable[bytes]) -> dict[str, Any]:
    """The JSON documents of an OCI layout by digest; one that is not what its name says is none."""
    found: dict[str, Any] = {}
    with tarfile.open(fileobj=_Stream(iter(saved)), mode="r|") as tar:
        for member in tar:
            if not member.name.startswith(_BLOBS) or not 0 < member.size <= _MOST_BYTES:
                continue
            file = tar.extractfile(member)
            data = file.read() if file else b""
            name = member.name.removeprefix(_BLOBS)
            if data[:1] == b"{" and hashlib.sha256(data).hexdigest() == name:
                try:
                    found[f"sha256:{name}"] = jsonio.parse(data, "the manifest", any_integer=True)
                except jsonio.JsonRefused:
                    continue
    return found


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
