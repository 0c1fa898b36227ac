"""Containers launched for real: ready or not, dying, stopped, and never left behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import pytest

from kit.core import jsonio
from kit.core.errors import (
    ContainerDied,
    Interrupted,
    KitError,
    LaunchFailed,
    NotReady,
    WeightsUnavailable,
)
from kit.core.model import GpuRequest, ImageIdentity, Mount, Plan
from kit.machine.containers import Engine, Missing
from kit.run import launch
from kit.spec import runtimes
from tests.causes.test_causes import CASES
from tests.plans import launch_plan, plan_of

LOOPBACK = runtimes.get("loopback")
READY_S = 30.0
pytestmark = pytest.mark.docker


def _plan(image: ImageIdentity, script: dict[str, Any], **changes: Any) -> Plan:
    listen = "127.0.0.1" if changes.get("network") == "host" else "0.0.0.0"
    port = changes.get("port", LOOPBACK.port)
    text = jsonio.canonical(script).decode()
    launch = launch_plan(
        **{
            "argv": ("--host", listen, "--port", str(port), "--script", text),
            "env": {"HOME": "/tmp"},
            "port": port,
            "egress": "host",
            "memory_bytes": 128 << 20,
            "shm_bytes": 16 << 20,
        }
        | changes
    )
    return plan_of(image, launch)


class Bench:
    """Launches of the loopback image, and what was journalled of them."""

    def __init__(self, engine: Engine, image: ImageIdentity, folder: Path) -> None:
        self.engine, self.image = engine, image
        self.log = folder / "launches" / "000" / "container.log"
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.run_id = f"t{time.monotonic_ns():x}"

    def launch(
        self,
        script: dict[str, Any] | None = None,
        mounts: dict[str, Path] | None = None,
        plan: Plan | None = None,
        **changes: Any,
    ) -> AbstractContextManager[launch.Running]:
        return launch.launched(
            self.engine,
            plan=plan or _plan(self.image, script or {}, **changes),
            run_id=self.run_id,
            index=0,
            mounts=mounts or {},
            log=self.log,
            emit=lambda kind, **data: self.events.append((kind, data)),
        )

    @property
    def name(self) -> str:
        return f"kit-{self.run_id}-0"

    def out_of_memory(self, mib: int) -> str:
        """What kit says of it (a pattern). A busy Docker 28 may not know why a container ended."""
        sure = rf"it ran out of memory \(its limit is {mib} MiB\)"
        unsure = rf"memory ran out\): its limit is {mib} MiB"
        return f"{sure}|{unsure}" if self.engine.facts()["version"].startswith("28.") else sure

    @property
    def is_podman(self) -> bool:
        return bool(self.engine.facts()["engine"] == "podman")

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def inspect(self) -> dict[str, Any]:
        done = subprocess.run(["docker", "inspect", self.name], capture_output=True, check=True)
        described: list[dict[str, Any]] = json.loads(done.stdout)
        return described[0]

    def left(self) -> list[str]:
        """Containers and networks of this bench that still exist."""
        label = f"label=kit.run={self.run_id}"
        asked = (
            ["docker", "ps", "-aq", "--filter", label],
            ["docker", "network", "ls", "-q", "--filter", label],
        )
        return [
            line
            for command in asked
            for line in subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.split()
        ]


@pytest.fixture
def bench(engine: Engine, loopback_image: ImageIdentity, tmp_path: Path) -> Iterator[Bench]:
    """A bench that must find nothing left behind at the end of every test."""
    bench = Bench(engine, loopback_image, tmp_path)
    yield bench
    assert bench.left() == []


def never() -> bool:
    return False


def _complete(base_url: str, tokens: int = 4, read_s: float = 10) -> bytes:
    """One streamed completion, to its end however it ends."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=read_s)
    body = {
        "messages": [{"role": "user", "content": "one two three"}],
        "stream": True,
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def _until(test: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (result := test()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return result


def test_a_launch_from_start_to_end(bench: Bench) -> None:
    with bench.launch({"ready_delay_s": 0.4}) as running:
        begun = time.monotonic()
        running.wait_ready("/health", READY_S, never)
        assert time.monotonic() - begun > 0.1
        assert running.exited() is None
        assert b"[DONE]" in _complete(running.base_url)
        assert running.effective(LOOPBACK)["/props"]["script"]["ready_delay_s"] == 0.4
        running.stop(10)
        assert running.exited() is not None
    assert bench.kinds() == [
        "container.created",
        "container.started",
        "container.ready",
        "container.stopped",
        "container.removed",
    ]
    created, stopped = bench.events[0][1], bench.events[3][1]
    assert created["image"] == bench.image.image_id
    assert (created["network"], created["egress"]) == ("internal", "host")
    assert created["argv"] == list(_plan(bench.image, {"ready_delay_s": 0.4}).launch.argv)
    assert stopped["killed"] is False
    assert b"loopback: request 0, 4 tokens" in bench.log.read_bytes()


def test_everything_is_taken_away_that_a_runtime_does_not_need(bench: Bench) -> None:
    with bench.launch():
        described = bench.inspect()
    host, config = described["HostConfig"], described["Config"]
    assert host["ReadonlyRootfs"] is True
    if not bench.is_podman:  # it lists them one by one
        assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert host["PidsLimit"] == 64
    assert host["Memory"] == host["MemorySwap"] == 128 << 20
    assert host["ShmSize"] == 16 << 20
    assert host["CpusetCpus"] == "0"
    assert host["IpcMode"] == "private"
    assert not host["PortBindings"]
    assert config["User"] == "65534:65534"
    assert config["Hostname"] == "kit"
    assert config["Labels"]["kit.run"] == bench.run_id
    assert config["Healthcheck"]["Test"] == ["NONE"]
    assert not [e for e in config["Env"] if "proxy" in e.lower()]


def test_a_server_that_is_never_ready_is_an_error(bench: Bench) -> None:
    with pytest.raises(NotReady) as caught, bench.launch({"never_ready": True}) as running:
        _wait_for_log(bench, b"listening on")
        running.wait_ready("/health", 1.0, never)
    assert "not ready after 1 s: it answers HTTP 503; its last lines:\n" in caught.value.message
    assert "loopback: listening on" in caught.value.message
    assert "limits.ready_s" in caught.value.remedy
    assert b"listening" in bench.log.read_bytes()


def test_waiting_can_be_cancelled(bench: Bench) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted), bench.launch({"never_ready": True}) as running:
        running.wait_ready("/health", READY_S, lambda: next(asked))


def test_a_container_that_dies_at_start(bench: Bench) -> None:
    begun = time.monotonic()
    with pytest.raises(ContainerDied) as caught, bench.launch({"die_at_start": True}) as running:
        running.wait_ready("/health", 60, never)
    assert time.monotonic() - begun < 50, "the death was not noticed at once"
    assert "exit code 3" in caught.value.message
    assert "scripted death at start" in caught.value.message
    assert "launches/000/container.log" in caught.value.remedy
    assert b"scripted death" in bench.log.read_bytes()


@pytest.fixture(scope="module")
def python_image(loopback_image: ImageIdentity, engine: Engine) -> Iterator[ImageIdentity]:
    """The loopback image, to run any Python program: ``-c PROGRAM`` is its whole command."""
    name = f"kit-test-python-{os.getpid()}"
    made = subprocess.run(
        ["docker", "create", loopback_image.image_id], capture_output=True, text=True, check=True
    ).stdout.strip()
    entry = 'ENTRYPOINT ["/usr/bin/python3", "-u", "-c"]'
    subprocess.run(["docker", "commit", "--change", entry, made, name], check=True)
    subprocess.run(["docker", "rm", made], check=True, capture_output=True)
    image = engine.image(name)
    assert image
    yield image
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def _program(image: ImageIdentity, program: str, **changes: Any) -> Plan:
    return _plan(image, {}, argv=(program,), **changes)


def _says(log: str, then: str) -> str:
    return f"import os, sys, time, signal\nprint({log!r})\n{then}\n"


DEATHS = {
    "vllm": ("vllm: no room for the cache", "sys.exit(1)", "exit code 1", "kv_cache_mib"),
    "llama.cpp": ("llama.cpp: a file that was cut", "sys.exit(1)", "exit code 1", "weights"),
    "ollama": ("ollama: Go's panic", "sys.exit(2)", "exit code 2", "its whole log"),
    "aborted": (
        "llama.cpp: a CUDA error with all its threads",
        "os._exit(134)",
        "exit code 134 (signal 6, aborted)",
        "nvidia-smi",
    ),
}


@pytest.mark.parametrize("case", DEATHS)
def test_a_death_at_start_shows_its_root_cause(
    bench: Bench, python_image: ImageIdentity, case: str
) -> None:
    name, then, ended, remedy = DEATHS[case]
    log, words, _ = CASES[name]
    plan = _program(python_image, _says(log, then))
    with pytest.raises(ContainerDied) as caught, bench.launch(plan=plan) as running:
        running.wait_ready("/health", READY_S, never)
    assert f"the runtime ended before it was ready: {ended}" in caught.value.message
    assert "; the root cause in its log, line " in caught.value.message
    assert words in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.remedy.endswith("its whole log is kept as launches/000/container.log")
    assert bench.log.read_text().rstrip("\n").splitlines() == log.rstrip("\n").splitlines()


def test_a_death_after_it_was_ready_shows_the_same(
    bench: Bench, python_image: ImageIdentity
) -> None:
    log, words, remedy = CASES["llama.cpp: the GPU is full"]
    with bench.launch(plan=_program(python_image, _says(log, "os.kill(1, 9)"))) as running:
        died = _until(running.exited)
    assert "the runtime ended during the run: " in died.message
    assert words in died.message and remedy in died.remedy


@pytest.mark.parametrize(
    ("number", "words"),
    [(4, "illegal instruction"), (7, "bus error"), (11, "segmentation fault")],
)
def test_a_signal_is_named(
    bench: Bench, python_image: ImageIdentity, number: int, words: str
) -> None:
    plan = _program(python_image, _says("x", f"os.kill(os.getpid(), {number})"))
    with pytest.raises(ContainerDied, match=words) as caught, bench.launch(plan=plan) as running:
        running.wait_ready("/health", READY_S, never)
    assert f"exit code {128 + number} (signal {number}, " in caught.value.message


def test_what_a_container_says_cannot_reach_the_terminal(
    bench: Bench, python_image: ImageIdentity
) -> None:
    evil = "error: \x1b]0;owned\x07\x1b[2J\u202e" + "x" * 5000
    plan = _program(python_image, _says(evil, "sys.exit(1)"))
    with pytest.raises(ContainerDied) as caught, bench.launch(plan=plan) as running:
        running.wait_ready("/health", READY_S, never)
    assert all(c.isprintable() or c == "\n" for c in caught.value.message)
    assert len(caught.value.message) < 600


WORKS = _says("loading", "print('still loading'); time.sleep(600)")


def _wait_for_log(bench: Bench, words: bytes) -> None:
    _until(lambda: bench.log.is_file() and words in bench.log.read_bytes())


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted("stopped"), SystemExit])
def test_a_start_up_that_is_interrupted_keeps_its_log(
    bench: Bench, python_image: ImageIdentity, error: BaseException
) -> None:
    with pytest.raises((KeyboardInterrupt, Interrupted, SystemExit)):  # noqa: SIM117
        with bench.launch(plan=_program(python_image, WORKS)):
            _wait_for_log(bench, b"still loading")
            raise error
    assert bench.log.read_bytes() == b"loading\nstill loading\n"


