"""The container engine, and the only module that imports docker-py.

`connect` finds the local engine or says what is missing. `Engine` answers what the engine is
(`facts`), what an image is (`image`), and makes containers and networks that carry kit's labels;
`reap` removes those whose run is dead. Every failure of docker-py leaves here as a `KitError`.

Labels: ``kit.run`` is the run's id, ``kit.launch`` the launch, ``kit.owner`` the process that
made it, so that another checkout's living run on the same machine is never reaped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kit import endpoint
from kit.errors import EngineUnavailable, LaunchFailed
from kit.model import ImageIdentity
from kit.offering import (
    EGRESS,
    facts_of,
    gpu_device_ids,
    gpu_request,
    identity,
    image_store,
    network_plan,
)

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container as DockerContainer

RUN, LAUNCH, OWNER = "kit.run", "kit.launch", "kit.owner"
HOST_NETWORK = "kit.network=host"
__all__ = (
    "EGRESS",
    "Container",
    "ContainerConfig",
    "Engine",
    "Exit",
    "Missing",
    "connect",
    "facts_of",
    "gpu_device_ids",
    "gpu_request",
    "identity",
    "labels",
    "network_plan",
)

TIMEOUT_S, LOAD_TIMEOUT_S = 60, 3600
LOG_HEAD, LOG_TAIL = 4 << 20, 12 << 20
TMPFS = {"/tmp": "rw,nosuid,nodev,mode=1777,size=256m"}  # noqa: S108 the container's
LOG_DRIVER, LOG_LIMITS = "json-file", {"max-size": "64m", "max-file": "2"}


class ContainerConfig(NamedTuple):
    """Everything that makes a container. ``mounts`` maps a path inside to a file of the host,
    read-only; ``network`` is a network's name, ``host``, or ``bridge`` with ``publish`` (a port
    inside, published on a free port of 127.0.0.1); ``gpu_ids`` are device ids for ``gpu_driver``.
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


class Missing(LaunchFailed):
    """The engine knows no such image, container or network."""


class Exit(NamedTuple):
    """How a container ended: its exit code, whether memory ran out, the engine's own words."""

    code: int
    out_of_memory: bool
    error: str


def connect(environ: Mapping[str, str] | None = None) -> Engine:
    """The local container engine.

    Raises:
        EngineUnavailable: none answers, this user may not speak to it, or it is not local.
    """
    import docker

    found = endpoint.find(os.environ if environ is None else environ)
    endpoint.knock(found)
    with speaking("say what it is"):
        client = docker.DockerClient(base_url=found.url, version="auto", timeout=TIMEOUT_S)
        info, version = client.info(), client.version()
    endpoint.refuse_remote(info)
    return Engine(client, found, info, version)


@contextmanager
def speaking(what: str, hide: Iterable[Path] = ()) -> Iterator[None]:
    """Turn docker-py's and its transport's exceptions into a `KitError` about doing ``what``.

    The engine's words may be sealed with a failed run: the folders of ``hide`` are left out.
    """
    from docker.errors import APIError, DockerException, ImageLoadError, NotFound
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError  # what a broken stream raises, past requests

    try:
        yield
    except APIError as error:
        said = _without(hide, str(error.explanation or error).strip())
        missing = isinstance(error, NotFound) or said.lower().startswith("no such")
        kind = Missing if missing else LaunchFailed
        raise kind(f"the container engine cannot {what}: {said}", _hint(said)) from error
    except ImageLoadError as error:
        raise LaunchFailed(
            f"the container engine cannot {what}: {error}", _hint(str(error))
        ) from error
    except (DockerException, RequestException, HTTPError, OSError, ValueError) as error:
        raise EngineUnavailable(
            f"the container engine did not answer when asked to {what} ({type(error).__name__})",
            "see whether it still runs: `docker info`, `journalctl -u docker`",
        ) from error


def _without(hide: Iterable[Path], said: str) -> str:
    for path in hide:
        said = said.replace(str(path), path.name)
    return said


