"""A driver's folder and configuration, and the server it drives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.jsonio import canonical
from kit.core.model import Request, Response, ScheduledRequest
from kit.measure.drive import DriverProcess
from tests.drive.server import Server


@dataclass
class Bench:
    """One launch's folder, driven against one server."""

    folder: Path
    server: Server

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def schedule(self, *does: str | dict[str, Any], at_ns: list[int] | None = None) -> Path:
        """A schedule of measured requests, one for each thing the server shall do."""
        bodies = [do if isinstance(do, dict) else {"do": do} for do in does]
        requests = [
            ScheduledRequest(
                index=i,
                stage=body.pop("stage", "measured"),
                item=f"item{i}",
                path="/v1/chat/completions",
                body=body,
                at_ns=at_ns[i] if at_ns else None,
            )
            for i, body in enumerate(bodies)
        ]
        lines = [canonical(msgspec.to_builtins(r)) + b"\n" for r in requests]
        path = self.folder / "schedule.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    def config(self, *does: str | dict[str, Any], **changes: Any) -> dict[str, Any]:
        schedule = self.schedule(*does, at_ns=changes.pop("at_ns", None))
        return {
            "origin": time.monotonic_ns(),
            "base_url": self.server.url,
            "schedule": str(schedule),
            "out": str(self.out),
            "arrivals": {"kind": "closed", "concurrency": 1},
            "request_s": 5.0,
            "cpus": "",
            "recount": None,
        } | changes

    def driver(self, *does: str | dict[str, Any], **changes: Any) -> DriverProcess:
        return DriverProcess(self.config(*does, **changes), self.folder / "driver.json")

    def requests(self) -> list[Request]:
        lines = (self.out / "requests.jsonl").read_bytes().splitlines()
        for line in lines:
            assert canonical(json.loads(line)) == line
        return [msgspec.json.decode(line, type=Request) for line in lines]

    def responses(self) -> list[Response]:
        lines = (self.out / "responses.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Response) for line in lines]

    def about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads((self.out / "driver.json").read_text())
        return about


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Server() as server:
        yield Bench(tmp_path, server)