def test_a_start_up_that_takes_too_long_keeps_its_log(
    bench: Bench, python_image: ImageIdentity
) -> None:
    plan = _program(python_image, WORKS)
    with pytest.raises(NotReady) as caught, bench.launch(plan=plan) as running:
        _wait_for_log(bench, b"still loading")
        running.wait_ready("/health", 0.5, never)
    assert "it does not answer; its last lines:\n  loading\n  still loading" in caught.value.message
    assert bench.log.read_bytes() == b"loading\nstill loading\n"


def test_a_start_up_that_runs_out_of_memory_keeps_its_log(
    bench: Bench, python_image: ImageIdentity
) -> None:
    greedy = _says("taking all", "x = bytearray()\nwhile True: x += bytes(1 << 20)")
    plan = _program(python_image, greedy, memory_bytes=48 << 20)
    with pytest.raises(ContainerDied, match=bench.out_of_memory(48)) as caught:  # noqa: SIM117
        with bench.launch(plan=plan) as running:
            running.wait_ready("/health", READY_S, never)
    assert "limits.memory_mib" in caught.value.remedy
    assert b"taking all" in bench.log.read_bytes()


def test_words_said_while_it_is_ended_are_kept(bench: Bench, python_image: ImageIdentity) -> None:
    """Also what comes between the error and the end of the container."""
    chatty = _says("begun", "n = 0\nwhile True:\n  n += 1; print('line', n); time.sleep(0.001)")
    with pytest.raises(RuntimeError), bench.launch(plan=_program(python_image, chatty)):
        _wait_for_log(bench, b"line 100")
        raise RuntimeError
    lines = bench.log.read_text().splitlines()
    assert lines[1:] == [f"line {n}" for n in range(1, len(lines))]


