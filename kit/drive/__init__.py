"""The load driver: a process of its own that sends the sealed schedule and times the answers.

This module is the engine's side; ``python -m kit.drive CONFIG.json`` is the driver's. The
driver takes lines on its stdin (``stage NAME``, ``recount``, ``abort``; EOF ends it) and answers
with JSON lines on its stdout.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from kit.child import Child
from kit.drive.spool import salvage
from kit.errors import DriverFailed
from kit.model import Record

__all__ = ("DriverProcess", "StageReport", "salvage")

Watch = Callable[[dict[str, Any] | None], None]
_READY_S = 30.0
_END_S = 10.0
_RECOUNT_S = 600.0


class StageReport(Record, frozen=True, kw_only=True):
    """What the driver says of a stage and of itself.

    ``cpu_share`` is its CPU time over wall time; ``lag_p99_ns`` how late it sent, 99th percentile.
    """

    stage: str
    ok: int
    failed: int
    cpu_share: float
    lag_p99_ns: int | None


class DriverProcess:
    """A driver process as a context manager; it is gone afterwards whatever happens."""

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self._child = Child("kit.drive", config, path)

    def __enter__(self) -> DriverProcess:
        self._child.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._child.say("abort")
        self.close()

    def wait_ready(self) -> None:
        """Return once the driver has read its schedule.

        Raises:
            DriverFailed: it ended instead, or took longer than 30 s.
        """
        self._expect("ready", _READY_S, _unwatched)

    def run_stage(self, name: str, watch: Watch) -> StageReport:
        """Send a stage; ``watch`` is called with each line and at least every 0.1 s.

        Raises:
            DriverFailed: the driver ended early. Whatever ``watch`` raises passes through.
        """
        self._child.say(f"stage {name}")
        try:
            line = self._expect("stage", None, watch)
        except BaseException:
            # What is in flight ends inside its phase, and is on record before anything else ends.
            self._child.say("abort")
            self.close()
            raise
        report = StageReport(**{field: line[field] for field in StageReport.__struct_fields__})
        if name == "measured" and report.ok == 0:
            raise DriverFailed(
                f"none of {report.failed} measured requests was answered well",
                "see launches/*/requests.jsonl and container.log in the run",
            )
        return report

    def recount(self) -> None:
        """Have answers without a token count counted by the server, outside measured phases."""
        self._child.say("recount")
        self._expect("recounted", _RECOUNT_S, _unwatched)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._child.close(_END_S)

    def _expect(self, event: str, timeout_s: float | None, watch: Watch) -> dict[str, Any]:
        for line in self._child.lines(timeout_s):
            watch(line)
            if line is not None and line.get("event") == event:
                return line
        raise DriverFailed(
            f"the load driver ended early{self._child.last_words()}",
            "run it again; if it happens again, `kit show` has the driver's log",
        )


def _unwatched(line: dict[str, Any] | None) -> None:
    """A watch for waits that are short."""
