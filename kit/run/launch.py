"""A runtime's container as a context manager: made, watched, its log kept, then removed.

While it runs nothing polls the engine. One thread waits for the container's end, so that
`Running.exited` costs nothing inside measured phases; another one waits for its log and writes it
to disk. After an error or ctrl-C too, the log is kept and everything with the launch's labels is
removed. After a ``kill -9`` of kit, `kit.machine.containers.Engine.reap` does it on the next start.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kit.core import causes, text
from kit.core.errors import (
    ContainerDied,
    Interrupted,
    KitError,
    LaunchFailed,
    NotReady,
    WeightsUnavailable,
)
from kit.core.model import LaunchPlan, Plan
from kit.machine import containers, weights
from kit.machine.containers import Container, ContainerConfig, Engine, KeptLog
from kit.machine.host import gpus
from kit.run import asking, steps
from kit.spec.runtimes import Runtime
from kit.spec.runtimes.contract import ServerRequest

Emit = Callable[..., Any]

POLL_S = 0.05
STATUS_S = 1.0
_NOTICED_S = 1.0
LAST_LINES, LINE_CHARS = 6, 300


@contextmanager
def launched(
    engine: Engine,
    *,
    plan: Plan,
    run_id: str,
    index: int,
    mounts: Mapping[str, Path],
    log: Path,
    emit: Emit,
) -> Iterator[Running]:
    """Start the container of launch ``index``, and remove it afterwards.

    ``mounts`` maps paths in the container to files of the host.

    Journals ``container.created``, ``.started``, ``.ready``, ``.stopped`` and ``.removed``, and the
    steps of start-up and shutdown, through ``emit(kind, **data)``.

    Raises:
        LaunchFailed: the engine refused, or the port is taken.
        EngineUnavailable: it hands out no GPUs, or too few.
        WeightsUnavailable: a file to mount is missing or unreadable for the container's user.
    """
    launch = plan.launch
    files = _files(launch, mounts)
    if launch.network == "host":
        _require_free(launch.port)
    with ExitStack() as stack:
        stack.callback(_twice_if_interrupted, lambda: _clear_up(engine, run_id, index, emit))
        network = _network(engine, launch, run_id, index)
        image = plan.image.image_id
        config = container_config(engine.facts(), image, launch, run_id, index, network, files)
        container = engine.create(config)
        emit(
            "container.created",
            launch=index,
            image=plan.image.image_id,
            network=launch.network,
            egress=launch.egress,
            argv=list(config.argv),
        )
        container.start()
        kept_log = KeptLog(container, log)
        stack.callback(_twice_if_interrupted, lambda: _keep_log(container, kept_log, emit))
        emit("container.started", launch=index)
        yield Running(
            container, kept_log, _base_url(container, launch, network), launch, index, emit, files
        )


class Running:
    """A started container. ``base_url`` is the address of its server."""

    def __init__(
        self,
        container: Container,
        log: KeptLog,
        base_url: str,
        launch: LaunchPlan,
        index: int,
        emit: Emit,
        files: Mapping[str, Path],
    ) -> None:
        self.base_url = base_url
        self._uploads = {m.sha256: files[m.target] for m in launch.mounts if m.target in files}
        self._container, self._kept = container, log
        self._launch = launch
        self._index = index
        self._emit = emit
        self._ended = threading.Event()
        self._lost: KitError | None = None
        threading.Thread(target=self._await_end, name="container", daemon=True).start()

    def wait_ready(self, path: str, timeout_s: float, cancelled: Callable[[], bool]) -> None:
        """Ask ``path`` every 50 ms until it answers 200.

        Raises:
            ContainerDied: it ended before; NotReady: ``timeout_s`` passed; Interrupted: cancelled.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if cancelled():
                raise Interrupted(
                    "stopped while waiting for the runtime", "run it again when you like"
                )
            answer = "" if self._ended.is_set() else _status(self.base_url + path)
            if answer == "200":
                self._emit("container.ready", launch=self._index)
                return
            if self._ended.is_set():
                raise self._died("before it was ready")
            if time.monotonic() > deadline:
                raise self._not_ready(timeout_s, answer)
            self._ended.wait(POLL_S)

    def prepare(
        self,
        requests: Iterable[ServerRequest],
        timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        """Send what makes a ready server ready for work, and journal each as ``startup.step``.

        Raises:
            ContainerDied: it ended meanwhile; Interrupted: cancelled.
            NotReady: a request failed, or took longer than ``timeout_s``.
        """
        for request in requests:
            outcome = self._step("startup.step", request, timeout_s, cancelled)
            if cancelled():
                raise Interrupted(
                    "stopped while the runtime was prepared", "run it again when you like"
                )
            if outcome.error and self._ended.wait(POLL_S):
                raise self._died(f"at the step {request.name} of its start")
            if outcome.error:
                raise self._unprepared(request, outcome)

    def close(self, requests: Iterable[ServerRequest], timeout_s: float) -> None:
        """Send what is due before the server is stopped, and journal each as ``shutdown.step``.

        A failure is journalled as a fault: all that counts was measured before.
        """
        for request in requests:
            outcome = self._step("shutdown.step", request, timeout_s, lambda: False)
            if outcome.error:
                message = f"the step {request.name} of the shutdown failed: {outcome.error}"
                remedy = "nothing was measured after it; see container.log"
                self._emit("fault", code="CLOSING_FAILED", message=message, remedy=remedy)

    def _step(
        self,
        kind: str,
        request: ServerRequest,
        timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> steps.Outcome:
        def waiting() -> bool:
            return cancelled() or self._ended.is_set()

        outcome = steps.send(self.base_url, request, self._uploads, timeout_s, waiting)
        sent = {**request.record, "status": outcome.status, "seconds": outcome.seconds}
        self._emit(kind, launch=self._index, **sent)
        return outcome

    def exited(self) -> ContainerDied | None:
        """Why the container ended, with the root cause; None while it runs. Costs nothing."""
        return self._died("during the run") if self._ended.is_set() else None

    def effective(self, runtime: Runtime) -> dict[str, Any]:
        """The configuration in effect, as `kit.run.asking` and the log tell it. Not in a phase."""
        answers = asking.effective(self.base_url, runtime.effective_paths)
        told = asking.log_facts(self._kept.path, runtime.log_facts)
        return answers | ({asking.LOG: told} if told else {})

    def stop(self, timeout_s: float) -> None:
        """Send SIGTERM, after ``timeout_s`` SIGKILL; returns when the container has ended.

        Raises:
            ContainerDied: it had ended before it was asked to.
        """
        # The engine is asked, since a busy one may tell the waiting thread late.
        if self._container.exited():
            raise self._died("during the run")
        self._container.stop(timeout_s)
        self._ended.wait(_NOTICED_S)  # the thread that waits for the end sees it too
        ended = self._container.exited()
        code = ended.code if ended else None
        self._emit("container.stopped", launch=self._index, exit_code=code, killed=code == 137)

    def _await_end(self) -> None:
        try:
            self._container.wait()
        except KitError as error:
            self._lost = error
        self._ended.set()

    def _died(self, when: str) -> ContainerDied:
        self._kept.is_whole()
        reason, remedy = self._reason()
        cause, hint = self._cause_text()
        return ContainerDied(
            f"the runtime ended {when}: {reason}{cause}", "; ".join(self._advice(remedy or hint))
        )

    def _not_ready(self, timeout_s: float, answer: str) -> NotReady:
        state = f"it answers HTTP {answer}" if answer else "it does not answer"
        cause, hint = self._cause_text()
        longer = hint or "raise limits.ready_s in the spec if it only needs longer"
        return NotReady(
            f"the runtime was not ready after {timeout_s:g} s: {state}{cause}",
            "; ".join(self._advice(longer)),
        )

    def _unprepared(self, request: ServerRequest, outcome: steps.Outcome) -> NotReady:
        cause, hint = self._cause_text()
        late = "" if outcome.status else "raise limits.ready_s in the spec if it only needs longer"
        asked = f"{request.method} {request.path}"
        return NotReady(
            f"the runtime answered, but its step {request.name} ({asked}) failed: "
            f"{outcome.error}{cause}",
            "; ".join(self._advice(hint or late)),
        )

    def _advice(self, remedy: str) -> list[str]:
        where = f"its whole log is kept as launches/{self._index:03d}/container.log"
        return [part for part in (remedy, where) if part]

    def _reason(self) -> tuple[str, str]:
        """How it ended, as text, and a remedy if the end alone suggests one."""
        try:
            ended = self._container.exited()
        except KitError as error:
            return error.message, error.remedy
        if ended is None:
            return (self._lost.message if self._lost else "it stopped"), ""
        limit = f"its limit is {self._launch.memory_bytes >> 20} MiB"
        if ended.out_of_memory:
            return f"it ran out of memory ({limit})", _MORE_MEMORY
        if ended.error:
            return f"exit code {ended.code} ({clean(ended.error)})", ""
        if ended.code == _KILLED:
            # A busy engine may miss that its memory ran out: Docker 28 did, one time in ten.
            return f"{exit_text(ended.code)}: {limit}", f"if it was memory, {_MORE_MEMORY}"
        return exit_text(ended.code), ""

    def _cause_text(self) -> tuple[str, str]:
        """The root cause in its log, as the end of a sentence, and a remedy; else its last lines.

        The log is read from disk, which also has the log of a removed container.
        """
        cause = causes.read(self._kept.path)
        if cause is None:
            return self._last_words(), ""
        name = "the root cause" if cause.sure else "the last error"
        where = f", line {cause.number} of {cause.of}" if cause.number else ""
        return f"; {name} in its log{where}:\n  " + "\n  ".join(cause.lines), cause.remedy

    def _last_words(self) -> str:
        """The last lines of its log, as the end of a sentence; empty without any."""
        try:
            lines = [clean(line) for line in self._container.tail(3 * LAST_LINES).splitlines()]
        except KitError:
            return ""
        last = [line for line in lines if line][-LAST_LINES:]
        return "; its last lines:\n  " + "\n  ".join(last) if last else ""


_MORE_MEMORY = "raise limits.memory_mib in the spec, or lower the context"
_KILLED = 128 + 9
_SIGNALS = {
    4: "illegal instruction: this CPU lacks what the image was built for",
    6: "aborted",
    7: "bus error: shared memory or a file ran out, see limits.shm_mib",
    9: "killed, from outside or because memory ran out",
    11: "segmentation fault",
    15: "asked to end",
}


def exit_text(code: int) -> str:
    """An exit code as text, with the name of its signal if it has one."""
    number = code - 128
    if number in _SIGNALS:
        return f"exit code {code} (signal {number}, {_SIGNALS[number]})"
    return f"exit code {code}"


def clean(line: str) -> str:
    """A foreign line made safe for a terminal, and short."""
    line = text.clean(line).strip()
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"


# --- making -----------------------------------------------------------------------------------


def container_name(run_id: str, index: int) -> str:
    """The name of a launch's container, and of its network."""
    return f"kit-{run_id}-{index}"


def _files(launch: LaunchPlan, mounts: Mapping[str, Path]) -> dict[str, Path]:
    """The host's file for every mount of the plan, checked to be readable for user 65534.

    Raises:
        WeightsUnavailable: a file is missing or unreadable.
    """
    files = {}
    for mount in launch.mounts:
        path = mounts.get(mount.target)
        if path is None or not path.is_file():
            raise WeightsUnavailable(
                f"the file for {mount.target} (sha256 {mount.sha256}) is not on this machine",
                "fetch it: `kit weights add`",
            )
        if reason := weights.unreadable(path):
            raise WeightsUnavailable(
                f"the file for {mount.target} is not readable for the container's user: {reason}",
                f"`chmod o+r` the file {path.name} in the weights folder",
            )
        files[mount.target] = path
    return files


def _require_free(port: int) -> None:
    """Raise `LaunchFailed` if something on this machine already listens on ``port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LaunchFailed(
                f"port {port} of this machine is taken: {error.strerror}",
                f"stop what uses it: `ss -ltnp sport = :{port}` shows it",
            ) from error


def _network(engine: Engine, launch: LaunchPlan, run_id: str, index: int) -> str:
    """The engine's name of the network; an internal network is made for this launch alone."""
    name = network_name(launch, run_id, index)
    if launch.network == "internal":
        engine.create_network(name, containers.labels(run_id, index))
    return name


def network_name(launch: LaunchPlan, run_id: str, index: int) -> str:
    """The engine's name of the network of a launch."""
    if launch.network != "internal":
        return "host" if launch.network == "host" else "bridge"
    return container_name(run_id, index)


def container_config(
    engine: Mapping[str, Any],
    image: str,
    launch: LaunchPlan,
    run_id: str,
    index: int,
    network: str,
    files: Mapping[str, Path],
) -> ContainerConfig:
    """The full configuration of a launch's container.

    Args:
        engine: the engine's facts.
        image: the image's id.
        files: path in the container → file of this host.

    Raises:
        EngineUnavailable: it hands out no GPUs, or too few.
    """
    return ContainerConfig(
        image=image,
        argv=launch.argv,
        env=launch.env,
        name=container_name(run_id, index),
        labels=containers.labels(run_id, index),
        mounts=files,
        network=network,
        cpus=launch.runtime_cpus,
        memory_bytes=launch.memory_bytes,
        shm_bytes=launch.shm_bytes,
        pids=launch.pids,
        publish=launch.port if launch.network == "loopback" else None,
        gpu_driver=launch.gpus.driver if launch.gpus else None,
        gpu_ids=_gpu_ids(engine, launch),
        scratch_bytes=launch.scratch_bytes or 0,
    )


def _gpu_ids(engine: Mapping[str, Any], launch: LaunchPlan) -> tuple[str, ...]:
    """The engine's names of this machine's GPUs. The plan holds only their number, no UUIDs."""
    if launch.gpus is None:
        return ()
    cards = gpus.identities().values()
    names = [card.get("uuid") for card in cards if isinstance(card, dict)]
    uuids = tuple(uuid for uuid in names if isinstance(uuid, str))
    return containers.gpu_device_ids(engine, launch.gpus, uuids)


def _base_url(container: Container, launch: LaunchPlan, network: str) -> str:
    """The server's address; a container that died at once has no usable one."""
    if launch.network == "internal":
        return f"http://{container.address(network) or '127.0.0.1'}:{launch.port}"
    port = container.published(launch.port) if launch.network == "loopback" else launch.port
    return f"http://127.0.0.1:{port}"


# --- ending -----------------------------------------------------------------------------------


def _twice_if_interrupted(act: Callable[[], None]) -> None:
    """Do ``act``; start it once more if ctrl-C interrupted it."""
    try:
        act()
    except KeyboardInterrupt:
        act()
        raise


def _keep_log(container: Container, kept_log: KeptLog, emit: Emit) -> None:
    """End the container and check that its whole log is on disk; a fault is journalled if not."""
    try:
        container.stop(0)
        if not kept_log.is_whole() or not _ends_like(container, kept_log.path):
            container.save_log(kept_log.path)
    except KitError as error:
        _report_lost_log(kept_log, error.message, error.remedy, emit)
    except OSError as error:
        _report_lost_log(kept_log, str(error.strerror), "see `df -h` and the run's folder", emit)


def _ends_like(container: Container, path: Path) -> bool:
    """Whether a log's file ends like the engine's own log."""
    end = container.tail(1)
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 2 * len(end.encode()) - 4))
        return file.read().decode("utf-8", "replace").endswith(end)


def _report_lost_log(kept_log: KeptLog, reason: str, remedy: str, emit: Emit) -> None:
    """Journal that the log is incomplete: it holds only what was streamed until then."""
    part = "the end of the container's log may be missing" if kept_log.path.is_file() else ""
    message = f"{part or 'the container log could not be kept'}: {reason}"
    emit("fault", code="LOG_CUT" if part else "LOG_LOST", message=message, remedy=remedy)


def _clear_up(engine: Engine, run_id: str, index: int, emit: Emit) -> None:
    """Remove by label, so that half-made containers and networks are removed too."""
    try:
        engine.remove_run(run_id, index)
    except KitError as error:
        message = f"the container could not be removed: {error.message}"
        remedy = (
            f"`docker rm -f {container_name(run_id, index)}`; the next run of kit removes it too"
        )
        emit("fault", code="CONTAINER_LEFT", message=message, remedy=remedy)
    else:
        emit("container.removed", launch=index)


# --- the server's HTTP --------------------------------------------------------------------------


def _status(url: str) -> str:
    """The HTTP status as text; empty without an answer."""
    try:
        return str(asking.get(url, STATUS_S, 0)[0])
    except (OSError, http.client.HTTPException):
        return ""
