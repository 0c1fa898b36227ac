"""Build, lock and identify kit's container images.

A recipe (`kit.machine.images.recipe`) is only data, in a closed form (`kit.machine.images.locks`).
Its layers are written from locked Debian packages (`kit.machine.images.baselayer`), locked Python
packages (`kit.machine.images.wheels`) and its own program, its configuration from declared fields
(`kit.machine.images.configuration`): the image's id depends on nothing else.
`kit.machine.images.make` joins them. `kit.machine.images.sealed` reads a recipe from a run, which
may be a stranger's. `kit.machine.images.identity` finds a spec's image in the engine and reports
how well it matches.
"""

from kit.machine.images.context import lay
from kit.machine.images.difference import first as first_difference
from kit.machine.images.identity import check, resolve
from kit.machine.images.lockwriter import lock
from kit.machine.images.make import BuildResult, build, build_recipe
from kit.machine.images.recipe import (
    Recipe,
    context_files,
    edited_files,
    files_digest,
    recipe,
    recipes,
    sealable_files,
)
from kit.machine.images.sealed import checked, parts_bytes, sealed

__all__ = [
    "BuildResult",
    "Recipe",
    "build",
    "build_recipe",
    "check",
    "checked",
    "context_files",
    "edited_files",
    "files_digest",
    "first_difference",
    "lay",
    "lock",
    "parts_bytes",
    "recipe",
    "recipes",
    "resolve",
    "sealable_files",
    "sealed",
]
