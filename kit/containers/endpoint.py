"""Where the container engine listens, found as the docker command line finds it, and local only.

DOCKER_HOST first, then DOCKER_CONTEXT, then ``currentContext`` of ~/.docker/config.json, then the
default socket. Only a socket of this machine is accepted: kit reads the counters of the machine
it runs on, and a container elsewhere would be measured here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kit.errors import EngineUnavailable
from kit.text import utf8

DEFAULT_SOCKET = "/var/run/docker.sock"
START = (
    "start it (`sudo systemctl start docker`), or install one (`sudo apt-get install docker.io`); "
    "for another local engine name its socket, e.g. DOCKER_HOST=unix:///run/podman/podman.sock"
)


class Endpoint(NamedTuple):
    """A local socket and who named it: ``default``, ``DOCKER_HOST`` or ``context``."""

    path: Path
    source: str

    @property
    def url(self) -> str:
        return f"unix://{self.path}"


def find(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint that ``environ`` and the docker configuration name.

    Raises:
        EngineUnavailable: it is on another machine, or the context cannot be read.
    """
    if host := environ.get("DOCKER_HOST"):
        return _local(host, "DOCKER_HOST")
    config = Path(environ.get("DOCKER_CONFIG") or _home(environ) / ".docker")
    name = environ.get("DOCKER_CONTEXT") or _current_context(config)
    if name in ("", "default"):
        return Endpoint(Path(DEFAULT_SOCKET), "default")
    return _local(_context_host(config, name), "context")


def knock(endpoint: Endpoint, timeout_s: float = 5.0) -> None:
    """Open the socket once, so that each way of failing gets its own words.

    Raises:
        EngineUnavailable: nothing is there, nothing answers, or this user may not.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(str(endpoint.path))
        except OSError as error:
            raise _unavailable(endpoint, error) from error


def refuse_remote(info: Mapping[str, Any]) -> None:
    """Raise `EngineUnavailable` where the engine behind the socket runs on another kernel."""
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
    scheme, _, rest = host.partition("://")
    if scheme in ("unix", "http+unix") and rest:
        return Endpoint(Path("/") / rest.lstrip("/"), source)
    named = "DOCKER_HOST" if source == "DOCKER_HOST" else "the docker context in use"
    raise EngineUnavailable(
        f"{named} points to an engine that is reached over {scheme}://, not to this machine's "
        "own: kit would measure one machine while the container runs on another",
        "run kit on the machine that runs the engine; for the local one: "
        "`unset DOCKER_HOST` and `docker context use default`",
    )


def _current_context(config: Path) -> str:
    """``currentContext`` of the docker configuration; empty where there is none."""
    document = _json(config / "config.json")
    return str(document.get("currentContext") or "")


def _context_host(config: Path, name: str) -> str:
    """The address in the context's meta file, which lies under the hash of its name."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(config / "contexts" / "meta" / folder / "meta.json")
    try:
        return str(meta["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError):
        raise EngineUnavailable(
            f"the docker context {name!r} is in use, but names no engine",
            "`docker context ls` shows what there is; `docker context use default` goes back",
        ) from None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing: docker, too, goes on without a configuration it cannot read."""
    try:
        document = json.loads(utf8(path.read_bytes()))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _unavailable(endpoint: Endpoint, error: OSError) -> EngineUnavailable:
    named = "" if endpoint.source == "default" else f" (named by {endpoint.source})"
    where = f"{endpoint.path}{named}"
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
