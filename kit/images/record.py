"""The local record of an image that was built without equalling its lock."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from kit import jsonio, resources
from kit.images.builder import Archive
from kit.images.recipe import SHORT, Recipe
from kit.model import Record

Cause = Literal["parts", "builder", "edited"]


class Build(Record, frozen=True):
    """What was built in place of the locked image ``pinned``, and why it differs.

    ``cause``: ``parts`` (base system or packages are not the locked ones), ``builder`` (equal
    parts, packed by other programs), ``edited`` (the recipe's files are not the locked ones).
    """

    schema: str
    recipe: str
    pinned: str
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
    if drift:
        return "parts", drift
    locked = ", ".join(f"{k} {v}" for k, v in found.lock.get("builder", {}).items()) or "unknown"
    now = ", ".join(f"{k} {v}" for k, v in archive.builder.items())
    return "builder", (f"the same parts, built otherwise: locked with {locked}, today with {now}",)


def path(found: Recipe) -> Path:
    """Where the record for this lock lies: another lock of the recipe has another record."""
    short = found.image_id.removeprefix("sha256:")[:SHORT] or "unlocked"
    return resources.cache_dir() / "images" / f"{found.name}-{short}.json"


def read(found: Recipe) -> Build | None:
    """The record for ``found``'s lock, or None; one that is damaged counts as none."""
    try:
        known = msgspec.convert(jsonio.read(path(found)), Build)
    except (OSError, jsonio.JsonRefused, msgspec.ValidationError):
        return None
    return known if known.pinned == found.image_id else None


def write(found: Recipe, known: Build) -> None:
    jsonio.write(path(found), msgspec.to_builtins(known))


def forget(found: Recipe) -> None:
    path(found).unlink(missing_ok=True)
