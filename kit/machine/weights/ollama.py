"""A model in Ollama's store: a manifest names its layers, which lie beside it as blobs.

::

    manifests/HOST/NAMESPACE/MODEL/TAG    JSON; in newer stores under manifest-v2/
    blobs/sha256-<64 hex digits>          a layer: the GGUF file, a licence, a template, …

Written from the documentation of its format. A manifest may be anyone's: only digests of the right
form become names of blobs, and a blob counts by its content alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kit.core import jsonio
from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.text import clean
from kit.machine.weights.files import BLOB, expanded, is_file, known_hash

PREFIX = "ollama:"
_FOLDERS = ("manifest-v2", "manifests")
_KIND = "application/vnd.ollama.image."
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OFFICIAL = ("registry.ollama.ai", "ollama.com")
_DEPTH = 4  # of a manifest below its folder: host, namespace, model, tag
_MOST_BYTES = 1 << 20  # of a manifest, and of a licence that is read
_LICENCE_CHARS = 100


class Layer(NamedTuple):
    """A layer of a model: its kind (``model``, ``license``, …), its blob, its SHA-256 and size."""

    kind: str
    path: Path
    sha256: str
    size: int


class Model(NamedTuple):
    """A model as its manifest describes it; ``file`` is the blob with the GGUF file."""

    name: str
    file: Path
    layers: tuple[Layer, ...]

    @property
    def licence(self) -> str:
        """The first two lines of the first licence layer, and its hash; empty without one."""
        layer = next((one for one in self.layers if one.kind == "license"), None)
        if layer is None:
            return ""
        with layer.path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        lines = [clean(line).strip() for line in text.splitlines() if line.strip()]
        said = ", ".join(lines[:2])[:_LICENCE_CHARS] or "an empty text"
        return f"{said} (sha256:{layer.sha256})"


def is_named(text: str) -> bool:
    """Whether a word of a command line names a model of a store: by name, or by its manifest."""
    return text.startswith(PREFIX) or _place(expanded(text)) is not None


def is_store(folder: Path) -> bool:
    """Whether a folder is a store."""
    return (folder / "blobs").is_dir() and any((folder / name).is_dir() for name in _FOLDERS)


def the_one(store: Path) -> Path:
    """The manifest of a store's only model.

    Raises:
        UsageError: it has none, or several.
    """
    found = [path for name in _FOLDERS for path in (store / name).glob("/".join("*" * _DEPTH))]
    places = {_place(path): path for path in reversed(found) if is_file(path)}
    if len(places) == 1:
        return next(iter(places.values()))
    names = ", ".join(sorted(clean(_shown(place)) for place in places if place)[:8])
    raise UsageError(
        f"Ollama's store {clean(str(store))} has {len(places) or 'no'} models"
        + (f": {names}" if names else ""),
        f"name one, such as {PREFIX}NAME:TAG with $OLLAMA_MODELS set, or its manifest's path",
    )


def read(text: str) -> Model:
    """The model that a name (``ollama:NAME[:TAG]``) or a manifest's path names.

    Every layer but the model's own file is hashed; that one is left to the caller.

    Raises:
        UsageError: its manifest cannot be read, or it is no model of one GGUF file.
        WeightsUnavailable: it is not here, or a blob is missing or has another content.
    """
    path = _manifest_of(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else expanded(text)
    place = _place(path)
    assert place, "only what is_named comes here"
    store = path.parents[_DEPTH]
    layers = tuple(_layers(_parsed(path), store / "blobs", path))
    model = [layer for layer in layers if layer.kind == "model"]
    if len(model) != 1 or any(layer.kind == "adapter" for layer in layers):
        what = "an adapter" if len(model) == 1 else f"{len(model) or 'no'} GGUF files"
        raise UsageError(
            f"{_shown(place)} has {what}, and kit runs a model of one",
            "name a model that is one GGUF file",
        )
    for layer in layers:
        _check(layer, hashed=layer.kind != "model")
    return Model(_shown(place), model[0].path, layers)


# --- where a manifest lies ------------------------------------------------------------------------


def _place(path: Path) -> tuple[str, ...] | None:
    """Host, namespace, model and tag by a manifest's path; None if it cannot be one."""
    parts = path.parts[-_DEPTH:]
    if len(path.parts) <= _DEPTH or not all(map(_NAME.fullmatch, parts)):
        return None
    folder = path.parents[_DEPTH - 1]
    known = folder.name in _FOLDERS and (folder.parent / "blobs").is_dir()
    return parts if known and is_file(path) else None


