"""Writing a file in one step: there is the old file or the new one, never half of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from kit.core.errors import UsageError


def write(path: Path, data: bytes, remedy: str, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` in one step; a symbolic link is followed, a mode is kept.

    What is no regular file (a device, a pipe) is written into as it is.

    Args:
        remedy: what to do if it cannot be written.
        mode: of a file that is new.

    Raises:
        UsageError: it cannot be written there.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)
            return
        mode = target.stat().st_mode & 0o777 if target.exists() else mode
        with tempfile.TemporaryDirectory(prefix=".kit-", dir=target.parent) as beside:
            fresh = Path(beside) / target.name
            fresh.touch(mode=0o600)  # it may hold secrets
            fresh.write_bytes(data)
            fresh.chmod(mode)
            fresh.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", remedy) from error


def write_all(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> list[Path]:
    """Write ``files`` (data by name) into ``folder``, each in one step and none before all of them
    are on the disk; the folder is made where it is missing.

    Args:
        force: overwrite files that are there already.

    Raises:
        UsageError: a file is there already, or they cannot be written.
    """
    there = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if there and not force:
        raise UsageError(
            f"{folder / there[0]} is there already", "name another folder, or overwrite by --force"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".kit-", dir=folder) as beside:
            for name, data in files.items():
                (Path(beside) / name).write_bytes(data)
            return [(Path(beside) / name).replace(folder / name) for name in files]
    except OSError as error:
        raise UsageError(
            f"cannot write {folder}: {error.strerror}", "name another folder"
        ) from error
