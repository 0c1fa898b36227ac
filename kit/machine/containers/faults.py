"""Failures of docker-py and its transport as kit's errors, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.core.errors import EngineUnavailable, LaunchFailed
from kit.machine.containers.owners import HOST_NETWORK


class Missing(LaunchFailed):
    """The engine knows no such image, container or network."""


@contextmanager
def engine_errors(action: str, hide: Iterable[Path] = ()) -> Iterator[None]:
    """Turn exceptions of docker-py and its transport into kit's errors, which name ``action``.

    The engine's message may be sealed with a failed run: the folders of ``hide`` are left out.

    Raises:
        Missing: the engine knows no such image, container or network.
        LaunchFailed: the engine refused.
        EngineUnavailable: it did not answer.
    """
    from docker.errors import APIError, DockerException, ImageLoadError, NotFound
    from requests.exceptions import RequestException
    from urllib3.exceptions import (
        HTTPError,
    )  # exceptions of a broken stream, which requests does not wrap

    try:
        yield
    except APIError as error:
        message = _without(hide, str(error.explanation or error).strip())
        said = message.lower()
        missing = isinstance(error, NotFound) or said.startswith("no such")
        missing |= "invalid reference format" in said  # what is no name is no image's name
        kind = Missing if missing else LaunchFailed
        raise kind(f"the container engine cannot {action}: {message}", hint(message)) from error
    except ImageLoadError as error:
        raise LaunchFailed(
            f"the container engine cannot {action}: {error}", hint(str(error))
        ) from error
    except (DockerException, RequestException, HTTPError, OSError, ValueError) as error:
        raise EngineUnavailable(
            f"the container engine did not answer when asked to {action} ({type(error).__name__})",
            "see whether it still runs: `docker info`, `journalctl -u docker`",
        ) from error


def _without(hide: Iterable[Path], message: str) -> str:
    for path in hide:
        message = message.replace(str(path), path.name)
    return message


_HINTS = (
    ("could not select device driver", "install nvidia-container-toolkit, or use Docker ≥ 25"),
    ("unresolvable CDI devices", "write the CDI spec again: `nvidia-ctk cdi generate`"),
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


def hint(message: str) -> str:
    remedies = [remedy for text, remedy in _HINTS if text.lower() in message.lower()]
    return remedies[0] if remedies else "`kit doctor` looks at the engine"
