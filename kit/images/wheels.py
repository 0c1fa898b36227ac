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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
    if place.is_dir():
        _lay(place, into)
        return ()
    say(f"fetching the packages of {requirements.parent.name}/{requirements.name}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=place.parent) as work:
        fetch = _Fetch(requirements, Path(work) / "house", progress, source)
        drift = fetch.all()
        _lay(fetch.into, into)
        if drift:
            (into.parent / requirements.name).write_text(_relocked(fetch.into))
        elif not place.exists():
            fetch.into.rename(place)
    return drift


class _Fetch(NamedTuple):
    """One use of pip: what is locked, where to, and in which form."""

    requirements: Path
    into: Path
    progress: Progress
    source: bool

    @property
    def locked(self) -> list[tuple[str, str]]:
        """(name, version) of everything in the requirement file."""
        return _NAME.findall(self.requirements.read_text())

    def all(self) -> tuple[str, ...]:
        """Fetch everything as locked, else as it is today; returns what differs."""
        try:
            self.pip(["--require-hashes", f"--requirement={self.requirements}"])
        except ImageUnavailable as error:
            if _GONE not in error.message:
                raise
            return self.todays()
        return ()

    def todays(self) -> tuple[str, ...]:
        """Fetch the locked versions still there, and the newest of those that are not."""
        drift = []
        for name, version in self.locked:
            try:
                self.pip([f"{name}=={version}"])
            except ImageUnavailable as error:
                if _GONE not in error.message:
                    raise
                self.pip([name])
                drift.append(f"{name}: locked {version}, no longer in the index; took the newest")
        return tuple(drift) or ("a package's files in the index are not the locked ones",)

    def pip(self, what: list[str]) -> None:
        """``pip download`` without dependencies: the lock names every one of them."""
        names = ",".join(name for name, _ in self.locked)
        # Named one by one: what a source archive needs in order to be read may be a wheel.
        form = [f"--no-binary={names}"] if self.source else _FOR_IMAGE
        run(
            [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"),
                *("--disable-pip-version-check", "--progress-bar=off", f"--dest={self.into}"),
                *(*form, *what),
            ],
            what="a locked package could not be fetched",
            remedy=_REMEDY,
            # A host's own list of allowed formats would override what the image needs.
            env={**os.environ, "LC_ALL": "C.UTF-8", "PIP_ONLY_BINARY": "", "PIP_NO_BINARY": ""},
            each=self._counting(2 * len(self.locked)),
        )

    def _counting(self, total: int) -> Callable[[str], None]:
        """Turn pip's lines into progress: it collects each package and saves it."""
        seen = 0

        def each(line: str) -> None:
            nonlocal seen
            if line.startswith(("Collecting ", "Saved ")):
                seen += 1
                self.progress("packages", min(seen, total), total)

        return each


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
