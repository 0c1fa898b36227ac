"""One container: its hardened configuration, its state, its log and its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kit.core.errors import LaunchFailed
from kit.machine.containers.faults import Missing, engine_errors
from kit.machine.containers.logs import LogFile

if TYPE_CHECKING:
    from docker.models.containers import Container as DockerContainer

TMPFS = "rw,noexec,nosuid,nodev,mode=1777,size=256m"
# Podman lays a writable folder of any size over /var/tmp where nothing else does.
_EMPTY = "ro,noexec,nosuid,nodev,size=4k"
LOG_DRIVER, LOG_FILE_MIB = "json-file", 64


class ContainerConfig(NamedTuple):
    """The configuration of a container.

    ``mounts`` maps a path inside to a file of the host, read-only. ``network`` is a network's
    name, ``host``, or ``bridge`` with ``publish`` (a port inside, published on a free port of
    127.0.0.1). ``gpu_ids`` are device ids for ``gpu_driver``. ``scratch_bytes`` is the size of
    /tmp; if given, programs may run from it, for compiling. ``output`` is a folder of the host that
    the container may write to, at /out. Of what it prints the last ``log_files`` files are kept,
    of `LOG_FILE_MIB` each.
    """

    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    name: str
    labels: Mapping[str, str]
    mounts: Mapping[str, Path]
    network: str
    cpus: str
    memory_bytes: int
    shm_bytes: int
    pids: int
    publish: int | None = None
    gpu_driver: str | None = None
    gpu_ids: tuple[str, ...] = ()
    scratch_bytes: int = 0
    output: Path | None = None
    log_files: int = 2


class Exit(NamedTuple):
    """How a container ended: its exit code, whether memory ran out, the engine's own words."""

    code: int
    out_of_memory: bool
    error: str


class Container:
    """One container of the engine; made by `Engine.create`."""

    def __init__(self, made: DockerContainer, files: tuple[Path, ...] = ()) -> None:
        self._made = made
        self._files = files
        self._api: Any = made.client.api if made.client else None
        self.id = str(made.id)
        self.name = str(made.name)
        self.labels: dict[str, str] = dict(made.labels)

    def start(self) -> None:
        with engine_errors("start the container", self._files):
            self._made.start()

    def wait(self) -> None:
        """Block until the container is not running; costs nothing while it runs."""
        with engine_errors("wait for the container"):
            self._api.wait(self.id, timeout=None)

    def exited(self) -> Exit | None:
        """How it ended; None while it runs, or if it was never started."""
        state = self._state()
        if state.get("Status") not in ("exited", "dead"):
            return None
        return Exit(
            int(state.get("ExitCode", 0)), bool(state.get("OOMKilled")), str(state.get("Error", ""))
        )

    def address(self, network: str) -> str:
        """Its address on ``network``; empty while it does not run."""
        networks = self._inspect()["NetworkSettings"]["Networks"]
        return str(networks.get(network, {}).get("IPAddress") or "")

    def published(self, port: int) -> int:
        """The port of 127.0.0.1 on which its ``port`` is published; 0 without one."""
        ports = self._inspect()["NetworkSettings"]["Ports"] or {}
        bound = ports.get(f"{port}/tcp") or []
        return int(bound[0]["HostPort"]) if bound else 0

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, as text."""
        with engine_errors("read the log"):
            data: bytes = self._api.logs(self.id, tail=lines)
        return data.decode("utf-8", "replace")

    def output(self, limit: int) -> bytes:
        """Its stdout, at most ``limit`` bytes and one more piece."""
        data = bytearray()
        with engine_errors("read the output"):
            for piece in self._api.logs(self.id, stdout=True, stderr=False, stream=True):
                data += piece
                if len(data) > limit:
                    break
        return bytes(data)

    def stream_log(self) -> Iterator[bytes]:
        """Its log from the first line on, in pieces as they come; ends with the container."""
        with engine_errors("stream the log"):
            yield from self._api.logs(self.id, stream=True, follow=True)

    def save_log(self, path: Path) -> None:
        """Write its log until now to ``path``: whole, or its first 4 and last 12 MiB.

        A log that is there already is replaced once this one is written; else it stays alone.
        """
        written = path.with_suffix(".saved.tmp")
        try:
            with closing(LogFile(written)) as file, engine_errors("read the log"):
                for chunk in self._api.logs(self.id, stream=True, follow=False):
                    file.write(chunk)
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL after ``timeout_s`` seconds."""
        with suppress(Missing), engine_errors("stop the container"):
            self._made.stop(timeout=max(0, round(timeout_s)))

    def remove(self) -> None:
        """Kill it if it still runs, and remove it; does nothing if it is gone."""
        try:
            with engine_errors("remove the container"):
                self._made.remove(force=True, v=True)
        except Missing:
            return
        except LaunchFailed as error:
            if "already in progress" not in error.message:
                raise

    def _inspect(self) -> dict[str, Any]:
        with engine_errors("inspect the container"):
            details: dict[str, Any] = self._api.inspect_container(self.id)
        return details

    def _state(self) -> dict[str, Any]:
        return dict(self._inspect()["State"])


