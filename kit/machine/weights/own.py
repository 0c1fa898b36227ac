"""A model that a person has: a file, a folder or a part of the hub's cache, described for a spec.

`find` says which files a model consists of without reading them whole; `described` hashes them.
Nothing is fetched, and nothing is written but the cache of hashes. Files may be anyone's: what
they say of themselves is cleaned, bounded, and used for names and sizes alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from kit.core import jsonio
from kit.core.errors import UsageError, WeightsUnavailable
from kit.core.model import WeightFile, WeightsSpec
from kit.core.text import clean
from kit.machine.weights import gguf, hub, ollama, pipelines, shards
from kit.machine.weights.files import BLOB, expanded, is_file, known_hash
from kit.machine.weights.shards import INDEX
from kit.machine.weights.source import HUB_MODEL, WeightSource

Kind = Literal["gguf", "safetensors", "pipeline"]
Progress = Callable[[str, float, float | None], None]
CONFIG = "config.json"
_ARCHITECTURE = "general.architecture"
_LONGEST = 200  # of a name in a spec
_READ = 64 << 10  # of a README
_CONFIG_BYTES = 4 << 20
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^(license|license_name):[ \t]*['\"]?([^\s'\"#\[]+)", re.MULTILINE)
_NOT_THE_MODEL = frozenset({"requirements.txt", "LICENSE.txt", "license.txt", "NOTICE.txt"})
_LAYERS, _CONTEXT, _WIDTH = 10_000, 1 << 24, 1 << 20  # beyond these a file talks nonsense


class Found(NamedTuple):
    """Where a model's files lie. ``source`` is the hub's commit, None for files of one's own.

    ``name`` and ``licence`` are from what describes the files; empty if it does not say.
    """

    kind: Kind
    paths: tuple[Path, ...]
    source: WeightSource | None
    name: str = ""
    licence: str = ""

    @property
    def folder(self) -> Path:
        """The folder that a run must know of to find the files."""
        return self.paths[0].absolute().parent

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)


class Shape(NamedTuple):
    """What decides how much memory a model needs; None where the file does not say.

    Attributes:
        context: the longest context it was made for, tokens.
        kv_bytes: bytes of its KV cache a token, at 16 bits a number.
        heads: of attention: those of queries, and those of keys and values.
    """

    architecture: str = ""
    context: int | None = None
    kv_bytes: int | None = None
    heads: tuple[int, int] | None = None


class OwnModel(NamedTuple):
    """A model on this machine, as a spec's ``weights`` names it."""

    kind: Kind
    name: str
    revision: str
    licence: str
    shape: Shape
    files: tuple[WeightFile, ...]
    folder: Path

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def spec(self) -> WeightsSpec:
        """`weights` as a record."""
        return WeightsSpec(
            repo=self.name, revision=self.revision, licence=self.licence, files=self.files
        )

    @property
    def weights(self) -> dict[str, Any]:
        """The spec's ``weights``; no path of this machine is in it."""
        files = [
            {"path": f.path, "source": f.source, "sha256": f.sha256, "size": f.size}
            for f in self.files
        ]
        licence = {"licence": self.licence} if self.licence else {}
        return {"repo": self.name, "revision": self.revision, **licence, "files": files}


def is_model(text: str) -> bool:
    """Whether a word of a command line names a model and not a spec."""
    if text.startswith("hf:") or ollama.is_named(text):
        return True
    path = expanded(text)
    if path.is_dir() or path.suffix.lower() == ".gguf":
        return True
    return is_file(path) and gguf.is_gguf(path)  # a pipe's first bytes are the spec's


def find(text: str) -> Found:
    """The model at a path, in the hub's cache by ``hf:ORG/REPO[@REVISION][/FILE]``, or in Ollama's
    store by ``ollama:NAME[:TAG]``.

    Raises:
        UsageError: there is nothing, or nothing that kit can name in a spec.
        WeightsUnavailable: the cache or store does not have it, or not whole.
    """
    if ollama.is_named(text):
        return _of_ollama(ollama.read(text))
    path = _of_hub(text) if text.startswith("hf:") else expanded(text)
    found = _found(path)
    for file in found.paths:
        _refuse_odd(file)
    return found


