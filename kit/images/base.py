"""The canonical base of every kit image: a Debian root filesystem, made anew or from the cache.

mmdebstrap with SOURCE_DATE_EPOCH gives the same tar, byte for byte, from the same packages; its
sha256 stands in ``images/<base>/image.json`` beside every package's version and hash. The suite
is Debian bookworm's ``main`` alone: frozen since its last point release, so that a locked
version does not vanish as it would from an unstable suite or an updates archive.

Nothing of the machine that builds goes in: no host name, no resolver, no mirror address. Which
mirror served the packages therefore never shows in an identity, and none is written here:
mmdebstrap's own default is asked, then this host's, or ``$KIT_DEBIAN_MIRROR`` alone where set.

Where today's archive no longer gives the locked system, a snapshot is tried
(``$KIT_DEBIAN_SNAPSHOT``, or what the archive's own Release file names under ``Snapshots:``);
failing that the build goes on with today's packages, and `Rootfs.drift` says what differs.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kit import jsonio, resources
from kit.errors import ImageUnavailable
from kit.images import debian
from kit.images.recipe import LOCK

Say = Callable[[str], None]
Progress = Callable[[str, float, float | None], None]


class Rootfs(NamedTuple):
    """A base system on disk; ``drift`` is empty where it is the locked one."""

    path: Path
    sha256: str
    drift: tuple[str, ...]


def ensure(folder: Path, say: Say, progress: Progress) -> Rootfs:
    """The base locked in ``folder``: from the cache (its hash checked again), else built.

    Raises:
        ImageUnavailable: mmdebstrap is missing, or no Debian archive could be reached.
    """
    lock = jsonio.read(folder / LOCK)
    cached = _cached(lock.get("rootfs_sha256", ""))
    if cached:
        return Rootfs(cached, lock["rootfs_sha256"], ())
    say(f"building the base system: Debian {lock['suite']} {lock['component']}, {folder.name}")
    today = build(lock, folder.name, progress)
    if today.sha256 == lock.get("rootfs_sha256"):
        return Rootfs(store(today), today.sha256, ())
    found = _from_snapshot(lock, today, folder.name, say, progress)
    if found:
        return Rootfs(store(found), found.sha256, ())
    return Rootfs(store(today), today.sha256, differences(lock, today))


def build(lock: dict[str, Any], name: str, progress: Progress) -> debian.Built:
    """The base as today's archive gives it, from the first mirror that answers."""
    errors = []
    for mirror in _mirrors(lock["suite"]):
        try:
            return debian.bootstrap(lock, mirror, _workspace(), _counting(name, progress))
        except ImageUnavailable as error:
            if "is not installed" in error.message:
                raise
            errors.append(error)
    raise errors[-1]


def store(built: debian.Built) -> Path:
    """Move a new root filesystem to its place in the cache, named by its hash."""
    place = _place(built.sha256)
    built.path.replace(place)
    return place


def differences(lock: dict[str, Any], built: debian.Built) -> tuple[str, ...]:
    """What is not as locked, one line a package; the tools where every package is equal."""
    old: dict[str, str] = lock.get("packages", {})
    new = built.packages
    changed = [
        f"{name}: locked {_version(old.get(name))}, today {_version(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if changed:
        return tuple(changed)
    then = ", ".join(f"{k} {v}" for k, v in sorted(lock.get("tools", {}).items())) or "other tools"
    now = ", ".join(f"{k} {v}" for k, v in sorted(built.tools.items()))
    return (f"the same packages, packed otherwise: locked with {then}, today with {now}",)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(entry: str | None) -> str:
    """The version in a lock's package line; ``none`` where the package is not there."""
    return entry.split()[0] if entry else "none"


def _place(sha256: str) -> Path:
    return resources.cache_dir() / "rootfs" / f"{sha256}.tar"


def _workspace() -> Path:
    """Where a root filesystem is built: beside its place, so that moving it is a rename."""
    folder = resources.cache_dir() / "rootfs"
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="building-", dir=folder))


def _cached(sha256: str) -> Path | None:
    """The cached root filesystem, its hash checked anew; a damaged one is thrown away."""
    place = _place(sha256)
    if not sha256 or not place.is_file():
        return None
    if file_sha256(place) == sha256:
        return place
    place.unlink()
    return None


def _mirrors(suite: str) -> Iterator[str | None]:
    """Where to look for packages, in order; None is mmdebstrap's own default."""
    chosen = os.environ.get("KIT_DEBIAN_MIRROR")
    if chosen:
        yield chosen
        return
    yield None
    yield from debian.host_mirrors(suite)


def _from_snapshot(
    lock: dict[str, Any], today: debian.Built, name: str, say: Say, progress: Progress
) -> debian.Built | None:
    """The locked system from a snapshot of the archive, or None where none gives it."""
    mirror = os.environ.get("KIT_DEBIAN_SNAPSHOT") or _named_snapshot(lock, today)
    if not mirror:
        return None
    say("today's Debian archive differs from the lock: trying a snapshot")
    try:
        built = debian.bootstrap(lock, mirror, _workspace(), _counting(name, progress))
    except ImageUnavailable as error:
        say(f"the snapshot gave nothing: {error.message[:200]}")
        return None
    return built if built.sha256 == lock.get("rootfs_sha256") else None


def _named_snapshot(lock: dict[str, Any], today: debian.Built) -> str | None:
    """The snapshot of the locked point release, as the archive's own Release file names it."""
    pattern = today.release.get("Snapshots", "")
    date = lock.get("release", {}).get("Date", "")
    if "@SNAPSHOTID@" not in pattern or not date:
        return None
    when = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
    return pattern.replace("@SNAPSHOTID@", when.strftime("%Y%m%dT%H%M%SZ"))


def _counting(name: str, progress: Progress) -> Callable[[str], None]:
    """Turn mmdebstrap's lines into progress: it announces each of its steps with ``I:``."""
    seen = 0

    def each(line: str) -> None:
        nonlocal seen
        if line.startswith("I: "):
            seen += 1
            progress(f"base system {name}", min(seen, debian.STEPS), debian.STEPS)

    return each
