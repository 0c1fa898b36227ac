"""Models of this machine as a face offers them, and the spec that begins with one.

No face needs to know the floors below: what lies in a folder, what is hashed, what is registered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from kit.core.errors import KitError
from kit.machine import host
from kit.machine.host import register
from kit.machine.weights import hub, own, pipelines, room
from kit.spec import begin

Progress = Callable[[str, float, float | None], None]
_NAMES, _OFFERED = 2000, 200  # of a folder; of the folders that are known


class Entry(NamedTuple):
    """A folder to look into, or a model.

    Attributes:
        path: what `begun` takes.
        name: how it is called in the list.
        size: bytes of a model; None of a folder.
    """

    path: str
    name: str
    size: int | None
    where: str = ""


class Begun(NamedTuple):
    """A spec begun from a model.

    Attributes:
        text: the spec as JSON.
        folder: must be registered, so that a run finds the model.
        warnings: what will not fit, and what is still to be filled in.
    """

    text: str
    files: tuple[Any, ...]
    folder: Path
    is_registered: bool
    warnings: tuple[str, ...]


def begun(name: str, progress: Progress = lambda *_: None) -> Begun:
    """Hash the model called ``name`` and begin a spec; an exception of ``progress`` ends it.

    Raises:
        KitError: it is no model that kit can run.
    """
    model = own.described(own.find(name), progress)
    here = room.of_this_machine(register.settings().store_root)
    document = begin.spec_for(model, here)
    return Begun(
        json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        model.files,
        model.folder,
        register.is_registered(model.folder),
        tuple(begin.warnings(model, document, here)),
    )


def is_registered(name: str) -> bool:
    """Whether runs find the model called ``name``; raises KitError if it is none."""
    return register.is_registered(own.find(name).folder)


def registered(folder: Path) -> Path:
    """Register a folder of models; returns the path of host.toml."""
    return register.add_folder(folder)


def host_file() -> Path:
    """Where host.toml is, or would be."""
    return host.config_path()


def known() -> list[Entry]:
    """Models in the weights folders of host.toml and in the hub's cache."""
    found: dict[str, Entry] = {}
    try:
        folders = register.settings().weights_folders
    except KitError:  # `kit doctor` says what is wrong with the file
        folders = ()
    for folder in folders:
        entries = [_model(folder), *(e for e in listed(folder) if e.size is not None)]
        for entry in entries:
            if entry:
                found[entry.path] = entry._replace(where="in a weights folder")
    for source in hub.snapshots():
        for entry in _of_snapshot(hub.snapshot(source)):
            called = f"{source.origin} {entry.name}".strip()
            found.setdefault(entry.path, entry._replace(name=called, where="in the hub's cache"))
    return list(islice(found.values(), _OFFERED))


def is_model(path: Path) -> bool:
    """Whether a folder is a model itself, and not one to look into."""
    return _model(path) is not None


def listed(folder: Path) -> list[Entry]:
    """The models and the folders in ``folder``, models first; none if it cannot be read."""
    try:
        paths = sorted(islice(folder.iterdir(), _NAMES), key=lambda path: path.name.lower())
    except OSError:
        return []
    models, folders = [], []
    for path in paths:
        if path.name.startswith("."):
            continue
        if entry := _model(path):
            models.append(entry)
        elif _is_folder(path):
            folders.append(Entry(str(path), f"{path.name}/", None))
    return [*models, *folders]


def _of_snapshot(folder: Path) -> Iterator[Entry]:
    if entry := _model(folder):
        yield entry._replace(name="")
    else:
        yield from (entry for entry in listed(folder) if entry.size is not None)


def _model(path: Path) -> Entry | None:
    """A .gguf file, or a folder of a model or of a pipeline with its safetensors; else None."""
    try:
        if path.suffix.lower() == ".gguf" and path.is_file():
            return Entry(str(path), path.name, path.stat().st_size)
        if (path / pipelines.INDEX).is_file():
            tensors = path.glob("*/*.safetensors")
        elif (path / own.CONFIG).is_file():
            tensors = path.glob("*.safetensors")
        else:
            return None
        size = sum(file.stat().st_size for file in tensors)
    except OSError:
        return None
    return Entry(str(path), f"{path.name}/", size) if size else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
