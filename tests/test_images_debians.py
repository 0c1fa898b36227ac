"""Debian 12 and Debian 13, each with its own Python and tools, give one image.

Each is a root filesystem of its own, made by mmdebstrap; kit runs inside it, installed as `make
install` does it, and builds from nothing that the other has. `make test-images`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.machine import images

pytestmark = [
    pytest.mark.debians,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        shutil.which("mmdebstrap") is None, reason="mmdebstrap is not here: `make tools`"
    ),
]
ROOT = Path(__file__).resolve().parent.parent
SUITES = {"bookworm": "Python 3.11", "trixie": "Python 3.13"}
PACKAGES = "ca-certificates,python3,python3-venv,debian-archive-keyring"
CLONE = ["kit", "images", "specs", "scripts", "pyproject.toml", "README.md", "LICENSE"]
CLONE += ["requirements-dev.lock", "kit-energy.cdx.json", "share"]
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
BUILD = """
import sys
from kit.core import jsonio
from kit.machine import images
from kit.machine.images import make
for name in sys.argv[1:]:
    with make.made(images.recipe(name)) as new:
        print(name, new.identity.image_id, jsonio.digest(new.path.read_bytes()), new.drift)
"""


class Debian:
    """A Debian in a folder, and kit installed in it."""

    def __init__(self, suite: str, root: Path) -> None:
        self.root = root
        command = ["mmdebstrap", "--variant=apt", f"--include={PACKAGES}", "--skip=cleanup/apt"]
        self._do([*command, suite, str(root)])
        for name in CLONE:
            self._copy(ROOT / name, root / "clone" / name)
        # This machine's way to the network: its resolver, its certificates, its index settings.
        for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", CERTIFICATES):
            if Path("/", name).exists():
                self._copy(Path("/", name), root / name)
        self.inside("sh /clone/scripts/install.sh")

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)

    def inside(self, line: str) -> str:
        """What a command prints inside this Debian."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        env |= {"KIT_CACHE": "/cache", "PIP_CERT": f"/{CERTIFICATES}", "LC_ALL": "C.UTF-8"}
        words = [f"{key}={value}" for key, value in env.items()]
        return self._do(["chroot", str(self.root), "env", "-i", *words, "sh", "-c", line])

    def _do(self, argv: list[str]) -> str:
        # Mounts of its own: /proc and /sys do not stay in the folder when a test is cut off.
        argv = ["unshare", "--mount", *argv]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def debians(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Debian]]:
    folder = tmp_path_factory.mktemp("debians")
    folder.chmod(0o755)
    yield {suite: Debian(suite, folder / suite) for suite in SUITES}
    for suite in SUITES:
        shutil.rmtree(folder / suite, ignore_errors=True)


def test_each_debian_has_its_own_python(debians: dict[str, Debian]) -> None:
    for suite, debian in debians.items():
        assert debian.inside("/clone/.venv/bin/python --version").startswith(SUITES[suite])


def test_both_debians_give_the_locked_images(debians: dict[str, Debian]) -> None:
    names = ["loopback", "llama-server"]
    identities = {
        suite: debian.inside(f"/clone/.venv/bin/python -c '{BUILD}' {' '.join(names)}")
        for suite, debian in debians.items()
    }
    assert identities["bookworm"] == identities["trixie"], "the same archive, byte for byte"
    built = dict(line.split()[:2] for line in identities["trixie"].splitlines())
    assert built == {name: images.recipe(name).image_id for name in names}


@pytest.mark.parametrize("suite", SUITES)
def test_kit_itself_runs_there(debians: dict[str, Debian], suite: str) -> None:
    """The lock has every library for this Python, and they are importable."""
    code = "import kit.cli.main, kit.tui.app, matplotlib, pysnmp, installer, docker"
    debians[suite].inside(f"/clone/.venv/bin/python -c '{code}'")
    assert "llama-server" in debians[suite].inside("/clone/.venv/bin/kit images ls")
