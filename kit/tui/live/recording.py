"""A sealed run played again from its journal alone."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from kit.core.model import Event
from kit.show.live.follow import Over, journal_of
from kit.show.live.runstate import RunState
from kit.show.live.snapshot import SECOND_NS
from kit.tui.live.runscreen import RunScreenBase
from kit.tui.screen import badge

SPEEDS = (1, 2, 5, 10, 60, 300)


class RecordingScreen(RunScreenBase):
    """A sealed run, played again from its journal: faster, slower, phase by phase.

    Args:
        run: its folder.
        clock: seconds on a monotonic clock.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", id="pause"),
        Binding("greater_than_sign,full_stop", "speed(1)", "Speed", key_display="</>", id="faster"),
        Binding("less_than_sign,comma", "speed(-1)", "Slower", show=False, id="slower"),
        Binding("n", "phase(1)", "Next/prev", key_display="n/p", id="phase-next"),
        Binding("p", "phase(-1)", "Phase before", show=False, id="phase-before"),
    ]

    def __init__(self, run: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._run = run
        self.crumbs, self.command = f"Recording › {run.name[:12]}", f"kit show {run.name[:12]}"
        self._events: tuple[Event, ...] = ()
        self._times: list[int] = []
        self._begins: list[int] = []
        self._state, self._taken = RunState(), 0
        self._at, self._before = 0.0, clock()
        self._speed, self._playing = 2, True

    def on_mount(self) -> None:
        self.fetch(lambda: journal_of(self._run), self._loaded)

    def _loaded(self, events: tuple[Event, ...]) -> None:
        self._events = events
        self._times = [e.t for e in events]
        self._begins = [e.t for e in events if e.kind == "phase.begin"]
        self._before = self._clock()
        if not events:
            self.show_over(Over("unknown", "this run has no journal that can be read"))
        self.draw()

    # --- time -------------------------------------------------------------------------------

    def now(self) -> int:
        """The position of the recording, ns."""
        return int(self._at)

    def draw(self) -> None:
        """Play up to now, and draw."""
        clock = self._clock()
        if self._playing and self._events:
            self.go_to(self._at + (clock - self._before) * SPEEDS[self._speed] * SECOND_NS)
        self._before = clock
        super().draw()

    def go_to(self, t: float) -> None:
        """Go to ``t`` (ns), forwards or backwards."""
        end = self._times[-1]
        self._at = min(max(t, 0.0), float(end))
        upto = bisect_right(self._times, self._at)
        if upto < self._taken:
            self._state, self._taken = RunState(), 0
        if upto != self._taken:
            for event in self._events[self._taken : upto]:
                self._state.take(event)
            self._taken, self.snapshot = upto, self._state.snapshot()
        self._note_end(upto == len(self._times))

    def _note_end(self, ended: bool) -> None:
        if ended and self.over is None:
            self._playing = False
            self.show_over(Over("sealed", run=self._run))
        elif not ended:
            self.hide_over()

    def word(self) -> Text:
        """``● 5×``, ``○ paused 5×``."""
        speed = f"{SPEEDS[self._speed]}×"
        if self.over:
            return badge("ok" if self.snapshot.status == "complete" else "fail", "ended")
        return badge("running", speed) if self._playing else badge("withheld", f"paused {speed}")

    # --- keys -------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Pause or continue; at the end, start again."""
        if self.over and self._events:
            self.go_to(0.0)
        self._playing = not self._playing
        self._before = self._clock()
        self.draw()

    def action_speed(self, step: int) -> None:
        """Faster or slower."""
        self._speed = min(max(self._speed + step, 0), len(SPEEDS) - 1)
        self.draw()

    def action_phase(self, step: int) -> None:
        """Go to the begin of the next phase, or of the one before."""
        if not self._events:
            return
        if step > 0:
            later = [t for t in self._begins if t > self._at]
            self.go_to(later[0] if later else self._times[-1])
        else:
            # As on a player: shortly after a begin, back to the one before.
            earlier = [
                t for t in self._begins if t < self._at - SECOND_NS * SPEEDS[self._speed] / 2
            ]
            self.go_to(earlier[-1] if earlier else 0)
        self._before = self._clock()
        self.draw()
