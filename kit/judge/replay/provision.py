"""Get image and weights after the yes: exactly what an `Undertaking` lists."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.core import resources
from kit.core.errors import ImageUnavailable
from kit.judge.replay.undertaking import Undertaking
from kit.machine import images, weights

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]
_STAGED = "replay-"
_ELSEWHERE = ("weights", "sources", "seen", "work")  # what no build reads
_BY_HASH = re.compile(r"[0-9a-f]{64}(\.[a-z]+)?")  # other files are still being written
_STALE_S = 24 * 3600


def _nothing(*_: object) -> None:
    """A ``progress`` that is ignored."""


def provide(agreed: Undertaking, say: Say, progress: Progress = _nothing) -> None:
    """Do what ``agreed`` lists: rebuild the image, fetch the model files.

    The recipe and the sources are those that were shown: the archive is not read again. A failed
    rebuild leaves nothing in the engine and nothing in the cache.

    Raises:
        Blocked: something is missing that nothing in the list provides.
        ImageUnavailable, WeightsUnavailable: a part cannot be fetched, or is not what was pinned.
    """
    if agreed.obstacle:
        raise agreed.obstacle
    if agreed.image.recipe:
        with all_or_nothing():
            images.build_recipe(agreed.image.recipe, say, progress)
    for part in agreed.files:
        if part.state == "fetch":
            weights.ensure(part.file, (), say, progress)


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Work on a copy of the cache, made of hard links, and keep what is new only on success.

    Only the calling thread uses the copy; other threads of the terminal UI do not see it. So parts
    of a stranger's recipe do not stay in the cache if the recipe gives no image.

    Raises:
        ImageUnavailable: the cache cannot be written.
    """
    cache = resources.cache_dir()
    was_there = cache.is_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=cache))
    except OSError as error:
        raise ImageUnavailable(
            f"nothing can be written into {cache}: {error.strerror}",
            "give write access there, or set $KIT_CACHE to another folder",
        ) from error
    try:
        _link(cache, staged)
        with resources.another_cache(staged):
            yield
        _keep(staged, cache)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if not was_there and not any(cache.iterdir()):
            cache.rmdir()


def _link(cache: Path, staged: Path) -> None:
    """Link every file of the cache that a build may use."""
    for folder in cache.iterdir():
        if folder.is_dir() and not folder.name.startswith((*_ELSEWHERE, _STAGED)):
            (staged / folder.name).mkdir()
            for path in folder.iterdir():
                if _BY_HASH.fullmatch(path.name) and path.is_file():
                    _one(path, staged / folder.name / path.name)


def _one(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has no links; skip a file that vanished."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        return
    except OSError:
        with suppress(FileNotFoundError):
            shutil.copy2(source, target)


def _sweep(cache: Path) -> None:
    """Remove copies that killed replays left a day ago or earlier."""
    for left in cache.glob(f"{_STAGED}*"):
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _keep(staged: Path, cache: Path) -> None:
    """Move new files to their place in the cache."""
    for path in sorted(staged.rglob("*")):
        place = cache / path.relative_to(staged)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
