"""Where kit's own data lies: image recipes and example specs, in a clone or in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


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

    ``$KIT_CACHE``, else ``$XDG_CACHE_HOME/kit``, else ``~/.cache/kit``.
    """
    chosen = os.environ.get("KIT_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "kit"


def schema_path(name: str) -> Path:
    """The JSON Schema file called ``name`` (``run-spec``, ``plan``, ``event``, …)."""
    return _PACKAGE / "schemas" / f"{name}.json"
