"""The real driver process against a real server on loopback that misbehaves on request."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit import jsonio
from kit.drive import DriverProcess, salvage
from kit.errors import DriverFailed
from kit.model import Request, Response, ScheduledRequest


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def closing(tokens: int) -> bytes:
    usage = {"prompt_tokens": 5, "completion_tokens": tokens,
             "prompt_tokens_details": {"cached_tokens": 2}}  # fmt: skip
    last = {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}
    return b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"


class Server:
    """Answers as the request's ``act`` says."""

    def __init__(self) -> None:
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )  # fmt: skip
        body = json.loads(await reader.readexactly(length))
        if head.startswith(b"POST /count"):
            answer = json.dumps({"count": len(body["input"].split())}).encode()
            kind = b"Content-Type: application/json\r\n"
            writer.write(
                b"HTTP/1.1 200 OK\r\n" + kind + b"Content-Length: %d\r\n\r\n" % len(answer)
            )
            writer.write(answer)
        else:
            await getattr(self, body["act"])(writer)
        await writer.drain()
        writer.close()

    @staticmethod
    def _ok(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")

    async def plain(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        for word in ("a ", "b ", "ü"):
            writer.write(chunk(word))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(closing(3))

    async def coalesced(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(chunk("a ") + chunk("b ") + chunk("c") + closing(3))

    async def torn(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        for byte in chunk("a ") + chunk("é") + closing(2):
            writer.write(bytes([byte]))
            await writer.drain()

    async def error500(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 no\r\nContent-Length: 9\r\n\r\nbroken\n!!")

    async def garbage(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(chunk("a") + b"data: {not json\n\n")

    async def no_stream(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(b"<html>hello</html>\n\n")

    async def cut(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(chunk("a"))
        await writer.drain()

    async def hang(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(chunk("a"))
        await writer.drain()
        await asyncio.sleep(30)

    async def uncounted(self, writer: asyncio.StreamWriter) -> None:
        self._ok(writer)
        writer.write(chunk("one two three") + b"data: [DONE]\n\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


class Driven:
    """A driver on a schedule of acts, in a folder of its own."""

    def __init__(self, server: Server, folder: Path, acts: list[str], **changes: Any) -> None:
        at = changes.pop("at", [None] * len(acts))
        self.folder, self.out = folder, folder / "out"
        lines = [
            ScheduledRequest(index=i, stage="measured", item=act, path="/v1", body={"act": act},
                             at_ns=at[i], expect_tokens=3)
            for i, act in enumerate(acts)
        ]  # fmt: skip
        schedule = folder / "schedule.jsonl"
        schedule.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self.config = {
            "origin": time.monotonic_ns(), "base_url": server.url, "schedule": str(schedule),
            "out": str(self.out), "arrivals": {"kind": "closed", "concurrency": 1},
            "request_s": 2.0, "cpus": "0", "recount": None,
        } | changes  # fmt: skip

    def process(self) -> DriverProcess:
        return DriverProcess(self.config, self.folder / "config.json")

    def records(self) -> tuple[list[Request], list[Response]]:
        lines = (self.out / "requests.jsonl").read_bytes().splitlines()
        answers = (self.out / "responses.jsonl").read_bytes().splitlines()
        return (
            [msgspec.convert(jsonio.parse(line), Request) for line in lines],
            [msgspec.convert(jsonio.parse(line), Response, strict=False) for line in answers],
        )

    def run(self) -> tuple[list[Request], list[Response]]:
        with self.process() as driver:
            driver.wait_ready()
            driver.run_stage("measured", lambda line: None)
            driver.recount()
        return self.records()


def test_times_text_and_counts_of_good_answers(server: Server, tmp_path: Path) -> None:
    requests, responses = Driven(server, tmp_path, ["plain", "coalesced", "torn"]).run()
    assert [r.status for r in requests] == ["ok"] * 3
    assert [r.text for r in responses] == ["a b ü", "a b c", "a é"]
    assert [len(r.chunk_times) for r in responses] == [3, 3, 2]
    assert [r.output_tokens for r in requests] == [3, 3, 2]
    assert [r.cached_tokens for r in requests] == [2, 2, 2]
    for request, response in zip(requests, responses, strict=True):
        assert request.sent is not None
        assert request.first_byte is not None
        times = [request.intended, request.sent, request.first_byte, *response.chunk_times]
        assert times == sorted(times)
        assert request.first_token == response.chunk_times[0]
        assert request.last_token == response.chunk_times[-1] <= request.done
    assert responses[0].chunk_times[2] - responses[0].chunk_times[0] >= 20_000_000


@pytest.mark.parametrize(
    ("act", "status", "words"),
    [
        ("error500", "error", "HTTP 500: broken"),
        ("garbage", "error", "not an OpenAI chunk"),
        ("no_stream", "error", "not an event stream"),
        ("cut", "error", "before the answer was finished"),
        ("hang", "timeout", "within 2 s"),
    ],
)
def test_a_bad_answer_is_recorded_and_the_next_request_goes_on(
    server: Server, tmp_path: Path, act: str, status: str, words: str
) -> None:
    requests, _ = Driven(server, tmp_path, [act, "plain"]).run()
    assert requests[0].status == status
    assert words in (requests[0].error or "")
    assert requests[1].status == "ok"


def test_constant_arrivals_keep_their_intended_times(server: Server, tmp_path: Path) -> None:
    at = [0, 50_000_000, 100_000_000]
    driven = Driven(server, tmp_path, ["plain"] * 3, at=at)
    requests, _ = driven.run()
    first = requests[0].intended
    assert [r.intended - first for r in requests] == at
    assert all(r.sent is not None and r.sent >= r.intended for r in requests)


def test_a_gone_server_ends_the_stage_with_every_request_on_record(
    server: Server, tmp_path: Path
) -> None:
    driven = Driven(server, tmp_path, ["plain"] * 3, base_url="http://127.0.0.1:9")
    with driven.process() as driver, pytest.raises(DriverFailed, match="none of 3"):
        driver.wait_ready()
        driver.run_stage("measured", lambda line: None)
    requests, _ = driven.records()
    assert [r.status for r in requests] == ["error", "aborted", "aborted"]
    assert requests[1].sent is None


def test_tokens_are_counted_afterwards_where_the_stream_has_no_count(
    server: Server, tmp_path: Path
) -> None:
    how = {"path": "/count", "text_key": "input", "count_key": "count"}
    requests, _ = Driven(server, tmp_path, ["uncounted"], recount=how).run()
    assert requests[0].output_tokens == 3
    assert Driven(server, tmp_path, ["uncounted"]).run()[0][0].output_tokens is None


def test_killed_driver_loses_only_what_was_in_flight(server: Server, tmp_path: Path) -> None:
    driven = Driven(server, tmp_path, ["plain", "hang"], request_s=30.0)
    driver = driven.process()
    with driver:
        driver.wait_ready()

        def kill(line: dict[str, Any] | None) -> None:
            if line and line.get("done") == 1:
                found = subprocess.run(
                    ["pgrep", "-f", str(tmp_path)], capture_output=True, text=True
                )
                for pid in found.stdout.split():
                    os.kill(int(pid), signal.SIGKILL)

        with pytest.raises(DriverFailed, match="signal 9"):
            driver.run_stage("measured", kill)
    salvage(driven.out, driven.config["origin"])
    requests, responses = driven.records()
    assert [(r.index, r.status) for r in requests] == [(0, "ok")]
    assert responses[0].text == "a b ü"


def test_abort_cuts_a_stage_off_and_records_it(server: Server, tmp_path: Path) -> None:
    driven = Driven(server, tmp_path, ["plain", "hang", "plain"], request_s=30.0)
    with pytest.raises(KeyboardInterrupt), driven.process() as driver:
        driver.wait_ready()

        def stop(line: dict[str, Any] | None) -> None:
            if line and line.get("done") == 1:
                raise KeyboardInterrupt

        driver.run_stage("measured", stop)
    requests, _ = driven.records()
    assert [r.status for r in requests] == ["ok", "aborted", "aborted"]
