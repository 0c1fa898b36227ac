"""A device that answers over HTTP or HTTPS on this machine: what each path gives is the test's."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Page(NamedTuple):
    """An answer: status, body and headers; ``drip_s`` between any two bytes, ``cut`` short."""

    body: bytes = b"{}"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    drip_s: float = 0.0
    missing: int = 0
    raw: bytes = b""


class Asked(NamedTuple):
    """What was asked for, with which headers and body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Device:
    """A real server on 127.0.0.1 whose pages may change while it runs.

    Attributes:
        pages: path (with its query) → JSON text, a document, or a `Page`; 404 for others.
        seen: every request.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.pages: dict[str, Any] = {}
        self.seen: list[Asked] = []
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"device": self})
        )
        self._server.daemon_threads = True
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self, asked: Asked) -> Page:
        page = self.pages.get(asked.path, Page(status=404))
        page = page(asked) if callable(page) else page
        if isinstance(page, Page):
            return page
        text = page if isinstance(page, str) else json.dumps(page)
        return Page(text.encode())


@contextmanager
def device(certificate: Path | None = None) -> Iterator[Device]:
    """A `Device` as long as the block lasts."""
    device = Device(certificate)
    try:
        yield device
    finally:
        device.close()


def certificate(folder: Path, name: str = "127.0.0.1") -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "device.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    device: Device

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, dict(self.headers), body)
        self.device.seen.append(asked)
        page = self.device.page(asked)
        if page.raw:
            self.wfile.write(page.raw)
            self.close_connection = True
            return
        self.send_response(page.status)
        self.send_header("Content-Length", str(len(page.body) + page.missing))
        for key, value in page.headers:
            self.send_header(key, value)
        self.end_headers()
        with suppress(OSError):
            for part in map(bytes, zip(page.body, strict=True)) if page.drip_s else [page.body]:
                self.wfile.write(part)
                time.sleep(page.drip_s)
        self.close_connection |= bool(page.missing)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        pass
