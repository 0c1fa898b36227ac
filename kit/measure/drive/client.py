"""The driver's own process: sends the sealed schedule and records what comes back.

The hot path (`kit.measure.drive.wire`) appends ``(monotonic ns, bytes)`` and does nothing else. A
finished request goes to a spool on disk at once, so that even ``kill -9`` loses only active
requests. Everything is parsed after a stage.
"""

from __future__ import annotations

import asyncio
import gc
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.model import ArrivalsSpec, Makes, ScheduledRequest
from kit.measure.drive.parse import Raw, Status
from kit.measure.drive.recount import recounted
from kit.measure.drive.spool import SPOOL, Pair, Spool, records_of, write_records
from kit.measure.drive.wire import Address, Exchange, post

Say = Callable[[dict[str, Any]], None]
_PROGRESS_S = 0.25
_LINGER_S = 1.0


class Client:
    """Sends the stages of one schedule to one server.

    Args:
        config: as `kit.run.runner` writes it; see `kit.measure.drive`.
        affinity: the outcome of setting the CPUs, for ``driver.json``.
    """

    def __init__(self, config: dict[str, Any], affinity: dict[str, Any]) -> None:
        self._config, self._affinity = config, affinity
        self._out = Path(config["out"])
        self._origin = int(config["origin"])
        self._end_mark = bool(config.get("end_mark", True))
        self._makes: Makes = config.get("makes", "text")
        self._address = Address.of(config["base_url"])
        self._arrivals = msgspec.convert(config["arrivals"], ArrivalsSpec)
        self._schedule = read_schedule(Path(config["schedule"]))
        self._spool = Spool(self._out / SPOOL)
        self._pairs: dict[int, Pair] = {}
        self._stages: dict[str, dict[str, Any]] = {}
        self._recount: dict[str, int] | None = None
        self._ended_early = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin = 0
        self._finished = 0
        self._asked: int | None = 0
        self._reads = 0
        self._lags: list[int] = []
        self._last = 0

    async def send(self, name: str, say: Say) -> None:
        """Send every request of the stage ``name``; nothing is parsed yet.

        Raises:
            OSError: the spool cannot be written.
        """
        work = self._work(name)
        wires = {r.index: post(self._address, r.path, r.body) for r in work}
        self._finished, self._reads, self._lags, self._ended_early = 0, 0, [], False
        self._asked = 0 if all(self._expected(r) is not None for r in work) else None
        gc.collect()
        gc.disable()  # integers and bytes are collected: there are no reference cycles
        ticker = asyncio.create_task(self._tick(name, len(work), say))
        cpu, self._begin = time.process_time_ns(), time.monotonic_ns()
        self._last = 0
        try:
            await self._send_all(work, wires)
        finally:
            # Until the last answer, not until it is spooled: a disk may be slow.
            wall = (self._last or time.monotonic_ns()) - self._begin
            cpu = time.process_time_ns() - cpu
            ticker.cancel()
            self._report_progress(name, len(work), say)
            gc.enable()
            self._stages[name] = self._figures(wall, cpu)

    def report(self, name: str) -> dict[str, Any]:
        """Parse the stage and write its records; returns the report that goes to stdout.

        Raises:
            OSError: the records cannot be written.
        """
        cpu = time.process_time_ns()
        recorded = self._pairs
        new = (raw for raw in self._spool.raws() if raw.index not in recorded)
        pairs = records_of(new, self._origin, self._out)
        for request in self._work(name):
            if request.index not in pairs:
                pairs |= records_of([self._unsent(request)], self._origin, self._out)
        self._pairs |= pairs
        ok = sum(request.status == "ok" for request, _ in pairs.values())
        figures = self._stages[name]
        figures |= {
            "requests": len(pairs),
            "ok": ok,
            "failed": len(pairs) - ok,
            "chunks": sum(len(response.chunk_times) for _, response in pairs.values()),
        }
        self._write()
        figures["parse_cpu_ns"] = time.process_time_ns() - cpu
        self._write_report()
        keys = ("ok", "failed", "cpu_share", "lag_p99_ns")
        errors = Counter(request.error for request, _ in pairs.values() if request.error)
        reason = errors.most_common(1)[0][0] if errors else None
        return {"stage": name, "why": reason, **{key: figures[key] for key in keys}}

    def abort(self) -> None:
        """Stop active requests; the stage then ends and records them as aborted."""
        self._ended_early = True
        for task in self._tasks:
            task.cancel()

    async def recount(self) -> None:
        """Let the server count the tokens of answers whose stream had no usage."""
        method = self._config.get("recount")
        if method:
            bodies = {r.index: r.body for r in self._schedule}
            self._recount = await recounted(self._address, method, self._pairs, bodies)
            self._write()
            self._write_report()

    def close(self) -> None:
        """Remove the spool: everything is in the record files."""
        self._spool.close()

    def _work(self, name: str) -> list[ScheduledRequest]:
        return [r for r in self._schedule if r.stage == name]

    # --- sending ----------------------------------------------------------------------------

    async def _send_all(self, work: list[ScheduledRequest], wires: dict[int, bytes]) -> None:
        """Run the stage to its end; an error here (a full disk) ends it for every client."""
        if any(r.at_ns is not None for r in work):
            self._start(self._on_time(work, wires))
        else:
            queue = iter(work)
            for _ in range(min(len(work), max(1, self._arrivals.concurrency))):
                self._start(self._closed_loop(queue, wires))
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._tasks -= done
            if fault := next((t.exception() for t in done if not t.cancelled()), None):
                self.abort()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                raise fault

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(job))

    async def _closed_loop(
        self, queue: Iterator[ScheduledRequest], wires: dict[int, bytes]
    ) -> None:
        """One client: its next request is intended for the moment at which it became free."""
        free = self._begin
        for request in queue:
            free = await self._send(request, wires[request.index], free)
            if self._ended_early:
                return

    async def _on_time(self, work: list[ScheduledRequest], wires: dict[int, bytes]) -> None:
        """Send each request at its intended time, or late; none is skipped."""
        for request in work:
            intended = self._begin + (request.at_ns or 0)
            await asyncio.sleep(max(0.0, (intended - time.monotonic_ns()) / 1e9))
            if self._ended_early:
                return
            self._start(self._one(request, wires[request.index], intended))

    async def _one(self, request: ScheduledRequest, wire: bytes, intended: int) -> None:
        await self._send(request, wire, intended)

    async def _send(self, request: ScheduledRequest, wire: bytes, intended: int) -> int:
        """Send one request and spool the answer; returns when it was done (ns)."""
        loop = asyncio.get_running_loop()
        exchange = Exchange(wire, loop)
        sent = time.monotonic_ns()
        self._lags.append(sent - intended)
        status, code, error = await self._outcome(exchange, loop)
        done = self._last = time.monotonic_ns()
        if status == "ok":
            loop.call_later(_LINGER_S, exchange.drop)  # the server closes first, if it does
        else:
            exchange.drop()
        self._spool.add(
            Raw(
                index=request.index,
                stage=request.stage,
                item=request.item,
                intended=intended,
                sent=sent,
                done=done,
                status=status,
                error=error,
                code=code,
                reads=exchange.reads,
                end_mark=self._end_mark,
                makes=self._makes,
            )
        )
        self._finished += 1
        if self._asked is not None and status == "ok":
            self._asked += self._expected(request) or 0
        self._reads += len(exchange.reads)
        return done

    async def _outcome(
        self, exchange: Exchange, loop: asyncio.AbstractEventLoop
    ) -> tuple[Status, str | None, str | None]:
        """Wait for the end of one exchange; returns the connection's status, code and error."""
        limit = self._config["request_s"]
        timer = asyncio.timeout(limit)
        connected = False
        try:
            async with timer:
                await loop.create_connection(lambda: exchange, *self._address[:2])
                connected = True
                broken = await exchange.done
        except asyncio.CancelledError:
            return "aborted", "aborted", "the run was ended"
        except OSError as error:
            if timer.expired():
                return "timeout", "timeout", f"no end of the answer within {limit:g} s"
            broken = error
        if broken is None:
            return "ok", None, None
        reason = getattr(broken, "strerror", None) or str(broken) or type(broken).__name__
        if not connected:
            self._ended_early = True  # nobody listens: the rest would only fail the same way
            return "error", "unreachable", f"the server is gone: {reason}"
        return "error", "broken", f"the connection broke: {reason}"

    async def _tick(self, stage: str, total: int, say: Say) -> None:
        """Report progress a few times a second, if there is any."""
        reported = -1
        while True:
            if self._finished != reported:
                reported = self._finished
                self._report_progress(stage, total, say)
            await asyncio.sleep(_PROGRESS_S)

    def _report_progress(self, stage: str, total: int, say: Say) -> None:
        # What finished requests asked for: no answer is parsed while measuring.
        what = "tokens" if self._makes == "text" else "images"
        asked = {} if self._asked is None else {what: self._asked}
        say({"event": "progress", "stage": stage, "done": self._finished, "total": total, **asked})

    def _expected(self, request: ScheduledRequest) -> int | None:
        """How many output tokens or images a request asks for; None where it fixes none."""
        return request.expect_tokens if self._makes == "text" else request.expect_images or None

    # --- recording --------------------------------------------------------------------------

    def _figures(self, wall: int, cpu: int) -> dict[str, Any]:
        """The driver's figures on itself after a stage; durations in ns."""
        return {
            "wall_ns": wall,
            "cpu_ns": cpu,
            "cpu_share": round(cpu / max(wall, 1), 4),
            "lag_p99_ns": p99(self._lags),
            "lag_max_ns": max(self._lags, default=None),
            "reads": self._reads,
        }

    def _unsent(self, request: ScheduledRequest) -> Raw:
        """The record of a request that was never sent, so that every request has one."""
        return Raw(
            index=request.index,
            stage=request.stage,
            item=request.item,
            intended=self._begin + (request.at_ns or 0),
            sent=None,
            done=time.monotonic_ns(),
            status="aborted",
            error="not sent: the stage ended early",
            code="not_sent",
            reads=[],
            makes=self._makes,
        )

    def _write(self) -> None:
        write_records(self._out, self._pairs)

    def _write_report(self) -> None:
        document = {
            "stages": self._stages,
            "python": platform.python_version(),
            "affinity": self._affinity,
            **({"recount": self._recount} if self._recount else {}),
        }
        jsonio.write(self._out / "driver.json", document)


def read_schedule(path: Path) -> list[ScheduledRequest]:
    """The sealed schedule, one request a line."""
    decoder = msgspec.json.Decoder(ScheduledRequest)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]


def p99(values: list[int]) -> int | None:
    """The 99th percentile by nearest rank; None without values."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else None
