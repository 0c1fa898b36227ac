"""Build, lock and identify kit's container images.

A recipe (`kit.images.recipe`) stands on a canonical base (`kit.images.base`), takes hash-locked
packages from a wheelhouse (`kit.images.wheels`) and is built from that alone
(`kit.images.builder`) into an image whose ID stands in the recipe's lock. `kit.images.make`
joins these; `kit.images.identity` finds a spec's image in the engine and says how well it
matches.
"""

from kit.images.identity import check, resolve
from kit.images.make import BuildResult, build, build_recipe, lock
from kit.images.recipe import (
    Recipe,
    at,
    context_files,
    edited_files,
    files_digest,
    recipe,
    recipes,
    sealable_files,
)
from kit.images.sealed import SealedRecipe, parts_bytes, sealed

__all__ = [
    "BuildResult",
    "Recipe",
    "SealedRecipe",
    "at",
    "build",
    "build_recipe",
    "check",
    "context_files",
    "edited_files",
    "files_digest",
    "lock",
    "parts_bytes",
    "recipe",
    "recipes",
    "resolve",
    "sealable_files",
    "sealed",
]
