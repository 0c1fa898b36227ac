"""Fetch Debian packages by hash, from any mirror that has them.

No mirror's address is written here, and an image does not show which one served a file. If
``$KIT_DEBIAN_MIRROR`` is set, only that mirror is used; else the mirrors of this host's own apt,
and those that python-apt knows for Debian (on Ubuntu). ``$KIT_DEBIAN_SNAPSHOT`` is used last: the
address of a snapshot of the archive, for files that have left it.

A file's path follows from checked fields: ``pool/main/g/glibc/libc6_2.36-9_amd64.deb``.
"""

from __future__ import annotations

import os
import re
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from kit.core import resources
from kit.core.errors import ImageUnavailable
from kit.machine.images.files import file_sha256, same_file
from kit.machine.images.locks import Deb
from kit.machine.images.process import run

REMEDY = (
    "connect this machine to a Debian mirror (`export KIT_DEBIAN_MIRROR=URL` names one), "
    "or load a saved image into the engine"
)
_DEBIAN_INFO = Path("/usr/share/python-apt/templates/Debian.info")
_AT_ONCE = 4
_TIMEOUT_S = 60


def place(name: str, deb: Deb, component: str = "main") -> str:
    """The path of the file in a Debian archive, relative to its root."""
    source = deb.source
    initial = source[:4] if source.startswith("lib") else source[:1]
    version = deb.version.rpartition(":")[2]
    return f"pool/{component}/{initial}/{source}/{name}_{version}_{deb.architecture}.deb"


def mirrors() -> tuple[str, ...]:
    """The roots of Debian archives to use, in order, each once."""
    chosen = os.environ.get("KIT_DEBIAN_MIRROR")
    roots = [chosen] if chosen else [*_of_apt(), *_of_python_apt()]
    roots += [os.environ.get("KIT_DEBIAN_SNAPSHOT", "")]
    return tuple(dict.fromkeys(url.rstrip("/") for url in roots if url))


def _of_apt() -> Iterator[str]:
    """The archives of this host's own apt, if it is a Debian."""
    command = ["apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)"]
    with suppress(ImageUnavailable):
        lines = run([*command, "Created-By: Packages"], failure="apt has no sources", remedy="none")
        for line in lines.splitlines():
            component, _, uri = line.partition(" ")
            if component == "main" and re.match(r"(https?|file):/", uri):
                yield uri


def _of_python_apt() -> Iterator[str]:
    """Debian's archive as Ubuntu's python-apt knows it."""
    with suppress(OSError):
        yield from re.findall(r"^BaseURI: (https?://\S+/debian/?)$", _DEBIAN_INFO.read_text(), re.M)


def collect(
    debs: Mapping[str, Deb], roots: Iterable[str], step: Callable[[], None]
) -> tuple[dict[str, Path], list[str]]:
    """The files of ``debs`` (by package name), and the names of those that no mirror has.

    Files are kept in the cache by their hash, which is checked each time. ``step`` is called
    without arguments after every file.

    Raises:
        ImageUnavailable: no mirror is known, or none could be reached.
    """
    from concurrent.futures import ThreadPoolExecutor  # takes long; few processes fetch

    fetch = _Fetch(tuple(roots), resources.cache_dir() / "debs")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        paths = {}
        for name, path in zip(debs, pool.map(fetch.one, debs, debs.values()), strict=True):
            paths[name] = path
            step()
    if debs and not fetch.answered and None in paths.values():
        raise ImageUnavailable(f"no Debian mirror could be reached{fetch.failures()}", REMEDY)
    return {k: v for k, v in paths.items() if v}, [k for k, v in paths.items() if not v]


class _Fetch:
    """Fetches from ``roots`` into ``folder``; remembers which answered, and the others' errors."""

    def __init__(self, roots: tuple[str, ...], folder: Path) -> None:
        self._roots, self._folder = roots, folder
        self._errors: dict[str, str] = {}
        self._last = ""  # the root that had the last file comes first
        self.answered = False

    def failures(self) -> str:
        return "".join(f"; {root}: {error}" for root, error in sorted(self._errors.items()))[:400]

    def one(self, name: str, deb: Deb) -> Path | None:
        """The file in the cache, fetched if necessary; None if no root has it."""
        target = self._folder / deb.sha256
        if same_file(target, deb.sha256):
            return target
        for root in sorted(self._roots, key=lambda root: root != self._last):
            url = f"{root}/{urllib.parse.quote(place(name, deb), safe='/+~')}"
            data = self._get(root, url, deb.size)
            if data and _keep(data, target, deb.sha256):
                self._last = root
                return target
        return None

    def _get(self, root: str, url: str, size: int) -> bytes:
        """The file, or None; an unreachable root is not used again."""
        import urllib.error
        import urllib.request  # takes long; few processes fetch

        if root in self._errors:
            return b""
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 the host's
                self.answered = True
                data: bytes = answer.read(size + 1)
                return data if len(data) == size else b""
        except urllib.error.HTTPError:
            self.answered = True
        except (OSError, ValueError) as error:
            if root.startswith("file:"):
                self.answered = True
            else:
                self._errors[root] = str(error)
        return b""


def _keep(data: bytes, target: Path, sha256: str) -> bool:
    """Write ``data`` to its place, completely or not at all; false if it has another hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(data)
    path = Path(file.name)
    if file_sha256(path) != sha256:
        path.unlink()
        return False
    path.replace(target)
    return True
