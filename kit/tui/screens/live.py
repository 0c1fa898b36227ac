"""Live: a run in progress, followed by its journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from kit.core.errors import KitError
from kit.run.launch import container_name
from kit.show.live.follow import Follower, Over, RunUpdate
from kit.show.live.occupants import MeterUnavailable, Occupants, Seen, why_not
from kit.show.live.snapshot import SECOND_NS
from kit.tui.dialogs import AskLine, YesNo
from kit.tui.live.panels import what_is_lost
from kit.tui.live.recording import RecordingScreen
from kit.tui.live.runscreen import RunScreenBase
from kit.tui.screen import badge
from kit.tui.typeahead import ENDLESS

__all__ = ("LiveScreen", "RecordingScreen")

_CANCEL_S = 0.1
_WATCH_S = 2.0
WATCHING = f"{ENDLESS}: GPUs"


class LiveScreen(RunScreenBase):
    """A run in progress. It does not need this screen: leave, or lose the link, and it continues.

    Args:
        run_id: its id, or a prefix of that.
        clock: seconds on a monotonic clock.
        poll_s: how often its journal is read, s.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop…", id="stop"),
        Binding("space", "freeze", "Freeze", id="freeze"),
        Binding("m", "mark", "Mark", id="mark"),
        Binding("escape,q", "back", "Leave", key_display="q", id="leave"),
    ]

    class Fresh(Message):
        """The thread has a new snapshot."""

        def __init__(self, update: RunUpdate) -> None:
            super().__init__()
            self.update = update

    class Watched(Message):
        """Who uses the GPUs now, or why nobody is listed."""

        def __init__(self, seen: Mapping[str, Seen], why_not: str = "") -> None:
            super().__init__()
            self.seen, self.why_not = seen, why_not

    class Ended(Message):
        """The thread is done."""

        def __init__(self, over: Over) -> None:
            super().__init__()
            self.over = over

    def __init__(
        self, run_id: str, *, clock: Callable[[], float] = time.monotonic, poll_s: float = 0.5
    ) -> None:
        super().__init__(clock)
        self.run_id, self._poll_s = run_id, poll_s
        self.crumbs, self.command = f"Live › {run_id}", f"kit attach {run_id}"
        self._heard, self._went_on = clock(), False
        self._broken, self._waiting = 0, ""
        self._follower: Follower | None = None
        self._was_going = False

    def on_mount(self) -> None:
        self._follower = Follower(self.kit.store, self.run_id)
        self._follow(self._follower)

    # --- the thread -------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group=ENDLESS, exit_on_error=False)
    def _follow(self, follower: Follower) -> None:
        worker = get_current_worker()
        over = None
        while not worker.is_cancelled and over is None:
            over = self._step(follower)
            if over is None:
                self._went_on = True
                self._rest(worker)
        if over and not worker.is_cancelled:
            self.post_message(self.Ended(over))

    def _step(self, follower: Follower) -> Over | None:
        try:
            return follower.step(lambda update: self.post_message(self.Fresh(update)))
        except KitError as error:
            return Over("unknown", error.message, error.remedy)
        except Exception as bug:  # a bug must not end the UI, and is shown
            return Over("unknown", f"a bug in kit: {type(bug).__name__}: {bug}")

    @work(thread=True, exclusive=True, group=WATCHING, exit_on_error=False)
    def _watch_gpus(self) -> None:
        """Ask the driver who uses the GPUs, seldom, and only while someone looks."""
        worker = get_current_worker()
        try:
            occupants = Occupants()
        except MeterUnavailable as error:
            self.post_message(self.Watched({}, why_not(error)))
            return
        try:
            while not worker.is_cancelled and self.has_class("-gpus") and not self.over:
                self.post_message(self.Watched(occupants.read(self._container())))
                self._rest(worker, _WATCH_S)
        finally:
            occupants.close()

    def _container(self) -> str:
        """The run's container, while there is one."""
        step = self.snapshot.step
        if step is None or step.phase == "idle":
            return ""
        return container_name(self.run_id, self.snapshot.launch)

    def on_live_screen_watched(self, message: LiveScreen.Watched) -> None:
        message.stop()
        is_kept = self.over or (self.frozen and self.occupants)  # what it shows stands still
        if not is_kept:
            self.occupants, self.occupants_missing = message.seen, message.why_not

    def action_gpus(self) -> None:
        super().action_gpus()
        if self.has_class("-gpus") and not self.over:
            self._watch_gpus()

    def _rest(self, worker: Worker[None], seconds: float | None = None) -> None:
        end = time.monotonic() + (self._poll_s if seconds is None else seconds)
        while not worker.is_cancelled and (left := end - time.monotonic()) > 0:
            time.sleep(min(_CANCEL_S, left))

    def on_live_screen_fresh(self, message: LiveScreen.Fresh) -> None:
        message.stop()
        first = not self.snapshot.events
        self.snapshot, self._heard = message.update.snapshot, self._clock()
        self._waiting = message.update.waiting
        if self.snapshot.id and self.snapshot.id != self.run_id:
            self.run_id = self.snapshot.id
            self.crumbs, self.command = f"Live › {self.run_id}", f"kit attach {self.run_id}"
        self._show_broken(message.update.broken)
        if self._is_going() != self._was_going:  # what the foot offers depends on it
            self._was_going = self._is_going()
            self.refresh_bindings()
        if first:  # from then on only the timer draws
            self.draw()

    def on_live_screen_ended(self, message: LiveScreen.Ended) -> None:
        message.stop()
        self.show_over(message.over)
        if self._went_on:  # not of one that had ended before
            status = self.snapshot.status or message.over.kind
            self.kit.announce("kit", f"run {self.run_id}: {status}")

    def _show_broken(self, broken: tuple[int, ...]) -> None:
        if len(broken) > self._broken:
            self._broken = len(broken)
            message = f"line {broken[-1]} of the journal cannot be read; it was passed over"
            self.notify(message, severity="warning", markup=False)

    # --- what it says -----------------------------------------------------------------------

    def now(self) -> int:
        """The run's clock: the last event's time, and what has passed since."""
        if self.over or self.snapshot.status or not self.snapshot.events:
            return self.snapshot.t
        return self.snapshot.t + int((self._clock() - self._heard) * SECOND_NS)

    def word(self) -> Text:
        """``● running``, ``✔ complete``, ``✘ runner dead``."""
        status = self.snapshot.status
        if self.over and self.over.kind != "sealed":
            words = {"dead": "runner dead", "blocked": "blocked", "gone": "gone"}
            return badge("fail", words.get(self.over.kind, "not found"))
        if self.over:
            return badge("ok" if status == "complete" else "fail", status or "sealed")
        if status:
            return badge("running", "sealing")
        if self._waiting and not self.snapshot.events:
            return badge("running", self._waiting)
        broken = f", {self._broken} broken" if self._broken else ""
        lost = self.snapshot.lost
        if lost or broken:
            return badge("warn", "running" + (f", {lost[-1]} lost" if lost else "") + broken)
        return badge("running")

    # --- keys -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("stop", "mark"):
            return self._is_going()
        return super().check_action(action, parameters)

    def _is_going(self) -> bool:
        """Whether the run goes on, and can be reached."""
        going = self.over is None and not self.snapshot.status
        return bool(going and self._follower and self._follower.session)

    def action_stop(self) -> None:
        """Stop the run, once the person has confirmed it."""
        snapshot = self.snapshot
        lost = what_is_lost(snapshot.launch, snapshot.launches)
        question = YesNo(f"Stop this run?\n{lost}", "Stop it", "Let it go on")
        self.app.push_screen(question, self._stop)

    def _stop(self, sure: bool | None) -> None:
        session = self._follower.session if self._follower else None
        if sure and session:
            self.change(session.stop, lambda _: self.notify("stopping; it is sealed as aborted"))

    def action_mark(self) -> None:
        """Mark this moment with a word."""
        message = "A word for this moment; it goes into the sealed run."
        self.app.push_screen(AskLine("Mark", message, most=200), self._mark)

    def _mark(self, text: str | None) -> None:
        session = self._follower.session if self._follower else None
        if text and session:
            self.change(lambda: session.mark(text), lambda _: self.notify("marked"))

    def leave(self) -> None:
        """Leave the screen; a message says that the run continues."""
        if self.over is None:
            command = f"kit attach {self.run_id}"
            if len(self.app.screen_stack) <= 2:
                self.app.exit(message=f"the run continues; {self.kit.command(command)}")
                return
            self.notify(f"the run continues; `{command}`", markup=False)
        super().leave()
