"""The base of the Live screen and of a recording: their common panels and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import RichLog, Static

from kit.show.live.follow import Over
from kit.show.live.occupants import Seen
from kit.show.live.snapshot import RunSnapshot
from kit.show.render.launches import outcome
from kit.tui.live.cells import TextBlock
from kit.tui.live.gpus import GpuGrid
from kit.tui.live.panels import Courses, LogPanel, Tiles, banner
from kit.tui.live.plot import WINDOWS, PlotPanel
from kit.tui.live.tiles import figures, status_line, tiles
from kit.tui.live.words import View, path, where
from kit.tui.screen import KitScreen, badge
from kit.tui.widgets.changingtext import ChangingText

REDRAW_S = 0.5
_FIRST = ("stop", "open", "verify", "pause", "faster", "phase-next", "leave", "back", "help")
KEYS = (*_FIRST, "freeze", "mark", "log", "window-less", "cursor", "device", "gpus", "zoom", "copy")


class RunScreenBase(KitScreen):
    """A run over time. Give `now` and call `draw` when there is something new.

    Args:
        clock: seconds on a monotonic clock.
    """

    AUTO_FOCUS = "#plot"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "closer(1)", "Zoom", key_display="+/-", id="window-less"),
        Binding("minus", "closer(-1)", "Zoom out", show=False, id="window-more"),
        Binding("left", "cursor(-1)", "Cursor", key_display="left/right", id="cursor"),
        Binding("right", "cursor(1)", "Cursor on", show=False, id="cursor-on"),
        Binding("shift+left", "cursor(-10)", "Cursor far back", show=False, id="cursor-back-10"),
        Binding("shift+right", "cursor(10)", "Cursor far on", show=False, id="cursor-on-10"),
        Binding("0", "whole", "Whole run", show=False, id="window-whole"),
        Binding("g", "device", "Device", id="device"),
        Binding("G", "gpus", "GPUs", id="gpus"),
        Binding("l", "log", "Log", id="log"),
        Binding("slash", "filter", "Filter the log", show=False, id="filter"),
        Binding("z", "zoom", "Plot alone", id="zoom"),
        Binding("enter", "open", "Open", id="open"),
        Binding("v", "verify", "Verify", id="verify"),
    ]

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.snapshot = RunSnapshot()
        self.over: Over | None = None
        self._window, self._device = 0, ""
        self.frozen: View | None = None
        self._banner = Text()
        self.occupants: Mapping[str, Seen] = {}  # by GPU, while someone looks at them
        self.occupants_missing = ""

    def body(self) -> Iterable[Widget]:
        yield TextBlock(id="path")
        yield Tiles(id="tiles")
        yield TextBlock(id="figures")
        yield VerticalScroll(Static(id="banner", markup=False), id="banner-box")
        yield VerticalScroll(ChangingText(id="result"), id="result-box", classes="panel")
        yield PlotPanel(id="plot")
        grid = GpuGrid(id="gpus", classes="panel")
        grid.border_title = "GPUs"
        yield grid
        with Horizontal(id="below"):
            courses = Courses(id="courses", classes="panel")
            courses.border_title = "temperature, clock"
            yield courses
            yield LogPanel(id="log")

    def on_mount(self) -> None:
        if self.kit.ascii_only or self.app.no_color:
            self.query_one(PlotPanel).colours = 0
        self.query_one(LogPanel).ascii_only = self.kit.ascii_only
        self.set_interval(REDRAW_S, self.draw)
        self.call_after_refresh(self.draw)

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.draw)

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys in order of their use, since a narrow terminal shows only the first."""
        bindings = super().active_bindings
        rank = {name: n for n, name in enumerate(KEYS)}
        order = sorted(bindings, key=lambda k: rank.get(bindings[k].binding.id or "", len(rank)))
        return {key: bindings[key] for key in order}

    # --- drawing ----------------------------------------------------------------------------

    def now(self) -> int:
        """The run's clock now, ns."""
        raise NotImplementedError

    def word(self) -> Text:
        """The screen's state, for the line on top."""
        raise NotImplementedError

    def view(self) -> View:
        """The view to show: the present one, or the frozen one."""
        if self.frozen:
            return View(self.frozen.snapshot, self.frozen.now, self._device)
        return View(self.snapshot, self.now(), self._device)

    def draw(self) -> None:
        """Show the view; unchanged parts cost nothing."""
        if not self.is_mounted or not self.is_current:
            return
        view, ascii_only = self.view(), self.kit.ascii_only
        self._draw_top(view)
        if self.over:
            self._draw_banner(self.over)
        shown, width = tiles(view), self.size.width
        self.query_one("#path", TextBlock).set_text(path(view, width - 1, ascii_only=ascii_only))
        if self.query_one(Tiles).display:
            self.query_one(Tiles).show(shown)
        else:
            lines = figures(shown, width - 1, 2)
            flat = self.has_class("-flat")
            self.query_one("#figures", TextBlock).set_text(
                status_line(view, shown, width - 1, ascii_only=ascii_only) if flat else lines
            )
        if self.query_one(PlotPanel).display:
            self.query_one(PlotPanel).show(view, WINDOWS[self._window])
        if self.has_class("-gpus"):
            why_not = self.occupants_missing
            self.query_one(GpuGrid).show(view, self.occupants, why_not, ascii_only=ascii_only)
        if self.query_one("#below").display:
            self.query_one(Courses).show(view, WINDOWS[self._window], ascii_only=ascii_only)
            self.query_one(LogPanel).show(view.snapshot.log)

    def _draw_top(self, view: View) -> None:
        word = badge("withheld", "frozen") if self.frozen else self.word()
        title = Text(" · ").join([word, *([Text(where(view))] if where(view) else [])])
        if title != self.state:
            # As a reactive it would draw the whole screen again, twice a second.
            self.set_reactive(KitScreen.state, title)
            self.top.state = title

    def _draw_banner(self, over: Over) -> None:
        snapshot, room = self.snapshot, max(3, self.size.height - 9)
        reason = "" if snapshot.status == "complete" else snapshot.reason
        content = banner(over, snapshot.status, reason, room)
        if content != self._banner:
            self._banner = content
            self.query_one("#banner", Static).update(content)

    def show_over(self, over: Over) -> None:
        """Show how the run ended, and offer what can be done with it."""
        self.over = over
        self.occupants = {}
        self.add_class("-over", f"-{over.kind}")
        if over.kind == "sealed" and over.run:
            self.command = f"kit show {over.run.name[:12]}"
        elif over.kind == "dead":
            self.command = "kit recover"
            self.query_one("#banner-box").focus()
        if over.kind == "sealed" and over.run:
            self._read_result(over.run)
        self.refresh_bindings()
        self.call_after_refresh(self.draw)

    def _read_result(self, run: Path) -> None:
        """Show what was sealed, of all launches, in place of the last figures of the last one."""

        def show(result: RenderableType) -> None:
            if self.over:
                box = self.query_one("#result-box")
                box.border_title = "result of all launches, as sealed"
                self.add_class("-result")
                self.query_one("#result", ChangingText).update(result)
                self.call_after_refresh(self.draw)

        self.fetch(lambda: outcome(run), show, group="result")

    def hide_over(self) -> None:
        """Hide the banner: a recording went back."""
        if self.over:
            self.remove_class("-over", "-result", f"-{self.over.kind}")
            self.over = None
            self.refresh_bindings()

    # --- keys -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer keys only when they have an effect."""
        if action in ("open", "verify"):
            return bool(self.over and self.over.run)
        return super().check_action(action, parameters)

    def action_closer(self, step: int) -> None:
        """Look at less or more of the run: around the cursor, or its last 10 min, 2 min, 30 s."""
        plot = self.query_one(PlotPanel)
        if plot.cursor is not None:
            plot.zoom(step)
            self.draw()
            return
        at = self._window + step
        self._window = min(max(at, 0), len(WINDOWS) - 1)
        self.draw()

    def action_whole(self) -> None:
        """Show the whole run, without a cursor."""
        plot = self.query_one(PlotPanel)
        self._window, plot.cursor, plot.close = 0, None, None
        self.draw()

    def action_cursor(self, columns: int) -> None:
        """Read time and watts at another place of the plot."""
        self.query_one(PlotPanel).move(columns)
        self.draw()

    def action_device(self) -> None:
        """One device after the other, then all of them."""
        names = ["", *(d.name for d in self.snapshot.devices)]
        at = names.index(self._device) if self._device in names else 0
        self._device = names[(at + 1) % len(names)]
        self.draw()

    def action_gpus(self) -> None:
        """The GPUs and who uses them in place of the plot; or the plot again."""
        self.minimize()
        self.occupants = {}  # what was seen earlier is not what is there now
        self.toggle_class("-gpus")
        self.call_after_refresh(self.draw)

    def action_log(self) -> None:
        """Show the log if it is hidden, and focus it; or go back."""
        at_log = self.query_one(LogPanel).has_focus_within
        self.set_class(not at_log, "-log")
        if at_log:
            self.query_one(PlotPanel).focus()
        else:
            self.query_one("#lines", RichLog).focus()
        self.call_after_refresh(self.draw)

    def action_filter(self) -> None:
        """Filter the log's lines by words."""
        self.add_class("-log")
        self.query_one(LogPanel).ask_filter()
        self.call_after_refresh(self.draw)

    def action_zoom(self) -> None:
        """The plot or the GPUs alone, or everything again."""
        if self.maximized:
            self.minimize()
        else:
            self.maximize(self.query_one(GpuGrid if self.has_class("-gpus") else PlotPanel))
        self.call_after_refresh(self.draw)

    def action_freeze(self) -> None:
        """Freeze the picture; recording continues."""
        self.frozen = None if self.frozen else self.view()
        self.draw()

    def action_back(self) -> None:
        """Leave the filter, then the zoom, then the screen."""
        if self.query_one(LogPanel).end_filter():
            return
        if self.maximized:
            self.action_zoom()
        else:
            self.leave()

    def leave(self) -> None:
        """Out of the screen."""
        super().action_back()

    def action_open(self) -> None:
        """The sealed run."""
        if self.over and self.over.run:
            self.kit.show_run(self.over.run)

    def action_verify(self) -> None:
        """The verdict on the sealed run."""
        if self.over and self.over.run:
            self.kit.show_verify(self.over.run)
