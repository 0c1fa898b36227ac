"""A run as a face sees it: start a runner in its own session, follow it, stop it.

The face has no pipe to the runner. It writes an order, starts the process and reads the journal.
When the face ends (a lost SSH link), the run continues, and `attach` follows it again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kit.core import causes, extras, jsonio
from kit.core.errors import KitError, RunFailed, UsageError
from kit.core.model import Event
from kit.machine import queue
from kit.record import events
from kit.run import marks, runner
from kit.store import refusals
from kit.store.store import Store

_POLL_S = 0.1
_LOG = re.compile(r"launches/\d{3}/container\.log")


class RunEnded(RunFailed):
    """A run that ended without completing; its archive is ``run``."""

    def __init__(self, message: str, remedy: str, run: Path | None, exit_code: int) -> None:
        super().__init__(message, remedy)
        self.run = run
        self.exit_code = exit_code


@dataclass
class Session:
    """A run that a face follows. ``process`` is None if another face started it."""

    store: Store
    id: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    newest_seq: int = -1

    @classmethod
    def start(cls, order: runner.Order, store: Store) -> Session:
        """Write the order and start a runner for it, independent of this terminal.

        Raises:
            ExtraMissing: kit is installed without what a run needs.
        """
        extras.require("docker")
        flight = store.begin()
        jsonio.write(flight.scratch(runner.ORDER_FILE), msgspec.to_builtins(order))
        flight.release()
        log = flight.scratch("runner.log").open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "kit.run.runner", str(flight.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return cls(store, flight.id, flight.path, process)

    @classmethod
    def attach(cls, store: Store, name: str) -> Session:
        """Follow a run that another face started, by (a prefix of) its id.

        Raises:
            Blocked: it was refused before it began; the error says why.
            UsageError: no such run is in flight.
        """
        alive = [id_ for id_ in store.inflight_ids() if id_.startswith(name)]
        if len(alive) != 1:
            raise _no_single(store, name, alive)
        return cls(store, alive[0], store.inflight / alive[0])

    def follow(self, on_wait: Callable[[queue.Wait], object] | None = None) -> Iterator[Event]:
        """Yield the run's new events up to its last; ends when the runner ends.

        Args:
            on_wait: called with what the run waits for, whenever that changes.
        """
        last: queue.Wait | None = None

        def goes_on() -> bool:
            nonlocal last
            if on_wait and self.newest_seq < 0 and (wait := self.waiting()) and wait != last:
                on_wait(wait)
                last = wait
            return self.is_alive()

        with suppress(events.BrokenChain):  # a line that a full disk cut short was removed
            for event in events.tail(self.folder / events.FILE, goes_on):
                if event.seq > self.newest_seq:
                    self.newest_seq = event.seq
                    yield event

    def waiting(self) -> queue.Wait | None:
        """What the run waits for before it begins; None if it does not wait."""
        return queue.waiting(self.id)

    def verdict(self) -> queue.Wait | None:
        """Wait until the launches begin, or until the run waits for other runs.

        Returns:
            What it waits for; None if its launches began.

        Raises:
            Blocked: it was refused: planning, preflight, or another run.
            RunEnded: it ended before its first launch.
        """
        while self.is_alive():
            if wait := self.waiting():
                return wait
            if self._has_launched():
                return None
            time.sleep(_POLL_S)
        self.result()  # raises how it ended; a run may also end before this check
        return None

    def _has_launched(self) -> bool:
        try:
            data = (self.folder / events.FILE).read_bytes()
        except OSError:
            return False
        return b'"kind":"launch.begin"' in data

    def is_alive(self) -> bool:
        """Whether the runner of this run still runs."""
        if self.process is not None:
            return self.process.poll() is None
        return self.store.is_alive(self.id)

    def stop(self) -> None:
        """Ask the runner to abort and seal; returns at once.

        Raises:
            UsageError: the runner has not taken over yet; the face still holds the lock.
        """
        if self.process is None and self.is_alive() and not self.store.is_adopted(self.id):
            raise UsageError("the runner is only starting", "stop it again in a second")
        pid = self.process.pid if self.process else self.store.pid_of(self.id)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)

    def mark(self, text: str) -> None:
        """Mark this moment of the run with a word; the runner journals it.

        Raises:
            UsageError: the run's folder cannot be written, or does not exist any more.
        """
        try:
            marks.leave(self.store.scratch_folder(self.id) / marks.FOLDER, text)
        except OSError as error:
            raise UsageError(
                f"the mark could not be left: {error.strerror}",
                f"check who may write to {self.store.root}",
            ) from error

    def result(self) -> Path:
        """The sealed run, after the runner has ended.

        Raises:
            Blocked: nothing ran; the error says why.
            RunEnded: the run failed or was stopped, and is sealed; or the runner died.
        """
        while self.is_alive():
            time.sleep(_POLL_S)
        refusal = refusals.recall(self.store, self.id)
        if refusal:
            raise refusal.error()
        sealed = self.store.sealed_as(self.id)
        if sealed is None:
            raise self._unsealed()
        self.store.forget_scratch(self.id)
        status, run = sealed
        if status == "complete":
            return run
        raise self._ended(status, run)

    def _ended(self, status: str, run: Path) -> KitError:
        fault = _fault_of(run)
        code = 130 if status == "aborted" else 1
        return RunEnded(
            fault.get("message") or f"the run {status}",
            _with_paths(fault.get("remedy", ""), run)
            or f"`kit show {run.name[:12]}` has the records until then",
            run,
            code,
        )

    def _unsealed(self) -> KitError:
        """The error of a run that was not sealed: the fault that the runner noted, or its death."""
        scratch = self.store.scratch_folder(self.id)
        with suppress(OSError, KitError, KeyError, TypeError):
            note: dict[str, Any] = jsonio.read(scratch / runner.UNSEALED_FILE)
            return RunEnded(note["message"], note["remedy"], None, int(note["exit_code"]))
        cause = causes.read(scratch / "runner.log")
        reason = f" ({cause.lines[0]})" if cause else ""
        return RunEnded(
            f"the runner of run {self.id} died{reason}",
            "`kit recover` seals its records",
            None,
            1,
        )


def _no_single(store: Store, name: str, alive: list[str]) -> KitError:
    """Why no single run in flight has this name: refused, sealed, unsealed, unknown."""
    refusal = refusals.recall(store, name) if not alive else None
    if refusal:
        return refusal.error()
    sealed = store.sealed_as(name) if name and not alive else None
    if sealed:
        status, run = sealed
        return UsageError(f"run {name} is over: {status}", f"`kit show {run.name[:12]}` shows it")
    where = ascii(str(store.root))[1:-1]
    in_flight = alive or store.inflight_ids()
    listed = ", ".join(in_flight)
    if alive:
        called = f" begin with {name!a}" if name else " are in progress"
        return UsageError(
            f"{len(alive)} runs of {where}{called}: {listed}", f"name one: `kit attach {alive[0]}`"
        )
    if name and (runs := [run for run in store.hashes() if run.startswith(name)]):
        return UsageError(f"run {name} is over", f"`kit show {runs[0][:12]}` shows it")
    if in_flight:
        return UsageError(
            f"no run in progress in {where} begins with {name!a}; in progress: {listed}",
            f"name one: `kit attach {in_flight[0]}`",
        )
    return UsageError(f"no run is in progress in {where}", "`kit ls` lists the sealed runs")


def _with_paths(remedy: str, run: Path) -> str:
    """A remedy with the full path of the log that it names, for a person to open."""
    return _LOG.sub(lambda path: str(run / path[0]), remedy)


def _fault_of(run: Path) -> dict[str, Any]:
    """The last fault in a sealed run's journal."""
    fault: dict[str, Any] = {}
    for event in events.decode((run / events.FILE).read_bytes()):
        if event.kind == "fault":
            fault = event.data
    return fault
