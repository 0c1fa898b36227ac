"""Where an image of the engine first differs from its recipe: the layer and in it the file, or,
where every layer is the same, what its configuration says of how it runs.

The engine's image is saved and read as it streams; the recipe's layer is made again from its locked
parts. Nothing of the image is unpacked or run.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from kit.core import resources
from kit.core.errors import ImageUnavailable
from kit.core.text import clean
from kit.machine import containers
from kit.machine.images import make
from kit.machine.images.configuration import configuration
from kit.machine.images.recipe import Recipe
from kit.machine.images.wheels import Progress, Say

CONFIGURATION = "configuration"
LAYERS = ("base", "packages", "program")
_MOST_JSON = 16 << 20
_PIECE = 1 << 20
_SHOWN = 200


# What builders note of themselves; nothing of it says how a container runs.
_OF_BUILDERS = frozenset({"ArgsEscaped", "Domainname", "Hostname", "Image"})


class Difference(NamedTuple):
    """The first difference: which layer (1 is the lowest, 0 the configuration), its name, and in
    words what differs.
    """

    layer: int
    name: str
    what: str


def first(
    recipe: Recipe, reference: str, say: Say = make.nothing, progress: Progress = make.nothing
) -> Difference | None:
    """The first difference of the image ``reference`` from what ``recipe`` makes; None if none.

    Raises:
        ImageUnavailable: there is no such image, or a locked part cannot be had.
    """
    with (
        containers.connect() as engine,
        tempfile.TemporaryDirectory(prefix="verifying-", dir=resources.cache_dir()) as work,
    ):
        image = engine.image(reference)
        if image is None:
            raise ImageUnavailable(
                f"there is no image {reference} in the engine", "`docker images`"
            )
        for number, (ours, theirs) in enumerate(_pairs(recipe.diff_ids, image.diff_ids), 1):
            if ours != theirs:
                name = _layer_name(recipe, number)
                if not ours or not theirs:
                    lacks = "the image" if ours else "the recipe"
                    return Difference(number, name, f"{lacks} has no such layer")
                say(f"layer {number} ({name}) differs; looking for its first file")
                saved = engine.save(image.image_id, Path(work) / "image.tar")
                with make.layers_of(recipe, say, progress) as made, _an_image(reference):
                    what = _first_file(made[number - 1].path, saved, theirs, Path(work))
                return Difference(number, name, what)
        if image.config_digest == recipe.image_id:
            return None
        with _an_image(reference):
            return _of_configuration(recipe, engine.save(image.image_id, Path(work) / "image.tar"))


# What json, tarfile and gzip raise on an archive that is not as engines write it.
_ODD = (
    tarfile.TarError,
    zlib.error,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    gzip.BadGzipFile,
)


@contextmanager
def _an_image(reference: str) -> Iterator[None]:
    """Raise `ImageUnavailable` where what the engine saved cannot be read as an image."""
    try:
        yield
    except _ODD as error:
        raise ImageUnavailable(
            f"what the engine saved of {reference} cannot be read: {type(error).__name__}",
            "save it as a docker-archive with layers that are plain or gzipped, and load it again",
        ) from error


def _of_configuration(recipe: Recipe, image: Path) -> Difference | None:
    """What is set otherwise in the image's configuration: its program, variables, user."""
    wanted = json.loads(configuration(recipe.lock, recipe.base, recipe.diff_ids))
    with tarfile.open(image) as tar:
        found = _configuration(tar)[1]
    ours, theirs = (_settings(document.get("config")) for document in (wanted, found))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            shown = clean(json.dumps(theirs.get(key)))[:_SHOWN]
            what = (
                f"{clean(key)[:_SHOWN]} is {shown}, and in the recipe {json.dumps(ours.get(key))}"
            )
            return Difference(0, CONFIGURATION, what)
    return None


def _settings(config: Any) -> dict[str, Any]:
    """What a configuration sets; builders write an empty value, or the folder / , or nothing."""
    empty: tuple[Any, ...] = (None, False, "", [], {})
    return {
        key: value
        for key, value in (config if isinstance(config, dict) else {}).items()
        if key not in _OF_BUILDERS and value not in empty and (key, value) != ("WorkingDir", "/")
    }


