"""Leftover files of systems, sync tools and editors: known by name, never read.

They come from ordinary handling and mean nothing for the run. They are ignored and reported. Any
other file that a manifest does not list is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Whole folders: their content is not read.
_FOLDERS = {
    "__macosx": "macOS",
    ".appledouble": "macOS",
    ".spotlight-v100": "macOS",
    ".trashes": "macOS",
    ".fseventsd": "macOS",
    ".temporaryitems": "macOS",
    "$recycle.bin": "Windows",
    "system volume information": "Windows",
    "lost+found": "the file system",
    ".snapshot": "the file server",
    "@eadir": "the file server",
    ".ipynb_checkpoints": "Jupyter",
    ".stfolder": "Syncthing",
    ".stversions": "Syncthing",
    ".dropbox.cache": "Dropbox",
}
_FILES = (
    ("macOS", r"\.DS_Store|\._.+|\.localized|\.apdisk|\.VolumeIcon\.icns|Icon\r"),
    ("Windows", r"(eh)?Thumbs\.db(:.*)?|desktop\.ini|.+:Zone\.Identifier"),
    ("a file manager", r"\.directory|\.Trash-\d+"),
    ("the file server", r"\.nfs[0-9a-f]+|\.fuse_hidden[0-9a-f]+|\.smbdelete\w+"),
    ("an editor", r".+~|.+\.bak|\.#.+|#.+#|\..+\.sw[a-p]|\.goutputstream-\w+"),
    ("an office program", r"\.~lock\..+#|~\$.+"),
    (
        "a sync tool",
        r".+\.sync-conflict-\d{8}-\d{6}(-\w+)?(\..+)?|.+ \([^()]*conflict[^()]*\)(\..+)?"
        r"|.+ \(\d+\)(\..+)?|\.syncthing\..+\.tmp|~syncthing~.+\.tmp|\.dropbox(\.attr)?"
        r"|\.stignore|\.sync_[0-9a-f]+\.db|\._sync_.+\.db|\.owncloudsync\.log",
    ),
)
_PATTERNS = tuple((who, re.compile(names, re.IGNORECASE | re.DOTALL)) for who, names in _FILES)
_LISTED = 3


def folder_of(name: str) -> str:
    """Which system or tool leaves a folder of this name; empty for other names."""
    return _FOLDERS.get(name.casefold(), "")


def file_of(name: str) -> str:
    """Which system or tool leaves a file of this name; empty for other names."""
    return next((maker for maker, names in _PATTERNS if names.fullmatch(name)), "")


def of_path(path: str) -> str:
    """Which system or tool leaves a file of this relative path; empty for other paths."""
    *folders, last = path.split("/")
    folder_maker = next((maker for folder in folders if (maker := folder_of(folder))), "")
    return folder_maker or file_of(last)


def listed(names: Iterable[str]) -> str:
    """``'.DS_Store', 'Thumbs.db' and 3 more``, safe to print."""
    safe = [ascii(name[-80:]) for name in names]
    more = f" and {len(safe) - _LISTED} more" if len(safe) > _LISTED else ""
    return ", ".join(safe[:_LISTED]) + more
