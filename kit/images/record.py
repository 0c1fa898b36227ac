"""The local record of what was built here for a locked image, and whether it equals the lock.

It lies in the cache under the recipe's name and the locked id, never in the lock itself, and
outlives a change of the lock: a run replayed later pins the older one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from kit import jsonio, resources
from kit.images.builder import Archive
from kit.images.recipe import SHORT, Recipe
from kit.model import Record

Cause = Literal["equal", "parts", "builder", "edited"]


class Build(Record, frozen=True):
    """What was built for the locked image ``pinned``, and why it differs where it does.

    ``cause``: ``equal`` (the very image), ``parts`` (base system or packages are not the locked
    ones), ``builder`` (equal parts, packed by other programs), ``edited`` (the recipe's files
    are not the locked ones). ``locked_diff_ids`` are the layers that the lock names.
    """

    schema: str
    recipe: str
    pinned: str
    locked_diff_ids: tuple[str, ...]
    cause: Cause
    drift: tuple[str, ...]
    reference: str
    image_id: str
    diff_ids: tuple[str, ...]
    builder: dict[str, str]


def of(found: Recipe, archive: Archive, edited: list[str], drift: tuple[str, ...]) -> Build:
    """The record of ``archive``, built from ``found`` with these edits and drifted parts."""
    cause, lines = _why(found, archive, edited, drift)
    return Build(
        schema="kit.build/1",
        recipe=found.name,
        pinned=found.image_id,
        locked_diff_ids=found.diff_ids,
        cause=cause,
        drift=lines,
        reference=archive.identity.reference,
        image_id=archive.identity.image_id,
        diff_ids=archive.identity.diff_ids,
        builder=archive.builder,
    )


def _why(
    found: Recipe, archive: Archive, edited: list[str], drift: tuple[str, ...]
) -> tuple[Cause, tuple[str, ...]]:
    if edited:
        lines = tuple(f"{name}: changed since the image was locked" for name in edited)
        return "edited", (*lines, *drift)
    if archive.identity.image_id == found.image_id:
        return "equal", ()
    if drift:
        return "parts", drift
    locked = ", ".join(f"{k} {v}" for k, v in found.lock.get("builder", {}).items()) or "unknown"
    now = ", ".join(f"{k} {v}" for k, v in archive.builder.items())
    return "builder", (f"the same parts, built otherwise: locked with {locked}, today with {now}",)


def path(name: str, pinned: str) -> Path:
    """Where the record of recipe ``name`` at the locked id ``pinned`` lies."""
    short = pinned.removeprefix("sha256:")[:SHORT] or "unlocked"
    return resources.cache_dir() / "images" / f"{name}-{short}.json"


def read(name: str, pinned: str) -> Build | None:
    """The record, or None; one that is damaged counts as none."""
    try:
        known = msgspec.convert(jsonio.read(path(name, pinned)), Build)
    except (OSError, jsonio.JsonRefused, msgspec.ValidationError):
        return None
    return known if known.pinned == pinned else None


def write(known: Build) -> None:
    """Keep ``known``, in place of an earlier build's record."""
    jsonio.write(path(known.recipe, known.pinned), msgspec.to_builtins(known))
