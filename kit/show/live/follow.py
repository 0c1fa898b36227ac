"""Follows a run, in any state: in flight, died, refused or sealed.

All of it blocks, so that faces call it in a separate thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.errors import Blocked, KitError, PreflightFailed, UsageError
from kit.core.model import Event, Finding, MeterPlan
from kit.record import events
from kit.run.session import RunEnded, Session
from kit.show.live.runstate import RunState
from kit.show.live.snapshot import RunSnapshot
from kit.store.store import Store

LAST_LINES = 20
_MOST_BYTES = 64 << 10


@dataclass(frozen=True)
class Over:
    """How a run ended: ``sealed``, ``blocked``, ``dead``, ``gone`` or ``unknown``."""

    kind: str
    message: str = ""
    remedy: str = ""
    run: Path | None = None
    findings: tuple[Finding, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunUpdate:
    """A new snapshot, numbers of unreadable lines of the journal, and what the run waits for."""

    snapshot: RunSnapshot
    broken: tuple[int, ...] = ()
    waiting: str = ""


class Follower:
    """One run in any state: call `step` until it returns how the run ended.

    Args:
        name: its id, or a prefix of that.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self.session: Session | None = None
        self._folder: Path | None = None
        self._reader: events.Reader | None = None
        self._state: RunState | None = None
        self._waiting = ""

    def step(self, report: Callable[[RunUpdate], object]) -> Over | None:
        """Report what is new; returns how the run ended, if it did."""
        if self._folder is None:
            unknown = self._find()
            if unknown:
                return unknown
        # Checked before reading, so that the runner's last lines are not missed.
        alive = self.session is not None and self.session.is_alive()
        self._report_new(report)
        if alive:
            self._report_wait(report)
            return None
        over = self._over()
        if over.run and self._reader:
            # Sealing moved the journal, perhaps before its last lines were read.
            self._reader.path = over.run / events.FILE
            self._report_new(report)
        return over

    def _report_wait(self, report: Callable[[RunUpdate], object]) -> None:
        """Before the first event: report what the run waits for, whenever that changes."""
        if self.session is None or (self._state and self._state.snapshot().events):
            return
        wait = str(self.session.waiting() or "")
        if wait != self._waiting:
            self._waiting = wait
            report(RunUpdate(RunSnapshot(), (), wait))

    def _find(self) -> Over | None:
        """Find the run: in flight, refused, without its runner, or sealed."""
        try:
            self.session = Session.attach(self._store, self._name)
        except Blocked as error:
            return _blocked(error)
        except UsageError as error:
            left = [i for i in self._store.leftovers() if i.startswith(self._name)]
            if len(left) == 1:
                self.session = Session(self._store, left[0], self._store.inflight / left[0])
            else:
                return self._find_sealed(error)
        self._watch(self.session.folder)
        return None

    def _find_sealed(self, error: KitError) -> Over | None:
        try:
            self._watch(self._store.find(self._name))
        except KitError:
            return Over("unknown", error.message, error.remedy)
        return None

    def _watch(self, folder: Path) -> None:
        self._folder, self._reader = folder, events.Reader(folder / events.FILE)

    def _report_new(self, report: Callable[[RunUpdate], object]) -> None:
        assert self._reader and self._folder
        fresh = self._reader.read()
        if not fresh and self._state:
            return
        if self._state is None or (fresh and fresh[0].seq == 0):
            self._state = RunState(meters_of(self._folder))
        for event in fresh:
            self._state.take(event)
        report(RunUpdate(self._state.snapshot(), tuple(self._reader.broken)))

    def _over(self) -> Over:
        assert self._folder
        if self.session is None:
            return Over("sealed", run=self._folder)
        lines = last_lines(self._store.scratch_folder(self.session.id) / "runner.log")
        try:
            return Over("sealed", run=self.session.result())
        except Blocked as error:
            return _blocked(error)
        except RunEnded as error:
            if error.run:
                return Over("sealed", error.message, error.remedy, error.run)
            return self._died(error, lines)

    def _died(self, error: KitError, lines: tuple[str, ...]) -> Over:
        assert self.session
        if not self.session.folder.exists():
            reason = "it never began, or another screen has shown why and removed it"
            return Over(
                "gone", f"run {self.session.id} is gone: {reason}", "`kit ls` lists the runs"
            )
        return Over("dead", error.message, error.remedy, lines=lines)


def _blocked(error: Blocked) -> Over:
    findings = error.findings if isinstance(error, PreflightFailed) else ()
    return Over("blocked", error.message, error.remedy, findings=tuple(findings))


def journal_of(run: Path) -> tuple[Event, ...]:
    """The readable events of a sealed run."""
    return tuple(events.Reader(run / events.FILE).read())


def meters_of(folder: Path) -> Sequence[MeterPlan]:
    """The plan's meters; none if the plan is missing or unreadable."""
    with contextlib.suppress(OSError, KitError, KeyError, TypeError, msgspec.ValidationError):
        plan: Any = jsonio.read(folder / "plan.json")
        return msgspec.convert(plan["meters"], tuple[MeterPlan, ...])
    return ()


def last_lines(path: Path) -> tuple[str, ...]:
    """The last lines of a log, at most 20."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _MOST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.rstrip().splitlines()[-LAST_LINES:])
