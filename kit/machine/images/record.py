"""What this machine remembers of images that it built: in the cache, never in a lock.

Two kinds, and neither lets a stranger's recipe speak for a genuine digest:

- ``images/<id>.json`` is the configuration of an image that came out as locked. Its own hash is
  the image's id, so that whoever finds the layers in it need trust nobody. An engine that keeps
  images under other names (containerd's store) is understood by it.
- ``substitutes/<content>.json`` is what a recipe of this kit gave in place of its locked image,
  under the hash of the whole recipe: only that very recipe finds it. Of a recipe sealed in a run
  none is written: it gives its locked image, or nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from kit.core import jsonio, resources
from kit.core.errors import KitError
from kit.core.model import ImageIdentity, Record
from kit.machine.images.recipe import Recipe

Cause = Literal["parts", "compiled", "edited"]


class Build(Record, frozen=True):
    """An image that stands in for a locked one, and why it is another.

    ``cause``: ``parts`` (base packages are not the locked ones), ``compiled`` (equal parts, and
    the compiler gave other bytes), ``edited`` (the recipe's files are not the locked ones).
    """

    schema: str
    content: str
    cause: Cause
    drift: tuple[str, ...]
    reference: str
    image_id: str
    diff_ids: tuple[str, ...]


def substitute(found: Recipe, built: ImageIdentity, cause: Cause, drift: tuple[str, ...]) -> Build:
    """The record of ``built``, which ``found`` gave instead of its locked image."""
    return Build(
        schema="kit.build/2",
        content=found.content,
        cause=cause,
        drift=drift,
        reference=built.reference,
        image_id=built.image_id,
        diff_ids=built.diff_ids,
    )


def read(found: Recipe) -> Build | None:
    """The substitute of this very recipe, or None; a record that is damaged counts as none."""
    try:
        known = msgspec.convert(jsonio.read(_substitute(found.content)), Build)
    except (OSError, KitError, msgspec.ValidationError):
        return None
    return known if known.content == found.content else None


def write(known: Build) -> None:
    """Keep ``known``, in place of an earlier one."""
    jsonio.write(_substitute(known.content), msgspec.to_builtins(known))


def keep(config: bytes) -> None:
    """Remember an image's configuration under its id."""
    path = _config(f"sha256:{jsonio.digest(config)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(config)


def layers(image_id: str) -> tuple[str, ...] | None:
    """The layers of the image ``image_id``, if its configuration is remembered here."""
    try:
        data = _config(image_id).read_bytes()
        if f"sha256:{jsonio.digest(data)}" != image_id:
            return None
        return tuple(jsonio.parse(data, "a configuration")["rootfs"]["diff_ids"])
    except (OSError, KitError):
        return None


def _config(image_id: str) -> Path:
    return resources.cache_dir() / "images" / f"{image_id.removeprefix('sha256:')}.json"


def _substitute(content: str) -> Path:
    return resources.cache_dir() / "substitutes" / f"{content}.json"
