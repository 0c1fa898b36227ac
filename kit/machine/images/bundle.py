"""Write an image as one tar that every engine loads: a docker-archive and an OCI layout in one.

The same layers and configuration give the same bytes. A classic Docker store names the image by
the hash of its configuration; a containerd store by the hash of its manifest, which is here too.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.machine.images.tree import Layer

_OCI = "application/vnd.oci.image"


def write(target: Path, reference: str, config: bytes, layers: Sequence[Layer]) -> str:
    """Write the archive of the image called ``reference``; returns its manifest's digest."""
    manifest = _manifest(config, layers)
    digest = f"sha256:{jsonio.digest(manifest)}"
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "oci-layout", jsonio.canonical({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _index(reference, digest, len(manifest)))
        _add(tar, "manifest.json", _docker_manifest(reference, config, layers))
        _add(tar, _blob(digest), manifest)
        _add(tar, _blob(f"sha256:{jsonio.digest(config)}"), config)
        for layer in {layer.diff_id: layer for layer in layers}.values():
            with layer.path.open("rb") as file:
                member = tarfile.TarInfo(_blob(layer.diff_id))
                member.size = layer.size
                tar.addfile(member, file)
    return digest


def _manifest(config: bytes, layers: Sequence[Layer]) -> bytes:
    described = [_descriptor(f"{_OCI}.layer.v1.tar", layer.diff_id, layer.size) for layer in layers]
    config_digest = f"sha256:{jsonio.digest(config)}"
    return jsonio.canonical(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(f"{_OCI}.config.v1+json", config_digest, len(config)),
            "layers": described,
        }
    )


def _index(reference: str, digest: str, size: int) -> bytes:
    annotations = {
        "io.containerd.image.name": f"docker.io/{reference}",
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    entry = {**_descriptor(f"{_OCI}.manifest.v1+json", digest, size), "annotations": annotations}
    return jsonio.canonical(
        {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [entry]}
    )


def _docker_manifest(reference: str, config: bytes, layers: Sequence[Layer]) -> bytes:
    entry = {
        "Config": _blob(f"sha256:{jsonio.digest(config)}"),
        "RepoTags": [reference],
        "Layers": [_blob(layer.diff_id) for layer in layers],
    }
    return jsonio.canonical([entry])


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