def _manifest_of(name: str) -> Path:
    """The manifest of ``[HOST/][NAMESPACE/]NAME[:TAG]`` in the store of this machine."""
    models, _, tag = name.partition(":")
    parts = [*models.split("/"), tag or "latest"]
    if not all(map(_NAME.fullmatch, parts)) or len(parts) > _DEPTH:
        raise UsageError(f"{clean(name)[:80]!a} is no model of Ollama's", f"write {PREFIX}NAME:TAG")
    store = expanded(os.environ.get("OLLAMA_MODELS") or "~/.ollama/models")
    parts = ["library"] * (len(parts) == 2) + parts
    hosts = _OFFICIAL if len(parts) < _DEPTH else ("",)
    paths = [store.joinpath(f, *filter(None, [h]), *parts) for f in _FOLDERS for h in hosts]
    found = next((path for path in paths if _place(path)), None)
    if found is None:
        raise WeightsUnavailable(
            f"Ollama's store {clean(str(store))} does not have {name}",
            f"`ollama pull {name}` fetches it; $OLLAMA_MODELS names another store",
        )
    return found


def _shown(place: tuple[str, ...]) -> str:
    """A model's name as Ollama shows it: without host and namespace where they are its own."""
    host, namespace, model, tag = place
    if host in _OFFICIAL:
        return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"
    return f"{host}/{namespace}/{model}:{tag}"


# --- a manifest -----------------------------------------------------------------------------------


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        document = jsonio.parse(data, "it", any_integer=True)
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror}") from error
    except jsonio.JsonRefused as error:
        raise _broken(path, error.what) from error
    if not isinstance(document, dict):
        raise _broken(path, "is no JSON object")
    return document


def _layers(manifest: Mapping[str, Any], blobs: Path, path: Path) -> Iterator[Layer]:
    """The configuration, which is listed apart, and the layers."""
    listed = manifest.get("layers")
    if not isinstance(listed, list):
        raise _broken(path, "lists no layers")
    config = manifest.get("config")
    for entry in [*([config] if config else []), *listed]:
        kind, digest, size = (
            (entry.get(key) if isinstance(entry, dict) else None)
            for key in ("mediaType", "digest", "size")
        )
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if not (match and isinstance(kind, str) and type(size) is int and size >= 0):
            raise _broken(path, "has a layer without kind, SHA-256 and size")
        named = kind.partition(";")[0].removeprefix(_KIND)
        yield Layer(named, blobs / f"{BLOB}{match[1]}", match[1], size)


def _check(layer: Layer, *, hashed: bool) -> None:
    """Raises WeightsUnavailable where a blob is missing, or is not what its name says."""
    what = f"the blob {layer.path.name} ({clean(layer.kind)[:40]})"
    if not is_file(layer.path):
        raise WeightsUnavailable(f"{what} is missing", "pull the model again with `ollama pull`")
    size = layer.path.stat().st_size
    if size != layer.size:
        message = f"{what} has {size} bytes, and the manifest says {layer.size}"
        raise WeightsUnavailable(message, "pull the model again with `ollama pull`")
    if hashed and known_hash(layer.path) != layer.sha256:
        raise other_content(layer.path)


def other_content(path: Path) -> WeightsUnavailable:
    """A blob whose content is not the one that its name says."""
    return WeightsUnavailable(
        f"the blob {path.name} has other content than its name says",
        "remove the model and pull it again with `ollama pull`",
    )


def _broken(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the manifest {clean(str(path))} {why}", "pull the model again with `ollama pull`"
    )
