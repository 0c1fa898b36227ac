"""The driver's own process: sends the sealed schedule and records what comes back.

asyncio and aiohttp; the hot path appends ``(monotonic ns, bytes)`` and does nothing else. A
finished request goes to a spool on disk at once, so that even ``kill -9`` loses only what is in
flight.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from kit import jsonio
from kit.drive.parse import Raw, Status
from kit.drive.spool import SPOOL, Spool, write_records
from kit.model import ArrivalsSpec, Request, Response, ScheduledRequest

_PROGRESS_S = 0.25
_ERROR_BYTES = 300


class Client:
    """Sends the stages of one schedule to one server."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._out = Path(config["out"])
        self._origin = int(config["origin"])
        self._arrivals = msgspec.convert(config["arrivals"], ArrivalsSpec)
        self._schedule = read_schedule(Path(config["schedule"]))
        self._spool = Spool(self._out / SPOOL)
        self._gone = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.records: list[tuple[Request, Response]] = []
        self.stages: dict[str, dict[str, Any]] = {}

    async def stage(self, name: str, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Send every request of the stage ``name``; returns the report that goes to stdout."""
        work = [r for r in self._schedule if r.stage == name]
        raws: list[Raw] = []
        cpu, begin = time.process_time_ns(), time.monotonic_ns()
        async with self._session() as session:
            ticker = asyncio.create_task(_tick(name, raws, len(work), say))
            try:
                await self._send_all(session, work, raws, begin)
            finally:
                ticker.cancel()
        wall = time.monotonic_ns() - begin
        cpu = time.process_time_ns() - cpu
        raws += [_unsent(r, begin) for r in work if r.index not in {raw.index for raw in raws}]
        return self._report(name, raws, cpu / max(wall, 1))

    def abort(self) -> None:
        """Cut off what is in flight; the stage then ends and records it as aborted."""
        self._gone = True
        for task in self._tasks:
            task.cancel()

    async def recount(self) -> None:
        """Have the server count the tokens of answers whose stream carried no usage."""
        how = self._config.get("recount")
        if not how:
            return
        async with self._session() as session:
            self.records = [await _recounted(session, how, *pair) for pair in self.records]
        self._write()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            base_url=self._config["base_url"],
            # A connection a request: servers that close idle ones race with the next request.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=1 << 20,
        )

    async def _send_all(
        self,
        session: aiohttp.ClientSession,
        work: list[ScheduledRequest],
        raws: list[Raw],
        begin: int,
    ) -> None:
        if any(r.at_ns is not None for r in work):
            jobs = [self._at_its_time(session, r, raws, begin) for r in work]
        else:
            queue = iter(work)
            clients = max(1, self._arrivals.concurrency)
            jobs = [self._closed_loop(session, queue, raws) for _ in range(clients)]
        self._tasks = {asyncio.create_task(job) for job in jobs}
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _closed_loop(
        self, session: aiohttp.ClientSession, queue: Iterator[ScheduledRequest], raws: list[Raw]
    ) -> None:
        for request in queue:
            if self._gone:
                return
            await self._send(session, request, raws, time.monotonic_ns())

    async def _at_its_time(
        self, session: aiohttp.ClientSession, request: ScheduledRequest, raws: list[Raw], begin: int
    ) -> None:
        """Send at the intended instant or late, never not at all."""
        intended = begin + (request.at_ns or 0)
        await asyncio.sleep(max(0.0, (intended - time.monotonic_ns()) / 1e9))
        if not self._gone:
            await self._send(session, request, raws, intended)

    async def _send(
        self,
        session: aiohttp.ClientSession,
        request: ScheduledRequest,
        raws: list[Raw],
        intended: int,
    ) -> None:
        reads: list[tuple[int, bytes]] = []
        seen: dict[str, Any] = {"http_status": None}
        status: Status = "ok"
        error: str | None = None
        sent = time.monotonic_ns()
        try:
            async with asyncio.timeout(self._config["request_s"]):
                error = await _exchange(session, request, reads, seen)
                status = "error" if error else "ok"
        except TimeoutError:
            status = "timeout"
            error = f"no end of the answer within {self._config['request_s']:g} s"
        except asyncio.CancelledError:
            status, error = "aborted", "the run was ended"
        except aiohttp.ClientConnectorError as refused:
            self._gone = True
            status, error = "error", f"the server is gone: {refused.strerror or refused}"
        except (aiohttp.ClientError, OSError) as broken:
            status, error = "error", f"the connection broke: {broken or type(broken).__name__}"
        raw = Raw(
            index=request.index,
            stage=request.stage,
            item=request.item,
            intended=intended,
            sent=sent,
            done=time.monotonic_ns(),
            status=status,
            http_status=seen["http_status"],
            error=error,
            reads=reads,
        )
        self._spool.add(raw)
        raws.append(raw)

    def _report(self, name: str, raws: list[Raw], cpu_share: float) -> dict[str, Any]:
        self.records += write_records(self._out, self.records, raws, self._origin)
        ok = sum(r.status == "ok" for r, _ in self.records if r.stage == name)
        lags = [raw.sent - raw.intended for raw in raws if raw.sent is not None]
        report = {
            "stage": name,
            "ok": ok,
            "failed": len(raws) - ok,
            "cpu_share": round(cpu_share, 4),
            "lag_p99_ns": _p99(lags),
        }
        self.stages[name] = report
        self._write()
        return report

    def _write(self) -> None:
        write_records(self._out, self.records, [], self._origin)
        about = {
            "stages": self.stages,
            "python": sys.version.split()[0],
            "aiohttp": aiohttp.__version__,
            "cpus": sorted(os.sched_getaffinity(0)),
        }
        jsonio.write(self._out / "driver.json", about)


async def _exchange(
    session: aiohttp.ClientSession,
    request: ScheduledRequest,
    reads: list[tuple[int, bytes]],
    seen: dict[str, Any],
) -> str | None:
    """Send one request and read its answer to the end; returns what was wrong with it."""
    async with session.post(request.path, json=request.body) as response:
        seen["http_status"] = response.status
        content, now = response.content, time.monotonic_ns
        if response.status != 200:
            said = (await content.read(_ERROR_BYTES)).decode("utf-8", "replace")
            return f"HTTP {response.status}: {' '.join(said.split())}"
        while data := await content.readany():
            reads.append((now(), data))
    return None


async def _recounted(
    session: aiohttp.ClientSession, how: dict[str, str], request: Request, response: Response
) -> tuple[Request, Response]:
    """``request`` with the server's count of its text, where the stream carried none."""
    if request.status != "ok" or request.output_tokens is not None:
        return request, response
    try:
        async with session.post(how["path"], json={how["text_key"]: response.text}) as answer:
            count = (await answer.json())[how["count_key"]]
    except (aiohttp.ClientError, OSError, KeyError, ValueError):
        return request, response
    return msgspec.structs.replace(request, output_tokens=int(count)), response


async def _tick(
    stage: str, raws: list[Raw], total: int, say: Callable[[dict[str, Any]], None]
) -> None:
    """Report progress a few times a second, and only when there is some."""
    told = -1
    while True:
        if len(raws) != told:
            told = len(raws)
            say({"event": "progress", "stage": stage, "done": told, "total": total})
        await asyncio.sleep(_PROGRESS_S)


def read_schedule(path: Path) -> list[ScheduledRequest]:
    """The sealed schedule, one request a line."""
    decoder = msgspec.json.Decoder(ScheduledRequest)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]


def _unsent(request: ScheduledRequest, begin: int) -> Raw:
    """The record of a request that was never sent, so that none is missing."""
    return Raw(
        index=request.index,
        stage=request.stage,
        item=request.item,
        intended=begin + (request.at_ns or 0),
        sent=None,
        done=time.monotonic_ns(),
        status="aborted",
        http_status=None,
        error="not sent: the stage ended early",
        reads=[],
    )


def _p99(values: list[int]) -> int | None:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))] if values else None
