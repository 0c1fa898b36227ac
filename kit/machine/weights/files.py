"""Model files on this machine: found by their sha256 in the store or in the person's folders.

A file is hashed once, and its hash cached with size, times and inode: models can be tens of
gigabytes. `verify` hashes every stored file again, without the cache.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kit.core import jsonio, resources
from kit.core.errors import WeightsUnavailable
from kit.core.model import WeightFile
from kit.machine.weights.source import parse

NOBODY = 65534  # the container's user and group, see `kit.machine.containers`
Progress = Callable[[int], object]
BLOB = "sha256-"  # Ollama's name of a blob begins with it, and its hash follows
_CHUNK = 8 << 20  # bytes between two calls of a progress
_HASHING = threading.Lock()  # a form that checks after every key must not hash one file many times


class Stored(NamedTuple):
    """A file in the store, and whether its content still has the hash in its name."""

    path: Path
    sha256: str
    size: int
    intact: bool


def store_dir() -> Path:
    """The folder of fetched files, each named by its hash."""
    return resources.cache_dir() / "weights"


def find(
    sha256: str, folders: Iterable[Path] = (), *names: str | None, remember: bool = True
) -> Path | None:
    """The file with this hash in the store or in a folder, or None.

    In ``folders`` (without sub-folders) only files with one of ``names``, or with the name that
    Ollama gives a blob with this hash, are read, if any name is given.
    With ``remember=False`` nothing is written, not even a computed hash.
    """
    stored = store_dir() / sha256
    wanted = [name for name in names if name]
    wanted += [f"{BLOB}{sha256}"] if wanted else []
    places = [*([stored] if is_file(stored) else []), *_candidates(folders, wanted)]
    return next((path for path in places if known_hash(path, remember=remember) == sha256), None)


def names_of(file: WeightFile) -> tuple[str, ...]:
    """Possible names of the file in a folder: that in the container, and that of its source."""
    try:
        return tuple(dict.fromkeys((file.path, parse(file.source, file.path).file)))
    except WeightsUnavailable:
        return (file.path,)


def here(file: WeightFile, folders: Iterable[Path] = (), *, remember: bool = True) -> Path | None:
    """The path of ``file`` on this machine, or None; nothing is fetched.

    Raises:
        WeightsUnavailable: the file with this hash has another size than the spec says.
    """
    path = find(file.sha256, folders, *names_of(file), remember=remember)
    return _of_right_size(file, path) if path else None


def require(file: WeightFile, folders: Iterable[Path] = (), *, remember: bool = True) -> Path:
    """The path of ``file`` on this machine; nothing is fetched.

    Raises:
        WeightsUnavailable: it is not here, or has another hash.
    """
    folders = tuple(folders)
    path = here(file, folders, remember=remember)
    if path:
        return path
    if is_file(store_dir() / file.sha256):
        raise WeightsUnavailable(
            f"the stored file {short(file)} was changed: its content has another hash",
            "`kit weights add SPEC` fetches it again",
        )
    raise WeightsUnavailable(
        f"the model file {file.path} with sha256 {file.sha256} is not on this machine"
        + "".join(f"; {line}" for line in candidates(file, folders)),
        "`kit weights add SPEC` fetches it, or list its folder under [weights] in host.toml",
    )


def candidates(file: WeightFile, folders: Iterable[Path]) -> Iterator[str]:
    """A line for each candidate in ``folders``: its path, and why it is not the file."""
    for path in (folder / name for folder in folders for name in names_of(file)):
        if is_file(path):
            sha256 = known_hash(path)
            yield f"{path} has sha256 {sha256}" if sha256 else f"{path} cannot be read"
        elif reason := _no_file(path):
            yield f"{path} {reason}"


def expanded(text: str) -> Path:
    """A path as a person writes it, with ``~`` for a home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of nobody
        return Path(text)


