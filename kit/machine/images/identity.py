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
    return [_check(own, find) for own in recipes()]


def _of_recipe(name: str, pin: str, find: Find) -> tuple[ImageIdentity, Match]:
    """An image of a recipe. The pin may be older, or of a recipe that is only in a sealed run."""
    layers = _layers(name, pin)
    candidates = [image for candidate in (reference(name, pin), pin) if (image := find(candidate))]
    # The full pin first: a name in the engine has only 12 digits of it, and may be another image's.
    for image in candidates:
        if pin in _names(image):
            return with_recipe(image, name), "identical"
    for image in candidates:
        if image.diff_ids == layers and image.config_digest is None:
            return with_recipe(image, name), "rewrapped"
    own = recipe(name)
    substitute = _substitute(own, find) if own.image_id == pin else None
    if substitute:
        return with_recipe(substitute, name), "different"
    raise _missing(own, pin)


def _substitute(own: Recipe, find: Find) -> ImageIdentity | None:
    """The image that this kit's recipe gave instead of the locked one, for an outside reason."""
    build = record.read(own)
    if not build or build.cause == "edited":
        return None
    image = find(build.reference)
    return image if image and image.diff_ids == build.diff_ids else None


def _missing(recipe: Recipe, pin: str) -> ImageUnavailable:
    """Why no image matches the pin, with a remedy."""
    edited = edited_files(recipe)
    if edited:
        return ImageUnavailable(
            f"the recipe {recipe.name} was edited since it was locked: {', '.join(edited)}",
            f"`kit images lock {recipe.name}`, then pin the new digest in the spec",
        )
    if pin != recipe.image_id:
        own = recipe.image_id
        return ImageUnavailable(
            f"the spec pins {recipe.name} at {pin}, this kit's recipe is locked at {own}",
            f"pin {own} in the spec, or use the kit that the spec was written with",
        )
    return ImageUnavailable(
        f"the image {recipe.reference} is not in the engine", f"`kit images build {recipe.name}`"
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
        image = find(candidate)
        if image and digest in _names(image):
            by_registry = digest in (image.manifest_digest, image.index_digest)
            source: Literal["registry", "archive"] = "registry" if by_registry else "archive"
            return msgspec.structs.replace(image, reference=pinned, source=source), "identical"
    raise ImageUnavailable(
        f"the image {pinned} is not in the engine",
        f"`docker pull {pinned}`, or load your own image with this id, then repeat",
    )


def _check(recipe: Recipe, find: Find) -> Finding:
    edited = edited_files(recipe)
    if edited:
        message = f"{recipe.name}: changed since it was locked: {', '.join(edited)}"
        return Finding(
            code="IMAGE_RECIPE_EDITED",
            level="fail",
            message=message,
            remedy=f"`kit images lock {recipe.name}`",
        )
    try:
        image, match = _of_recipe(recipe.name, recipe.image_id, find)
    except ImageUnavailable as error:
        return Finding(
            code="IMAGE_MISSING", level="warn", message=error.message, remedy=error.remedy
        )
    if match == "different":
        build = record.read(recipe)
        reason = "; ".join(build.drift) if build else "built here"
        message = f"{image.reference} stands for {recipe.reference}: {reason}"
        remedy = "compare its runs with runs of the same image only"
        return Finding(code="IMAGE_DIFFERENT", level="warn", message=message, remedy=remedy)
    return Finding(code="IMAGE_OK", level="ok", message=f"{image.reference}: {match}")


def _names(image: ImageIdentity) -> set[str]:
    """Every digest that may name this image, in any kind of store."""
    names = (image.image_id, image.config_digest, image.manifest_digest, image.index_digest)
    return {name for name in names if name}


def _layers(name: str, pin: str) -> tuple[str, ...] | None:
    """The layers of the image ``pin``, by this kit's lock or by a kept configuration."""
    for own in recipes():
        if (own.name, own.image_id) == (name, pin):
            return own.diff_ids
    return record.layers(pin)


def with_recipe(image: ImageIdentity, name: str) -> ImageIdentity:
    """The engine's facts of the image, with the recipe's name."""
    return msgspec.structs.replace(image, recipe=name, source="recipe")