def _pairs(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number in range(max(len(ours), len(theirs))):
        yield (
            ours[number] if number < len(ours) else "",
            (theirs[number] if number < len(theirs) else ""),
        )


def _layer_name(recipe: Recipe, number: int) -> str:
    """What a layer of the recipe holds; layers without files are left out of an image."""
    has_packages = bool(recipe.lock.wheels or recipe.lock.compile)
    names = [LAYERS[0], *([LAYERS[1]] if has_packages else []), LAYERS[2]]
    return names[number - 1] if number <= len(names) else "unknown"


def _first_file(ours: Path, image: Path, diff_id: str, work: Path) -> str:
    """In words, the first entry by name that is not the same in both layers."""
    theirs = _extracted(image, diff_id, work / "layer.tar")
    with tarfile.open(ours) as a, tarfile.open(theirs) as b:
        left, right = ({_path(m): m for m in tar} for tar in (a, b))
        for path in sorted(left.keys() | right.keys()):
            if path not in right:
                return f"{path} is missing"
            if path not in left:
                return f"{clean(path)} is not of the recipe"
            if reason := _unlike(a, left[path], b, right[path]):
                return f"{path}: {reason}"
    return "the same files, written in another order or form"


def _path(member: tarfile.TarInfo) -> str:
    return member.name.strip("/").removeprefix("./")


def _unlike(
    a: tarfile.TarFile, ours: tarfile.TarInfo, b: tarfile.TarFile, theirs: tarfile.TarInfo
) -> str:
    """What differs between two entries of one name; empty if nothing does."""
    kinds = [_kind(member) for member in (ours, theirs)]
    if kinds[0] != kinds[1]:
        return f"a {kinds[1]}, and in the recipe a {kinds[0]}"
    if ours.islnk() or ours.issym():
        same = ours.linkname == theirs.linkname
        return "" if same else f"it points to {clean(theirs.linkname)}"
    for what, x, y in (
        ("its mode", f"{ours.mode:04o}", f"{theirs.mode:04o}"),
        ("its owner", f"{ours.uid}:{ours.gid}", f"{theirs.uid}:{theirs.gid}"),
        ("its time", str(int(ours.mtime)), str(int(theirs.mtime))),
        ("its size", str(ours.size), str(theirs.size)),
        ("its extended attributes", _attributes(ours), _attributes(theirs)),
    ):
        if x != y:
            return f"{what} is {y}, and in the recipe {x}"
    digests = [_digest(tar.extractfile(m)) for tar, m in ((a, ours), (b, theirs))]
    return "" if digests[0] == digests[1] else "its content is another"


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {
        "folder": member.isdir(),
        "symbolic link": member.issym(),
        "hard link": member.islnk(),
        "device or pipe": member.isdev(),
    }
    return next((name for name, is_it in kinds.items() if is_it), "file")


def _attributes(member: tarfile.TarInfo) -> str:
    """The names of what a file has beside its mode: a capability is as good as a set-uid bit."""
    names = (key for key in member.pax_headers if "xattr" in key)
    return clean(", ".join(sorted(names)))[:_SHOWN] or "none"


def _digest(file: IO[bytes] | None) -> str:
    return "" if file is None else hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _extracted(image: Path, diff_id: str, target: Path) -> Path:
    """The layer ``diff_id`` of a saved image, uncompressed.

    Raises:
        ImageUnavailable: the engine saved the image without it.
    """
    with tarfile.open(image) as tar:
        layers, document = _configuration(tar)
        index = document["rootfs"]["diff_ids"].index(diff_id)
        member = tar.extractfile(layers[index])
        if member is None:
            raise ImageUnavailable("the engine saved the image without its layer", "save it anew")
        with member, target.open("wb") as file:
            source = _plain(member)
            while piece := source.read(_PIECE):
                file.write(piece)
    return target


def _configuration(tar: tarfile.TarFile) -> tuple[list[str], dict[str, Any]]:
    """The names of a saved image's layers, and its configuration."""
    manifest = json.loads(_read(tar, "manifest.json"))[0]
    return manifest["Layers"], json.loads(_read(tar, manifest["Config"]))


def _plain(member: IO[bytes]) -> IO[bytes]:
    """A layer's bytes, with gzip's packing taken off: containerd's store keeps it.

    Raises:
        ImageUnavailable: it is packed by zstd, which only Python 3.14 can read.
    """
    magic = member.read(4)
    member.seek(0)
    if magic == b"\x28\xb5\x2f\xfd":
        raise ImageUnavailable(
            "the engine saved the layer that differs packed by zstd, which kit does not read",
            "push or save the image with gzipped layers, and load it again",
        )
    return gzip.GzipFile(fileobj=member) if magic[:2] == b"\x1f\x8b" else member  # type: ignore[return-value]


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    with suppress(KeyError):
        file = tar.extractfile(name)
        if file is not None:
            return file.read(_MOST_JSON)
    raise ImageUnavailable(f"the engine saved the image without {name}", "save it anew")