def is_file(path: Path) -> bool:
    """Whether it is a regular file that this user can see."""
    try:
        return path.is_file()
    except OSError:
        return False


def _no_file(path: Path) -> str:
    """What is there instead of a file; empty if nothing is."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISLNK(kind):
        return "is a link, but not to a file"
    return "is a folder" if stat.S_ISDIR(kind) else "is no plain file"


def verify() -> list[Stored]:
    """Hash every file of the store again, in order of their names."""
    if not store_dir().is_dir():
        return []
    files = (p for p in sorted(store_dir().iterdir()) if jsonio.is_sha256(p.name))
    return [Stored(p, p.name, p.stat().st_size, file_sha256(p) == p.name) for p in files]


def forget(sha256: str) -> None:
    """Remove one file from the store, if it is there."""
    (store_dir() / sha256).unlink(missing_ok=True)


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file's content, as 64 hex digits; ``progress`` gets the bytes hashed so far."""
    with path.open("rb") as stream:
        if progress is None:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        hasher, done = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
            done += len(chunk)
            progress(done)
        return hasher.hexdigest()


def known_hash(path: Path, *, remember: bool = True, progress: Progress | None = None) -> str:
    """The file's sha256, cached as long as size, times and inode stay the same.

    Empty if this user cannot read the file. With ``remember=False`` nothing is written. An
    exception of ``progress`` (bytes hashed so far) ends the hashing and is passed on.
    """
    try:
        facts = path.stat()
        numbers = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev)
        place = os.fsencode(path.resolve()).decode(errors="backslashreplace")  # any bytes
        key = jsonio.hash_of([place, *map(str, numbers)])
        note = resources.cache_dir() / "seen" / key
        with _HASHING:
            if note.is_file():
                return note.read_text()
            sha256 = file_sha256(path, progress) if progress else file_sha256(path)
            if remember:
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(sha256)
    except OSError:
        return ""
    return sha256


def unreadable(path: Path, *, shifted: bool = False) -> str:
    """Why the container's user (nobody, 65534) cannot read ``path``; empty if it can.

    Only the file's own permissions count: the engine mounts the file itself, so that the
    container's user does not need access to the folders above it.

    Args:
        shifted: the engine gives the container's user another id on this host (a rootless
            engine, or one with user namespaces); then it is neither owner nor group of the file.
    """
    try:
        facts = path.stat()
    except OSError as error:
        return error.strerror or "it cannot be looked at"
    if not stat.S_ISREG(facts.st_mode):
        return "it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is no plain file"
    if facts.st_mode & _bit_of(facts, shifted):
        return ""
    return f"its mode {stat.S_IMODE(facts.st_mode):04o} keeps others from reading it"


def _bit_of(facts: os.stat_result, shifted: bool) -> int:
    """The one permission bit that decides: the owner's, the group's or everyone's."""
    if not shifted and facts.st_uid == NOBODY:
        return stat.S_IRUSR
    if not shifted and facts.st_gid == NOBODY:
        return stat.S_IRGRP
    return stat.S_IROTH


def short(file: WeightFile) -> str:
    """A file's name and the beginning of its hash, for a sentence."""
    return f"{file.path} (sha256 {file.sha256[:12]}…)"


def _candidates(folders: Iterable[Path], names: list[str]) -> Iterator[Path]:
    for folder in folders:
        with suppress(OSError):  # a folder that does not exist, or cannot be read
            paths = [folder / name for name in names] or sorted(folder.iterdir())
            yield from (path for path in paths if is_file(path))


def _of_right_size(file: WeightFile, path: Path) -> Path:
    """``path``, the file with this hash.

    Raises:
        WeightsUnavailable: it has another size than the spec gives.
    """
    size = path.stat().st_size
    if size != file.size:
        raise WeightsUnavailable(
            f"{short(file)} has {size} bytes, and the spec says {file.size}",
            "correct the size in the spec",
        )
    return path
