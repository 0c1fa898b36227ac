"""A build backend is a stranger's program: run as root's guest, it reaches nothing of the host."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.core.errors import ImageUnavailable
from kit.machine import containers
from kit.machine.images import baselayer, make, sandbox, wheels
from kit.machine.images.locks import Compile, Package
from kit.machine.images.recipe import own_base
from kit.machine.images.tree import Tree

pytestmark = pytest.mark.docker
CANARY = "canary-of-the-host"
HOSTILE = Path(__file__).parent / "hostile"
SPY = (HOSTILE / "spy.py").read_text()
MAKING = (HOSTILE / "making.py").read_text()
WHEEL = "from backend.making import wheel\n"


class Attack:
    """A source archive whose backend is ``code``, and the parts that its compilation needs."""

    def __init__(self, folder: Path, code: str, settings: dict[str, Any]) -> None:
        self.folder = folder
        tool = folder / "tool"
        with zipfile.ZipFile(tool, "w") as archive:
            archive.writestr("backend/__init__.py", code)
            archive.writestr("backend/making.py", MAKING)
            archive.writestr("backend/told.json", json.dumps(settings))
        source = folder / "source"
        with tarfile.open(source, "w:gz") as tar:
            text = b'[build-system]\nrequires = []\nbuild-backend = "backend"\n'
            member = tarfile.TarInfo("evil-1.0/pyproject.toml")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
        tools = (self.package("backend", "backend-1.0-py3-none-any.whl", tool),)
        self.wanted = Compile(
            builder="base", tools=tools, source=self.package("evil", "evil-1.0.tar.gz", source)
        )
        self.files = {tools[0].file: tool, "evil-1.0.tar.gz": source}

    def package(self, name: str, file: str, path: Path) -> Package:
        data = path.read_bytes()
        facts = {"name": name, "version": "1.0", "file": file, "size": len(data)}
        return msgspec.convert({**facts, "sha256": jsonio.digest(data)}, Package)

    def run(self) -> tuple[str, Path]:
        lock = own_base("base")
        bottom = baselayer.ensure(lock, "base", make.nothing, make.nothing, own=True)
        parts = (lock, bottom.layer)
        return sandbox.compiled(
            self.wanted, parts, self.files, self.folder, make.nothing, make.nothing
        )


def left(engine: containers.Engine) -> list[str]:
    """Names of sandboxes and of their throw-away images that are still there."""
    command = ["docker", "ps", "-a", "--filter=name=kit-compile-", "--format={{.Names}}"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    command = ["docker", "images", "kit/compile", "--format={{.Tag}}"]
    names += subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if f"{os.getpid()}-" in name]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What must stay out of reach: a file, a process, two sockets and a port of this host."""
    with ExitStack() as stack:
        file = tmp_path / CANARY
        file.write_text(CANARY)
        file.chmod(0o666)
        tmp_path.chmod(0o777)
        sleeper = subprocess.Popen(["sleep", "98765"])
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)
        listening = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        path = Path(tempfile.mkdtemp(dir="/tmp")) / "socket"
        listening[0].bind(str(path))
        listening[1].bind(f"\0{CANARY}")
        listening.append(socket.socket(socket.AF_INET))
        listening[2].bind(("0.0.0.0", 0))
        for server in listening:
            stack.enter_context(server)
            server.listen()
            server.setblocking(False)
        yield {
            "file": str(file),
            "name": CANARY,
            "socket": str(path),
            "abstract": CANARY,
            "port": listening[2].getsockname()[1],
        }
        for server in listening:
            with pytest.raises(BlockingIOError):
                server.accept()


def test_a_hostile_backend_reaches_nothing_of_the_host(
    tmp_path: Path, host: dict[str, Any], engine: containers.Engine
) -> None:
    name, path = Attack(tmp_path, SPY, host).run()
    assert name == "evil-1.0-py3-none-any.whl"
    with tempfile.TemporaryFile() as spool:
        into = Tree(spool)
        wheels.unpack(path, name, into)
        report = json.loads(into.read("opt/kit/evil.json"))
    assert report.pop("canary names") == []
    assert report.pop("interfaces") == ["lo"]
    assert report.pop("uid") == 65534
    status = dict(line.split(":\t") for line in report.pop("status"))
    assert {int(v, 16) for k, v in status.items() if k.startswith("Cap")} == {0}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    processes = report.pop("processes")
    assert not [p for p in processes if "98765" in p or "pytest" in p or "dockerd" in p]
    assert len(processes) <= 4
    reached = {k: v for k, v in report.items() if not str(v).startswith("refused: ")}
    assert reached == {}
    assert left(engine) == []


BAD = {
    "no wheel": "def build_wheel(*_):\n    return 'absent.whl'\n",
    "a failure": "def build_wheel(*_):\n    raise SystemExit('\\x1b[2J' + 'x' * 5000)\n",
    "another name": WHEEL
    + "def build_wheel(out, *_): return wheel(out, {}, 'other-1.0-py3-none-any.whl')\n",
    "a path as a name": WHEEL
    + "def build_wheel(out, *_):\n    wheel(out, {}, 'x')\n    return '../../tmp/out/x'\n",
    "words of its own on stdout": "import os, sys\ndef build_wheel(*_):\n"
    "    for fd in range(3, 9):\n        try: os.write(fd, b'../../../etc/passwd\\nxx')\n"
    "        except OSError: pass\n    os._exit(0)\n",
    "a name without a wheel": "import os\ndef build_wheel(*_):\n"
    "    for fd in range(3, 9):\n        try: os.write(fd, b'evil-1.0-py3-none-any.whl\\n!!')\n"
    "        except OSError: pass\n    os._exit(0)\n",
    "all the memory": "def build_wheel(*_):\n    held = []\n"
    "    while True: held.append(bytearray(os.urandom(1 << 20)) * 32)\nimport os\n",
}


@pytest.mark.parametrize("code", BAD.values(), ids=BAD)
def test_what_comes_out_is_one_wheel_or_one_clear_error(
    tmp_path: Path, engine: containers.Engine, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 256 << 20)
    with pytest.raises(ImageUnavailable) as caught:
        Attack(tmp_path, code, {}).run()
    assert "\x1b" not in caught.value.message and len(caught.value.message) < 1200
    assert caught.value.remedy
    assert left(engine) == []
    assert not (tmp_path / "compiled.whl").exists()


def test_a_backend_that_never_ends_is_ended(
    tmp_path: Path, engine: containers.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forks as it likes, too: up to the limit of processes."""
    monkeypatch.setattr(sandbox, "TIME_S", 3)
    monkeypatch.setattr(sandbox, "PIDS", 40)
    code = "import os, time\ndef build_wheel(*_):\n    while True:\n        try: os.fork()\n"
    code += "        except OSError: time.sleep(0.1)\n"
    with pytest.raises(ImageUnavailable, match="took more than"):
        Attack(tmp_path, code, {}).run()
    assert left(engine) == []


def test_compiling_gives_a_wheel_that_is_unpacked_like_any_other(
    tmp_path: Path, engine: containers.Engine
) -> None:
    code = WHEEL + "def build_wheel(out, *_): return wheel(out, {'evil.py': 'x = 1\\n' * 100000})\n"
    name, path = Attack(tmp_path, code, {}).run()
    with tempfile.TemporaryFile() as spool:
        into = Tree(spool)
        wheels.unpack(path, name, into)
        assert into.read("opt/kit/evil.py") == b"x = 1\n" * 100_000
    assert left(engine) == []
