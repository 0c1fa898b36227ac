"""Reading a run that may be hostile: a folder or a ``.kit.zip``, never extracted or executed.

Every rule of the container is checked when it is opened. Each has its own reason code (see
`kit.record.archive.rules.CODES`). Contents are read one file at a time, up to a limit.
"""

from __future__ import annotations

from pathlib import Path

from kit.core.errors import UsageError
from kit.record.archive.folder import FolderSource
from kit.record.archive.rules import (
    CODES,
    MANIFEST,
    MAX_BYTES,
    MAX_MANIFEST,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_FREE_BYTES,
    SEAL,
    SEAL_SUFFIXES,
    SUFFIX,
    ArchiveSource,
    Remark,
    refuse,
    refuse_name,
)
from kit.record.archive.zip import ZipSource

__all__ = (
    "CODES",
    "MANIFEST",
    "MAX_BYTES",
    "MAX_MANIFEST",
    "MAX_MEMBERS",
    "MAX_RATIO",
    "RATIO_FREE_BYTES",
    "SEAL",
    "SEAL_SUFFIXES",
    "SUFFIX",
    "ArchiveSource",
    "FolderSource",
    "Remark",
    "ZipSource",
    "open_source",
    "refuse",
    "refuse_name",
)


def open_source(path: Path) -> ArchiveSource:
    """Open the run at ``path``: a folder (sealed or in flight) or a single file. Use ``with``.

    Raises:
        UsageError: nothing is there, or it cannot be read.
        ArchiveRefused: it breaks a rule of the container; ``code`` names the rule.
    """
    try:
        if path.is_dir():
            return FolderSource(path)
        if path.is_file():
            return ZipSource(path)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "check who may read it"
        ) from error
    raise UsageError(f"there is no run at {path}", "name a run's folder or a .kit.zip")