def described(found: Found, progress: Progress = lambda *_: None) -> OwnModel:
    """Hash the model's files, and read what they say of themselves.

    Args:
        progress: gets the file's name, the bytes hashed and its size; an exception of it ends the
            hashing and is passed on.

    Raises:
        UsageError: a file cannot be read.
        WeightsUnavailable: a blob of Ollama's has other content than its name says.
    """
    files = tuple(_hashed(path, found, progress) for path in found.paths)
    facts, shape = _FACTS[found.kind](found)
    own = found.name or facts.get("name", "") or _stem(found)
    if found.kind == "gguf" and not found.source:
        files = (_as_gguf(files[0], own),)
    name = found.source.origin if found.source else own
    revision = found.source.revision if found.source else f"sha256-{_joint(files)[:16]}"
    licence = (facts.get("licence", "") or found.licence or _licence(found.folder))[:_LONGEST]
    return OwnModel(found.kind, name[:_LONGEST], revision, licence, shape, files, found.folder)


def shape_of(paths: Iterable[Path]) -> Shape:
    """The shape of a model by what its files say, which may be nothing.

    Args:
        paths: the model's files on this machine, by whatever names.
    """
    for path in paths:
        if gguf.is_gguf(path):
            return _of_gguf(Found("gguf", (path,), None))[1]
        with suppress(OSError, jsonio.JsonRefused):
            if path.stat().st_size <= _CONFIG_BYTES:
                config = jsonio.parse(path.read_bytes(), CONFIG, any_integer=True)
                shape = _of_shape(config) if isinstance(config, dict) else Shape()
                if shape.kv_bytes or shape.heads:
                    return shape
    return Shape()


# --- which files ----------------------------------------------------------------------------------


def _of_hub(text: str) -> Path:
    """The file or the folder in the hub's cache."""
    parts = HUB_MODEL.fullmatch(text)
    if not parts or ".." in (parts["name"] or "").split("/"):
        raise UsageError(
            f"{clean(text)[:80]} names no model of the hub", "write hf:ORG/REPO@REVISION"
        )
    wanted = WeightSource("hf", parts["origin"], parts["revision"] or "main", "")
    commit = hub.commit_of(wanted)
    folder = hub.snapshot(wanted._replace(revision=commit)) if commit else None
    path = folder / (parts["name"] or "") if folder else None
    if path is None or not path.exists():
        raise WeightsUnavailable(
            f"the hub's cache here does not have {text}, and kit asks no network for it",
            f"fetch it with `hf download {wanted.origin} --revision {wanted.revision}`",
        )
    return path


def _found(path: Path) -> Found:
    if path.is_dir():
        return _of_folder(path)
    if not is_file(path):
        raise UsageError(
            f"there is no model at {clean(str(path))}", "name a .gguf file or a model's folder"
        )
    if not gguf.is_gguf(path):
        if path.suffix.lower() in (".safetensors", ".json", ".bin", ".pt", ".pth"):
            raise UsageError(
                f"{clean(str(path))} is only a part of a model", "name the folder that it lies in"
            )
        raise UsageError(
            f"{clean(str(path))} is no GGUF file: it does not begin with GGUF",
            "name a .gguf file, or a folder with config.json and safetensors",
        )
    _refuse_unfit(path)
    return Found("gguf", (path,), hub.source_of(path))


def _refuse_unfit(path: Path) -> None:
    """One part of several, or a file that only helps a model, is no model."""
    facts, part = gguf.metadata(path), _PART.search(path.name)
    count = int(part[1]) if part else facts.get("split.count", 0)
    if isinstance(count, int) and count > 1:
        raise UsageError(
            f"{clean(str(path))} is one of {count} parts, and kit runs models of one .gguf",
            f"join them: `llama-gguf-split --merge {clean(str(path))} joined.gguf`",
        )
    if facts.get("general.type", "model") != "model" or facts.get(_ARCHITECTURE) == "clip":
        kind = facts.get("general.type", "projector")
        raise UsageError(
            f"{clean(str(path))} is no model by itself but a part for one ({kind})",
            "name the model's own .gguf file",
        )


def _of_ollama(model: ollama.Model) -> Found:
    return _found(model.file)._replace(name=model.name, licence=model.licence)


