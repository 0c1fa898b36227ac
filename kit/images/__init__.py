"""Build, lock and identify kit's container images.

A recipe (`kit.images.recipe`) is data alone, of a closed form (`kit.images.locks`). Its layers are
written from locked Debian packages (`kit.images.base`), locked Python packages
(`kit.images.wheels`) and its own program, its configuration from declared fields
(`kit.images.configuration`): the image's id is a function of these and of nothing else.
`kit.images.make` joins them; `kit.images.sealed` reads a recipe from a run that may be a
stranger's; `kit.images.identity` finds a spec's image in the engine and says how well it matches.
"""

from kit.images.context import lay
from kit.images.identity import check, resolve
from kit.images.locking import lock
from kit.images.make import BuildResult, build, build_recipe
from kit.images.recipe import (
    Recipe,
    context_files,
    edited_files,
    files_digest,
    recipe,
    recipes,
    sealable_files,
)
from kit.images.sealed import parts_bytes, sealed

__all__ = [
    "BuildResult",
    "Recipe",
    "build",
    "build_recipe",
    "check",
    "context_files",
    "edited_files",
    "files_digest",
    "lay",
    "lock",
    "parts_bytes",
    "recipe",
    "recipes",
    "resolve",
    "sealable_files",
    "sealed",
]
