"""The load driver: a separate process that sends the sealed schedule and times the answers.

This module is the runner's side. ``python -m kit.measure.drive CONFIG.json`` is the driver's. Its
configuration::

    origin     the run's origin on CLOCK_MONOTONIC (ns)
    base_url   http://HOST:PORT of the server
    schedule   path of the sealed schedule.jsonl
    out        folder for requests.jsonl, responses.jsonl, driver.json and images/
    arrivals   a `kit.core.model.ArrivalsSpec`
    request_s  longest time for one request, connecting included (s)
    cpus       CPU set to run on, such as "0-3,6"
    recount    null, or a runtime's ``recount``
    end_mark   whether the runtime ends each stream with ``[DONE]`` (left out: it does)
    makes      ``text`` or ``image``: what the schedule asks for (left out: texts)

It takes lines on its stdin (``stage NAME``, ``recount``, ``abort``; EOF ends it) and answers with
JSON lines on its stdout: ``ready``, ``progress``, ``sent``, ``stage``, ``recounted``.

Read on: `client` sends, `wire` is the hot path. Answers are parsed when a stage is over: `body`
(HTTP), `sse` (events), `dialects` (formats of servers), `answer` (an answer's outcome), `pieces`
(its text and tokens), `parse` (the two records). `spool` keeps them on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from kit.core.child import Child
from kit.core.errors import DriverFailed
from kit.core.model import Record
from kit.measure.drive.spool import salvage

__all__ = ("DriverProcess", "StageReport", "salvage")

Watch = Callable[[dict[str, Any] | None], None]
_READY_S = 30.0
_END_S = 10.0
_RECOUNT_S = 600.0


class StageReport(Record, frozen=True, kw_only=True):
    """The driver's report on a stage and on itself.

    ``cpu_share`` is its CPU time over wall time; ``lag_p99_ns`` how late it sent, 99th percentile;
    ``reason`` the most frequent one of failed requests, ``why`` in the journal.
    """

    stage: str
    ok: int
    failed: int
    cpu_share: float
    lag_p99_ns: int | None
    reason: str | None = msgspec.field(default=None, name="why")


class DriverProcess:
    """A driver process as a context manager; the process always ends with it."""

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self._child = Child("kit.measure.drive", config, path)

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

    def send_stage(self, name: str, watch: Watch) -> None:
        """Send a stage; ``watch`` is called with each line and at least every 0.1 s.

        Returns as soon as the last request is done, before anything is parsed, so that a phase
        can end there.

        Raises:
            DriverFailed: the driver ended early. Whatever ``watch`` raises passes through.
        """
        self._child.say(f"stage {name}")
        try:
            self._expect("sent", None, watch)
        except BaseException:
            # Active requests end inside their phase, and are recorded before anything else ends.
            self._child.say("abort")
            self.close()
            raise

    def report_stage(self, name: str, watch: Watch) -> StageReport:
        """Wait until the stage just sent is parsed and on disk.

        Raises:
            DriverFailed: the driver ended early, or every measured request failed.
                Whatever ``watch`` raises passes through.
        """
        line = self._expect("stage", None, watch)
        fields = {key: line[key] for key in StageReport.__struct_encode_fields__}
        report = msgspec.convert(fields, StageReport)
        if name == "measured" and report.ok == 0 and report.failed:
            raise DriverFailed(
                f"none of {report.failed} measured requests was answered well: {report.reason}",
                "see launches/*/requests.jsonl and container.log in the run",
            )
        return report

    def recount(self) -> None:
        """Let the server count the tokens of answers without a count, outside measured phases."""
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
            f"the load driver ended early{self._child.end_text()}",
            "run it again; if it happens again, `kit show` has the driver's log",
        )


def _unwatched(line: dict[str, Any] | None) -> None:
    """A ``watch`` for short waits, which does nothing."""
