"""What a server is asked once its measured requests are over: configuration, prompts' token ids.

Whatever a server cannot tell is absent. Never ask in a phase: each question is work.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kit.core import jsonio, text
from kit.core.model import PromptTokens, ScheduledRequest
from kit.spec.runtimes.contract import PromptIds

LOG = "log"  # beside the paths in effective.json: what the log tells
ANSWER_S = 5.0
PROMPTS_S = 300.0
ANSWER_BYTES = 8 << 20
LOG_BYTES, LINE_BYTES = 32 << 20, 16 << 10
FACT_CHARS = 8_000
# Ids of so many prompts are kept, to see where two runs part; of the others their hash.
KEPT = 32
_STREAM = ("stream", "stream_options")


def effective(base_url: str, paths: Iterable[str]) -> dict[str, Any]:
    """The configuration in effect: the answer to GET on each path, or ``{"unavailable": why}``."""
    return {path: _json_at(base_url, path) for path in paths}


def log_facts(path: Path, patterns: Mapping[str, str]) -> dict[str, str]:
    """What a server's log tells: the last match of each pattern; names without one are left out."""
    if not patterns:
        return {}
    found: dict[str, str] = {}
    end = time.monotonic() + ANSWER_S  # a log may be written to make a pattern slow
    with path.open("rb") as file:
        log = file.read(LOG_BYTES)
    for line in log.splitlines():
        words = line[:LINE_BYTES].decode("utf-8", "replace")
        if time.monotonic() > end:
            break
        for name, pattern in patterns.items():
            if all_ := re.findall(pattern, words):
                found[name] = text.clean(all_[-1])[:FACT_CHARS]
    return found


def prompt_tokens(
    base_url: str, method: PromptIds, requests: Iterable[ScheduledRequest]
) -> Iterator[PromptTokens]:
    """The token ids that the server makes of each prompt, in order.

    Ends where it fails once, or has had `PROMPTS_S` for all of them.
    """
    end = time.monotonic() + PROMPTS_S
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=ANSWER_S)
    try:
        for number, request in enumerate(requests):
            if time.monotonic() > end:
                return
            ids = _ids(connection, method, request.body)
            digest = jsonio.hash_of(ids)
            kept = tuple(ids) if number < KEPT else None
            yield PromptTokens(index=request.index, count=len(ids), ids_sha256=digest, ids=kept)
    except (OSError, http.client.HTTPException, jsonio.JsonRefused, LookupError, TypeError):
        return
    finally:
        connection.close()


def _ids(
    connection: http.client.HTTPConnection, method: PromptIds, body: dict[str, Any]
) -> list[int]:
    """The ids of one prompt.

    Raises:
        OSError, HTTPException, JsonRefused, LookupError, TypeError: the server does not tell.
    """
    if method.text_key:
        prompt = body.get("prompt")
        if prompt is None:
            prompt = _posted(connection, method.template_path, body)["prompt"]
        body = {method.text_key: prompt, **method.extra}
    # SGLang refuses to stream ids, which nobody wants streamed.
    body = {key: value for key, value in body.items() if key not in _STREAM}
    tokens = _posted(connection, method.path, body)["tokens"]
    if not isinstance(tokens, list) or not all(map(_is_id, tokens)):
        raise TypeError("these are no token ids")
    return tokens


def _is_id(token: Any) -> bool:
    return type(token) is int and 0 <= token <= jsonio.MAX_SAFE_INTEGER


def _posted(
    connection: http.client.HTTPConnection, path: str, body: dict[str, Any]
) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    with _within(connection, ANSWER_S):
        connection.request("POST", path, jsonio.canonical(body), headers)
        response = connection.getresponse()
        data = response.read(ANSWER_BYTES)
    if response.status != 200:
        raise http.client.HTTPException(f"HTTP {response.status}")
    document: dict[str, Any] = jsonio.parse(data, "the answer", any_integer=True)
    return document


def _json_at(base_url: str, path: str) -> Any:
    """The JSON at ``path``, storable, or ``{"unavailable": reason}``."""
    try:
        status, body = get(base_url + path, ANSWER_S, ANSWER_BYTES)
        if status != 200:
            return {"unavailable": f"HTTP {status}"}
        return _storable(jsonio.parse(body, "the answer", any_integer=True))
    except (OSError, http.client.HTTPException) as error:
        return {"unavailable": f"no answer ({type(error).__name__})"}
    except jsonio.JsonRefused as error:
        return {"unavailable": error.message}


def get(url: str, timeout_s: float, limit: int) -> tuple[int, bytes]:
    """Status and body (at most ``limit`` bytes) of a GET, without any proxy.

    Raises:
        OSError, HTTPException: there is none, or not within ``timeout_s``.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        with _within(connection, timeout_s):
            connection.request("GET", parts.path)
            response = connection.getresponse()
            return response.status, response.read(limit)
    finally:
        connection.close()


@contextmanager
def _within(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Cut the connection after ``seconds``: a server that sends a byte now and then has no end.

    Raises:
        TimeoutError: it was cut.
    """
    if connection.sock is None:
        connection.connect()
    sock, late = connection.sock, threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError(f"no end of the answer within {seconds:g} s")


def _storable(value: Any) -> Any:
    """``value``, with numbers that canonical JSON cannot hold turned into text."""
    if isinstance(value, dict):
        return {key: _storable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_storable(child) for child in value]
    is_odd = isinstance(value, int | float) and not jsonio.is_number(value)
    return str(value) if is_odd else value
