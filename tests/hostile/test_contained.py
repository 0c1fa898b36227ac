"""Containers that mean harm, launched as kit launches every runtime: what they reach, and what not.

Each program runs as the server of a launch, with its limits, and says on its log what it managed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import ContainerDied, NotReady
from kit.core.model import ImageIdentity, Mount
from kit.machine import containers
from kit.run import asking, launch
from kit.spec import runtimes
from tests.test_launch import Bench, _plan, _program, _until, never

pytestmark = [pytest.mark.docker, pytest.mark.slow]
MIB = 1 << 20
REPORTS = """
import errno, json, os, socket, subprocess, sys, time

def attempt(action):
    try:
        return action() or "reached"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def report(**found):
    print("REPORT", json.dumps(found), flush=True)
    time.sleep(600)
"""


def _reported(bench: Bench) -> dict[str, Any]:
    def found() -> Any:
        log = bench.log.read_text(errors="replace") if bench.log.is_file() else ""
        whole = log.rpartition("\n")[0].splitlines()  # Podman gives a line in pieces
        return next((line for line in whole if line.startswith("REPORT ")), "")

    report: dict[str, Any] = json.loads(_until(found, 30).removeprefix("REPORT "))
    return report


def _ran(bench: Bench, image: ImageIdentity, program: str, **changes: Any) -> dict[str, Any]:
    """What a program reported; it is removed afterwards."""
    mounts = changes.pop("files", {})
    plan = _program(image, REPORTS + program, **changes)
    with bench.launch(plan=plan, mounts=mounts):
        return _reported(bench)


# --- processes and signals ------------------------------------------------------------------------


def test_a_fork_bomb_ends_at_the_limit_of_processes(
    bench: Bench, python_image: ImageIdentity
) -> None:
    bomb = """
import os, time
print("begun", flush=True)
while True:
    try: os.fork()
    except OSError: time.sleep(0.5)
