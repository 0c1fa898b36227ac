"""Records of images that this machine built: in the cache, never in a lock.

Two kinds. With neither can a stranger's recipe pass for a genuine digest:

- ``images/<id>.json`` is the configuration of an image that was built as locked. Its hash is the
  image's id, so that its layers can be believed. It identifies images in an engine that keeps them
  under other names (containerd's store).
- ``substitutes/<content>.json`` is the image that a recipe of this kit gave instead of its locked
  one, under the hash of the whole recipe: only the same recipe finds it. For a sealed recipe none
  is written: it gives its locked image, or none.
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
    """An image that replaces a locked one, and why.

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


def substitute(recipe: Recipe, built: ImageIdentity, cause: Cause, drift: tuple[str, ...]) -> Build:
    """A record: ``recipe`` gave ``built`` instead of its locked image."""
    return Build(
        schema="kit.build/2",
        content=recipe.content,
        cause=cause,
        drift=drift,
        reference=built.reference,
        image_id=built.image_id,
        diff_ids=built.diff_ids,
    )


def read(recipe: Recipe) -> Build | None:
    """The substitute of the same recipe, or None; a damaged record counts as none."""
    try:
        build = msgspec.convert(jsonio.read(_substitute(recipe.content)), Build)
    except (OSError, KitError, msgspec.ValidationError):
        return None
    return build if build.content == recipe.content else None


def write(build: Build) -> None:
    """Write ``build``, replacing an earlier one."""
    jsonio.write(_substitute(build.content), msgspec.to_builtins(build))


def keep(config: bytes) -> None:
    """Keep an image's configuration under its id."""
    path = _config(f"sha256:{jsonio.digest(config)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(config)


def layers(image_id: str) -> tuple[str, ...] | None:
    """The layers of the image ``image_id``, if its configuration is kept here."""
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
