"""How the command line draws a run in progress, from its events alone.

`RunProgressView.take` returns the lines that an event leaves on the screen; the view itself shows
where the run is now. `kit.show.live.runstate` holds what is known of the run.
"""

from __future__ import annotations

import time

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from kit.core.model import Event
from kit.energy import names
from kit.record.phases import BLOCKS
from kit.show.live.eventwords import answered
from kit.show.live.runstate import RunState
from kit.show.live.snapshot import SECOND_NS, Device, RunSnapshot
from kit.show.render.console import device_name, plain, short_time, with_badge

_LASTING = ("warn", "fail", "mark")
_BAR = (8, 40)  # columns, at least and at most


class RunProgressView:
    """A run, built from its events in order; ``waiting`` says what it waits for before them."""

    waiting = ""

    def __init__(self) -> None:
        self._state = RunState()
        self._seen = (0, time.monotonic())

    def take(self, event: Event, *, every: bool = False) -> list[RenderableType]:
        """Take in the next event; returns the lines that it leaves on the screen.

        Args:
            every: return all lines of the log, and not only those on faults.
        """
        line = self._state.take(event)
        self._seen = (event.t, time.monotonic())
        if event.kind == "launch.end":
            return [_launch_line(self._state.snapshot())]
        if line and line.level in _LASTING:
            return [with_badge(line.level, plain(line.text))]
        return [plain(line.text)] if line and every else []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        snapshot = self._state.snapshot()
        if snapshot.step is None and not snapshot.done():
            waits = self.waiting if not snapshot.events else ""
            yield plain(waits or f"{snapshot.where()}: preparing", style="quiet")
            return
        yield _path(snapshot, options)
        yield self._current(snapshot, options)

    def _now(self) -> int:
        """The run's clock now: the last event's time and what has passed since, ns."""
        t, at = self._seen
        return t + int((time.monotonic() - at) * SECOND_NS)

    def _current(self, snapshot: RunSnapshot, options: ConsoleOptions) -> Text:
        """The present phase and its time, a bar of the requests, the power."""
        line = Text(f"{snapshot.where()}  ", no_wrap=True, overflow="ellipsis")
        rest = Text()
        if snapshot.step:
            rest.append(
                short_time(max(0, self._now() - snapshot.step.t0) / SECOND_NS), style="quiet"
            )
        for device in snapshot.devices:
            rest.append_text(_power(device, self._now()))
        progress = snapshot.progress
        if progress.total and snapshot.step and progress.stage == snapshot.step.phase:
            text = f" {progress.done}/{progress.total} requests  "
            room = options.max_width - line.cell_len - len(text) - rest.cell_len
            width = max(_BAR[0], min(_BAR[1], room))
            line.append_text(
                _bar(progress.done, progress.total, width, ascii_only=options.ascii_only)
            )
            line.append(text)
        return line.append_text(rest)


def _launch_line(snapshot: RunSnapshot) -> RenderableType:
    """``✔ 1st of 3 launches  startup 2.0 s · measured 3.0 s · 29 requests ok, 1 failed``."""
    done, progress = snapshot.done(), snapshot.progress
    keys = (("startup", None), ("measured", None))
    parts = [f"{names.phase(key[0])} {short_time(done[key])}" for key in keys if key in done]
    if progress.stage == "measured" and progress.failed is not None:
        parts.append(answered(progress.done - progress.failed, progress.failed))
    return with_badge(
        "warn" if progress.failed else "ok", plain(" · ".join(parts)), snapshot.where()
    )


def _path(snapshot: RunSnapshot, options: ConsoleOptions) -> Text:
    """``idle ✔  startup ✔  warm-up ●  loaded idle  measured …``; short names where narrow."""
    longest = _named(snapshot, options)
    return (
        longest if longest.cell_len <= options.max_width else _named(snapshot, options, short=True)
    )


def _named(snapshot: RunSnapshot, options: ConsoleOptions, *, short: bool = False) -> Text:
    words, done = [], snapshot.done()
    for phase, part in BLOCKS:
        name = names.phase(phase, short=short)
        if (phase, part) in done:
            words.append(plain(f"{name} {'+' if options.ascii_only else '✔'}", "good"))
        elif snapshot.step and snapshot.step.key == (phase, part):
            words.append(plain(f"{name} {'*' if options.ascii_only else '●'}", "name"))
        else:
            words.append(plain(name, "quiet"))
    line = Text("  ").join(words)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _power(device: Device, now: int) -> Text:
    is_fresh = device.watts is not None and not device.silent_s(now)
    power = f"{device.watts:.0f} W" if is_fresh else "no reading"
    return Text.assemble((f"  {plain(device_name(device.name))} ", "quiet"), power)


def _bar(done: int, total: int, width: int, *, ascii_only: bool) -> Text:
    full, empty = ("#", ".") if ascii_only else ("━", "━")
    filled = width * min(done, total) // total
    return Text.assemble((full * filled, "good"), (empty * (width - filled), "quiet"))
