"""Query Debian's archive with apt, in a separate folder: which packages a base needs today.

apt checks the archive's signatures with Debian's keys. This host's packages, sources and settings
are not used, and nothing is installed. `kit images lock` resolves a base this way, and so does a
build if a locked file has vanished.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from kit.core.errors import ImageUnavailable
from kit.machine.images import mirror
from kit.machine.images.locks import BaseLock, Deb, Release
from kit.machine.images.process import run

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What dpkg needs; apt adds itself to the essential packages.
_ESSENTIAL = "?and(?essential, ?not(?name(^apt$)))"
# usr-is-merged replaces it: it requires what a base already is.
_PIN = "Package: usrmerge\nPin: release *\nPin-Priority: -1\n"
_CONFIG = """Dir "{root}";
Dir::State::status "{root}/status";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
"""
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)
_FIELD = re.compile(r"^([A-Za-z0-9-]+): *(.*)$", re.MULTILINE)
_FOLDERS = ("lists/partial", "etc/apt/preferences.d", "etc/apt/apt.conf.d")


class Archive(NamedTuple):
    """Debian's archive as it is today; ``release`` holds its signed Release file's fields."""

    root: Path
    release: dict[str, str]

    def resolve(self, lock: BaseLock) -> BaseLock:
        """``lock`` with today's packages for its declaration."""
        argv = ["apt-get", "-q", "--simulate", "--no-install-recommends", "install", "--"]
        output = run(
            [*argv, _ESSENTIAL, *lock.include],
            failure="apt cannot resolve the base system",
            remedy="name packages of its suite in the base's image.json",
            env=_env(self.root),
        )
        index = self._index()
        debs = {}
        for name, version in _INSTALLED.findall(output):
            name = name.partition(":")[0]
            debs[name] = _deb(name, index[name, version], lock.component)
        return msgspec.structs.replace(
            lock, packages=dict(sorted(debs.items())), release=_release(self.release)
        )

    def snapshot(self, lock: BaseLock) -> str | None:
        """The address of the locked state in the archive's snapshots, if it names them."""
        pattern = self.release.get("Snapshots", "")
        if "@SNAPSHOTID@" not in pattern or lock.release is None:
            return None
        try:
            when = datetime.strptime(lock.release.date, "%a, %d %b %Y %H:%M:%S %Z")
        except ValueError:
            return None
        stamp = when.replace(tzinfo=UTC).strftime("%Y%m%dT%H%M%SZ")
        return pattern.replace("@SNAPSHOTID@", stamp).rstrip("/")

    def _index(self) -> dict[tuple[str, str], dict[str, str]]:
        index = {}
        for path in (self.root / "lists").glob("*_Packages"):
            for paragraph in path.read_text("utf-8").split("\n\n"):
                fields = dict(_FIELD.findall(paragraph))
                if fields:
                    index[fields["Package"], fields["Version"]] = fields
        return index


@contextmanager
def today(lock: BaseLock, on_line: Callable[[str], None] | None = None) -> Iterator[Archive]:
    """Debian's archive from the first mirror that answers; ``on_line`` gets apt's lines.

    Raises:
        ImageUnavailable: no apt, no keys of Debian, or no mirror with a good signature.
    """
    if not KEYS.is_file():
        raise ImageUnavailable(
            "Debian's keys are missing: the archive's signature cannot be checked",
            "`apt-get install debian-archive-keyring`",
        )
    with tempfile.TemporaryDirectory(prefix="kit-apt-") as folder:
        _lay(Path(folder))
        yield _first(Path(folder), lock, on_line)


def _first(root: Path, lock: BaseLock, on_line: Callable[[str], None] | None) -> Archive:
    error = ImageUnavailable("no Debian mirror is known", mirror.REMEDY)
    for address in mirror.mirrors():
        try:
            return _updated(root, lock, address, on_line)
        except ImageUnavailable as failed:
            error = failed
    raise error


def _updated(
    root: Path, lock: BaseLock, address: str, on_line: Callable[[str], None] | None
) -> Archive:
    line = f"deb [arch=amd64 signed-by={KEYS}] {address} {lock.suite} {lock.component}\n"
    (root / "etc/apt/sources.list").write_text(line)
    run(
        ["apt-get", "-q", "--error-on=any", "update"],
        failure="Debian's archive could not be read",
        remedy=mirror.REMEDY,
        env=_env(root),
        on_line=on_line,
    )
    (path,) = (root / "lists").glob("*Release")
    return Archive(root, dict(_FIELD.findall(path.read_text("utf-8", "replace"))))


def _lay(root: Path) -> None:
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    (root / "status").touch()
    (root / "etc/apt/preferences.d/kit").write_text(_PIN)
    state = f'Dir::State::lists "{root}/lists";\nDir::Cache "{root}";\n'
    (root / "apt.conf").write_text(_CONFIG.format(root=root) + state)


def _env(root: Path) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "APT_CONFIG": str(root / "apt.conf")}


def _deb(name: str, fields: dict[str, str], component: str) -> Deb:
    """One package of the index, as locked; its path must follow from its fields."""
    facts = {
        "version": fields["Version"],
        "architecture": fields["Architecture"],
        "source": fields.get("Source", name).partition(" ")[0],
        "sha256": fields["SHA256"],
        "size": int(fields["Size"]),
    }
    deb = msgspec.convert(facts, Deb)
    if mirror.place(name, deb, component) != fields["Filename"]:
        raise ImageUnavailable(f"{name} lies at an unusual place", "leave it out of the base")
    return deb


def _release(fields: dict[str, str]) -> Release:
    facts = {key.lower(): fields[key] for key in ("Codename", "Version", "Date")}
    return msgspec.convert(facts, Release)
