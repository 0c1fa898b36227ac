"""What a face knows of a run that is going on, from its events alone, and how it is drawn.

`RunView` is the state; `RunView.lasting` gives the lines that stay on the screen (a finding, a
launch that is done, a fault), `RunView.telling` the lines for a log, and drawing it shows where
the run is now.
"""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from kit.model import Event
from kit.render.console import count, device_name, marked, plain, short_time

# The phases of a launch in their order: (phase, part, the word on the screen).
STEPS = (
    ("idle", "before", "idle"),
    ("startup", None, "startup"),
    ("warmup", None, "warmup"),
    ("loaded_idle", "before", "loaded"),
    ("measured", None, "measured"),
    ("loaded_idle", "after", "loaded"),
    ("shutdown", None, "shutdown"),
    ("idle", "after", "idle"),
)
NS = 1e9


class RunView:
    """State of a run, built from its events in order."""

    def __init__(self) -> None:
        self.id = ""
        self.launches = 0
        self.launch = 0
        self.step: tuple[str, str | None] | None = None
        self.done: dict[tuple[str, str | None], float] = {}
        self.progress: dict[str, Any] = {}
        self.power: dict[str, Any] = {}
        self.stages: dict[str, dict[str, Any]] = {}
        self._began = 0
        self._seen = (0, time.monotonic())
        self._lasting: list[RenderableType] = []

    def take(self, event: Event) -> None:
        """Take in the next event; an unknown kind changes nothing."""
        self._seen = (event.t, time.monotonic())
        handler = getattr(self, "_on_" + event.kind.replace(".", "_"), None)
        if handler:
            handler(event)

    def lasting(self) -> list[RenderableType]:
        """The lines that became due since the last call and that stay on the screen."""
        lines, self._lasting = self._lasting, []
        return lines

    def telling(self, event: Event) -> list[RenderableType]:
        """The lines that a log gets for ``event``: every phase, and whatever is lasting."""
        lines = self.lasting()
        if event.kind == "phase.begin":
            lines.append(plain(f"{self._where()}: {_word(event.data)}"))
        if event.kind == "stage.done":
            lines.append(plain(f"{self._where()}: {_stage(event.data)}"))
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.step is None:
            yield Text(f"{self._where()}: preparing", style="quiet")
            return
        yield self._path(options)
        yield self._current(options)

    # --- events -----------------------------------------------------------------------------

    def _on_run_registered(self, event: Event) -> None:
        self.id, self.launches = str(event.data["id"]), int(event.data["launches"])

    def _on_finding(self, event: Event) -> None:
        if event.data["level"] != "ok":
            text = plain(event.data["message"]).append(f"  {plain(event.data['code'])}", "quiet")
            self._lasting.append(marked(event.data["level"], text))

    def _on_sampler_lost(self, event: Event) -> None:
        text = plain(f"meter {event.data['meter']} was lost: {event.data['message']}")
        self._lasting.append(marked("warn", text))

    def _on_launch_begin(self, event: Event) -> None:
        self.launch, self.step = int(event.data["launch"]), None
        self.done, self.stages, self.progress = {}, {}, {}

    def _on_phase_begin(self, event: Event) -> None:
        self.step = _step(event.data)
        self._began = event.t
        self.progress = {}

    def _on_phase_end(self, event: Event) -> None:
        self.done[_step(event.data)] = (event.t - self._began) / NS

    def _on_live(self, event: Event) -> None:
        self.power.update(event.data.get("power", {}))
        self.progress = event.data.get("progress", self.progress)

    def _on_stage_done(self, event: Event) -> None:
        self.stages[str(event.data["stage"])] = event.data

    def _on_launch_end(self, _: Event) -> None:
        startup = self.done.get(("startup", None))
        measured = self.done.get(("measured", None))
        parts = [f"startup {short_time(startup)}"] if startup is not None else []
        parts += [f"measured {short_time(measured)}"] if measured is not None else []
        parts += [_stage(self.stages["measured"])] if "measured" in self.stages else []
        self._lasting.append(marked("ok", plain(" · ".join(parts)), self._where()))
        self.step = None

    def _on_fault(self, event: Event) -> None:
        self._lasting.append(marked("fail", plain(event.data["message"])))

    def _on_run_end(self, _: Event) -> None:
        self.step = None

    # --- drawing ----------------------------------------------------------------------------

    def _where(self) -> str:
        if not self.launches:
            return "run"
        return f"launch {self.launch + 1} of {self.launches}"

    def _now(self) -> int:
        """The run's clock now: the last event's time and what has passed since."""
        t, at = self._seen
        return t + int((time.monotonic() - at) * NS)

    def _path(self, options: ConsoleOptions) -> Text:
        """``idle ✔  startup ✔  warmup ●  loaded  measured …``."""
        words = []
        for phase, part, word in STEPS:
            if (phase, part) in self.done:
                words.append(Text(f"{word} {'+' if options.ascii_only else '✔'}", "good"))
            elif (phase, part) == self.step:
                words.append(Text(f"{word} {'*' if options.ascii_only else '●'}", "name"))
            else:
                words.append(Text(word, "quiet"))
        line = Text("  ").join(words)
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _current(self, options: ConsoleOptions) -> Text:
        """Where the launch is, a bar of its requests, the time in this phase, the power."""
        line = Text(f"{self._where()}  ", no_wrap=True, overflow="ellipsis")
        total = int(self.progress.get("total") or 0)
        if total:
            done = int(self.progress["done"])
            width = max(8, min(40, options.max_width - 62))
            line.append_text(_bar(done, total, width, ascii_only=options.ascii_only))
            line.append(f" {done}/{total} requests  ")
        line.append(short_time(max(0, self._now() - self._began) / NS), style="quiet")
        for device, watts in sorted(self.power.items()):
            line.append(f"  {plain(device_name(device))} ", style="quiet")
            line.append(f"{watts:.0f} W" if isinstance(watts, int | float) else "no reading")
        return line


def _bar(done: int, total: int, width: int, *, ascii_only: bool) -> Text:
    full, empty = ("#", ".") if ascii_only else ("━", "━")
    filled = width * min(done, total) // total
    return Text.assemble((full * filled, "good"), (empty * (width - filled), "quiet"))


def _step(data: dict[str, Any]) -> tuple[str, str | None]:
    return str(data["phase"]), data.get("part")


def _word(data: dict[str, Any]) -> str:
    part = f" ({data['part']})" if data.get("part") else ""
    return f"{str(data['phase']).replace('_', ' ')}{part}"


def _stage(data: dict[str, Any]) -> str:
    failed = f", {data['failed']} failed" if data.get("failed") else ""
    return f"{count(int(data['ok']), 'request')} ok{failed}"
