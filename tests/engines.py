"""Other container engines of this machine: Docker and Podman of newer Debians, each from a root
filesystem made by mmdebstrap, in namespaces of its own.

The mounts, the network and the processes are the engine's own; kit enters them with the files of
this machine. Nothing is seen of the engine that runs here, and nothing stays when pid 1 is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from kit.core import resources

ROOT = Path(__file__).resolve().parent.parent
KIT = [sys.executable, "-m", "kit.cli.main"]
PACKAGES = (
    "ca-certificates,docker.io,podman,runc,containerd,tini,netavark,aardvark-dns,iptables,"
    "nftables,conmon,catatonit,procps"
)
CDI = Path("/run/cdi")
# Debian's copies of the newest suites may be older than their own date of expiry.
NEWEST = ['--aptopt=Acquire::Check-Valid-Until "false"']
PREPARE = """
set -e
mount -t tmpfs tmpfs /run
mkdir {cdi}
mount --bind {root} {root}
mount -t tmpfs tmpfs {root}/tmp
mkdir -p {root}{place} {root}{cache}
for folder in {place} {cache} /proc /sys /dev /run; do mount --rbind $folder {root}$folder; done
ip link set lo up
"""
# crun refuses cgroup v1 beside v2 (hybrid), as on some machines; runc takes both.
ENGINES = {
    "docker": "dockerd --config-file={place}/daemon.json --data-root={place}/data "
    "--exec-root=/run/docker --pidfile=/run/docker.pid --host=unix://{socket}",
    "podman": "podman --runtime=runc --root={place}/data --runroot=/run/storage "
    "system service --time=0 unix://{socket}",
}
# An engine's own way to the network is no container's.
PROXY = ["http_proxy=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9"]
DAEMON = {"features": {"containerd-snapshotter": True, "cdi": True}}


def debian(suite: str, root: Path) -> None:
    """A root filesystem of ``suite`` with its engines."""
    command = ["unshare", "--mount", "mmdebstrap", "--variant=apt", f"--include={PACKAGES}"]
    command += [*NEWEST, "--skip=cleanup/apt", suite, str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


class Machine:
    """Namespaces with one engine, and kit in them."""

    def __init__(self, root: Path, place: Path, engine: str) -> None:
        self.place, self.socket = place, place / "engine.sock"
        self.contained = engine == "docker"  # images are in containerd's store
        (place / "daemon.json").write_text(json.dumps(DAEMON))
        names = ["--mount", "--net", "--pid"]
        # Children that nobody waits for vanish when SIGCHLD is ignored, as under an init. All end
        # with this process, however it ends.
        apart = ["setpriv", "--pdeathsig=KILL", "unshare", *names, "--fork", "--kill-child"]
        first = ["--mount-proc", "sh", "-c", "trap '' CHLD; exec sleep infinity"]
        self._unshare = subprocess.Popen([*apart, *first])
        try:
            self._enter = ["nsenter", f"--target={self._first()}", *names, f"--wd={ROOT}"]
            self._start(root, engine)
        except BaseException:
            self.close()
            raise

    def _start(self, root: Path, engine: str) -> None:
        place, cache = self.place, resources.cache_dir()  # the cache has the weights
        self.run(["sh", "-c", PREPARE.format(root=root, place=place, cdi=CDI, cache=cache)])
        line = ENGINES[engine].format(place=place, socket=self.socket)
        env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", *PROXY]
        with (place / "engine.log").open("wb") as log:
            served = subprocess.Popen(
                [*self._enter, "chroot", str(root), *env, *line.split()], stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while self.run(["docker", "version"], None).returncode:
            said = (place / "engine.log").read_text(errors="replace")
            assert served.poll() is None and time.monotonic() < end, said[-3000:]
            time.sleep(0.2)

    def run(self, argv: list[str], code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """What a command says in these namespaces; it has to end with ``code``, if one is given."""
        done = subprocess.run([*self._enter, *argv], capture_output=True, text=True, env=self.env)
        assert code in (None, done.returncode), done.stdout[-6000:] + done.stderr[-3000:]
        return done

    def kit(self, *words: object, code: int | None = 0) -> str:
        """What kit prints here."""
        return self.run([*KIT, *map(str, words)], code).stdout

    def docker(self, *words: str) -> str:
        return self.run(["docker", *words]).stdout.strip()

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "TMPDIR": str(self.place)}

    def close(self) -> None:
        self._unshare.send_signal(signal.SIGKILL)
        self._unshare.wait()

    def _first(self) -> str:
        """The pid of the namespaces' first process."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.05)
        while Path(f"/proc/{found[0]}/comm").read_text() != "sleep\n":
            time.sleep(0.05)
        return found[0]


def missing() -> str:
    """Why no other engine can be started here; empty if one can."""
    if os.geteuid():
        return "namespaces and their engines need root"
    programs = ("mmdebstrap", "nsenter", "setpriv", "docker", "ip")
    absent = [program for program in programs if shutil.which(program) is None]
    return f"not here: {', '.join(absent)} (`make tools engine`)" if absent else ""
