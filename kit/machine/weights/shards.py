"""Safetensors in several files: which of them belong together.

A sharded model has ``model-00001-of-00003.safetensors`` and so on, and an index that says which
tensor lies in which file. Names and index may be anyone's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.text import clean

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
# What Transformers reads beside config and safetensors; other formats and code are left out.
BESIDE = (".json", ".jinja", ".model", ".txt", ".tiktoken")
_SUFFIX = ".safetensors"
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LONGEST = 200  # of a path
_MOST = 512  # files of a spec
_INDEX_BYTES = 64 << 20


def is_plain(name: str) -> bool:
    """Whether a name can stand in a spec: no folder, letters, digits, dots, hyphens, underscores"""
    return bool(_PLAIN.fullmatch(name))


def is_plain_path(path: str) -> bool:
    """Whether a path can: plain names, at most one folder before the file's."""
    names = path.split("/")
    return len(path) <= _LONGEST and len(names) <= 2 and all(map(is_plain, names))


def lacking(names: Iterable[str]) -> str:
    """The first part that is not among ``names``, by the numbers in the others' names; or empty."""
    there = set(names)
    models = {(part[1], part[3]) for part in map(_PART.fullmatch, there) if part}
    for stem, count in sorted(models):
        for number in range(1, min(int(count), _MOST + 1) + 1):
            part = f"{stem}-{number:05}-of-{count}{_SUFFIX}"
            if part not in there:
                return part
    return ""


def index_at(path: Path) -> Any:
    """The index in a file, parsed; an empty object if it is none, or too large."""
    try:
        if path.stat().st_size > _INDEX_BYTES:
            return {}
        return jsonio.parse(path.read_bytes(), INDEX, any_integer=True)
    except (OSError, jsonio.JsonRefused):
        return {}


def belonging(names: Iterable[str], index: Any, where: str) -> set[str]:
    """The safetensors among ``names`` that make the model.

    Args:
        index: the parsed index; None where there is none.
        where: what has the files, for errors.

    Raises:
        UsageError: the index names a file that is not here or none that can be, or a part is here
            that it does not name.
    """
    there = {name for name in names if name.endswith(_SUFFIX)}
    if index is None:
        chosen = {WHOLE} if WHOLE in there else there
        if part := lacking(chosen):
            raise _broken(f"{where} lacks {clean(part)}")
        return chosen
    named = _named(index, where)
    if missing := sorted(named - there):
        raise _broken(f"{where} lacks {missing[0]}, which {INDEX} lists")
    if odd := sorted(name for name in there - named if _PART.fullmatch(name)):
        raise _broken(f"{where} has {clean(odd[0])}, which {INDEX} does not list")
    return named


def _named(index: Any, where: str) -> set[str]:
    """The files that an index names."""
    listed = index.get("weight_map") if isinstance(index, dict) else None
    named = set(map(str, listed.values())) if isinstance(listed, dict) else set()
    if not named:
        raise _broken(f"{INDEX} of {where} lists no file")
    if odd := sorted(name for name in named if not is_plain(name)):
        raise _broken(f"{INDEX} of {where} lists {odd[0][:80]!a}, which is no file beside it")
    return named


def _broken(message: str) -> UsageError:
    return UsageError(message, "fetch the model's files again, all of them of one revision")
