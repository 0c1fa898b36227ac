"""The Live screen's figures, log, banner, and its two questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, RichLog

from kit.show.live import eventwords
from kit.show.live.eventwords import LogLine
from kit.show.live.follow import Over
from kit.show.live.snapshot import nth
from kit.show.live.trace import Point
from kit.show.render.console import plain
from kit.tui.live.cells import TextBlock
from kit.tui.live.plot import span, spark
from kit.tui.live.tiles import Tile
from kit.tui.live.words import View, log_line
from kit.tui.widgets.line import LineInput

_TILES = 6
Course = tuple[str, tuple[Point, ...]]


class Tiles(Horizontal):
    """Six figures side by side."""

    def compose(self) -> ComposeResult:
        for n in range(_TILES):
            yield TextBlock(id=f"tile{n}", classes="panel tile")

    def show(self, tiles: Sequence[Tile]) -> None:
        """Show one tile in each frame."""
        for block, tile in zip(self.query(TextBlock), tiles, strict=True):
            if block.border_title != tile.title:
                block.border_title = tile.title
            sub, more = (tile.sub, tile.level), (f"\n{tile.more}", "quiet")
            block.set_text(Text.assemble((tile.main, "name"), "\n", sub, more))


class Courses(TextBlock):
    """Temperature and clock over time, a line for each device, with the last value."""

    def show(self, view: View, window_s: int, *, ascii_only: bool) -> None:
        """Draw the last ``window_s`` seconds (0: the whole run)."""
        t0, t1 = span(view.now, window_s)
        hot, clock = (_courses(view, t) for t in (view.snapshot.temperature, view.snapshot.clock))
        hot.sort(key=lambda one: -one[1][-1].mean)
        clock.sort(key=lambda one: one[1][-1].mean)
        width = max(4, self.content_size.width - 7 - 9)
        rows = []
        for (name, points), unit in self._fitting(hot, clock):
            last = f"{points[-1].mean:.0f} {unit}"
            drawn = spark(points, t0, t1, width, ascii_only=ascii_only)
            rows.append(Text(f"{plain(name)!s:<6.6} {drawn}{last:>9}"))
        self.set_class(not rows, "-none")
        left = len(hot) + len(clock) - len(rows)
        some = "hottest, slowest" if len(hot) > 1 else "temperature, clock"
        title = f"{some}, {left} more by g" if left else "temperature, clock"
        if rows and title != self.border_title:
            self.border_title = title
        self.set_text(Text("\n").join(rows))

    def _fitting(self, hot: Sequence[Course], clock: Sequence[Course]) -> list[tuple[Course, str]]:
        """As many of both as fit, the important ones first; then by name."""
        room = max(2, self.content_size.height)
        most = max(room - len(clock), room - room // 2)
        first, second = hot[:most], clock[: room - min(len(hot), most)]
        pairs = [(sorted(first), "°C"), (sorted(second), "MHz")]
        return [(course, unit) for courses, unit in pairs for course in courses]


def _courses(view: View, traces: Mapping[str, tuple[Point, ...]]) -> list[Course]:
    """The shown devices that have values."""
    return [(d.name, traces[d.name]) for d in view.devices if traces.get(d.name)]


class LogPanel(Vertical):
    """The log, with a filter: only lines with its words are shown."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="panel")
        self.border_title = "log"
        self.ascii_only = False
        self._lines: tuple[LogLine, ...] = ()
        self._written: tuple[LogLine, ...] = ()
        self._words = ""

    def compose(self) -> ComposeResult:
        yield RichLog(
            id="lines", min_width=1, wrap=True, markup=False, highlight=False, max_lines=2000
        )
        yield LineInput(id="filter", placeholder="filter: words", compact=True)

    def show(self, lines: Sequence[LogLine]) -> None:
        """Write new lines; write all lines again if the filter or earlier lines changed."""
        self._lines = tuple(lines)
        wanted = tuple(eventwords.fitting(lines, self._words))
        log = self.query_one("#lines", RichLog)
        if not log.size.width:  # not shown now: it would wrap the lines to nothing
            return
        if wanted[: len(self._written)] != self._written:
            log.clear()
            self._written = ()
        for line in wanted[len(self._written) :]:
            log.write(log_line(line, ascii_only=self.ascii_only))
        self._written = wanted

    def ask_filter(self) -> None:
        """Let the person type the words to look for."""
        self.add_class("-filter")
        self.query_one("#filter", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._words = event.value.strip()
        self.border_title = "log · filter" if self._words else "log"
        self.show(self._lines)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#lines", RichLog).focus()

    def end_filter(self) -> bool:
        """Remove the filter; returns false if there was none."""
        if not self.has_class("-filter"):
            return False
        self.remove_class("-filter")
        self.query_one("#filter", Input).value = ""
        self.query_one("#lines", RichLog).focus()
        return True


# --- questions ----------------------------------------------------------------------------------


_FIRST = {"blocked": "blocked: nothing ran", "dead": "the runner died", "gone": "gone"}


# --- how it ended -------------------------------------------------------------------------------


def banner(over: Over, status: str, reason: str, log_lines: int) -> Text:
    """How the run ended: a summary in the first line, and some lines of a log at most."""
    if over.kind == "sealed" and over.run:
        word = status or "sealed"
        mark = ("✔", "good") if word == "complete" else ("✘", "bad")
        line = plain(f" {mark[0]} {plain(word)} ", mark[1]).append(
            f"run {over.run.name[:12]}", "name"
        )
        line.append("  enter opens it · v verifies it", "quiet")
        return line if not reason else line.append("\n   ").append_text(plain(reason))
    first = _FIRST.get(over.kind, "no such run")
    lines = [plain(f" ✘ {first}", "bad")]
    if not over.findings:
        lines += [plain(f"   {line}") for line in over.message.splitlines()]
    for finding in over.findings:
        if finding.level != "ok":
            lines += _finding(finding.level, finding.message, finding.remedy)
    if over.remedy and not over.findings:
        lines += [plain(f"   {line}", "fix") for line in over.remedy.splitlines()]
    if over.lines:
        lines += [plain(" last lines of runner.log", "name")]
        lines += [plain(f"   {line}", "quiet") for line in over.lines[-log_lines:]]
    return Text("\n").join(lines)


def _finding(level: str, message: str, remedy: str) -> list[Text]:
    glyph, style = ("✘ FAIL", "bad") if level == "fail" else ("! WARN", "doubt")
    cells = [plain(f" {glyph} ", style).append_text(plain(message))]
    return [*cells, plain(f"        fix: {remedy}", "fix")] if remedy else cells


def what_is_lost(launch: int, launches: int) -> str:
    """What stopping now would lose, as text."""
    if not launches:
        return "It has not begun: nothing is lost and nothing is sealed."
    which = "The launch" if launches == 1 else f"The {nth(launch)} of {launches} launches"
    cut = f"{which} is cut off"
    return f"{cut}; the records until then are sealed as aborted."
