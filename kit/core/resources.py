"""Where kit's own data lies: image recipes and example specs, in a clone or in a wheel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_CACHE: ContextVar[Path | None] = ContextVar("cache", default=None)


def _data(name: str) -> Path:
    """``name`` inside the installed wheel (``kit/_data``), else beside the package in a clone."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name


def images_dir() -> Path:
    """The folder with one sub-folder per image recipe."""
    return _data("images")


def specs_dir() -> Path:
    """The folder with the example run specs."""
    return _data("specs")


def cache_dir() -> Path:
    """Where kit keeps what it can make or fetch again: weights, base systems, build records.

    ``$KIT_CACHE``, else ``$XDG_CACHE_HOME/kit``, else ``~/.cache/kit``; inside `another_cache`
    the folder that it names.
    """
    if other := _CACHE.get():
        return other
    chosen = os.environ.get("KIT_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "kit"


@contextmanager
def another_cache(folder: Path) -> Iterator[None]:
    """Make ``folder`` the cache for the calling thread, as long as the block lasts.

    Other threads keep theirs, and so do threads that are started inside: what works in a pool
    asks for `cache_dir` before it starts the pool.
    """
    before = _CACHE.set(folder)
    try:
        yield
    finally:
        _CACHE.reset(before)


def schema_path(name: str) -> Path:
    """The JSON Schema file called ``name`` (``run-spec``, ``plan``, ``event``, …)."""
    return _PACKAGE / "schemas" / f"{name}.json"