def _of_folder(folder: Path) -> Found:
    if ollama.is_store(folder):
        return _of_ollama(ollama.read(str(ollama.the_one(folder))))
    try:
        paths = sorted(path for path in folder.iterdir() if is_file(path))
    except OSError as error:
        raise UsageError(
            f"{clean(str(folder))} cannot be read: {error.strerror}", "name another folder"
        ) from error
    names = {path.name for path in paths}
    if pipelines.INDEX in names:
        files = tuple(_files_of_pipeline(folder))
        return Found("pipeline", files, hub.source_of(folder / pipelines.INDEX))
    tensors = [path for path in paths if path.suffix == ".safetensors"]
    ggufs = [path for path in paths if path.suffix.lower() == ".gguf"]
    if CONFIG in names and tensors:
        return Found("safetensors", _files_of(folder, paths), hub.source_of(folder))
    if len(ggufs) == 1:
        return _found(ggufs[0])
    if ggufs:
        shown = ", ".join(clean(path.name) for path in ggufs[:4])
        more = f" and {len(ggufs) - 4} more" if len(ggufs) > 4 else ""
        raise UsageError(
            f"{clean(str(folder))} has {len(ggufs)} models: {shown}{more}", "name one of the files"
        )
    missing = f"{CONFIG} beside its safetensors" if tensors else "model"
    raise UsageError(
        f"{clean(str(folder))} has no {missing}", "name a .gguf file or a model's whole folder"
    )


def _files_of(folder: Path, paths: list[Path]) -> tuple[Path, ...]:
    sizes = {path.name: path.stat().st_size for path in paths}
    index = shards.index_at(folder / INDEX) if INDEX in sizes else None
    return tuple(folder / name for name in model_files(sizes, index, clean(str(folder))))


def model_files(sizes: Mapping[str, int], index: Any, where: str) -> list[str]:
    """Names of config, tokenizer and the safetensors that belong together, config first.

    Args:
        sizes: bytes of each file of the model's folder, by name.
        index: the parsed index of its safetensors, None without one.
        where: the folder, for errors.

    Raises:
        UsageError: see `kit.machine.weights.shards.belonging`.
    """
    tensors = shards.belonging(sizes, index, where)
    beside = {
        name
        for name, size in sizes.items()
        if size
        and name.endswith(shards.BESIDE)
        and name not in _NOT_THE_MODEL
        and not name.startswith(".")
    }
    return sorted(beside | tensors, key=lambda name: (name != CONFIG, name))


def _files_of_pipeline(folder: Path) -> Iterator[Path]:
    index = _json(folder / pipelines.INDEX)
    parts = (folder / part for part in pipelines.parts(index) if (folder / part).is_dir())
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in (folder / pipelines.INDEX, *(p for part in parts for p in part.iterdir()))
        if is_file(path)
    }
    names = pipelines.files_of(sizes, index, clean(str(folder)))
    return (folder / name for name in names)


def _refuse_odd(path: Path) -> None:
    """A spec's file names are plain, and an empty file is no model's."""
    if not shards.is_plain(path.name):
        raise UsageError(
            f"{path.name!a} cannot stand in a spec: a name has letters, digits, "
            "dots, hyphens and underscores",
            "rename the file, or make a link of a plain name to it",
        )
    if not path.stat().st_size:
        raise UsageError(f"{clean(str(path))} is empty", "fetch it again")


# --- hashes and words -----------------------------------------------------------------------------


def _hashed(path: Path, found: Found, progress: Progress) -> WeightFile:
    size = path.stat().st_size
    progress(path.name, 0, size)
    sha256 = known_hash(path, progress=lambda done: progress(path.name, done, size))
    if not sha256:
        raise UsageError(
            f"{clean(str(path))} cannot be read", f"`chmod a+r {path}` lets kit read it"
        )
    blob = path.name.removeprefix(BLOB)
    if jsonio.is_sha256(blob) and blob != sha256 and path.name.startswith(BLOB):
        raise ollama.other_content(path)
    progress(path.name, size, size)
    inside = hub.source_of(path) if found.source else None
    place = path.absolute().relative_to(found.folder).as_posix()
    named = str(inside or f"file:{place}")
    return WeightFile(path=place, source=named, sha256=sha256, size=size)