_HINTS = (
    ("could not select device driver", "install nvidia-container-toolkit, or use Docker ≥ 25"),
    ("unresolvable CDI devices", "write the CDI spec anew: `nvidia-ctk cdi generate`"),
    (
        "pair interfaces",
        f"this kernel cannot join a container to a bridge: `dockerd --label {HOST_NETWORK}`",
    ),
    ("port is already allocated", "stop what uses the port: `ss -ltnp` shows it"),
    ("address already in use", "stop what uses the port: `ss -ltnp` shows it"),
    ("non-overlapping IPv4", "remove unused networks: `docker network prune`"),
    ("no space left", "make room: `docker system df`, `docker image prune`"),
    ("Requested CPUs are not available", "the CPU set names CPUs that this machine lacks"),
    ("Minimum memory limit", "raise limits.memory_mib in the spec"),
    ("No such image", "build it: `kit images build`"),
)


def _hint(said: str) -> str:
    found = [remedy for text, remedy in _HINTS if text.lower() in said.lower()]
    return found[0] if found else "`kit doctor` looks at the engine"


class Engine:
    """A connection to the local engine; made by `connect`."""

    def __init__(
        self,
        client: docker.DockerClient,
        found: endpoint.Endpoint,
        info: Mapping[str, Any],
        version: Mapping[str, Any],
    ) -> None:
        self._client = client
        self._endpoint = found
        self._info = info
        self._version = version
        self._bridges: bool | None = None

    def close(self) -> None:
        self._client.close()

    def facts(self) -> dict[str, Any]:
        """What the engine says of itself, free of names and paths of this machine; see `facts_of`.

        ``bridges`` is found out by making an internal bridge, once.
        """
        facts = facts_of(self._info, self._version)
        return {**facts, "endpoint_source": self._endpoint.source, "bridges": self.bridges()}

    def bridges(self) -> bool:
        """Whether this engine can make an internal bridge of its own for a run.

        Some kernels make a bridge and cannot join a container to it, which shows only when one
        starts; the engine's operator says so by the label `HOST_NETWORK` (``dockerd --label``).
        """
        if HOST_NETWORK in (self._info.get("Labels") or []):
            return False
        if self._bridges is None:
            name = f"kit-probe-{os.getpid()}-{time.monotonic_ns()}"
            try:
                self.create_network(name, labels("probe", 0))
                self._bridges = True
            except LaunchFailed as error:
                if "non-overlapping" in error.message:  # able, but out of addresses: say so
                    raise EngineUnavailable(error.message, error.remedy) from error
                self._bridges = False
            finally:
                self.remove_network(name)
        return self._bridges

    # --- images -----------------------------------------------------------------------------

    def image(self, reference: str) -> ImageIdentity | None:
        """The image called ``reference`` (tag, digest or id), or None where it is not here."""
        try:
            with speaking("inspect the image"):
                attrs = self._client.images.get(reference).attrs
        except Missing:
            return None
        return identity(reference, attrs, image_store(self._info))

    def load(self, tar: Path) -> str:
        """Load the image archive ``tar``; returns the image's id.

        Raises:
            LaunchFailed: the engine refused it, or it holds no image.
        """
        import docker

        url, version = self._endpoint.url, self._client.api.api_version
        with speaking("load the image"), tar.open("rb") as file:
            client = docker.DockerClient(base_url=url, version=version, timeout=LOAD_TIMEOUT_S)
            try:
                images = client.images.load(file)
            finally:
                client.close()
        if not images:
            raise LaunchFailed("the archive holds no image", "build it again: `kit images build`")
        return str(images[0].id)

    def tag(self, image_id: str, reference: str) -> None:
        """Give the image ``image_id`` the name ``reference`` (``name:tag``)."""
        name, _, tag = reference.rpartition(":")
        with speaking("tag the image"):
            self._client.api.tag(image_id, name, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image with its last name; nothing where it is gone."""
        with suppress(Missing), speaking("remove the image"):
            self._client.api.remove_image(reference)

    # --- networks and containers ------------------------------------------------------------

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make an internal bridge: containers on it reach each other and the host's gateway."""
        with speaking("make a network"):
            self._client.api.create_network(
                name, driver="bridge", internal=True, check_duplicate=True, labels=dict(labels)
            )

    def remove_network(self, name: str) -> None:
        """Remove a network; nothing where it is gone."""
        with suppress(Missing), speaking("remove the network"):
            self._client.api.remove_network(name)

    def create(self, config: ContainerConfig) -> Container:
        """Make a container, hardened, not yet started.

        Raises:
            Missing: no such image.
            LaunchFailed: the engine refused.
        """
        files = tuple(path.resolve() for path in config.mounts.values())
        with speaking("make the container", files):
            made = self._client.containers.create(config.image, **_arguments(config))
        return Container(made, files)

    # --- clearing up ------------------------------------------------------------------------

    def remove_run(self, run_id: str, launch: int) -> None:
        """Remove whatever carries the labels of this launch: containers first, then networks."""
        wanted = [f"{RUN}={run_id}", f"{LAUNCH}={launch}"]
        for container in self._containers(wanted):
            container.remove()
        for name, _ in self._networks(wanted):
            self.remove_network(name)

    def reap(
        self,
        is_alive: Callable[[str], bool],
        save_log: Callable[[str, int], Path | None] | None = None,
    ) -> list[str]:
        """Remove the containers and networks of dead runs; returns what was removed, in words.

        A run is dead when ``is_alive(run_id)`` denies it and the process that made the thing is
        gone too (another checkout's run is not in this checkout's store). ``save_log`` may name a
        file for the log of the container of (run, launch), written before it is removed.
        """
        removed = []
        for container in self._containers([RUN]):
            if _dead(container.labels, is_alive):
                run, launch = container.labels[RUN], int(container.labels.get(LAUNCH, "0"))
                path = save_log(run, launch) if save_log else None
                if path is not None:
                    container.save_log(path)
                container.remove()
                removed.append(f"container {container.name} of run {run}")
        for name, found in self._networks([RUN]):
            if _dead(found, is_alive):
                self.remove_network(name)
                removed.append(f"network {name} of run {found[RUN]}")
        return removed

    def _containers(self, wanted: list[str]) -> list[Container]:
        with speaking("list containers"):
            found = self._client.containers.list(
                all=True, filters={"label": wanted}, ignore_removed=True
            )
        return [Container(c) for c in found]

    def _networks(self, wanted: list[str]) -> list[tuple[str, dict[str, str]]]:
        with speaking("list networks"):
            found = self._client.api.networks(filters={"label": wanted})
        return [(str(n["Name"]), dict(n.get("Labels") or {})) for n in found]


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
        with speaking("start the container", self._files):
            self._made.start()

    def wait(self) -> None:
        """Block until the container is not running; costs nothing while it runs."""
        with speaking("wait for the container"):
            self._api.wait(self.id, timeout=None)

    def exited(self) -> Exit | None:
        """How it ended, or None while it runs (or was never started)."""
        state = self._state()
        if state.get("Status") not in ("exited", "dead"):
            return None
        return Exit(
            int(state.get("ExitCode", 0)), bool(state.get("OOMKilled")), str(state.get("Error", ""))
        )

    def address(self, network: str) -> str:
        """Its address on ``network``; empty where it has none (it is not running)."""
        networks = self._inspect()["NetworkSettings"]["Networks"]
        return str(networks.get(network, {}).get("IPAddress") or "")

    def published(self, port: int) -> int:
        """The port of 127.0.0.1 on which its ``port`` is published; 0 where it is not."""
        ports = self._inspect()["NetworkSettings"]["Ports"] or {}
        bound = ports.get(f"{port}/tcp") or []
        return int(bound[0]["HostPort"]) if bound else 0

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, as text."""
        with speaking("read the log"):
            data: bytes = self._api.logs(self.id, tail=lines)
        return data.decode("utf-8", "replace")

    def save_log(self, path: Path) -> None:
        """Write its log to ``path``: whole, or its first 4 and last 12 MiB and what is left out."""
        with speaking("read the log"):
            chunks: Iterator[bytes] = self._api.logs(self.id, stream=True, follow=False)
            head, tail, left_out = _head_and_tail(chunks)
        note = f"\n[kit: {left_out} bytes of this log are left out here]\n".encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head + (note if left_out else b"") + tail)

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL after ``timeout_s`` seconds."""
        with suppress(Missing), speaking("stop the container"):
            self._made.stop(timeout=max(0, round(timeout_s)))

    def remove(self) -> None:
        """Kill it where it still runs, and remove it; nothing where it is gone."""
        try:
            with speaking("remove the container"):
                self._made.remove(force=True, v=True)
        except Missing:
            return
        except LaunchFailed as error:
            if "already in progress" not in error.message:
                raise

    def _inspect(self) -> dict[str, Any]:
        with speaking("inspect the container"):
            found: dict[str, Any] = self._api.inspect_container(self.id)
        return found

    def _state(self) -> dict[str, Any]:
        return dict(self._inspect()["State"])


# --- what a container is made of --------------------------------------------------------------


def labels(run_id: str, launch: int) -> dict[str, str]:
    """kit's labels for something that belongs to a launch of a run of this process."""
    return {RUN: run_id, LAUNCH: str(launch), OWNER: owner(os.getpid())}


def _arguments(config: ContainerConfig) -> dict[str, Any]:
    """docker-py's arguments: everything taken away that a runtime does not need."""
    from docker.types import LogConfig, Mount

    return {
        "command": list(config.argv),
        "environment": dict(config.env),
        "name": config.name,
        "labels": dict(config.labels),
        "mounts": [
            Mount(target, str(path.resolve()), type="bind", read_only=True)
            for target, path in sorted(config.mounts.items())
        ],
        "network_mode" if config.network == "host" else "network": config.network,
        "hostname": "kit",
        "ports": {f"{config.publish}/tcp": ("127.0.0.1", None)} if config.publish else None,
        "user": "65534:65534",
        "read_only": True,
        "tmpfs": TMPFS,
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
        "healthcheck": {"test": ["NONE"]},  # an image's own would run inside measured phases
        "log_config": LogConfig(type=LOG_DRIVER, config=LOG_LIMITS),
        "use_config_proxy": False,
    }


def _device_requests(config: ContainerConfig) -> list[Any]:
    from docker.types import DeviceRequest

    ids = list(config.gpu_ids)
    if not ids:
        return []
    if config.gpu_driver == "cdi":
        return [DeviceRequest(driver="cdi", device_ids=ids)]
    return [DeviceRequest(device_ids=ids, capabilities=[["gpu"]])]


def _head_and_tail(chunks: Iterator[bytes]) -> tuple[bytes, bytes, int]:
    """The first `LOG_HEAD` bytes, the last `LOG_TAIL`, and how many are left out between."""
    head, tail, left_out = bytearray(), bytearray(), 0
    for chunk in chunks:
        room = LOG_HEAD - len(head)
        head += chunk[:room]
        tail += chunk[room:] if room < len(chunk) else b""
        if len(tail) > 2 * LOG_TAIL:
            left_out += len(tail) - LOG_TAIL
            del tail[:-LOG_TAIL]
    excess = max(0, len(tail) - LOG_TAIL)
    return bytes(head), bytes(tail[excess:]), left_out + excess


def owner(pid: int) -> str:
    """A name for a living process that no later process can have: namespace, pid, start time."""
    try:
        namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{namespace}:{pid}:{fields[19]}" if fields[0] != "Z" else ""


def _dead(found: Mapping[str, str], is_alive: Callable[[str], bool]) -> bool:
    """Whether what carries the labels ``found`` belongs to nobody any more."""
    if is_alive(found[RUN]):
        return False
    namespace, _, rest = found.get(OWNER, "").partition(":")
    ours = owner(os.getpid())
    if not rest or found[OWNER] == ours:
        return True
    if namespace != ours.partition(":")[0]:
        return False  # its maker lives where we cannot look
    return owner(int(rest.partition(":")[0])) != found[OWNER]
