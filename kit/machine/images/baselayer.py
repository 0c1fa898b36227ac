"""A base layer from the locked .deb files themselves; no script of a package runs.

Each file is fetched by its hash (`kit.machine.images.mirror`), read (`kit.machine.images.deb`) and
merged into one tree. What Debian's scripts would make at installation and a container needs is made
here: the links of merged /usr, users and groups from base-passwd's masters, nsswitch.conf, and
dpkg's list of what is installed, which scanners of images read. There is no compiled Python. The
cache of the dynamic linker is empty or missing, so that it looks through its own folders.

If a locked file has vanished, a recipe of this kit is built with the archive's present packages,
and the difference is reported; a sealed recipe is not built.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kit.core import resources
from kit.core.errors import ImageUnavailable
from kit.machine.images import apt, deb, mirror, tree
from kit.machine.images.files import same_file
from kit.machine.images.locks import BaseLock, Deb
from kit.machine.images.tree import Layer, Tree
from kit.machine.images.wheels import Progress, Say

_LINKS = {name: f"usr/{name}" for name in deb.MERGED}
_COPIES = {
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
    "etc/nsswitch.conf": "usr/share/base-files/nsswitch.conf",
}
_STATUS = "var/lib/dpkg/status"
_CACHE = "etc/ld.so.cache"
# glibc's `struct cache_file_new`: its magic, no libraries, no strings, little-endian.
_EMPTY_CACHE = b"glibc-ld.so.cache1.1" + bytes(8) + b"\2" + bytes(19)


class Base(NamedTuple):
    """A base's layer in the cache; ``drift`` is empty if it is the locked one."""

    layer: Layer
    drift: tuple[str, ...]


def ensure(lock: BaseLock, name: str, say: Say, progress: Progress, *, own: bool) -> Base:
    """The layer of the base called ``name``: from the cache (its hash checked again), else made.

    With ``own`` a package that has vanished is replaced by the archive's present one.

    Raises:
        ImageUnavailable: a locked part cannot be fetched, or the layer is not the locked one.
    """
    cached = _place(lock.diff_id)
    if lock.diff_id and same_file(cached, lock.diff_id.removeprefix("sha256:")):
        return Base(Layer(cached, lock.diff_id, cached.stat().st_size), ())
    if not lock.packages:
        raise ImageUnavailable(f"the base {name} is not locked", f"`kit images lock {name}`")
    say(f"base system {name}: Debian {lock.suite}, {len(lock.packages)} packages")
    files, drift = _packages(lock, name, say, progress, own)
    layer = _made(files, lock)
    if not drift and lock.diff_id not in ("", layer.diff_id):
        raise ImageUnavailable(
            f"the packages of {name} do not give its locked layer {lock.diff_id}",
            f"lock it again: `kit images lock {name}`" if own else "the recipe cannot be genuine",
        )
    return Base(layer, tuple(f"{name}: {line}" for line in drift))


def _packages(
    lock: BaseLock, name: str, say: Say, progress: Progress, own: bool
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files of the locked packages; missing ones from a snapshot, else today's."""
    files, missing = _collect(lock.packages, mirror.mirrors(), name, progress)
    if not missing:
        return files, ()
    gone = f"{len(missing)} packages of {name} have left the mirrors: {', '.join(missing)[:200]}"
    say(f"{gone}; asking what the archive has today")
    with apt.today(lock) as archive:
        files |= _of_snapshot(lock, archive.snapshot(lock), missing, say)
        if len(files) == len(lock.packages):
            return files, ()
        if not own:
            raise ImageUnavailable(
                gone, "`export KIT_DEBIAN_SNAPSHOT=URL` names an archive that still has them"
            )
        today = archive.resolve(lock)
    files, missing = _collect(today.packages, mirror.mirrors(), name, progress)
    if missing:
        raise ImageUnavailable(f"no mirror has: {', '.join(missing)[:200]}", mirror.REMEDY)
    return files, differences(lock, today)


def _of_snapshot(
    lock: BaseLock, address: str | None, missing: list[str], say: Say
) -> dict[str, Path]:
    """Missing packages that the archive's snapshot of the locked day has."""
    if address is None:
        return {}
    say("trying a snapshot of the archive")
    wanted = {name: lock.packages[name] for name in missing}
    try:
        return mirror.collect(wanted, (address,), lambda: None)[0]
    except ImageUnavailable as error:
        say(f"the snapshot gave nothing: {error.message[:200]}")
        return {}


def _collect(
    wanted: Mapping[str, Deb], roots: tuple[str, ...], name: str, progress: Progress
) -> tuple[dict[str, Path], list[str]]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(f"packages of {name}", done, len(wanted))

    return mirror.collect(wanted, roots, count)


def _made(files: Mapping[str, Path], lock: BaseLock) -> Layer:
    """The layer, at its place in the cache."""
    folder = _place("").parent
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="building-", dir=folder) as work,
        tempfile.TemporaryFile(dir=work) as spool,
    ):
        system = Tree(spool)
        fill(system, files, linker_cache=lock.linker_cache)
        layer = tree.write(system, Path(work) / "layer.tar", lock.source_date_epoch)
        return layer._replace(path=layer.path.replace(_place(layer.diff_id)))


def _place(diff_id: str) -> Path:
    return resources.cache_dir() / "layers" / f"{diff_id.removeprefix('sha256:')}.tar"


def fill(system: Tree, files: Mapping[str, Path], *, linker_cache: bool = False) -> None:
    """Add the packages (name → .deb) to ``system``, and the files that their scripts would make.

    ``linker_cache``: as in `BaseLock`.

    Raises:
        ImageUnavailable: a package is damaged, unsafe, or has another name.
    """
    status = []
    for name, path in sorted(files.items()):
        paragraph = deb.control(path)
        if deb.fields(paragraph).get("Package") != name:
            raise ImageUnavailable(f"the package called {name} is another one", "lock it again")
        deb.add(path, system)
        status.append(f"{paragraph}\nStatus: install ok installed\n")
    for link, target in _LINKS.items():
        system.link(link, target)
    for copy, original in _COPIES.items():
        if content := system.read(original):
            system.data(copy, content)
    if linker_cache:
        system.data(_CACHE, _EMPTY_CACHE)
    system.data(_STATUS, "\n".join(status).encode())


def differences(lock: BaseLock, today: BaseLock) -> tuple[str, ...]:
    """Differences of two locks of one base, one line a package."""
    old, new = lock.packages, today.packages
    return tuple(
        f"{name}: locked {_version(old, name)}, today {_version(new, name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _version(packages: Mapping[str, Deb], name: str) -> str:
    return packages[name].version if name in packages else "none"