def arguments(config: ContainerConfig) -> dict[str, Any]:
    """docker-py's arguments: without any privilege that a runtime does not need."""
    from docker.types import LogConfig, Mount

    return {
        "command": list(config.argv),
        "environment": environment(config),
        "name": config.name,
        "labels": dict(config.labels),
        "mounts": [
            *(
                Mount(target, str(path.resolve()), type="bind", read_only=True)
                for target, path in sorted(config.mounts.items())
            ),
            *([Mount("/out", str(config.output), type="bind")] if config.output else []),
        ],
        "network_mode" if config.network == "host" else "network": config.network,
        "hostname": "kit",
        "ports": {f"{config.publish}/tcp": ("127.0.0.1", None)} if config.publish else None,
        "user": "65534:65534",
        "read_only": True,
        "tmpfs": tmpfs(config),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,
        "pids_limit": config.pids,
        "mem_limit": config.memory_bytes,
        "memswap_limit": config.memory_bytes,
        "ipc_mode": "private",
        "shm_size": config.shm_bytes,
        "cpuset_cpus": config.cpus,
        "device_requests": _device_requests(config),
        "healthcheck": {
            "test": ["NONE"]
        },  # an image's own health check would run inside measured phases
        "log_config": LogConfig(type=LOG_DRIVER, config=log_limits(config)),
        "use_config_proxy": False,
    }


def log_limits(config: ContainerConfig) -> dict[str, str]:
    """The log driver's options: how much is kept of what the container prints."""
    return {"max-size": f"{LOG_FILE_MIB}m", "max-file": str(config.log_files)}


def environment(config: ContainerConfig) -> dict[str, str]:
    """The container's variables. Images of CUDA ask for every GPU in theirs, and an engine whose
    default runtime is NVIDIA's would give them; a spec that asks for none gets none.
    """
    none = {} if config.gpu_ids else {"NVIDIA_VISIBLE_DEVICES": "void"}
    return {**config.env, **none}


def tmpfs(config: ContainerConfig) -> dict[str, str]:
    """The folders in the container's memory, with options: one alone is writable."""
    size = config.scratch_bytes
    writable = f"rw,exec,nosuid,nodev,mode=1777,size={size}" if size else TMPFS
    return {"/tmp": writable, "/var/tmp": _EMPTY}  # noqa: S108 the container's


def _device_requests(config: ContainerConfig) -> list[Any]:
    from docker.types import DeviceRequest

    ids = list(config.gpu_ids)
    if not ids:
        return []
    if config.gpu_driver == "cdi":
        return [DeviceRequest(driver="cdi", device_ids=ids)]
    return [DeviceRequest(device_ids=ids, capabilities=[["gpu"]])]