def test_bad_arguments_are_hinted_at(bench: Bench) -> None:
    with pytest.raises(ContainerDied) as caught, bench.launch({"no_such_thing": 1}) as running:
        running.wait_ready("/health", READY_S, never)
    assert "exit code 2" in caught.value.message
    assert caught.value.remedy.startswith("look at runtime.options")


def test_running_out_of_memory_is_recognised(bench: Bench) -> None:
    with (
        pytest.raises(ContainerDied, match=bench.out_of_memory(48)) as caught,
        bench.launch({"allocate_mib": 300}, memory_bytes=48 << 20) as running,
    ):
        running.wait_ready("/health", 60, never)
    assert "limits.memory_mib" in caught.value.remedy


def test_a_death_in_the_middle_of_a_request(bench: Bench) -> None:
    with bench.launch({"fail_after_requests": 1, "exit_code": 7}) as running:
        running.wait_ready("/health", READY_S, never)
        assert b"[DONE]" in _complete(running.base_url)
        assert running.exited() is None
        assert b"[DONE]" not in _complete(running.base_url)
        died = _until(running.exited)
    assert died.message.startswith("the runtime ended during the run: exit code 7; its last lines:")
    assert "scripted death in request 1" in died.message


def test_a_death_that_nobody_noticed_is_found_at_the_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy engine may tell the waiting thread late."""
    monkeypatch.setattr("kit.run.launch.Running._await_end", lambda self: None)
    with bench.launch({"fail_after_requests": 0, "exit_code": 7}) as running:
        running.wait_ready("/health", READY_S, never)
        assert b"[DONE]" not in _complete(running.base_url)
        _until(running._container.exited)
        assert running.exited() is None
        with pytest.raises(ContainerDied, match="ended during the run: exit code 7"):
            running.stop(10)
    assert "container.stopped" not in bench.kinds()


def test_a_container_killed_from_outside(bench: Bench) -> None:
    with bench.launch() as running:
        running.wait_ready("/health", READY_S, never)
        subprocess.run(["docker", "kill", bench.name], check=True, capture_output=True)
        died = _until(running.exited)
    assert "exit code 137 (signal 9, killed, from outside or because" in died.message


def test_a_container_removed_from_outside(bench: Bench) -> None:
    with bench.launch() as running:
        running.wait_ready("/health", READY_S, never)
        subprocess.run(["docker", "rm", "-f", bench.name], check=True, capture_output=True)
        assert _until(running.exited)
    (fault,) = [data for kind, data in bench.events if kind == "fault"]
    assert fault["code"] == "LOG_CUT"
    assert b"loopback: listening on" in bench.log.read_bytes()


def test_a_server_deaf_to_sigterm_is_killed(bench: Bench) -> None:
    with bench.launch({"ignore_sigterm": True}) as running:
        running.wait_ready("/health", READY_S, never)
        running.stop(1)
    assert dict(bench.events)["container.stopped"] == {
        "launch": 0,
        "exit_code": 137,
        "killed": True,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_error_inside_leaves_nothing(bench: Bench, error: type[BaseException]) -> None:
    with pytest.raises(error), bench.launch({"ignore_sigterm": True}) as running:
        running.wait_ready("/health", READY_S, never)
        raise error
    assert bench.kinds()[-1] == "container.removed"
    assert bench.log.exists()


def test_ctrl_c_while_the_container_is_made_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.create

    def create(self: Engine, *args: Any) -> Any:
        real(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "create", create)
    with pytest.raises(KeyboardInterrupt), bench.launch():
        pytest.fail("it must not get here")


def test_ctrl_c_during_the_clearing_up_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Engine.remove_run, []

    def remove_run(self: Engine, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(self, *args)

    monkeypatch.setattr(Engine, "remove_run", remove_run)
    with pytest.raises(KeyboardInterrupt), bench.launch():
        pass
    assert len(calls) == 2


def test_a_log_that_cannot_be_written_is_a_fault_not_a_leak(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "launches").write_text("a file where a folder should be")
    with bench.launch():
        pass
    (fault,) = [data for kind, data in bench.events if kind == "fault"]
    assert fault["code"] == "LOG_LOST"
    assert str(tmp_path) not in fault["message"]


def test_a_long_log_is_bounded_and_says_so(bench: Bench) -> None:
    with bench.launch({"log_kib": 17 << 10}) as running:
        running.wait_ready("/health", 60, never)
    text = bench.log.read_bytes()
    assert 16 << 20 <= len(text) < (16 << 20) + 200
    assert b"bytes of this log are left out here]" in text
    assert b"listening on" in text[-2000:]


def test_a_missing_image_refuses_the_launch(bench: Bench) -> None:
    missing = ImageIdentity(
        reference="x", recipe=None, image_id="sha256:" + "0" * 64, diff_ids=(), platform=""
    )
    with pytest.raises(Missing, match="make the container"), bench.launch(plan=_plan(missing, {})):
        pytest.fail("it must not get here")


def test_missing_cpus_refuse_the_launch(bench: Bench) -> None:
    with (
        pytest.raises(LaunchFailed, match="CPUs are not available") as caught,
        bench.launch(runtime_cpus="4000"),
    ):
        pytest.fail("it must not get here")
    assert "CPU set" in caught.value.remedy


@pytest.mark.parametrize("driver", ["cdi", "nvidia"])
def test_a_gpu_that_the_engine_cannot_give(bench: Bench, driver: Literal["cdi", "nvidia"]) -> None:
    if bench.engine.facts()["gpu"]:
        pytest.skip("this engine offers GPUs")
    if driver == "nvidia" and bench.is_podman:
        pytest.skip("Podman's Docker API ignores what it is asked, and kit never asks it")
    with (
        pytest.raises(LaunchFailed, match=r"select device driver|unresolvable CDI") as caught,
        bench.launch(gpus=GpuRequest(driver=driver, count=1)),
    ):
        pytest.fail("it must not get here")
    assert "nvidia-c" in caught.value.remedy


def test_what_the_engine_says_names_no_folder_of_this_machine(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file vanishes between kit's look and the engine's."""
    if bench.is_podman:
        pytest.skip("Podman makes an empty folder in the place of a file that is gone")
    gone = tmp_path / "m.gguf"
    monkeypatch.setattr(launch, "_files", lambda *_: {"/weights/m.gguf": gone})
    with pytest.raises(LaunchFailed, match="bind") as caught, bench.launch():
        pytest.fail("it must not get here")
    assert "m.gguf" in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_the_loopback_network_publishes_on_this_machine_alone(bench: Bench) -> None:
    with bench.launch(network="loopback", egress="open") as running:
        running.wait_ready("/health", READY_S, never)
        assert running.base_url.startswith("http://127.0.0.1:")
        ports = bench.inspect()["NetworkSettings"]["Ports"]["8080/tcp"]
        assert [p["HostIp"] for p in ports] == ["127.0.0.1"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_network_of_the_host(bench: Bench) -> None:
    port = _free_port()
    with bench.launch(network="host", egress="open", port=port) as running:
        running.wait_ready("/health", READY_S, never)
        assert running.base_url == f"http://127.0.0.1:{port}"
        assert bench.inspect()["Config"]["Hostname"] == "kit"
        running.stop(10)


def test_a_taken_port_refuses_the_launch(bench: Bench) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(LaunchFailed, match=f"port {port} of this machine is taken") as caught,
            bench.launch(network="host", port=port),
        ):
            pytest.fail("it must not get here")
    assert f"sport = :{port}" in caught.value.remedy
    assert bench.events == []


