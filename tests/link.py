"""A real SSH server on the loopback, and a link to it that is slow and can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SSHD = "/usr/sbin/sshd"


class Relay:
    """Passes TCP on to a port, each byte ``delay_s`` later, until it is cut.

    The kernel of a test machine need not have netem; a pair of queues does the same.
    """

    def __init__(self, target: int, delay_s: float) -> None:
        self._target, self._delay_s = target, delay_s
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self.port = 0
        self.bytes_back = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {back, forth}
        ways = self._pass(near, forth, False), self._pass(far, back, True)
        self._tasks |= {asyncio.ensure_future(way) for way in ways}

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                self.bytes_back += len(data) * counted
                self._loop.call_later(self._delay_s, self._write, sink, data)
        self._loop.call_later(self._delay_s, sink.close)

    @staticmethod
    def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
        if not sink.is_closing():
            sink.write(data)

    def cut(self) -> None:
        """Drop every connection at once, as a lost link does to both ends in the end."""
        done = threading.Event()

        def drop() -> None:
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()
            done.set()

        self._loop.call_soon_threadsafe(drop)
        assert done.wait(10)

    def close(self) -> None:
        def end() -> None:
            for task in self._tasks:
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)


class Server:
    """An sshd of this user alone, by key, on a free port; and the words to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        for name in ("host", "user"):
            _quiet(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nPidFile none\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nAcceptEnv LANG KIT_*\n"
            "PermitUserEnvironment no\nLogLevel ERROR\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL
        )
        _wait_open(self.port)

    def words(self, port: int, command: str) -> list[str]:
        """An ssh command line that runs ``command`` on a terminal, through ``port``."""
        options = {
            "IdentityFile": str(self.folder / "user"),
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return [
            "ssh",
            "-F",
            "none",
            "-tt",
            *words,
            "-p",
            str(port),
            f"{getpass.getuser()}@127.0.0.1",
            command,
        ]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server that is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def relay(target: int, delay_s: float) -> Iterator[Relay]:
    """A slow link to ``target`` that is gone afterwards."""
    relay = Relay(target, delay_s)
    try:
        yield relay
    finally:
        relay.cut()
        relay.close()


def _free_port() -> int:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        return int(port.getsockname()[1])


def _wait_open(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("sshd did not begin to listen")


def _quiet(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)
