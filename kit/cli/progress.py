"""Progress on stderr: bars on a terminal, plain lines anywhere else.

`Tasks` is for builds and downloads, `RunProgress` follows a run by its events. Both redraw at
most twice a second: the machine they run on is being measured.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from kit.cli.runview import RunProgressView
from kit.core.model import Event
from kit.machine.queue import Wait
from kit.show.render.console import plain, put, short_bytes, stderr

REFRESH_HZ = 2
# A total of at least this is one of bytes: no build has so many steps.
_BYTES_FROM = 1 << 20


class Amount(ProgressColumn):
    """``12/30``, or ``34.1/98.4 MB`` for a download."""

    def render(self, task: Task) -> Text:
        return plain(amount(task.completed, task.total), "quiet", no_wrap=True)


def amount(done: float, total: float | None) -> str:
    """How much is done, as text."""
    if total is None:
        return short_bytes(done) if done >= _BYTES_FROM else ""
    if total >= _BYTES_FROM:
        return f"{short_bytes(done)} of {short_bytes(total)}"
    return f"{done:.0f} of {total:.0f}"


class Tasks:
    """Builds and downloads: `images.build(name, tasks.say, tasks.progress)`.

    On a terminal each task has a bar that stays until the ``with`` ends; elsewhere a task says
    when it begins and each quarter of the way.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr()
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24, complete_style="good", finished_style="good"),
            Amount(),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=REFRESH_HZ,
            disable=not self._console.is_terminal,
        )
        self._ids: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A sentence for the person, above the bars."""
        self._console.print(plain(text))

    def progress(self, task: str, done: float, total: float | None) -> None:
        """``done`` of ``total`` (None where it is not known) of the task called ``task``."""
        if self._console.is_terminal:
            self._draw(task, done, total)
        else:
            self._print(task, done, total)

    def _draw(self, task: str, done: float, total: float | None) -> None:
        if task not in self._ids:
            self._ids[task] = self._bars.add_task(str(plain(task)), total=total)
        self._bars.update(self._ids[task], completed=done, total=total)

    def _print(self, task: str, done: float, total: float | None) -> None:
        quarter = int(4 * done / total) if total else 0
        if quarter > self._quarters.get(task, -1):
            self._quarters[task] = quarter
            text = amount(done, total)
            self._console.print(plain(f"{task}: {text}" if text else task))


class RunProgress:
    """A run in progress. ``with RunProgress() as shown: shown.event(event)`` for each event.

    On a terminal: a line for each finished launch, and below them the present one, redrawn.
    Elsewhere: a line for each phase.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr()
        self._view = RunProgressView()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=REFRESH_HZ,
                transient=True,
                get_renderable=self._now,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def event(self, event: Event) -> None:
        """Take in one event of the run's journal; prints a line where it matters."""
        lines = self._view.take(event, every=self._live is None)
        if self._live:
            for line in lines:
                self._console.print(line)
        elif lines:
            put(self._console, *lines)

    def waiting(self, wait: Wait) -> None:
        """Show what the run waits for before it begins."""
        self._view.waiting = str(wait)
        if not self._live:
            put(self._console, plain(str(wait)))

    def _now(self) -> RenderableType:
        return self._view