def _as_gguf(file: WeightFile, model: str) -> WeightFile:
    """A file under a name that ends in .gguf, by which runtimes know its kind.

    A blob of Ollama's is named by its model: `kit.machine.weights.files.find` finds it by its hash.
    """
    if file.path.lower().endswith(".gguf"):
        return file
    if not file.path.startswith(BLOB):
        return replace(file, path=f"{file.path}.gguf")
    name = f"{_ODD.sub('-', model).strip('-.')[: _LONGEST - 5] or 'model'}.gguf"
    return replace(file, path=name, source=f"file:{name}")


def _joint(files: tuple[WeightFile, ...]) -> str:
    """The hash of one file, or one over the hashes of several."""
    if len(files) == 1:
        return files[0].sha256
    return jsonio.hash_of([[file.path, file.sha256] for file in files])


def _stem(found: Found) -> str:
    if found.kind == "gguf":
        return found.paths[0].name.removesuffix(".gguf")
    return clean(found.folder.name) or "model"


def _of_gguf(found: Found) -> tuple[dict[str, str], Shape]:
    facts = gguf.metadata(found.paths[0])
    kind = _text(facts.get(_ARCHITECTURE))

    def number(key: str, most: int) -> int | None:
        return _number(facts.get(f"{kind}.{key}"), most)

    heads, width = number("attention.head_count", _LAYERS), number("embedding_length", _WIDTH)
    each = width // heads if heads and width else None
    key = number("attention.key_length", _WIDTH) or each
    value = number("attention.value_length", _WIDTH) or each
    kv_heads = number("attention.head_count_kv", _LAYERS) or heads
    layers = number("block_count", _LAYERS)
    kv = 2 * layers * kv_heads * (key + value) if layers and kv_heads and key and value else None
    named = {
        "name": _text(facts.get("general.name")),
        "licence": gguf.licence(facts),
    }
    return named, Shape(kind, number("context_length", _CONTEXT), kv, _heads(heads, kv_heads))


def _of_config(found: Found) -> tuple[dict[str, str], Shape]:
    config = _json(found.folder / CONFIG)
    # Often a path of the machine that made the file: only a repository's name is taken.
    called = _text(config.get("_name_or_path"))
    return {"name": called if _REPO.fullmatch(called) else ""}, _of_shape(config)


def _of_pipeline(found: Found) -> tuple[dict[str, str], Shape]:
    kind = _text(_json(found.folder / pipelines.INDEX).get("_class_name"))
    return {}, Shape(kind)


_FACTS: dict[Kind, Callable[[Found], tuple[dict[str, str], Shape]]] = {
    "gguf": _of_gguf,
    "safetensors": _of_config,
    "pipeline": _of_pipeline,
}


def _of_shape(config: dict[str, Any]) -> Shape:
    """The shape that a config.json gives."""
    inner = config.get("text_config")
    facts = {**config, **inner} if isinstance(inner, dict) else config

    def number(key: str, most: int) -> int | None:
        return _number(facts.get(key), most)

    heads, width = number("num_attention_heads", _LAYERS), number("hidden_size", _WIDTH)
    each = number("head_dim", _WIDTH) or (width // heads if heads and width else None)
    kv_heads = number("num_key_value_heads", _LAYERS) or heads
    layers = number("num_hidden_layers", _LAYERS)
    kv = 4 * layers * kv_heads * each if layers and kv_heads and each else None
    context = number("max_position_embeddings", _CONTEXT)
    return Shape(_text(facts.get("model_type")), context, kv, _heads(heads, kv_heads))


def _heads(queries: int | None, keys: int | None) -> tuple[int, int] | None:
    return (queries, keys) if queries and keys else None


def _licence(folder: Path) -> str:
    """``license`` of the README's front matter, by its own name where it is another than the known
    ones; empty without one.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            text = file.read(_READ).decode("utf-8", "replace")
    except OSError:
        return ""
    front = _FRONT.match(text.replace("\r\n", "\n"))
    named = dict(_LICENCE.findall(front[1])) if front else {}
    licence = named.get("license", "")
    return _text(named.get("license_name", licence) if licence == "other" else licence)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of someone's; empty if it is none, or too large."""
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            return {}
        document = jsonio.parse(path.read_bytes(), path.name, any_integer=True)
    except (OSError, jsonio.JsonRefused):
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: Any) -> str:
    return clean(value).strip()[:_LONGEST] if isinstance(value, str) else ""


def _number(value: Any, most: int) -> int | None:
    """A whole number that can be true; else None."""
    return value if type(value) is int and 0 < value <= most else None