def test_weights_are_mounted_read_only(bench: Bench, tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"weights")
    weights.chmod(0o644)
    mount = Mount(target="/weights/m.gguf", sha256="0" * 64)
    plan = _plan(bench.image, {}, mounts=(mount,))
    with bench.launch(plan=plan, mounts={mount.target: weights}):
        (described,) = bench.inspect()["Mounts"]
    assert described["Destination"] == "/weights/m.gguf"
    assert described["RW"] is False


def test_weights_that_are_missing_or_closed(bench: Bench, tmp_path: Path) -> None:
    mount = Mount(target="/weights/m.gguf", sha256="ab" * 32)
    plan = _plan(bench.image, {}, mounts=(mount,))
    with pytest.raises(WeightsUnavailable, match="ab" * 32), bench.launch(plan=plan):
        pytest.fail("it must not get here")
    closed = tmp_path / "m.gguf"
    closed.touch(0o600)
    closed.chmod(0o600)
    with (
        pytest.raises(WeightsUnavailable, match="not readable") as caught,
        bench.launch(plan=plan, mounts={mount.target: closed}),
    ):
        pytest.fail("it must not get here")
    assert "chmod o+r" in caught.value.remedy


KILLED = """
import sys, time, msgspec
from pathlib import Path
from kit.machine import containers
from kit.run import launch
from kit.core.model import Plan
plan = msgspec.json.decode(sys.argv[1].encode(), type=Plan)
with launch.launched(containers.connect(), plan=plan, run_id=sys.argv[2], index=0, mounts={},
                     log=Path(sys.argv[3]), emit=lambda *a, **k: None) as running:
    running.wait_ready("/health", 60, lambda: False)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_after_kill_9_the_next_start_reaps(bench: Bench) -> None:
    import msgspec

    plan = msgspec.json.encode(_plan(bench.image, {})).decode()
    command = [sys.executable, "-c", KILLED, plan, bench.run_id, str(bench.log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as kit:
        assert kit.stdout is not None and kit.stdout.readline() == b"ready\n"
        assert len(bench.left()) == 2
        assert bench.engine.reap(lambda run: run != bench.run_id) == []
        _wait_for_log(bench, b"listening")  # Podman's engine reads it four times a second
        kit.send_signal(signal.SIGKILL)
        kit.wait()
    assert len(bench.left()) == 2
    assert b"listening" in bench.log.read_bytes(), "it is on disk before anybody clears up"
    removed = bench.engine.reap(lambda run: run != bench.run_id, lambda run, index: bench.log)
    assert len(removed) == 2
    assert b"listening" in bench.log.read_bytes()


def test_an_engine_that_goes_away_is_not_a_traceback(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is closed under kit's feet; what it leaves is removed by the next engine."""
    from kit.machine import containers

    own = containers.connect()
    events = []
    with launch.launched(
        own,
        plan=_plan(bench.image, {}),
        run_id=bench.run_id,
        index=0,
        mounts={},
        log=bench.log,
        emit=lambda kind, **data: events.append((kind, data)),
    ) as running:
        running.wait_ready("/health", READY_S, never)
        nowhere = bench.log.parent / "no.sock"
        monkeypatch.setattr(own._client.api._custom_adapter, "socket_path", str(nowhere))
        own._client.api._custom_adapter.pools.clear()
        with pytest.raises(KitError):
            running.stop(1)
    assert {data["code"] for kind, data in events if kind == "fault"} == {
        "LOG_CUT",
        "CONTAINER_LEFT",
    }
    assert len(bench.left()) == 2
    bench.engine.remove_run(bench.run_id, 0)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x00b\x08c\td", "abc d"),
        ("  x‮y ", "xy"),
        ("z" * 500, "z" * 299 + "…"),
    ],
)
def test_foreign_lines_are_made_safe_for_a_terminal(raw: str, shown: str) -> None:
    assert launch.clean(raw) == shown
