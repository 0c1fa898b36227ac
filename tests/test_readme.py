"""The README as a script: every line of it, in order, on a Debian with nothing but git and make.

The Debian is a container of its own, in which the README's first command installs and starts a
container engine. A person's answers come from a terminal: a yes to whatever is asked.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.debians,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not here"),
]
ROOT = Path(__file__).resolve().parent.parent
IMAGE = NAME = VOLUME = "kit-test-readme"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What a container engine needs inside a container; some machines' root may not raise limits.
RIGHTS = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--tmpfs=/run", "--cgroupns=private"]
RIGHTS += [f"--security-opt={x}=unconfined" for x in ("seccomp", "apparmor", "systempaths")]
RIGHTS += ["-v", f"{VOLUME}:/var/lib/docker"]
WRITABLE = "for place in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw $place; done"
# This machine's way to the network, where it has one of its own.
NETWORK = ("/etc/pip.conf", "/etc/apt/apt.conf.d", "/etc/apt/sources.list.d", CERTIFICATES)
WHEELS = os.environ.get("PIP_FIND_LINKS", "").split()  # PyTorch's CPU builds, where they lie here
# What a script does in place of a person: he stops what has no end, and fills in what he was told.
INSTEAD = {
    "make test": "true",  # this is one of its tests
    "kit compare A B C --by concurrency": 'sh -c "$(cat compare.txt)"',
    "kit run my-run.json --concurrency 1,4,16": "kit run my-run.json --concurrency 1,4,16 "
    "2>run.txt && sed -n 's/^compare them: `\\(.*\\)`.*/\\1/p' run.txt >compare.txt",
    "kit compare A B --by runtime --by weights": "kit compare "
    "$(ls -td runs/*/ | sed -n 2p) $(ls -td runs/*/ | sed -n 1p) --by runtime --by weights",
    "kit monitor": "timeout -s INT 20 kit monitor || [ $? -eq 124 ] || [ $? -eq 130 ]",
    "kit run my-run.json": "true",  # ran above, at three levels
    "kit init my-run.json": "kit init other-run.json",
}


def docker(*words: str, **options: object) -> str:
    """What docker prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"docker {words}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return str(done.stdout)


def lines() -> list[str]:
    """The commands of the README, without what it says of them."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", (ROOT / "README.md").read_text())
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def debian(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A container with git and make, and a clone of this repository."""
    folder = tmp_path_factory.mktemp("readme")
    make = ["unshare", "--mount", "mmdebstrap", "--variant=minbase"]
    make += ["--include=git,make,ca-certificates,iproute2", "--skip=cleanup/apt"]
    subprocess.run(
        [*make, request.param, str(folder / "root.tar")], check=True, capture_output=True
    )
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "kit")], check=True)
    # What a run that was killed has left:
    subprocess.run(["docker", "rm", "-f", "-v", NAME], capture_output=True)
    docker("import", str(folder / "root.tar"), IMAGE)
    (folder / "root.tar").unlink()
    try:
        docker("run", "-d", "--name", NAME, *RIGHTS, IMAGE, "sleep", "infinity")
        docker("exec", NAME, "sh", "-c", WRITABLE)
        docker("cp", str(folder / "kit"), f"{NAME}:/root/kit")
        for path in filter(lambda path: Path(path).exists(), (*NETWORK, *WHEELS)):
            docker("cp", path, f"{NAME}:{Path(path).parent}")
        yield NAME
    finally:
        docker("rm", "-f", "-v", NAME)
        docker("volume", "rm", "-f", VOLUME)
        docker("rmi", "-f", IMAGE)


def test_the_readme_runs_as_a_script(debian: str) -> None:
    said = []
    for line in lines():
        if line.startswith("kit init --model"):
            shell = f"cp /root/.cache/kit/weights/* my.gguf && {line}"  # what `make demo` fetched
        else:
            shell = INSTEAD.get(line, line)
        said.append(typed(debian, shell))
    assert "by design" in said[lines().index("kit compare A B C --by concurrency")]


def typed(name: str, shell: str) -> str:
    """What a line prints on a terminal whose person says yes whenever he is asked."""
    line = (
        f"cd /root/kit; export PATH=$PWD/.venv/bin:$PATH KIT_YES=1 PIP_CERT={CERTIFICATES} "
        f"PIP_FIND_LINKS='{' '.join(WHEELS)}'; {shell}"
    )
    ours, theirs = pty.openpty()
    words = ["docker", "exec", "-it", "-e", "TERM=xterm", name, "bash", "-c", line]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said, asked = b"", 0
    with contextlib.suppress(OSError):  # at its end a terminal says EIO
        while more := os.read(ours, 1 << 16):
            said += more
            if re.search(rb"\[[yY]/[nN]\]\s*$", said[asked:]):
                asked = len(said)
                os.write(ours, b"y\n")
    os.close(ours)
    text = said.decode(errors="replace")
    assert process.wait() == 0, f"{shell}\n{text[-4000:]}"
    return text


def test_every_line_of_the_readme_is_a_command() -> None:
    assert len(lines()) > 15 and all(re.match("(make|kit) ", line) for line in lines())
    assert set(INSTEAD) <= set(lines())
