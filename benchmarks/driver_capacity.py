"""How many SSE chunks the load driver takes for a second of its CPU time; the goal is 250,000.

    python benchmarks/driver_capacity.py [SCALE]

The driver is the real process; a scripted server in another process sends chunks as a runtime does,
one HTTP chunk and one write for each token. Two kinds of traffic bound what a runtime gives:

- *as fast as it comes*: the kernel joins chunks, so that a read brings many;
- *in step*: every stream gets one token at a time, as from a batching runtime; a read brings one
  chunk, and costs a system call and a turn of the event loop however it is written.

CPU time is the driver process's own (user and system). `sending` is what it spends while requests
are under way, which is what can disturb a measurement; `parsing` comes after the stage. Beside it,
other readers of the same traffic: `bare` only waits for sockets and reads them, which is what the
kernel takes of this machine whoever reads; `aiohttp` uses `content.readany`, where installed.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kit.core import jsonio
from kit.core.model import ScheduledRequest
from kit.measure.drive import DriverProcess
from kit.measure.drive.wire import Address, post

GOAL = 250_000
STEP_S = 0.02
READ_AT_MOST = 1 << 20


class Case(NamedTuple):
    """``streams`` at once, each of ``events`` chunks, in step or as fast as they come."""

    name: str
    streams: int
    events: int
    in_step: bool

    @property
    def body(self) -> dict[str, Any]:
        return {"streams": self.streams, "events": self.events, "in_step": self.in_step}


def cases(scale: float) -> list[Case]:
    return [
        Case("1 stream, as fast as it comes", 1, int(200_000 * scale), False),
        Case("16 streams, as fast as they come", 16, int(20_000 * scale), False),
        Case("16 streams in step, 50 tokens/s each", 16, int(200 * scale), True),
        Case("128 streams in step, 50 tokens/s each", 128, int(200 * scale), True),
    ]


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["bare"]:
        read_bare(sys.argv[2], json.loads(sys.argv[3]))
    elif sys.argv[1:2] == ["aiohttp"]:
        asyncio.run(read_with_aiohttp(sys.argv[2], json.loads(sys.argv[3])))
    else:
        measure(cases(float(sys.argv[1]) if sys.argv[1:] else 1.0))


def measure(todo: list[Case]) -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        titles = ("chunks", "a read", "CPU µs/read", "sending", "parsing", "bare", "aiohttp")
        print(f"{'chunks per CPU-second':38}" + "".join(f"{t:>12}" for t in titles))
        for case in todo:
            print(f"{case.name:38}" + row(url, case), flush=True)
        print(f"goal: {GOAL:,} while sending")
    finally:
        server.terminate()
        server.wait()


def row(url: str, case: Case) -> str:
    stage = drive(url, case)
    chunks, sending = stage["chunks"], stage["cpu_ns"] / 1e9
    cells = [
        f"{chunks:,}",
        f"{chunks / stage['reads']:.1f}",
        f"{sending / stage['reads'] * 1e6:.1f}",
        f"{chunks / sending:,.0f}",
        f"{chunks / stage['parse_cpu_ns'] * 1e9:,.0f}",
        other("bare", url, case),
        other("aiohttp", url, case),
    ]
    return "".join(f"{cell:>12}" for cell in cells)


def drive(url: str, case: Case) -> dict[str, Any]:
    """What the driver says of itself after ``case``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = [
            ScheduledRequest(index=i, stage="measured", item="x", path="/v1/x", body=case.body)
            for i in range(case.streams)
        ]
        lines = [jsonio.canonical(msgspec.to_builtins(r)) + b"\n" for r in requests]
        (folder / "schedule.jsonl").write_bytes(b"".join(lines))
        config = {
            "origin": time.monotonic_ns(),
            "base_url": url,
            "schedule": str(folder / "schedule.jsonl"),
            "out": str(folder / "out"),
            "arrivals": {"kind": "closed", "concurrency": case.streams},
            "request_s": 300,
            "cpus": "",
            "recount": None,
        }
        with DriverProcess(config, folder / "driver.json") as driver:
            driver.wait_ready()
            report = driver.run_stage("measured", lambda _: None)
        assert report.failed == 0, "the driver could not read everything"
        stage: dict[str, Any] = jsonio.read(folder / "out" / "driver.json")["stages"]["measured"]
        assert stage["chunks"] == case.streams * case.events
        return stage


# --- other readers of the same traffic ----------------------------------------------------------


def other(reader: str, url: str, case: Case) -> str:
    """Chunks per CPU-second of a process that only reads."""
    done = subprocess.run(
        [sys.executable, __file__, reader, url, json.dumps(case.body)],
        capture_output=True,
        text=True,
    )
    return f"{float(done.stdout):,.0f}" if done.returncode == 0 else "absent"


def read_bare(url: str, body: dict[str, Any]) -> None:
    address, buffer, epoll = Address.of(url), bytearray(1 << 16), select.epoll()
    begin = time.process_time()
    open_: dict[int, socket.socket] = {}
    for _ in range(body["streams"]):
        own = socket.create_connection(address[:2])
        own.sendall(post(address, "/v1/x", body))
        open_[own.fileno()] = own
        epoll.register(own.fileno(), select.EPOLLIN)
    while open_:
        for number, _ in epoll.poll():
            if not open_[number].recv_into(buffer):
                open_.pop(number).close()
    print(body["streams"] * body["events"] / (time.process_time() - begin))


async def read_with_aiohttp(url: str, body: dict[str, Any]) -> None:
    import aiohttp

    async def one(session: aiohttp.ClientSession) -> None:
        reads: list[tuple[int, bytes]] = []
        async with session.post("/v1/x", json=body) as response:
            while data := await response.content.readany():
                reads.append((time.monotonic_ns(), data))

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        url, connector=connector, timeout=timeout, read_bufsize=READ_AT_MOST
    ) as session:
        begin = time.process_time()
        await asyncio.gather(*[one(session) for _ in range(body["streams"])])
        spent = time.process_time() - begin
    print(body["streams"] * body["events"] / spent)


# --- the scripted server ------------------------------------------------------------------------


def frame(document: dict[str, Any] | None) -> bytes:
    data = b"data: " + (json.dumps(document).encode() if document else b"[DONE]") + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    named = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk"}
    return {**named, "created": 1700000000, "model": "model", "choices": [choice]}


TOKEN = frame(chunk({"content": " token"}))
END = frame(chunk({}, "length")) + frame(None) + b"0\r\n\r\n"
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n"
)


class Scripted:
    """Sends every stream by itself, or all of them in step once all have come."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        writer.write(HEAD)
        if not asked["in_step"]:
            await self.fast(writer, asked["events"])
            return
        self.waiting.append(writer)
        if len(self.waiting) == asked["streams"]:
            writers, self.waiting = self.waiting, []
            await self.in_step(writers, asked["events"])

    async def fast(self, writer: asyncio.StreamWriter, events: int) -> None:
        for i in range(events):
            writer.write(TOKEN)
            if i % 256 == 0:
                await writer.drain()
        await self.end(writer)

    async def in_step(self, writers: list[asyncio.StreamWriter], events: int) -> None:
        due = time.monotonic()
        for _ in range(events):
            for writer in writers:
                writer.write(TOKEN)
            due += STEP_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        for writer in writers:
            await self.end(writer)

    @staticmethod
    async def end(writer: asyncio.StreamWriter) -> None:
        writer.write(END)
        await writer.drain()
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(Scripted().serve, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
