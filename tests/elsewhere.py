"""Another machine, as far as a folder can be one: kit from its wheel, no engine, no clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


def built(into: Path, source: Path = ROOT, *options: str, umask: int = -1) -> Path:
    """The one file that a build of ``source`` puts into the folder ``into``."""
    build = ["build", "--no-isolation", *options, "--outdir", into, source]
    env = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, "-m", *map(str, build)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, umask=umask)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = into.iterdir()
    return file


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="kit-wheel-")


@cache
def wheel() -> Path:
    """kit's wheel, built once a process."""
    return built(Path(_folder().name), ROOT, "--wheel")


class Elsewhere:
    """An environment of its own in a folder, and the commands that it has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "venv/bin"
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        self.env = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{folder}/no.sock",
            "KIT_QUEUE": str(folder / "queue"),
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def install(self, *arguments: object) -> None:
        """What pip of this environment installs there."""
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "-q", "install"]
        command = [str(a) for a in (*pip, "--disable-pip-version-check", *arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def with_libraries_of_this_environment(self) -> None:
        (self.site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, *command: object, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / str(command[0])), *map(str, command[1:])],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def kit(self, *arguments: object, code: int = 0) -> str:
        """What kit says on stdout; its exit code is checked, and no traceback is ever shown."""
        done = self.run("kit", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def python(self, code: str, timeout_s: float = 60) -> str:
        """What a program prints."""
        done = self.run("python", "-c", code, timeout_s=timeout_s)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def megabytes(self) -> float:
        """What the environment takes on the disk, in MiB, as `du` counts."""
        files = [p for p in (self.folder / "venv").rglob("*") if not p.is_symlink()]
        return sum(p.stat().st_blocks for p in files) * 512 / 2**20
