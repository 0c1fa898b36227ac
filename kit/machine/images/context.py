"""`kit images context`: a recipe's build context, for another builder and its Dockerfile."""

from __future__ import annotations

import shutil
from pathlib import Path

from kit.core.errors import UsageError
from kit.machine.images import baselayer, sandbox, wheels
from kit.machine.images.recipe import Recipe
from kit.machine.images.wheels import Progress, Say


def lay(recipe: Recipe, folder: Path, say: Say, progress: Progress) -> None:
    """Write all files that the recipe's Dockerfile reads into the new folder ``folder``.

    ``base.tar`` and ``builder.tar``, its own files, ``wheels/``, and sources to compile in
    ``compile/``; each part as locked.

    Raises:
        UsageError: the folder exists.
        ImageUnavailable: a locked part cannot be fetched.
    """
    if folder.exists():
        raise UsageError(f"{folder} already exists", "name a folder that does not exist")
    bottom = baselayer.ensure(recipe.base, recipe.lock.base, say, progress, own=recipe.own)
    files = wheels.collect(recipe.lock.wheels, say, progress)
    (folder / "wheels").mkdir(parents=True)
    shutil.copyfile(bottom.layer.path, folder / "base.tar")
    for name, data in recipe.files.items():
        (folder / name).write_bytes(data)
    for name, path in files.items():
        shutil.copyfile(path, folder / "wheels" / name)
    if recipe.lock.compile:
        _lay_compile(recipe, folder, say, progress)


def _lay_compile(recipe: Recipe, folder: Path, say: Say, progress: Progress) -> None:
    wanted = recipe.lock.compile
    assert wanted is not None and wanted.source is not None, "a locked recipe that compiles"
    lock = recipe.bases[wanted.builder]
    builder = baselayer.ensure(lock, wanted.builder, say, progress, own=recipe.own)
    shutil.copyfile(builder.layer.path, folder / "builder.tar")
    files = wheels.collect((*wanted.tools, wanted.source), say, progress)
    (folder / "compile" / "tools").mkdir(parents=True)
    for place, content in sandbox.inputs(wanted, lock.source_date_epoch, files).items():
        (folder / "compile" / place).write_bytes(sandbox.content_of(content))
