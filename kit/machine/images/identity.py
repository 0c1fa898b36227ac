"""Find the image that a spec pins, and report how well the engine's image matches.

``identical``: one of the image's names is the pinned digest. ``rewrapped``: the same layers
(diff_ids) in a store that does not show the configuration's digest; a store that shows another
digest has another configuration, and perhaps another entry point. ``different``: built here from
the same recipe, but a locked part had vanished or a compiler gave other bytes; preflight warns, and
no comparison calls such a pair identical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from kit.core.errors import ImageUnavailable
from kit.core.model import Finding, ImageIdentity, ImageSpec
from kit.machine.images import record
from kit.machine.images.recipe import Recipe, edited_files, recipe, recipes, reference

Match = Literal["identical", "rewrapped", "different"]
Find = Callable[[str], ImageIdentity | None]


def resolve(wanted: ImageSpec, find: Find) -> tuple[ImageIdentity, Match]:
    """The engine's image for ``wanted`` and how it matches the pin.

    Raises:
        ImageUnavailable: the engine has no matching image.
    """
    if wanted.recipe:
        return _of_recipe(wanted.recipe, wanted.digest or "", find)
    return _of_registry(wanted, find)


def check(find: Find) -> list[Finding]:
    """For `kit images verify`: each recipe's files against its lock, and the engine's image."""
    return [_check(found, find) for found in recipes()]


def _of_recipe(name: str, pin: str, find: Find) -> tuple[ImageIdentity, Match]:
    """An image of a recipe. The pin may be older, or of a recipe that is only in a sealed run."""
    layers = _layers(name, pin)
    found = [there for candidate in (reference(name, pin), pin) if (there := find(candidate))]
    # The full pin first: a name in the engine has only 12 digits of it, and may be another image's.
    for there in found:
        if pin in _names(there):
            return named(there, name), "identical"
    for there in found:
        if there.diff_ids == layers and there.config_digest is None:
            return named(there, name), "rewrapped"
    own = recipe(name)
    substitute = _substitute(own, find) if own.image_id == pin else None
    if substitute:
        return named(substitute, name), "different"
    raise _missing(own, pin)


def _substitute(own: Recipe, find: Find) -> ImageIdentity | None:
    """The image that this kit's recipe gave instead of the locked one, for an outside reason."""
    known = record.read(own)
    if not known or known.cause == "edited":
        return None
    there = find(known.reference)
    return there if there and there.diff_ids == known.diff_ids else None


def _missing(found: Recipe, pin: str) -> ImageUnavailable:
    """Why no image matches the pin, with a remedy."""
    edited = edited_files(found)
    if edited:
        return ImageUnavailable(
            f"the recipe {found.name} was edited since it was locked: {', '.join(edited)}",
            f"`kit images lock {found.name}`, then pin the new digest in the spec",
        )
    if pin != found.image_id:
        return ImageUnavailable(
            f"the spec pins {found.name} at {pin}, this kit's recipe is locked at {found.image_id}",
            f"pin {found.image_id} in the spec, or use the kit that the spec was written with",
        )
    return ImageUnavailable(
        f"the image {found.reference} is not in the engine", f"`kit images build {found.name}`"
    )


def _of_registry(wanted: ImageSpec, find: Find) -> tuple[ImageIdentity, Match]:
    """An image by digest: it has that digest, or it is missing.

    An imported image, or one built here, is known by its configuration alone; one of a registry by
    its manifest's digest.
    """
    name, _, pinned_digest = (wanted.reference or "").partition("@")
    digest = wanted.digest or pinned_digest
    pinned = f"{name}@{digest}" if name else digest
    for candidate in (pinned, digest):
        there = find(candidate)
        if there and digest in _names(there):
            by_registry = digest in (there.manifest_digest, there.index_digest)
            source: Literal["registry", "archive"] = "registry" if by_registry else "archive"
            return msgspec.structs.replace(there, reference=pinned, source=source), "identical"
    raise ImageUnavailable(
        f"the image {pinned} is not in the engine",
        f"`docker pull {pinned}`, or load your own image with this id, then repeat",
    )


def _check(found: Recipe, find: Find) -> Finding:
    edited = edited_files(found)
    if edited:
        message = f"{found.name}: changed since it was locked: {', '.join(edited)}"
        return Finding(
            code="IMAGE_RECIPE_EDITED",
            level="fail",
            message=message,
            remedy=f"`kit images lock {found.name}`",
        )
    try:
        there, match = _of_recipe(found.name, found.image_id, find)
    except ImageUnavailable as error:
        return Finding(
            code="IMAGE_MISSING", level="warn", message=error.message, remedy=error.remedy
        )
    if match == "different":
        known = record.read(found)
        why = "; ".join(known.drift) if known else "built here"
        message = f"{there.reference} stands for {found.reference}: {why}"
        remedy = "compare its runs with runs of the same image only"
        return Finding(code="IMAGE_DIFFERENT", level="warn", message=message, remedy=remedy)
    return Finding(code="IMAGE_OK", level="ok", message=f"{there.reference}: {match}")


def _names(image: ImageIdentity) -> set[str]:
    """Every digest that may name this image, in any kind of store."""
    names = (image.image_id, image.config_digest, image.manifest_digest, image.index_digest)
    return {name for name in names if name}


def _layers(name: str, pin: str) -> tuple[str, ...] | None:
    """The layers of the image ``pin``, by this kit's lock or by a kept configuration."""
    for found in recipes():
        if (found.name, found.image_id) == (name, pin):
            return found.diff_ids
    return record.layers(pin)


def named(image: ImageIdentity, name: str) -> ImageIdentity:
    """The engine's facts of the image, with the recipe's name."""
    return msgspec.structs.replace(image, recipe=name, source="recipe")
