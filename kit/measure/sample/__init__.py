"""The sampler: a separate process that reads meters on absolute deadlines and knows no phases.

This module is the runner's side. ``python -m kit.measure.sample CONFIG.json`` is the sampler's::

    CONFIG  {"origin", "out", "cpus", "meters": [{"name", "alias", "config", "planned"}]}
    stdin   any line, or EOF, ends it: closing reads, flush, report
    stdout  JSON lines: ready {devices}; live {values}; error {meter, message};
            stopped {rows, late_p99_ns, overruns, tiers, failed}

A thread in the runner would not suffice: in a busy interpreter a 100 Hz thread misses most of its
deadlines.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any

from kit.core.child import Child
from kit.core.errors import SamplerFailed

__all__ = ("SamplerProcess",)

_READY_S = 40.0
_END_S = 15.0
_REMEDY = "run it again; the samples until then are in the run"


class SamplerProcess:
    """A sampler process as a context manager; the process always ends with it.

    Args:
        config: see the module's docstring; it may hold credentials, so that only this user can
            read its file, which is deleted when the sampler is ready.
        path: the file of the configuration; the process's log is next to it.
    """

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        self._path = path
        self._child = Child("kit.measure.sample", config, path)
        self._stopped: dict[str, Any] | None = None
        self._failure: SamplerFailed | None = None
        self._pending_errors: list[dict[str, Any]] = []

    def __enter__(self) -> SamplerProcess:
        self._child.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.close(_END_S)
        self._forget()

    def wait_ready(self) -> None:
        """Return once every meter has been read once.

        Raises:
            SamplerFailed: it ended instead, or took longer than 40 s.
        """
        for line in self._child.lines(_READY_S):
            if line is not None and line.get("event") == "ready":
                self._forget()
                return
            self._keep([line] if line else [])
        raise self._failed()

    def poll(self) -> list[dict[str, Any]]:
        """The new lines since the last call, without waiting.

        Raises:
            SamplerFailed: it ended by itself.
        """
        ended = self._child.ended
        lines = self._child.waiting()
        if self._stopped is None and ended:
            self._keep(lines)
            raise self._failed()
        return [*self.pending_errors(), *lines]

    def pending_errors(self) -> list[dict[str, Any]]:
        """The ``error`` lines that no `poll` returned, each once: of the start and of the stop."""
        lines, self._pending_errors = self._pending_errors, []
        return lines

    def stop(self) -> dict[str, Any]:
        """Let it take its closing reads, write all rows, and end; returns its report.

        Errors meanwhile are kept for `pending_errors`.

        A sampler that is known to have failed reports only that:
        ``{"event": "stopped", "lost": True}``.

        Raises:
            SamplerFailed: it had ended by itself, which is only seen now.
        """
        if self._stopped is None:
            self._stopped = self._ask_to_end()
        return dict(self._stopped)

    def _ask_to_end(self) -> dict[str, Any]:
        self._child.close(_END_S)
        lines = [line for line in self._child.lines(1.0) if line is not None]
        self._keep(lines)
        for line in lines:
            if line.get("event") == "stopped":
                return line
        if self._failure is None:
            raise self._failed()
        return {"event": "stopped", "lost": True}

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        self._pending_errors += [line for line in lines if line.get("event") == "error"]

    def _failed(self) -> SamplerFailed:
        cause = self._child.end_text()
        self._failure = SamplerFailed(f"a sampler ended early{cause}", _REMEDY)
        return self._failure

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
