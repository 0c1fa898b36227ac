"""JSON over HTTP and HTTPS from one device of the network; every outcome is a return code.

Codes from 100 to 599 are HTTP's own; those below are named here, and no text of them holds an
address or a credential. The standard library's client is enough: one GET a second, timed to the
whole answer. What a device may do to kit is bounded: a time for the whole answer however slowly it
drips, a size, and no way to another host.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from kit.machine.host import address
from kit.measure.meters import digest

NO_ANSWER, NO_ADDRESS, UNREACHABLE, UNTRUSTED, NO_TLS, NO_HTTP = -1, -2, -3, -4, -5, -6
TOO_LARGE, ELSEWHERE, NO_JSON, FAILED, NO_CA = -7, -8, -9, -10, -11

REASONS = {
    NO_ANSWER: "no whole answer in time: is it on, and the url right? Is it slow? Raise timeout_s",
    NO_ADDRESS: "the name in its url cannot be resolved",
    UNREACHABLE: "nothing answers there: are host and port of its url right?",
    UNTRUSTED: "its certificate is not trusted: name one that is with ca, or say verify = false",
    NO_TLS: "it does not speak TLS as this kit does: is it http, not https?",
    NO_HTTP: "its answer is not HTTP",
    TOO_LARGE: "its answer is larger than any that a meter gives",
    ELSEWHERE: "it sends to another host, scheme or port, or in circles: give the url that answers",
    NO_JSON: "its answer is not JSON that can be read: another profile?",
    FAILED: "the request failed",
    NO_CA: "the file that ca names holds no certificates that can be read",
    401: "it refuses user or password",
    403: "it refuses user or password, or this user may not read it",
    404: "it has no such page: another profile, channel or chassis?",
}
_MOST_BYTES = 256 * 1024
_MOST_REDIRECTS = 3
_MOVED = (301, 302, 303, 307, 308)


class Answer(NamedTuple):
    """A code, 0 with a document whose numbers are `Decimal`, and the headers of the answer."""

    rc: int
    document: Any = None
    headers: Any = None


def explain(rc: int) -> str:
    """A code in words."""
    if rc in REASONS:
        return REASONS[rc]
    with suppress(ValueError):
        return f"it answers with HTTP {rc} ({HTTPStatus(rc).phrase})"
    return f"it answers with HTTP {rc}" if 100 <= rc <= 999 else "an unknown code"


class Site:
    """A device under one url of host.toml; its connection is kept from one answer to the next.

    Args:
        config: a section as `kit.machine.host.sections.WebSection` gives it. Its ``auth`` is how
            user and password are sent: ``basic``, ``digest``, which never sends the password, or
            another word where the meter itself sees to it.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        parts = urlsplit(str(config["url"]))
        where = address.parse(parts.netloc)
        self._origin = (parts.scheme, where.host, where.port)
        self._timeout_s = float(config.get("timeout_s", 2.0))
        self._config = config
        self._headers = {"Accept": "application/json", "User-Agent": "kit"}
        if config.get("token"):
            self._headers["X-Auth-Token"] = str(config["token"])
        self._way = str(config.get("auth", "basic")) if config.get("user") else ""
        if self._way == "basic":
            pair = f"{config['user']}:{config['password']}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        self._connection: http.client.HTTPConnection | None = None

    @property
    def security(self) -> str:
        """How the connection is protected against others, in words for the plan."""
        if self._origin[0] == "http":
            return "HTTP, neither encrypted nor verified"
        verified = self._config.get("verify", True)
        return "HTTPS, verified" if verified else "HTTPS, certificate not verified (verify = false)"

    def use(self, header: str, value: str) -> None:
        """Send a header with every request from now on."""
        self._headers[header] = value

    def get(self, path: str) -> Answer:
        """The JSON document under ``path``; never raises."""
        for _ in range(1 + _MOST_REDIRECTS):
            response = self.ask("GET", path)
            if response.rc == HTTPStatus.UNAUTHORIZED and self._way == "digest":
                response = self._digested(path, response.headers.get_all("WWW-Authenticate", []))
            if response.rc not in _MOVED:
                return response
            onward = self._onward(path, str((response.headers or {}).get("Location", "")))
            if onward is None:
                return Answer(ELSEWHERE)
            path = onward
        return Answer(ELSEWHERE)

    def _digested(self, path: str, challenges: Iterable[Any]) -> Answer:
        """Once more, with the answer to the first challenge that has one (RFC 7616)."""
        user, password = str(self._config["user"]), str(self._config["password"])
        answers = (digest.answer(str(one), "GET", path, user, password) for one in challenges)
        answered = next(filter(None, answers), None)
        if answered is None:
            return Answer(int(HTTPStatus.UNAUTHORIZED))
        self._headers["Authorization"] = answered
        try:
            return self.ask("GET", path)
        finally:
            del self._headers["Authorization"]

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """One request and its answer, a redirect as its code; never raises."""
        try:
            return self._asked(method, path, body)
        except Exception as error:  # whatever a device makes of HTTP is a code, not the end
            self.close()
            return Answer(_code(error))

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _asked(self, method: str, path: str, body: Any) -> Answer:
        reused = self._connection is not None
        connection = self._connection = self._connection or self._connect()
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": "application/json"} if data else {})
        try:
            if connection.sock is None:
                connection.connect()
            with _within(self._timeout_s, connection.sock):
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                text = answer.read(_MOST_BYTES + 1)
        except (ConnectionError, http.client.BadStatusLine):
            self.close()
            if not reused:
                raise
            return self._asked(method, path, body)  # it had closed a connection that was idle
        if answer.will_close or not answer.isclosed():
            self.close()
        if len(text) > _MOST_BYTES:
            return Answer(TOO_LARGE)
        if answer.length:  # that many bytes are missing
            return Answer(NO_ANSWER)
        if answer.status not in (200, 201):
            return Answer(answer.status, None, answer.headers)
        try:
            return Answer(0, parse(text), answer.headers)
        except (ValueError, ArithmeticError, RecursionError):
            return Answer(NO_JSON, None, answer.headers)

    def _connect(self) -> http.client.HTTPConnection:
        scheme, host, port = self._origin
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        context = _context(self._config)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)

    def _onward(self, path: str, location: str) -> str | None:
        """Where a redirect leads, as a path of this site; None where it leaves it."""
        scheme, host, port = self._origin
        shown = f"[{host}]" if ":" in host else host
        base = f"{scheme}://{shown}" + (f":{port}" if port else "")
        try:
            to = urlsplit(urljoin(base + path, location))
            at = urlsplit(base)
            usual = {"http": 80, "https": 443}[scheme]
            same = (to.scheme, to.hostname, to.port or usual) == (
                *(at.scheme, at.hostname),
                at.port or usual,
            )
        except ValueError:
            return None
        if not location or not same or not f"{to.path}{to.query}".isascii():
            return None
        return (to.path or "/") + (f"?{to.query}" if to.query else "")


