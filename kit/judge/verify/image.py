"""L6, image: the image that ran is the pinned one, and the sealed recipe is the plan's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.core import jsonio
from kit.core.errors import ArchiveRefused, ImageUnavailable
from kit.core.model import ImageIdentity, Manifest, Plan
from kit.judge.verify.verdict import Check, check, judged
from kit.record.archive import ArchiveSource
from kit.record.records import RunRecords

RECIPE = "inputs/image/"
_LOCK = f"{RECIPE}image.json"


def checks(records: RunRecords, source: ArchiveSource, manifest: Manifest) -> list[Check]:
    """The image against the spec's pin and the journal; the recipe against plan and lock."""
    return [
        judged("IMAGE_DIFFERS", _image(records), "the image is the one that the spec pins"),
        _recipe(records.plan, source, manifest),
    ]


def _image(records: RunRecords) -> Iterator[str]:
    spec, plan = records.spec, records.plan
    pinned = spec.image.digest or (spec.image.reference or "").partition("@")[2]
    if plan.image_pinned != pinned:
        yield "the plan pins another digest than the spec"
    if plan.image.recipe != spec.image.recipe:
        yield "the plan has the image of another recipe than the spec"
    if plan.image_match == "identical" and pinned not in names_of(plan.image):
        yield "the plan calls its image identical to the pin, and it has another digest"
    if plan.image_match != "identical" and pinned in names_of(plan.image):
        yield f"the plan calls its image {plan.image_match}, and it has the digest of the pin"
    for event in records.events:
        used = event.data.get("image")
        if event.kind == "container.created" and used != plan.image.image_id:
            yield f"launch {event.data.get('launch')!a} ran another image than the plan's"


def names_of(image: ImageIdentity) -> set[str]:
    """Every digest that names the image."""
    digests = (image.image_id, image.config_digest, image.manifest_digest, image.index_digest)
    return {name for name in digests if name}


def _recipe(plan: Plan, source: ArchiveSource, manifest: Manifest) -> Check:
    """The recipe under ``inputs/image/``, where one is sealed."""
    hashes = {f.path: f.sha256 for f in manifest.files if f.path.startswith(RECIPE)}
    if not hashes:
        gone = ["the plan names a sealed recipe, and none is here"] * bool(plan.image_recipe_sha256)
        if gone:
            return judged("RECIPE_DIFFERS", gone, "")
        return check(
            "RECIPE_DIFFERS", "SKIP", "no recipe is sealed: the image has none, or is older"
        )
    problems = [*_of_plan(plan, hashes), *_of_lock(plan, source, hashes), *_of_rules(source)]
    problems += _of_parts(source)
    if problems or plan.image_recipe_sha256:
        return judged(
            "RECIPE_DIFFERS", problems, "the sealed recipe is the one that the plan names"
        )
    older = "the plan of an older kit does not name the recipe by hash; its lock fits its files"
    return check("RECIPE_DIFFERS", "SKIP", older)


def _of_plan(plan: Plan, hashes: dict[str, str]) -> Iterator[str]:
    from kit.machine import images  # a large package, and most checks need nothing of it

    if plan.image.recipe is None:
        yield "a recipe is sealed, and the image is of none"
    own = {path.removeprefix(RECIPE): sha256 for path, sha256 in hashes.items()}
    if plan.image_recipe_sha256 not in (None, images.files_digest(own)):
        yield "the sealed recipe is not the one that the plan names"


def _of_lock(plan: Plan, source: ArchiveSource, hashes: dict[str, str]) -> Iterator[str]:
    """Compare the lock with the pin and with the files of the recipe."""
    if _LOCK not in hashes:
        yield "the sealed recipe has no lock (image.json)"
        return
    try:
        lock = jsonio.parse(source.read(_LOCK), _LOCK)
    except jsonio.JsonRefused as error:
        yield error.message
        return
    if not isinstance(lock, dict):
        yield "the recipe's lock is no object"
        return
    if lock.get("image_id") != plan.image_pinned:
        yield "the sealed recipe makes another image than the one that is pinned"
    if lock.get("recipe") != plan.image.recipe:
        yield "the sealed recipe has another name than the plan's"
    yield from _files_of_lock(lock.get("files"), hashes)


def _of_rules(source: ArchiveSource) -> Iterator[str]:
    """Check the closed schema of recipes; older kits have another schema, checked above."""
    from kit.machine import images

    try:
        images.sealed(source)
    except ArchiveRefused as refused:
        yield refused.message
    except ImageUnavailable:
        return


def _of_parts(source: ArchiveSource) -> Iterator[str]:
    """The bill of materials, where there is one, against the lock."""
    from kit.machine import images
    from kit.machine.images import sbom

    if sbom.FILE not in source.names():
        return
    try:
        recipe = images.sealed(source)
        document = jsonio.parse(source.read(sbom.FILE), sbom.FILE)
        listed, about = sbom.listed(document), sbom.image_of(document)
    except (ArchiveRefused, ImageUnavailable):
        return  # said above
    except (jsonio.JsonRefused, LookupError, TypeError, ValueError, AttributeError):
        yield f"{sbom.FILE} is no bill of materials"
        return
    if (listed, about) != (sbom.parts(recipe), recipe.image_id):
        yield f"{sbom.FILE} lists other parts than the recipe's lock"


def _files_of_lock(locked: Any, hashes: dict[str, str]) -> Iterator[str]:
    for name, sha256 in locked.items() if isinstance(locked, dict) else ():
        if hashes.get(RECIPE + name) != sha256:
            yield f"{name!a} of the recipe is not the one that its lock names"
