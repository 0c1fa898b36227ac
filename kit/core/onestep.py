"""Writing a file in one step: there is the old file or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kit.core import jsonio
from kit.core.errors import UsageError

_MANIFEST = "manifest.json"  # of a sealed run, whose folder is named by its hash


def write(path: Path, data: bytes, remedy: str, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` in one step; a symbolic link is followed, mode and group are kept.

    What is no regular file (a device, a pipe) is written into as it is.

    Args:
        remedy: what to do if it cannot be written.
        mode: of a file that is new, less what the umask takes.

    Raises:
        UsageError: it cannot be written there, or lies in a sealed run.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        outside_runs(path)
        try:
            path.write_bytes(data)  # by its name: what /dev/stdout leads to may have no other
        except OSError as error:
            raise cannot_write(path, error, remedy) from error
        return
    with _beside(path, data, remedy, mode) as put:
        put()


def write_each(files: Mapping[Path, bytes], remedy: str) -> None:
    """`write` for several regular files: none is put in place before all are on the disk."""
    with ExitStack() as stack:
        ready = [stack.enter_context(_beside(*file, remedy)) for file in files.items()]
        for put in ready:
            put()


@contextmanager
def _beside(
    path: Path, data: bytes, remedy: str, mode: int = 0o644
) -> Iterator[Callable[[], None]]:
    """``data`` on the disk beside ``path``, and a function that puts it in its place."""
    outside_runs(path)
    target = path.resolve() if path.is_symlink() else path

    def put() -> None:
        try:
            fresh.replace(target)
        except OSError as error:
            raise cannot_write(path, error, remedy) from error

    try:
        old = target.stat() if target.exists() else None
        with tempfile.TemporaryDirectory(prefix=".kit-", dir=target.parent) as beside:
            fresh = Path(beside) / target.name
            fresh.touch(mode=0o600 if old else mode)  # it may hold secrets
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if old:
                _keep_access(fresh, old)
            yield put
    except OSError as error:
        raise cannot_write(path, error, remedy) from error


def outside_runs(path: Path) -> None:
    """Refuse to write into a sealed run, which would no longer be the one that was sealed.

    Raises:
        UsageError: ``path``, a file or a folder, lies in one or is one.
    """
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        if jsonio.is_sha256(folder.name) and (folder / _MANIFEST).exists():
            run = folder.name[:12]
            raise UsageError(f"{path} lies in the sealed run {run}", "name a place outside it")


def cannot_write(path: Path, error: OSError, remedy: str) -> UsageError:
    """Why a file or a folder cannot be written, and what to do; ``remedy`` where nothing better."""
    folder = path.absolute().parent
    if not folder.exists():
        return UsageError(
            f"cannot write {path}: there is no folder {folder}", "make the folder, or name another"
        )
    if isinstance(error, IsADirectoryError):
        return UsageError(f"cannot write {path}: it is a folder", f"{remedy}: it may be in there")
    if isinstance(error, FileExistsError):
        return UsageError(f"cannot write into {path}: it is no folder", remedy)
    return UsageError(f"cannot write {path}: {error.strerror}", remedy)


def _keep_access(fresh: Path, old: os.stat_result) -> None:
    """Give ``fresh`` the owner, group and mode of the old file; another group gets no right."""
    mode = old.st_mode & 0o777
    try:
        os.chown(fresh, old.st_uid if os.geteuid() == 0 else -1, old.st_gid)
    except OSError:  # only its owner or root may, and in a container not even root
        mode &= 0o707
    fresh.chmod(mode)


def write_all(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> list[Path]:
    """Write ``files`` (data by name) into ``folder``, each in one step and none before all of them
    are on the disk; the folder is made where it is missing.

    Args:
        force: overwrite files that are there already.

    Raises:
        UsageError: a file is there already, they cannot be written, or would lie in a sealed run.
    """
    outside_runs(folder)
    there = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if there and not force:
        raise UsageError(
            f"{folder / there[0]} is there already",
            "name another folder, or add --force to overwrite it",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".kit-", dir=folder) as beside:
            for name, data in files.items():
                (Path(beside) / name).write_bytes(data)
            return [(Path(beside) / name).replace(folder / name) for name in files]
    except OSError as error:
        raise cannot_write(folder, error, "name another folder") from error
