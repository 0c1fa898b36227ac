"""The connection to the local container engine: images, networks, containers, clean-up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from kit.core.errors import EngineUnavailable, KitError, LaunchFailed
from kit.core.model import ImageIdentity
from kit.machine.containers import endpoint, manifests
from kit.machine.containers.container import Container, ContainerConfig, arguments
from kit.machine.containers.enginefacts import facts_of, identity, image_store
from kit.machine.containers.faults import Missing, engine_errors
from kit.machine.containers.owners import HOST_NETWORK, LAUNCH, RUN, is_dead, labels

if TYPE_CHECKING:
    import docker

TIMEOUT_S, LOAD_TIMEOUT_S = 60, 3600
_LET_GO_S = 5.0
_HELD = "active endpoints", "network is being used"  # Docker's words, Podman's


def connect(environ: Mapping[str, str] | None = None) -> Engine:
    """Connect to the local container engine. Use ``with``.

    Raises:
        EngineUnavailable: no answer, no permission, or it is not local.
    """
    address = endpoint.reach(os.environ if environ is None else environ)
    with ExitStack() as stack:
        with engine_errors("say what it is"):
            client = stack.enter_context(closing(_client(address.url, "auto", TIMEOUT_S)))
            info, version = client.info(), client.version()
        endpoint.refuse_remote(info)
        stack.pop_all()
    return Engine(client, address, info, version)


def _client(url: str, version: str, timeout_s: int) -> docker.DockerClient:
    """docker-py without the person's ~/.docker/config.json.

    kit pulls no images, so that it needs no credentials, and a missing credential helper is no
    fault. The file's proxies would get into every container, and a malformed file would stop kit.
    """
    import docker
    from docker import auth
    from docker.utils import config

    read = config.load_general_config, auth.load_config
    config.load_general_config = lambda config_path=None: {}  # noqa: ARG005 - docker-py's own
    auth.load_config = lambda *_, **__: auth.AuthConfig({})
    try:
        return docker.DockerClient(base_url=url, version=version, timeout=timeout_s)
    finally:
        config.load_general_config, auth.load_config = read


class Engine:
    """A connection to the local engine, made by `connect`; the caller closes it."""

    def __init__(
        self,
        client: docker.DockerClient,
        address: endpoint.Endpoint,
        info: Mapping[str, Any],
        version: Mapping[str, Any],
    ) -> None:
        self._client = client
        self._endpoint = address
        self._info = info
        self._version = version
        self._bridges: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def facts(self) -> dict[str, Any]:
        """The engine's facts, without names and paths of this machine; see `facts_of`.

        For ``bridges`` an internal bridge is made once.
        """
        facts = facts_of(self._info, self._version)
        return {**facts, "endpoint_source": self._endpoint.source, "bridges": self.bridges()}

    def bridges(self) -> bool:
        """Whether this engine can make an internal bridge for a run.

        Some kernels make a bridge but cannot attach a container to it, which fails only when one
        starts. The engine's operator states it by the label `HOST_NETWORK` (``dockerd --label``).
        """
        if HOST_NETWORK in (self._info.get("Labels") or []):
            return False
        if self._bridges is None:
            name = f"kit-probe-{os.getpid()}-{time.monotonic_ns()}"
            try:
                self.create_network(name, labels("probe", 0))
                self._bridges = True
            except LaunchFailed as error:
                if (
                    "non-overlapping" in error.message
                ):  # it can, but has no free addresses: report it
                    raise EngineUnavailable(error.message, error.remedy) from error
                self._bridges = False
            finally:
                self.remove_network(name)
        return self._bridges

    # --- images -----------------------------------------------------------------------------

    def image(self, reference: str) -> ImageIdentity | None:
        """The image called ``reference`` (tag, digest or id), or None if it is not here."""
        try:
            with engine_errors("inspect the image"):
                attrs = self._client.images.get(reference).attrs
        except Missing:
            return None
        found = identity(reference, attrs, image_store(self._info))
        return found if found.config_digest else self._with_digests(found, attrs)

    def _with_digests(self, image: ImageIdentity, attrs: Mapping[str, Any]) -> ImageIdentity:
        """The image with what its id leads to: a containerd store does not say it."""
        platform = (str(attrs.get("Os")), str(attrs.get("Architecture")))
        digests = manifests.of(image.image_id, self._saved(image.image_id), platform)
        return msgspec.structs.replace(
            image,
            config_digest=digests.config_digest,
            manifest_digest=digests.manifest_digest or image.manifest_digest,
            index_digest=digests.index_digest or image.index_digest,
        )

    def _saved(self, image_id: str) -> Iterator[bytes]:
        """The image as an archive, in pieces, as the engine saves it."""
        url, version = self._endpoint.url, self._client.api.api_version
        with (
            engine_errors("save the image"),
            closing(_client(url, version, LOAD_TIMEOUT_S)) as client,
        ):
            yield from client.images.get(image_id).save()

    def load(self, tar: Path) -> str:
        """Load the image archive ``tar``; returns the image's id.

        Raises:
            LaunchFailed: the engine refused it, or it holds no image.
        """
        url, version = self._endpoint.url, self._client.api.api_version
        with (
            engine_errors("load the image"),
            tar.open("rb") as file,
            closing(_client(url, version, LOAD_TIMEOUT_S)) as client,
        ):
            images = client.images.load(file)
        if not images:
            raise LaunchFailed("the archive holds no image", "build it again: `kit images build`")
        return str(images[0].id)

    def save(self, image_id: str, tar: Path) -> Path:
        """Write the image as an archive to ``tar``; returns it.

        Raises:
            LaunchFailed: the engine refused.
        """
        with tar.open("wb") as file:
            for piece in self._saved(image_id):
                file.write(piece)
        return tar

    def tag(self, image_id: str, reference: str) -> None:
        """Give the image ``image_id`` the name ``reference`` (``name:tag``)."""
        name, _, tag = reference.rpartition(":")
        with engine_errors("tag the image"):
            self._client.api.tag(image_id, name, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image with its last name; does nothing if it is gone."""
        with suppress(Missing), engine_errors("remove the image"):
            self._client.api.remove_image(reference)

    # --- networks and containers ------------------------------------------------------------

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make an internal bridge, on which containers reach one another and the host's gateway."""
        with engine_errors("make a network"):
            self._client.api.create_network(
                name, driver="bridge", internal=True, check_duplicate=True, labels=dict(labels)
            )

    def remove_network(self, name: str) -> None:
        """Remove a network; does nothing if it is gone.

        A container that is being removed may still hold on to it for a moment.
        """
        end = time.monotonic() + _LET_GO_S
        while True:
            try:
                with suppress(Missing), engine_errors("remove the network"):
                    self._client.api.remove_network(name)
                return
            except LaunchFailed as error:
                held = any(words in error.message for words in _HELD)
                if not held or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def create(self, config: ContainerConfig) -> Container:
        """Make a container, hardened, not yet started.

        Raises:
            Missing: no such image.
            LaunchFailed: the engine refused.
        """
        files = tuple(path.resolve() for path in config.mounts.values())
        with engine_errors("make the container", files):
            made = self._client.containers.create(config.image, **arguments(config))
        return Container(made, files)

    def container_id(self, name: str) -> str:
        """The id of a container, which stands in the control group of its processes.

        Raises:
            Missing: there is none with this name.
        """
        with engine_errors("find the container"):
            return str(self._client.containers.get(name).id)

    # --- clearing up ------------------------------------------------------------------------

    def remove_run(self, run_id: str, launch: int) -> None:
        """Remove everything with the labels of this launch: containers first, then networks."""
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
        """Remove the containers and networks of dead runs; returns a text for each removed one.

        A run is dead if ``is_alive(run_id)`` is false and the process that made the container or
        network is gone too (another checkout's run is not in this checkout's store). ``save_log``
        may name a file for the log of the container of (run, launch), written before its removal.
        """
        removed = []
        for container in self._containers([RUN]):
            if is_dead(container.labels, is_alive):
                run, launch = container.labels[RUN], int(container.labels.get(LAUNCH, "0"))
                path = save_log(run, launch) if save_log else None
                if path is not None:
                    with suppress(OSError, KitError):  # what was streamed of it stays
                        container.save_log(path)
                container.remove()
                removed.append(f"container {container.name} of run {run}")
        for name, owner in self._networks([RUN]):
            if is_dead(owner, is_alive):
                self.remove_network(name)
                removed.append(f"network {name} of run {owner[RUN]}")
        return removed

    def _containers(self, wanted: list[str]) -> list[Container]:
        with engine_errors("list containers"):
            containers = self._client.containers.list(
                all=True, filters={"label": wanted}, ignore_removed=True
            )
        return [Container(c) for c in containers]

    def _networks(self, wanted: list[str]) -> list[tuple[str, dict[str, str]]]:
        with engine_errors("list networks"):
            networks = self._client.api.networks(filters={"label": wanted})
        return [(str(n["Name"]), dict(n.get("Labels") or {})) for n in networks]
