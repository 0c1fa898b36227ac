"""The Python packages of a recipe: fetched by hash, unpacked without running their code.

A file is looked up by name in this host's own package index, used only if it is the locked one, and
kept in the cache under its hash. A wheel's modules go to /opt/kit, a program among them executable,
and where the recipe says so its RECORD as its maker wrote it; its scripts and byte code, which
depend on the installing machine, are left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from kit.core import resources
from kit.core.errors import ImageUnavailable, KitError
from kit.machine.images.configuration import HOME
from kit.machine.images.files import same_file
from kit.machine.images.locks import Package
from kit.machine.images.process import run
from kit.machine.images.tree import Tree, clean

if TYPE_CHECKING:
    from installer.records import RecordEntry
    from installer.utils import Scheme

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]
_MAX_WORDS, _MAX_PACKED = 64 << 20, 4 << 20
INDEX = str(Path(__file__).with_name("index.py"))  # started, not imported: pip is half a second
_OF_PYTORCH = (
    "PyTorch keeps its CPU builds in its own index, not on PyPI: set pip's `extra-index-url` to "
    "the address that PyTorch's installation page shows"
)
REMEDY = "connect this machine to the package index, or set pip's index options for it"


def collect(packages: Iterable[Package], say: Say, progress: Progress) -> dict[str, Path]:
    """The files of ``packages`` in the cache, by file name.

    Raises:
        ImageUnavailable: pip is missing, the index does not answer, or a file is not there.
    """
    wanted = tuple(packages)
    folder = packages_dir()
    missing = [p for p in wanted if not same_file(folder / p.sha256, p.sha256)]
    if missing:
        say(f"fetching {len(missing)} Python packages")
        _fetch(missing, folder, progress)
    return {p.file: folder / p.sha256 for p in wanted}


def _fetch(missing: list[Package], folder: Path, progress: Progress) -> None:
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith(("fetched ", "missing ")):
            done += 1
            progress("packages", done, len(missing))

    with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as work:
        output = run(
            [sys.executable, "-P", INDEX, work],
            failure="the Python packages could not be fetched",
            remedy=REMEDY,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            on_line=count,
            stdin=json.dumps(msgspec.to_builtins(missing)),
        )
        keep(path for path in Path(work).iterdir() if path.suffix != ".part")
    refuse_missing(output)


def packages_dir() -> Path:
    """The folder of fetched packages, each file named by its SHA-256; made if it is not there."""
    folder = resources.cache_dir() / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(files: Iterable[Path]) -> None:
    """Move files that are named by their SHA-256 into the cache."""
    for path in files:
        path.replace(packages_dir() / path.name)


def refuse_missing(output: str) -> None:
    gone = [line.split()[2] for line in output.splitlines() if line.startswith("missing ")]
    if gone:
        remedy = _OF_PYTORCH if all("+cpu-" in file for file in gone) else REMEDY
        raise ImageUnavailable(
            f"the package index has no file of the locked hash for: {', '.join(gone)}",
            f"{remedy}; where the file is gone for good, lock the recipe again",
        )


def unpack(
    wheel: Path,
    name: str,
    tree: Tree,
    *,
    keep: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
    record: bool = False,
) -> None:
    """Add the modules of a wheel called ``name`` (its file name) to ``tree``, below /opt/kit; with
    ``record`` its RECORD, too.

    Paths that begin with one of ``leave_out`` are left out; with ``keep`` all that do not begin
    with one of these.

    Raises:
        ImageUnavailable: it is no wheel, has an unsafe name, or nothing of ``keep``.
    """
    from installer import install
    from installer.sources import WheelFile

    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.filename = name  # the cache knows it by its hash
            _refuse_huge_metadata(archive)
            source = WheelFile(archive)
            before = len(tree.entries)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of byte code, which is left out
                install(source, cast(Any, _Destination(tree, keep, leave_out)), {})
            if record:
                place = f"{source.dist_info_dir}/RECORD"
                with archive.open(place) as stream:
                    tree.file(f"{HOME}/{clean(place)}", stream, 0o644)
            if keep and len(tree.entries) == before:
                raise ValueError(f"nothing in it begins with {' or '.join(keep)}")
    except KitError:
        raise
    except Exception as error:  # exceptions of zipfile and installer on a file that is no wheel
        raise ImageUnavailable(
            f"the wheel {name} cannot be unpacked: {error!a:.200}", "lock the recipe again"
        ) from error


def _refuse_huge_metadata(archive: zipfile.ZipFile) -> None:
    """Raise if a wheel's metadata, which `installer` reads in one piece, are huge."""
    for member in archive.infolist():
        about = ".dist-info/" in member.filename
        if about and (member.file_size > _MAX_WORDS or member.compress_size > _MAX_PACKED):
            raise ValueError(f"{member.filename} is too large")


def _is_program(place: str) -> bool:
    """Whether a file is a program of its own (Triton's ``ptxas``), which must stay executable."""
    return "bin" in place.split("/")[:-1]


class _Destination:
    """`installer`'s destination of a wheel's files: modules into a tree, the rest is dropped."""

    def __init__(self, tree: Tree, keep: tuple[str, ...], leave_out: tuple[str, ...]) -> None:
        self._tree = tree
        self._keep = keep
        self._leave_out = leave_out

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        from installer.records import RecordEntry

        place = clean(str(path))
        is_code = scheme in ("purelib", "platlib") and "__pycache__" not in place.split("/")
        is_kept = not self._keep or place.startswith(self._keep)
        if is_code and is_kept and not place.startswith(self._leave_out):
            mode = 0o755 if is_executable and _is_program(place) else 0o644
            self._tree.file(f"{HOME}/{place}", stream, mode)
        return RecordEntry(str(path), None, None)

    def write_script(self, *_: object, **__: object) -> RecordEntry:
        from installer.records import RecordEntry

        return RecordEntry("script", None, None)

    def finalize_installation(self, **_: object) -> None:
        """Do nothing: what was installed is no RECORD of its maker's."""
