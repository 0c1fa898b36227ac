"""The rules of the container, and the reason code of each (level L0 of verify)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, Self

from kit.core.errors import ArchiveRefused

SUFFIX = ".kit.zip"
MANIFEST = "manifest.json"
SEAL = "seal/"
SEAL_SUFFIXES = (".sshsig", ".tsr", ".sigstore.json")
MAX_MANIFEST = 8 << 20
MAX_MEMBERS = 10_000
MAX_BYTES = 8 << 30
MAX_RATIO = 100
# Below this size a high compression ratio is harmless: some kilobytes of zeros are no bomb.
RATIO_FREE_BYTES = 1 << 20
# Files are read in pieces of this size.
PIECE = 1 << 20
MAX_DEPTH = 5
MAX_NAME = 240

CODES = {
    "NAME_UNSAFE": "a name with other characters than letters, digits, dot, dash, underscore",
    "NAME_TOO_DEEP": "a name with more than 5 parts, or more than 240 characters",
    "NAME_DUPLICATE": "one name twice",
    "NAME_TWINS": "two names that differ only in upper and lower case",
    "NOT_A_FILE": "a link, device, socket or pipe where a regular file must be",
    "HARD_LINK": "files with a second name elsewhere, as in a hard-linked backup",
    "STRAY_FILES": "files that systems, sync tools and editors leave behind; none was read",
    "ZIP_REPACKED": "a zip archive that another tool than kit packed",
    "TOO_MANY_MEMBERS": "more than 10,000 files, or folders",
    "TOO_LARGE": "more than 8 GiB, or a file longer than it may be",
    "BOMB": "a file that unpacks to more than 100 times its packed size",
    "NOT_A_ZIP": "a single file that is no zip archive",
    "ZIP_SURROUNDED": "bytes before, between or after what the zip archive lists",
    "ZIP_OVERLAP": "two members that share bytes",
    "ZIP_HEADERS_DIFFER": "a header contradicts another one that says the same thing",
    "ZIP_ENCRYPTED": "an encrypted member",
    "ZIP_METHOD": "a compression method other than stored or deflate",
    "ZIP_FEATURE": "a zip feature that kit does not read (patches, several disks, open streams)",
    "ZIP_CORRUPT": "packed bytes that do not unpack to what the headers say",
    "TOP_FOLDER": "a zip archive that does not hold one run in one folder",
    "MISSING_FILE": "a file that must be there and is not",
}

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Remark(NamedTuple):
    """A trace of ordinary handling in a container: reason code and message.

    It is a warning; the files in the manifest are still checked.
    """

    code: str
    message: str


class ArchiveSource(Protocol):
    """A run's files, read-only. Implementations have checked the container's rules.

    The caller that opens it closes it, with ``with``; functions that receive it leave it open.

    Attributes:
        kind: ``folder`` or ``zip``.
        top: the name of the (top) folder: the run hash of a sealed run.
        remarks: warnings about the container.
    """

    kind: str
    top: str
    remarks: tuple[Remark, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """Every file, relative to the top folder, sorted; strays are left out."""

    def size(self, name: str) -> int:
        """The size (bytes) that the container declares; raises `ArchiveRefused`."""

    def pieces(self, name: str) -> Iterator[bytes]:
        """The file piece by piece, so that it is never held in memory whole.

        Raises:
            ArchiveRefused: ``MISSING_FILE``, or a fault in its packed data, at the latest after
                the last piece.
        """

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The whole file, if it has at most ``limit`` bytes.

        Raises:
            ArchiveRefused: ``MISSING_FILE``, ``TOO_LARGE``, or a fault in its packed data.
        """

    def close(self) -> None:
        """Close the file, if one is open."""


def refuse(code: str, detail: str) -> ArchiveRefused:
    """The error for one rule; ``detail`` says where, after the rule itself."""
    return ArchiveRefused(
        code,
        f"the archive is refused: {CODES[code]} ({detail})",
        "ask whoever made it for an archive written by `kit export`",
    )


def refuse_name(name: str) -> None:
    """Raise `ArchiveRefused` for a relative name that could escape, hide or confuse."""
    refuse_segments(name)
    if name.count("/") >= MAX_DEPTH or len(name) > MAX_NAME:
        raise refuse("NAME_TOO_DEEP", ascii(name[:MAX_NAME]))


def refuse_segments(name: str) -> None:
    """Raise `ArchiveRefused` if a part of a name has other than plain characters."""
    if any(not _SEGMENT.fullmatch(segment) for segment in name.split("/")):
        hint = "; where a Windows packer wrote it, unpack it there and name the folder"
        raise refuse("NAME_UNSAFE", ascii(name[:MAX_NAME]) + (hint if "\\" in name else ""))


def refuse_twins(names: Iterable[str]) -> None:
    """Raise `ArchiveRefused` if two names are equal, also on a file system that ignores case."""
    names_by_fold: dict[str, str] = {}
    for name in names:
        other = names_by_fold.setdefault(name.casefold(), name)
        if other is not name:
            raise refuse("NAME_DUPLICATE" if other == name else "NAME_TWINS", ascii(name))
