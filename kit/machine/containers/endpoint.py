"""The socket of the container engine, found like the docker command line does; local only.

DOCKER_HOST first, then DOCKER_CONTEXT, then ``currentContext`` of ~/.docker/config.json, then the
default socket. Only a socket of this machine is accepted: kit reads the counters of the machine
it runs on, and a container elsewhere would be measured here.

The variables say what a person wants now. The file may be old, of an engine that is gone (Docker
Desktop, WSL): if its context does not work, kit uses the default socket.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from kit.core.errors import EngineUnavailable
from kit.core.text import utf8

DEFAULT_SOCKET = "/var/run/docker.sock"
START = (
    "start it (`sudo systemctl start docker`), or install one (`sudo apt-get install docker.io`); "
    "for another local engine name its socket, e.g. DOCKER_HOST=unix:///run/podman/podman.sock"
)


class Endpoint(NamedTuple):
    """A local socket and its origin: ``default``, ``DOCKER_HOST`` or ``context``."""

    path: Path
    source: str

    @property
    def url(self) -> str:
        return f"unix://{self.path}"


class ContextGone(EngineUnavailable):
    """A context that names no engine."""


def find(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint that ``environ`` and the docker configuration name.

    Raises:
        EngineUnavailable: it is on another machine, or the context cannot be read.
    """
    default = Endpoint(Path(DEFAULT_SOCKET), "default")
    if host := environ.get("DOCKER_HOST", "").strip():
        return _local(host, "DOCKER_HOST")
    config = Path(environ.get("DOCKER_CONFIG") or _home(environ) / ".docker")
    wanted = environ.get("DOCKER_CONTEXT", "").strip()
    name = wanted or _current_context(config)
    if name in ("", "default"):
        return default
    try:
        return _local(_context_host(config, name), "context")
    except ContextGone:
        if wanted or not default.path.exists():
            raise
        return default


def reach(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint of `find`, or the default one if the file's context does not work.

    Raises:
        EngineUnavailable: no answer, no permission, or it is on another machine.
    """
    endpoint = find(environ)
    default = Endpoint(Path(DEFAULT_SOCKET), "default")
    try:
        knock(endpoint)
    except EngineUnavailable:
        chosen = endpoint.source != "context" or environ.get("DOCKER_CONTEXT")
        if chosen or not default.path.exists():
            raise
        knock(default)
        return default
    return endpoint


def knock(endpoint: Endpoint, timeout_s: float = 5.0) -> None:
    """Open the socket once, so that each kind of failure gets its own message.

    Raises:
        EngineUnavailable: no socket, no answer, or no permission.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(str(endpoint.path))
        except OSError as error:
            raise _unavailable(endpoint, error) from error


def refuse_remote(info: Mapping[str, Any]) -> None:
    """Raise `EngineUnavailable` if the engine behind the socket runs on another kernel."""
    theirs, ours = str(info.get("KernelVersion") or ""), platform.release()
    if theirs and theirs != ours:
        raise EngineUnavailable(
            f"the container engine runs on another kernel ({theirs}) than kit ({ours}): in a "
            "virtual machine or on another host, where kit cannot measure",
            "run kit where the engine runs",
        )


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _local(host: str, source: str) -> Endpoint:
    scheme, colon, rest = host.partition("://")
    if not colon and host.startswith("/"):
        return Endpoint(Path(host), source)
    if scheme.lower() in ("unix", "http+unix"):
        return Endpoint(Path("/") / (rest.strip("/") or DEFAULT_SOCKET.strip("/")), source)
    if not colon:
        raise EngineUnavailable(
            f"{source} is {host!r}, which is no address of an engine",
            f"give it as unix://{DEFAULT_SOCKET}, or `unset DOCKER_HOST`",
        )
    name = "DOCKER_HOST" if source == "DOCKER_HOST" else "the docker context in use"
    raise EngineUnavailable(
        f"{name} points to an engine that is reached over {scheme}://, not to this machine's "
        "own: kit would measure one machine while the container runs on another",
        "run kit on the machine that runs the engine; for the local one: "
        "`unset DOCKER_HOST` and `docker context use default`",
    )


def _current_context(config: Path) -> str:
    """``currentContext`` of the docker configuration; empty without one."""
    document = _json(config / "config.json")
    return str(document.get("currentContext") or "")


def _context_host(config: Path, name: str) -> str:
    """The address in the context's meta file, whose folder is the hash of the context's name."""
    folder = hashlib.sha256(os.fsencode(name)).hexdigest()
    meta = _json(config / "contexts" / "meta" / folder / "meta.json")
    try:
        return str(meta["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError):
        raise ContextGone(
            f"the docker context {name!r} is in use, but names no engine",
            "`docker context ls` shows what there is; `docker context use default` goes back",
        ) from None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, or none: like docker, kit ignores a configuration that it cannot read."""
    try:
        document = msgspec.json.decode(utf8(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _unavailable(endpoint: Endpoint, error: OSError) -> EngineUnavailable:
    origin = "" if endpoint.source == "default" else f" (named by {endpoint.source})"
    where = f"{endpoint.path}{origin}"
    if isinstance(error, PermissionError):
        return EngineUnavailable(
            f"a container engine is at {where}, but this user may not speak to it",
            "run kit with sudo, or once `sudo usermod -aG docker $USER` and log in again",
        )
    if isinstance(error, FileNotFoundError):
        return EngineUnavailable(f"there is no container engine: no socket at {where}", START)
    if isinstance(error, ConnectionRefusedError):
        return EngineUnavailable(f"no container engine answers at {where}: it is stopped", START)
    text = error.strerror or ("timed out" if isinstance(error, TimeoutError) else str(error))
    if error.errno == errno.ENOTSOCK:
        text = "it is not a socket"
    return EngineUnavailable(f"the container engine at {where} cannot be reached: {text}", START)
