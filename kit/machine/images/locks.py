"""The closed schema of an ``image.json``: the lock of a recipe, or of a base.

A lock may come from a stranger's archive, so that each field has a narrow form: a name of one
segment, a version, a hash, a bounded number, a word of a short list. None can be a path, an option
or an address. Unknown fields are refused, and so is an older schema.

A recipe, ``images/<recipe>/image.json``::

    schema       "kit.image/2"
    recipe title licenses   names, for people
    platform     "linux/amd64"
    base         the folder of its base system, next to this one
    program      the recipe's own files that go into the image, below /opt/kit
    entrypoint   what the container starts
    port         what it listens on
    compile      null, or a source archive to compile (see `Compile`)
    records      whether the packages' lists of their files (RECORD) go into the image: some find
                 their own libraries by them. Recipes of before have none
    --- written by `kit images lock`, from here on ---
    files        {file of the recipe: sha256}
    wheels       [Python packages in the image, each one file: see `Package`]
    image_id     sha256 of the image's configuration, the image's id in a classic Docker store
    diff_ids     sha256 of each layer's uncompressed tar

A base, ``images/<base>/image.json``: see `BaseLock`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kit.core import jsonio
from kit.core.errors import ImageUnavailable

LOCK = "image.json"
MAX_FILE = 1 << 20
MAX_FILES = 32

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
Folder = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,49}\Z")]
FileName = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,59}(\.[a-z0-9]{1,12}){0,3}\Z")
]
Text = Annotated[str, Meta(pattern=r"\A[ -~]{1,120}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_./=-]{1,100}\Z")]
Setting = Annotated[str, Meta(pattern=r"\A-D[A-Z][A-Z0-9_]{0,59}=[A-Za-z0-9_.;-]{1,60}\Z")]
Size = Annotated[int, Meta(ge=1, le=1 << 31)]

DebName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9+.-]{1,99}\Z")]
DebVersion = Annotated[str, Meta(pattern=r"\A([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]{0,99}\Z")]
PyName = Annotated[str, Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?\Z")]
PyVersion = Annotated[str, Meta(pattern=r"\A[0-9][a-z0-9.!+]{0,59}\Z")]
PyFile = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.]{0,99}-[0-9][a-z0-9_.!+]{0,59}"
        r"(\.tar\.gz|(-[A-Za-z0-9_.]{1,120}){3,4}\.whl)\Z"
    ),
]
Epoch = Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of the locks' records: only declared fields are allowed."""


class Package(Closed, frozen=True, kw_only=True):
    """One file of a Python package: a wheel, or a source archive to compile."""

    name: PyName
    version: PyVersion
    file: PyFile
    sha256: Sha256
    size: Size


Packages = Annotated[tuple[Package, ...], Meta(max_length=400)]


class Compile(Closed, frozen=True, kw_only=True):
    """A compilation of ``source`` in a sandbox.

    It runs in the base ``builder``, by the backend in the source's pyproject.toml, with the wheels
    of ``tools`` and CMake's ``settings``. The image gets the Python package; with ``keep`` it gets
    what of the wheel begins with one of these paths instead, for instance a program.

    ``tools`` and ``source`` are written by `kit images lock`.
    """

    builder: Folder
    settings: Annotated[tuple[Setting, ...], Meta(max_length=32)] = ()
    keep: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    tools: Packages = ()
    source: Package | None = None


class ImageLock(Closed, frozen=True, kw_only=True):
    """A recipe's declaration and lock; the module's docstring describes each field."""

    schema: Literal["kit.image/2"]
    recipe: Folder
    title: Text
    licenses: Text
    platform: Literal["linux/amd64"]
    base: Folder
    program: Annotated[tuple[FileName, ...], Meta(max_length=MAX_FILES)]
    entrypoint: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=16)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    compile: Compile | None = None
    records: bool = False
    files: Annotated[dict[FileName, Sha256], Meta(max_length=MAX_FILES)] = {}
    wheels: Packages = ()
    image_id: Digest | Literal[""] = ""
    diff_ids: Annotated[tuple[Digest, ...], Meta(max_length=3)] = ()

    @property
    def bases(self) -> tuple[str, ...]:
        """The folders of the base systems that the recipe needs, sorted."""
        return tuple(sorted({self.base, *([self.compile.builder] if self.compile else [])}))


class Deb(Closed, frozen=True, kw_only=True):
    """One Debian package, by version and by the hash of its .deb.

    Its path in an archive follows from these fields, see `kit.machine.images.mirror`.
    """

    version: DebVersion
    architecture: Literal["amd64", "all"]
    source: DebName
    sha256: Sha256
    size: Size


class Release(Closed, frozen=True, kw_only=True):
    """The archive's description of the locked state, for people."""

    codename: Annotated[str, Meta(pattern=r"\A[a-z]{1,20}\Z")]
    version: Annotated[str, Meta(pattern=r"\A[0-9]{1,3}(\.[0-9]{1,3})?\Z")]
    date: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9:, +]{1,40}\Z")]


class BaseLock(Closed, frozen=True, kw_only=True):
    """A base system: Debian's essential packages and those that ``include`` needs.

    With ``linker_cache`` it has an (empty) /etc/ld.so.cache. Triton asks ``ldconfig -p`` where the
    GPU's driver is, which fails without one; then it looks in LD_LIBRARY_PATH, and nowhere else.
    Bases of before have none.

    ``release``, ``packages`` and ``diff_id`` (the sha256 of the layer's tar) are written by
    `kit images lock`.
    """

    schema: Literal["kit.base/2"]
    title: Text
    suite: Literal["bookworm", "trixie"]
    component: Literal["main"]
    architecture: Literal["amd64"]
    include: Annotated[tuple[DebName, ...], Meta(min_length=1, max_length=100)]
    source_date_epoch: Epoch
    linker_cache: bool = False
    release: Release | None = None
    packages: Annotated[dict[DebName, Deb], Meta(max_length=1000)] = {}
    diff_id: Digest | Literal[""] = ""


def image_lock(data: bytes, where: str) -> ImageLock:
    """The recipe's lock in ``data``.

    Raises:
        ImageUnavailable: it has the schema of an older kit.
        JsonRefused: it is no strict JSON.
        msgspec.ValidationError: a field has a wrong value; the message names it.
    """
    return msgspec.convert(_current(data, where), ImageLock)


def base_lock(data: bytes, where: str) -> BaseLock:
    """The base's lock in ``data``; raises as `image_lock`."""
    return msgspec.convert(_current(data, where), BaseLock)


def _current(data: bytes, where: str) -> Any:
    document = jsonio.parse(data, where)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema in ("kit.image/1", "kit.base/1"):
        raise ImageUnavailable(
            f"{where} has an older recipe format ({schema}): this kit cannot rebuild it",
            "use the kit that sealed the run, or load a saved image into the engine",
        )
    return document
