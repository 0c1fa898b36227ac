"""An image's configuration: canonical JSON, from a recipe's declared fields alone.

Its sha256 is the image's id in a classic Docker store. No field is free: environment, user and
labels are the same in every kit image except for the recipe's names, and no history records who
built it, when, or with what.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kit.core import jsonio
from kit.machine.images.locks import BaseLock, ImageLock

HOME = "opt/kit"
USER = "65534:65534"
ENV = ("PATH=/usr/local/bin:/usr/bin:/bin", f"PYTHONPATH=/{HOME}", "PYTHONDONTWRITEBYTECODE=1")


def configuration(lock: ImageLock, base: BaseLock, diff_ids: tuple[str, ...]) -> bytes:
    """The configuration's bytes for an image of these layers."""
    container: dict[str, Any] = {
        "Entrypoint": list(lock.entrypoint),
        "Env": list(ENV),
        "ExposedPorts": {f"{lock.port}/tcp": {}},
        "Labels": {
            "kit.recipe": lock.recipe,
            "org.opencontainers.image.licenses": lock.licenses,
            "org.opencontainers.image.title": f"kit {lock.recipe}",
        },
        "User": USER,
    }
    return document(container, base, diff_ids)


def document(container: dict[str, Any], base: BaseLock, diff_ids: tuple[str, ...]) -> bytes:
    """A whole configuration around its ``config`` part."""
    created = datetime.fromtimestamp(base.source_date_epoch, UTC)
    return jsonio.canonical(
        {
            "architecture": base.architecture,
            "config": container,
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "os": "linux",
            "rootfs": {"diff_ids": list(diff_ids), "type": "layers"},
        }
    )


def image_id(config: bytes) -> str:
    """The id of the image with this configuration: ``sha256:…``."""
    return f"sha256:{jsonio.digest(config)}"