def parse(text: bytes) -> Any:
    """A JSON document, every number as the exact `Decimal` of its digits.

    Raises:
        ValueError, ArithmeticError, RecursionError: it is none, or holds NaN, an infinity, one key
            twice, or more levels than can be followed.
    """
    return json.loads(
        text.decode("utf-8"),
        parse_int=Decimal,
        parse_float=Decimal,
        parse_constant=_refuse,
        object_pairs_hook=_unique,
    )


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("one key is there twice")
    return document


def _context(config: dict[str, Any]) -> ssl.SSLContext:
    if config.get("verify", True):
        ca = config.get("ca")
        try:
            return ssl.create_default_context(cafile=str(Path(ca).expanduser()) if ca else None)
        except OSError as error:
            raise _NoCertificatesError from error
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _within(seconds: float, connected: socket.socket) -> Iterator[None]:
    """Cut a connection where the whole takes longer: a socket's timeout is for each byte.

    Raises:
        TimeoutError: it did.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)  # not TLS's own: it is being read

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError


class _NoCertificatesError(Exception):
    """The file of certificates cannot be read."""


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (_NoCertificatesError, NO_CA),
    (TimeoutError, NO_ANSWER),
    (socket.gaierror, NO_ADDRESS),
    (UnicodeError, NO_ADDRESS),
    (ssl.SSLCertVerificationError, UNTRUSTED),
    (ssl.SSLError, NO_TLS),
    (http.client.HTTPException, NO_HTTP),
    (OSError, UNREACHABLE),
)


def _code(error: Exception) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
