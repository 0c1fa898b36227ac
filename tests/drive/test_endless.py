"""Answers of a server that means harm: the driver gives each up, and its memory is bounded."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import DriverFailed
from kit.measure.drive import wire
from tests.drive.conftest import Bench
from tests.drive.server import HEAD, frame, word
from tests.drive.test_process import run_stage, unwatched

GIB = 1 << 30
REQUEST_S = 3.0
EVENTS = frame(word("token ")) * 1000
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
Pieces = Callable[[], Iterator[bytes]]


def ever(first: bytes, then: bytes) -> Pieces:
    return lambda: itertools.chain([first], itertools.repeat(then))


# What a server sends, and what the request's record says of it.
ENDLESS: dict[str, tuple[Pieces, str]] = {
    "events without end": (ever(HEAD, EVENTS), "longer than 64 MiB"),
    "one line without end": (ever(SSE + b"data: ", b"a" * 65536), "longer than 64 MiB"),
    "nothing but newlines": (ever(SSE, b"\n" * 65536), "longer than 64 MiB"),
    "a chunk that is too large": (ever(HEAD + b"fffffffff\r\n", b"a" * 65536), "longer than"),
    "a chunk's size without end": (ever(HEAD, b"0" * 65536), "longer than 64 MiB"),
    "a length that never comes": (
        ever(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", b"a" * 65536),
        "longer than 64 MiB",
    ),
    "headers without end": (ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 999), "not speak HTTP"),
    "interim heads without end": (
        ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
        "not speak HTTP",
    ),
}
DRIPS: dict[str, tuple[bytes, bytes, str]] = {
    "a head a byte at a time": (b"HTTP/1.1 200 OK\r\n", b"a", "more than 1024 pieces"),
    "a body a byte at a time": (SSE, b"a", "no end of the answer within 3 s"),
}


class Sender:
    """Sends each client the same, a piece at a time, until it hangs up."""

    def __init__(self, pieces: Pieces, *, delay_s: float = 0.0) -> None:
        self._pieces, self._delay_s = pieces, delay_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.recv(1 << 16)
            for piece in self._pieces():
                peer.sendall(piece)
                if self._delay_s:
                    time.sleep(self._delay_s)


def driven(folder: Path, sender: Any) -> tuple[Bench, int]:
    """The bench after a stage of one request, and the driver's most memory (bytes)."""
    bench = Bench(folder, sender)
    with bench.driver("x", request_s=REQUEST_S) as driver:
        driver.wait_ready()
        with pytest.raises(DriverFailed, match="none of 1 measured requests was answered well"):
            run_stage(driver, "measured", unwatched)
        status = Path(f"/proc/{driver._child._process.pid}/status").read_text()
        (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    sender.close()
    return bench, int(peak) << 10


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_answer_is_given_up(tmp_path: Path, kind: str) -> None:
    pieces, reason = ENDLESS[kind]
    bench, peak = driven(tmp_path, Sender(pieces))
    (request,) = bench.requests()
    assert request.status == "error"
    assert reason in (request.error or ""), request.error
    assert len(request.error or "") < 500
    assert peak < GIB


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_in_drips_is_given_up(tmp_path: Path, kind: str) -> None:
    first, then, reason = DRIPS[kind]
    bench, peak = driven(tmp_path, Sender(ever(first, then), delay_s=0.0002))
    (request,) = bench.requests()
    assert reason in (request.error or "")
    assert peak < GIB // 4


def test_a_byte_at_a_time_costs_what_it_costs_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setattr(wire, "_MAX_READS", 100)

    async def fed() -> Exception | None:
        exchange = wire.Exchange(b"", asyncio.get_running_loop())
        for data in [SSE, *[b"a"] * 200]:
            exchange.get_buffer(-1)[: len(data)] = data
            exchange.buffer_updated(len(data))
        assert len(exchange.reads) == 100
        return await exchange.done

    assert "more than 100 pieces" in str(asyncio.run(fed()))
