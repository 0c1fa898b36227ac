"""One call of mmdebstrap, and what can be read from what it made.

The root filesystem is ``--variant=essential`` plus the packages that the lock includes. Left
out, because they would tell about the building machine or change without need: sources.list,
host name, resolver, logs, caches, manual pages and translations (copyright files stay). The
package usrmerge is kept out: /bin, /lib and /sbin are made links into /usr before anything is
unpacked, which is what its alternative usr-is-merged asks for, and saves 60 MB of perl.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kit.errors import ImageUnavailable
from kit.images.process import clean, run

STEPS = 16
MIRROR_REMEDY = (
    "connect this machine to a Debian mirror (`export KIT_DEBIAN_MIRROR=URL` names one), "
    "or load a saved image into the engine"
)
_KEPT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
_PIN = r"Package: usrmerge\nPin: release *\nPin-Priority: -1\n"
_SETUP = (
    'cd "$1" && for d in bin sbin lib lib32 lib64 libx32; do mkdir -p usr/$d && '
    "ln -s usr/$d $d; done && "
    f'printf "{_PIN}" > etc/apt/preferences.d/kit && '
    'sed -i -E "/(-updates|-security) /d" etc/apt/sources.list'
)
_CLEAN = (
    'cd "$1" && rm -rf etc/apt/sources.list etc/apt/preferences.d/kit '
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/apt/apt.conf.d/99mmdebstrap "
    "etc/hostname etc/resolv.conf var/log/* var/cache/* var/lib/dpkg/*-old"
)


class Built(NamedTuple):
    """A root filesystem just made.

    ``packages`` maps a name to ``version architecture sha256:<hash of the .deb>`` (the last
    absent where the archive's index did not tell); ``release`` is the archive's Release file.
    """

    path: Path
    sha256: str
    packages: dict[str, str]
    release: dict[str, str]
    tools: dict[str, str]


def bootstrap(
    lock: dict[str, Any], mirror: str | None, work: Path, each: Callable[[str], None]
) -> Built:
    """Run mmdebstrap for ``lock`` inside the empty folder ``work``.

    The result lies beside ``work``, which is removed. Raises ImageUnavailable.
    """
    from kit.images.base import file_sha256

    try:
        tar, lists = work / "rootfs.tar", work / "lists"
        lists.mkdir()
        work.chmod(0o755)
        run(
            _argv(lock, mirror, tar, lists),
            what="mmdebstrap could not build the base system",
            remedy=MIRROR_REMEDY,
            env=clean(SOURCE_DATE_EPOCH=str(lock["source_date_epoch"])),
            each=each,
        )
        built = work.with_suffix(".tar")
        tar.replace(built)
        packages = installed(built, hashes(lists))
        return Built(built, file_sha256(built), packages, release(lists), tools())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _argv(lock: dict[str, Any], mirror: str | None, tar: Path, lists: Path) -> list[str]:
    """The whole command; without a mirror mmdebstrap takes its own default."""
    mode = "root" if os.geteuid() == 0 else "unshare"
    return [
        "mmdebstrap",
        f"--mode={mode}",
        f"--variant={lock['variant']}",
        f"--architectures={lock['architecture']}",
        f"--components={lock['component']}",
        f"--include={','.join(lock['include'])}",
        "--format=tar",
        # Device nodes: the engine makes its own, and a user who is not root could not pack them.
        "--skip=output/dev",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _KEPT_OUT),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--setup-hook={_SETUP}",
        f"--customize-hook=copy-out /var/lib/apt/lists {lists}",
        f"--customize-hook={_CLEAN}",
        lock["suite"],
        str(tar),
        *([mirror] if mirror else []),
    ]


def installed(rootfs: Path, sha256_of: dict[tuple[str, str], str]) -> dict[str, str]:
    """What dpkg's status inside ``rootfs`` lists, each with the hash of its .deb if known."""
    with tarfile.open(rootfs) as tar:
        status = tar.extractfile("./var/lib/dpkg/status")
        assert status is not None, "mmdebstrap's result always has dpkg's status"
        stanzas = list(_stanzas(status.read().decode()))
    found = {}
    for stanza in stanzas:
        name, version = stanza["Package"], stanza["Version"]
        sha256 = sha256_of.get((name, version))
        parts = [version, stanza["Architecture"], *([f"sha256:{sha256}"] if sha256 else [])]
        found[name] = " ".join(parts)
    return dict(sorted(found.items()))


def hashes(lists: Path) -> dict[tuple[str, str], str]:
    """(package, version) → sha256 of its .deb, from apt's copy of the archive's indices."""
    found = {}
    for index in lists.rglob("*_Packages*"):
        text = run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(index)],
            what="apt's index cannot be read",
            remedy="reinstall apt",
        )
        for stanza in _stanzas(text):
            if "SHA256" in stanza:
                found[stanza["Package"], stanza["Version"]] = stanza["SHA256"]
    return found


def release(lists: Path) -> dict[str, str]:
    """Version, Date and (where the archive has one) Snapshots of the Release file."""
    for path in lists.rglob("*Release"):
        for stanza in _stanzas(path.read_text(errors="replace")):
            if "Codename" in stanza:
                wanted = ("Codename", "Version", "Date", "Snapshots")
                return {key: stanza[key] for key in wanted if key in stanza}
    return {}


def tools() -> dict[str, str]:
    """The versions of what makes the tar."""
    text = run(["mmdebstrap", "--version"], what="mmdebstrap fails", remedy="reinstall mmdebstrap")
    return {"mmdebstrap": text.split()[-1]}


def host_mirrors(suite: str) -> Iterator[str]:
    """The mirrors from which this host's own apt gets ``suite``, where it is a Debian."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(RELEASE) $(REPO_URI)",
        "Created-By: Packages",
    ]
    try:
        text = run(command, what="apt has no sources", remedy="none is needed")
    except ImageUnavailable:
        return
    seen = set()
    for line in text.splitlines():
        name, _, uri = line.partition(" ")
        if name == suite and uri not in seen:
            seen.add(uri)
            yield uri


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a Debian control file, continuation lines left out."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = re.findall(r"^([A-Za-z0-9-]+): *(.*)$", paragraph, re.MULTILINE)
        if fields:
            yield dict(fields)