"""
    with bench.launch(plan=_program(python_image, bomb, pids=40)) as running:

        def bombs() -> int:
            done = subprocess.run(["docker", "top", bench.name], capture_output=True, text=True)
            return len(done.stdout.splitlines()) - 1

        _until(lambda: bombs() >= 35)
        assert bombs() <= 40
        assert subprocess.run(["true"], timeout=10).returncode == 0, "this machine still answers"
        assert bench.engine.facts()["engine"]
        assert running.exited() is None
        running.stop(1)
    assert "container.stopped" in bench.kinds()


def _pids(bench: Bench) -> list[str]:
    """The container's processes, by the pids that this machine gives them."""
    wanted = ["hpid"] if bench.is_podman else ["-o", "pid"]
    done = subprocess.run(
        ["docker", "top", bench.name, *wanted], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[1:]


def test_all_its_children_end_with_a_server_that_ignores_every_signal(
    bench: Bench, python_image: ImageIdentity
) -> None:
    deaf = """
import os, signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
os.setsid() if os.fork() == 0 else None
print("deaf", flush=True)
time.sleep(600)
"""
    with bench.launch(plan=_program(python_image, deaf)) as running:
        _until(lambda: bench.log.is_file() and bench.log.read_bytes().count(b"deaf") == 2)
        pids = _pids(bench)
        assert len(pids) >= 3
        running.stop(1)
    assert not [pid for pid in pids if Path("/proc", pid).exists()]


# --- files, disk and memory -----------------------------------------------------------------------


def test_it_writes_nowhere_but_to_its_own_bounded_memory(
    bench: Bench, python_image: ImageIdentity
) -> None:
    """A disk cannot be filled from within: what can be written lies in memory, up to a limit."""
    writes = """
def fill(path):
    written, block = 0, bytes(1 << 20)
    try:
        with open(path, "wb", buffering=0) as file:
            while written < 1 << 30:
                written += file.write(block)
    except OSError as error:
        return errno.errorcode[error.errno], written >> 20
    return "filled", written >> 20

open_to_it = []
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if (top, f) not in (("/", "proc"), ("/", "sys"))]
    if os.access(top, os.W_OK):
        open_to_it.append(top)
filled = {path: fill(path + "/full") for path in ("/dev/shm", "/tmp")}
report(open_to_it=sorted(open_to_it), filled=filled)
"""
    found = _ran(bench, python_image, writes, memory_bytes=512 * MIB, shm_bytes=16 * MIB)
    assert set(found["open_to_it"]) == {"/dev/shm", "/tmp", "/dev/mqueue"} & set(
        found["open_to_it"]
    )
    assert found["filled"] == {"/dev/shm": ["ENOSPC", 16], "/tmp": ["ENOSPC", 256]}


def test_what_it_writes_counts_as_its_memory(bench: Bench, python_image: ImageIdentity) -> None:
    greedy = """
print("filling", flush=True)
with open("/tmp/full", "wb", buffering=0) as file:
    while True: file.write(bytes(1 << 20))
"""
    plan = _program(python_image, greedy, memory_bytes=64 * MIB)
    died = pytest.raises(ContainerDied, match=bench.out_of_memory(64))
    with died, bench.launch(plan=plan) as running:
        running.wait_ready("/health", 30, never)


EXECUTES = """
def executed(folder):
    path = folder + "/program"
    with open(path, "w") as file:
        file.write("#!/bin/sh\\nexit 0\\n")
    os.chmod(path, 0o755)
    return attempt(lambda: subprocess.run([path], check=True) and None)

report(tmp=executed("/tmp"), shm=executed("/dev/shm"))
"""


@pytest.mark.parametrize(("scratch", "tmp"), [(None, "EACCES"), (32 * MIB, "reached")])
def test_programs_run_from_tmp_only_where_a_runtime_compiles(
    bench: Bench, python_image: ImageIdentity, scratch: int | None, tmp: str
) -> None:
    changes = {"scratch_bytes": scratch} if scratch else {}
    assert _ran(bench, python_image, EXECUTES, **changes) == {"tmp": tmp, "shm": "EACCES"}


def test_it_sees_its_own_weights_read_only_and_no_file_of_another_run(
    bench: Bench, python_image: ImageIdentity, tmp_path: Path
) -> None:
    store = tmp_path / "runs" / "abc"
    store.mkdir(parents=True)
    (store / "manifest.json").write_text("{}")
    for name in ("own.gguf", "others.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
        (tmp_path / name).chmod(0o666)
    mount = Mount(target="/weights/own.gguf", sha256="0" * 64)
    looks = f"""
seen = []
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if (top, f) not in (("/", "proc"), ("/", "sys"))]
    seen += [name for name in files if name.endswith(".gguf") or name == "manifest.json"]
def write():
    open("/weights/own.gguf", "r+b").write(b"evil")
def around():
    open("/weights/../../../../{store}/manifest.json").read()
report(seen=seen, weights=os.listdir("/weights"), write=attempt(write), around=attempt(around),
       engine=os.path.exists("/var/run/docker.sock"), uid=os.getuid())
"""
    files = {mount.target: tmp_path / "own.gguf"}
    found = _ran(bench, python_image, looks, mounts=(mount,), files=files)
    assert found == {
        "seen": ["own.gguf"],
        "weights": ["own.gguf"],
        "write": "EROFS",
        "around": "ENOENT",
        "engine": False,
        "uid": 65534,
    }
    assert (tmp_path / "own.gguf").read_bytes() == b"GGUF"


def test_a_log_of_one_endless_line_is_bounded_and_read_in_time(
    bench: Bench, python_image: ImageIdentity
) -> None:
    """It is also written to make patterns slow that look into it."""
    floods = """
import sys
for _ in range(40): sys.stdout.write("error: Listening on msg=inference compute " * 25000)
sys.stdout.flush()
sys.exit(1)
"""
    plan = _program(python_image, floods)
    with pytest.raises(ContainerDied) as caught, bench.launch(plan=plan) as running:
        running.wait_ready("/health", 60, never)
    assert len(caught.value.message) < 3000
    assert bench.log.stat().st_size < 17 * MIB
    begun = time.monotonic()
    asking.log_facts(bench.log, runtimes.get("ollama").log_facts)
    assert time.monotonic() - begun < asking.ANSWER_S + 5


# --- network --------------------------------------------------------------------------------------


@contextmanager
def _listening(address: str) -> Iterator[int]:
    """A service of this host, which says hello; yields its port."""
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]  # the system takes connections in: nobody needs to accept


def test_it_reaches_what_the_plan_says_and_nothing_beyond(
    bench: Bench, python_image: ImageIdentity
) -> None:
    network, egress = containers.network_plan(bench.engine.facts())
    if network != "internal":
        pytest.skip("this engine gives no internal network")
    with _listening("0.0.0.0") as everywhere, _listening("127.0.0.1") as only_here:
        tries = f"""
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
own = socket.gethostbyname(socket.gethostname())
gateway = own.rpartition(".")[0] + ".1"
def connect(address, port):
    with socket.create_connection((address, port), timeout=2):
        pass
def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
report(
    outside=attempt(lambda: connect("192.0.2.1", 80)),
    other_bridge=attempt(lambda: connect("172.17.0.1", {only_here})),
    host_everywhere=attempt(lambda: connect(gateway, {everywhere})),
    host_only_here=attempt(lambda: connect(gateway, {only_here})),
    raw=attempt(raw),
    names=attempt(lambda: socket.getaddrinfo("example.org", 80) and None),
)
"""
        found = _ran(bench, python_image, tries, network=network, egress=egress)
    assert found["outside"] != "reached"
    assert found["raw"] == "EPERM"
    assert found["names"] != "reached"
    assert found["host_only_here"] != "reached"
    assert found["other_bridge"] != "reached"
    # What `egress` says: on such an engine the gateway is this host.
    assert (found["host_everywhere"] == "reached") <= (egress == "host")


def test_two_launches_are_in_networks_apart(
    bench: Bench, python_image: ImageIdentity, tmp_path: Path
) -> None:
    serves = REPORTS + """
server = socket.create_server(("0.0.0.0", 8080))
report(own=socket.gethostbyname(socket.gethostname()))
"""
    other = Bench(bench.engine, bench.image, tmp_path / "other")
    with other.launch(plan=_program(python_image, serves)):
        address = _reported(other)["own"]
        tries = f"""
report(found=attempt(lambda: socket.create_connection(({address!r}, 8080), timeout=2).close()))
"""
        found = _ran(bench, python_image, tries)
    assert found["found"] != "reached"
    assert other.left() == []


# --- devices --------------------------------------------------------------------------------------


def test_without_a_gpu_in_the_spec_there_are_no_devices_of_one(
    bench: Bench, python_image: ImageIdentity
) -> None:
    """CUDA's images ask for every GPU in a variable of theirs."""
    looks = """
def make():
    os.mknod("/tmp/nvidia0", 0o20666, os.makedev(195, 0))
devices = sorted(f for top, _, files in os.walk("/dev") for f in files if not f.isdigit())
report(devices=devices, make=attempt(make), asked=os.environ.get("NVIDIA_VISIBLE_DEVICES"))
"""
    found = _ran(bench, python_image, looks, env={"HOME": "/tmp"})
    gpus = [d for d in found["devices"] if d.startswith(("nvidia", "kfd", "render", "card"))]
    assert gpus == []
    assert {"sda", "mem", "kmsg", "loop0"} & set(found["devices"]) == set()
    assert found["make"] == "EPERM"
    assert found["asked"] == "void"
    assert bench.engine.facts()["engine"]


# --- answers --------------------------------------------------------------------------------------

SERVES = """
import socket, time
server = socket.create_server(("0.0.0.0", 8080))
while True:
    peer, _ = server.accept()
    try:
        peer.recv(65536)
        {answer}
    except OSError:
        pass
"""
# How a server may answer a question for its state, for ever.
ENDLESS = {
    "a head a byte at a time": (
        'peer.sendall(b"HTTP/1.1 200 OK\\r\\n")\n'
        '        while True: peer.sendall(b"a"); time.sleep(0.2)'
    ),
    "headers without end": (
        'peer.sendall(b"HTTP/1.1 200 OK\\r\\n")\n'
        '        while True: peer.sendall(b"a: b\\r\\n" * 1000)'
    ),
    "a body a byte at a time": (
        'peer.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n[")\n'
        '        while True: peer.sendall(b" "); time.sleep(0.2)'
    ),
    "a body without end": (
        'peer.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n[")\n'
        '        while True: peer.sendall(b" " * 65536)'
    ),
}


@pytest.mark.parametrize("answer", ENDLESS)
def test_a_question_has_an_end_whatever_is_answered(
    bench: Bench,
    python_image: ImageIdentity,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "ANSWER_S", 1.0)
    monkeypatch.setattr(launch, "STATUS_S", 0.5)
    program = SERVES.replace("{answer}", ENDLESS[answer])
    with bench.launch(plan=_program(python_image, program)) as running:
        begun = time.monotonic()
        if "head" in answer:
            with pytest.raises(NotReady):
                running.wait_ready("/health", 2.0, never)
        else:
            running.wait_ready("/health", 20.0, never)
        (told,) = asking.effective(running.base_url, ("/props",)).values()
        assert time.monotonic() - begun < 20
    assert set(told) == {"unavailable"}


def test_the_plan_used_here_is_the_one_of_every_launch(loopback_image: ImageIdentity) -> None:
    """The tests above only mean something with the limits that a run has."""
    plan = _plan(loopback_image, {}).launch
    assert (plan.network, plan.memory_bytes, plan.pids) == ("internal", 128 * MIB, 64)
