"""Requests that a runtime wants sent once: to prepare its server, and before it is stopped.

Each is a step of its phase (``startup.step``, ``shutdown.step``) with its seconds, so that the
server's start and the model's load are told apart. Answers are bounded in time and size.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kit.core import jsonio, text
from kit.spec.runtimes.contract import ServerRequest

POLL_S = 0.05
_LATER_S = 1.0  # the one who waits gives up first
_BLOCK = 1 << 20
_ANSWER_BYTES = 1 << 20
_WORDS = 300


class Outcome(NamedTuple):
    """How a request ended: its HTTP status (None without an answer) and what went wrong."""

    status: int | None
    error: str
    seconds: float


def send(
    base_url: str,
    request: ServerRequest,
    files: Mapping[str, Path],
    timeout_s: float,
    waiting: Callable[[], bool],
) -> Outcome:
    """Send one request and wait for its answer, at the most ``timeout_s``.

    Args:
        files: this machine's file for each SHA-256 that a request may upload.
        waiting: called every 50 ms; true ends the wait, and its exception is passed on.
    """
    answer: list[tuple[int | None, str]] = []
    begun = time.monotonic()
    job = threading.Thread(
        target=lambda: answer.append(_exchange(base_url, request, files, timeout_s)),
        name="server request",
        daemon=True,  # given up, it ends with the container
    )
    job.start()
    while job.is_alive() and not waiting() and time.monotonic() - begun < timeout_s:
        job.join(POLL_S)
    seconds = round(time.monotonic() - begun, 3)
    status, error = answer[0] if answer else (None, f"no answer within {seconds:.3g} s")
    return Outcome(status, error, seconds)


def _exchange(
    base_url: str, request: ServerRequest, files: Mapping[str, Path], timeout_s: float
) -> tuple[int | None, str]:
    """Status of the answer, and what is wrong; nothing is raised, since a thread waits for it."""
    netloc = urlsplit(base_url).netloc
    connection = http.client.HTTPConnection(netloc, timeout=timeout_s + _LATER_S, blocksize=_BLOCK)
    try:
        _send(connection, request, files)
        response = connection.getresponse()
        return response.status, _fault(response.status, response.read(_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, LookupError) as error:
        return None, f"no answer ({type(error).__name__})"
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPConnection, request: ServerRequest, files: Mapping[str, Path]
) -> None:
    if not request.upload:
        body = b"" if request.body is None else jsonio.canonical(dict(request.body))
        connection.request(request.method, request.path, body, {"Content-Type": "application/json"})
        return
    path = files[request.upload]
    with path.open("rb") as file:
        headers = {"Content-Length": str(path.stat().st_size)}
        connection.request(request.method, request.path, file, headers)


def _fault(status: int, body: bytes) -> str:
    """What an answer reports; empty for a success. Some servers report errors under status 200."""
    try:
        document: Any = jsonio.parse(body, "the answer", any_integer=True)
    except jsonio.JsonRefused:
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    if 200 <= status < 300 and not error:
        return ""
    return f"HTTP {status}" + (f": {text.clean(str(error))[:_WORDS]}" if error else "")
