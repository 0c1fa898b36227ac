"""The wheelhouse of a recipe: Python packages fetched by version and hash, before the build.

pip runs here, on the host, so that the host's own index settings stay out of the image; inside
the build pip installs from this folder alone (``--no-index --require-hashes``). The folder is
kept in the cache under the hash of the requirement file. Wheels are chosen for the image's
Python (3.11 on x86-64 glibc), never for the host's.

A file with another hash than the locked one is refused. A version that has left the index is
replaced by the newest one, said so in the drift: the build goes on, under another identity.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from kit import jsonio, resources
from kit.errors import ImageUnavailable
from kit.images.base import Progress, Say, file_sha256
from kit.images.process import run

_GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)
_FOR_IMAGE = (
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--platform=manylinux2014_x86_64",
    *(f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC),
)
_SOURCE = ("--no-binary=:all:",)
_GONE = "No matching distribution found"
_NAME = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_REMEDY = "connect this machine to the package index, or set pip's index options for it"


def collect(
    requirements: Path, into: Path, say: Say, progress: Progress, *, source: bool = False
) -> tuple[str, ...]:
    """Copy what ``requirements`` locks into the folder ``into``; returns the drift.

    With ``source`` the source archives are taken instead of wheels. Where something had to be
    replaced, ``into``'s copy of the requirement file is written anew for what is there.

    Raises:
        ImageUnavailable: pip is missing, the index does not answer, or a hash differs.
    """
    place = resources.cache_dir() / "wheels" / jsonio.digest(requirements.read_bytes())
    if not place.is_dir():
        say(f"fetching the packages of {requirements.parent.name}/{requirements.name}")
        drift = _download(requirements, place, progress, source=source)
        if drift:
            _lay(place.with_suffix(".today"), into)
            (into.parent / requirements.name).write_text(_relocked(place.with_suffix(".today")))
            return drift
    _lay(place, into)
    return ()


def _download(
    requirements: Path, place: Path, progress: Progress, *, source: bool
) -> tuple[str, ...]:
    """Fetch into ``place``; what can no longer be had goes to ``place.today`` instead."""
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="fetching-", dir=place.parent))
    wanted = len(_NAME.findall(requirements.read_text()))
    try:
        try:
            _pip(
                ["--require-hashes", f"--requirement={requirements}"],
                work,
                progress,
                wanted,
                source,
            )
        except ImageUnavailable as error:
            if _GONE not in error.message:
                raise
            drift = _todays(requirements, work, progress, source=source)
            shutil.rmtree(place.with_suffix(".today"), ignore_errors=True)
            work.rename(place.with_suffix(".today"))
            return drift
        work.chmod(0o755)
        work.rename(place)
        return ()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _todays(requirements: Path, work: Path, progress: Progress, *, source: bool) -> tuple[str, ...]:
    """Fetch the locked versions still there and the newest of those that are not."""
    drift, locked = [], _NAME.findall(requirements.read_text())
    for name, version in locked:
        try:
            _pip([f"{name}=={version}"], work, progress, len(locked), source)
        except ImageUnavailable as error:
            if _GONE not in error.message:
                raise
            _pip([name], work, progress, len(locked), source)
            drift.append(
                f"{name}: locked {version}, which the index no longer has; took the newest"
            )
    return tuple(drift) or ("a package's files in the index are not the locked ones",)


def _pip(what: list[str], into: Path, progress: Progress, wanted: int, source: bool) -> None:
    seen = 0

    def each(line: str) -> None:
        nonlocal seen
        if line.startswith(("Collecting ", "Saved ")):
            seen += 1
            progress("packages", min(seen, 2 * wanted), 2 * wanted)

    run(
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"),
            *("--no-cache-dir", "--progress-bar=off", f"--dest={into}"),
            *(_SOURCE if source else _FOR_IMAGE),
            *what,
        ],
        what="a locked package could not be fetched",
        remedy=_REMEDY,
        # A host's own list of allowed formats would override what the image needs.
        env={"PIP_ONLY_BINARY": "", "PIP_NO_BINARY": ""},
        each=each,
    )


def _relocked(folder: Path) -> str:
    """A requirement file for exactly the files in ``folder``."""
    lines = []
    for path in sorted(folder.iterdir()):
        name, version = re.match(r"([^-]+)-([^-]+?)(?:-|\.tar)", path.name).groups()  # type: ignore[union-attr]
        lines.append(f"{name}=={version} --hash=sha256:{file_sha256(path)}")
    return "\n".join(lines) + "\n"


def _lay(place: Path, into: Path) -> None:
    """Hard links where the file system allows: a wheelhouse can be large."""
    into.mkdir(parents=True, exist_ok=True)
    for path in place.iterdir():
        link(path, into / path.name)


def link(source: Path, target: Path) -> None:
    """Put ``source`` at ``target`` without copying where the file system allows."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
