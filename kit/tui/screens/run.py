"""A sealed run, in seven tabs; each reads its data in a thread and reports unreadable ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static, TabbedContent, TabPane

from kit.core.errors import ArchiveRefused
from kit.judge import admission
from kit.show.documents import Documents, Recorded, documents_of, recorded, spec_of
from kit.show.live import eventwords
from kit.show.live.eventwords import LogLine
from kit.show.render.console import count, plain, short_bytes
from kit.tui import files, runviews
from kit.tui.pagedtable import PagedTable
from kit.tui.power import PowerPlot
from kit.tui.replay import replay
from kit.tui.runviews import FILE_HEADS, LOG_HEADS, REQUEST_HEADS, Asked, Listed, Logged
from kit.tui.screen import KitScreen, badge
from kit.tui.states import state_of
from kit.tui.widgets.changingtext import ChangingText
from kit.tui.widgets.line import LineInput

TABS = ("summary", "power", "requests", "environment", "files", "log", "provenance")


class RunScreen(KitScreen):
    """A sealed run: its numbers, power, requests, machine, files, log and origin.

    First it is checked that its files are those that were sealed; a difference is reported. v
    checks everything.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"tab('{tab}')", f"Tab {tab}", show=False, id=f"run-tab-{tab}")
            for n, tab in enumerate(TABS, 1)
        ),
        Binding("left", "cursor(-1)", "Cursor", key_display="left/right", id="run-cursor"),
        Binding("right", "cursor(1)", "Cursor on", show=False, id="run-cursor-on"),
        Binding(
            "shift+left", "cursor(-10)", "Cursor far back", show=False, id="run-cursor-back-10"
        ),
        Binding("shift+right", "cursor(10)", "Cursor far on", show=False, id="run-cursor-on-10"),
        Binding("plus,equals_sign", "closer(1)", "Zoom", key_display="+/-", id="run-zoom"),
        Binding("minus", "closer(-1)", "Zoom out", show=False, id="run-zoom-out"),
        Binding("0", "closer(0)", "All of it", id="run-zoom-all"),
        Binding("h", "html", "HTML report", id="run-html"),
        Binding("e", "export", "Export", id="run-export"),
        Binding("c", "compare", "Compare", id="run-compare"),
        Binding("v", "verify", "Verify", id="run-verify"),
        Binding("r", "replay", "Replay", id="run-replay"),
        Binding("p", "play", "Play", id="run-play"),
        Binding("E", "edit", "Edit as new", id="run-edit"),
        Binding("slash", "filter", "Filter", key_display="/", show=False, id="run-filter"),
    ]

    def __init__(self, run: Path) -> None:
        super().__init__()
        self._run = run
        self._documents = Documents(run.name)
        self._log: list[LogLine] = []
        self.crumbs = f"Home › {run.name[:12]}"
        self.command = f"kit show {run.name[:12]}" if run.is_dir() else f"kit show {run.name}"

    def body(self) -> Iterable[Widget]:
        with TabbedContent(initial="summary", id="run-tabs"):
            with TabPane("1 Summary", id="summary"):
                yield VerticalScroll(Static("reading …", id="run-summary", markup=False))
            with TabPane("2 Power", id="power"):
                yield ChangingText("reading …", id="run-legend")
                plot = PowerPlot(id="run-power", ascii_only=self.kit.ascii_only)
                plot.can_focus = True
                yield plot
            with TabPane("3 Requests", id="requests"):
                yield Static("reading …", id="run-asked", markup=False)
                yield PagedTable[Asked](REQUEST_HEADS, Asked.cells, id="run-requests")
            with TabPane("4 Environment", id="environment"):
                yield VerticalScroll(Static("reading …", id="run-environment", markup=False))
            with TabPane("5 Files", id="files"):
                yield PagedTable[Listed](FILE_HEADS, Listed.cells, id="run-files")
            with TabPane("6 Log", id="log"):
                yield LineInput(placeholder="filter the log", id="run-wanted", compact=True)
                yield Static("reading …", id="run-logged", markup=False)
                yield PagedTable[Logged](LOG_HEADS, Logged.cells, id="run-log")
                yield ChangingText(id="run-line")
            with TabPane("7 Provenance", id="provenance"):
                yield VerticalScroll(Static("reading …", id="run-provenance", markup=False))

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#run-wanted").display = False
        self.state = plain("reading …", "quiet")
        self.fetch(
            lambda: (_fault(self._run), documents_of(self._run)),
            lambda documents: self._know(*documents),
            group="documents",
            failed=self._refused,
        )
        self.fetch(self._read_records, self._draw, group="records")

    def on_screen_resume(self) -> None:
        self._focus_tab()

    # --- what was read --------------------------------------------------------------------------

    def _know(self, fault: str, documents: Documents) -> None:
        self._documents = documents
        self.crumbs = f"Home › {plain(documents.name)}"
        status = str(documents.manifest.get("status", "broken"))
        size = (
            f"{count(len(documents.sizes), 'file')}, {short_bytes(sum(documents.sizes.values()))}"
        )
        altered = [badge("fail", "not what was sealed")] if fault else []
        self.state = Text(" · ").join([*altered, state_of(status), plain(size)])
        store = self.kit.store
        missing = (
            [documents.parent]
            if documents.parent and not (store.root / documents.parent).is_dir()
            else []
        )
        for place, content in (
            ("summary", runviews.summary(documents)),
            ("environment", runviews.environment(documents)),
            ("provenance", runviews.provenance(documents, missing)),
        ):
            self._show_in(
                f"#run-{place}", Group(plain(fault, "bad"), Text(), content) if fault else content
            )
        self.query_one("#run-files", PagedTable).show(runviews.files(documents))

    def _refused(self, error: Exception) -> None:
        """Report in every tab that the container cannot be read."""
        message = str(getattr(error, "message", error))
        self.state = badge("fail", "not readable")
        for place in ("summary", "environment", "provenance"):
            self._show_in(f"#run-{place}", badge("fail", message))

    def _read_records(self) -> tuple[Recorded, list[Asked], list[LogLine]]:
        """Read the records, and make the rows: a long run has a hundred thousand. In a thread."""
        run_records = recorded(self._run)
        if run_records.records is None:
            return run_records, [], []
        return (
            run_records,
            runviews.asked(run_records.records),
            eventwords.lines(run_records.records.events),
        )

    def _draw(self, read: tuple[Recorded, list[Asked], list[LogLine]]) -> None:
        run_records, asked, self._log = read
        plot = self.query_one(PowerPlot)
        plot.display = bool(run_records.picture.traces)
        if run_records.records is None:
            for place in ("legend", "asked", "logged"):
                self._show_in(f"#run-{place}", badge("fail", run_records.fault))
            return
        plot.show(run_records.picture)
        no_power = badge("skip", "no meter reported power")
        self._show_in("#run-legend", plot.reading() if run_records.picture.traces else no_power)
        self._show_in("#run-asked", runviews.request_summary(asked))
        self.query_one("#run-requests", PagedTable).show(asked)
        self._show_log("")

    def _show_in(self, place: str, what: RenderableType) -> None:
        widget = self.query_one(place)
        if isinstance(widget, (ChangingText, Static)):
            widget.update(what)

    def _show_log(self, wanted: str) -> None:
        shown = eventwords.fitting(self._log, wanted)
        caption = f"{len(shown):,} of {count(len(self._log), 'line')} · / filters"
        self._show_in("#run-logged", plain(caption, "quiet"))
        self.query_one("#run-log", PagedTable).show([Logged(line) for line in shown])

    # --- keys -----------------------------------------------------------------------------------

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(TabbedContent).active = name

    @on(TabbedContent.TabActivated)
    def _focus_tab(self) -> None:
        """Focus the content of the tab, not the row of tabs."""
        pane = self.query_one(TabbedContent).active_pane
        for widget in pane.query("PagedTable, VerticalScroll, PowerPlot") if pane else ():
            widget.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of the plot only where there is one."""
        if action in ("cursor", "closer"):
            at_power = self.query_one(TabbedContent).active == "power"
            return at_power and bool(self.query_one(PowerPlot).picture.traces)
        return super().check_action(action, parameters)

    def action_cursor(self, columns: int) -> None:
        """Read time and watts at another place of the plot."""
        plot = self.query_one(PowerPlot)
        plot.move(columns)
        self._show_in("#run-legend", plot.reading())

    def action_closer(self, step: int) -> None:
        """Look at less or at more of the run, around the cursor."""
        plot = self.query_one(PowerPlot)
        plot.zoom(step)
        self._show_in("#run-legend", plot.reading())

    def action_filter(self) -> None:
        """Show only lines of the log with these words."""
        self.action_tab("log")
        field = self.query_one("#run-wanted", Input)
        field.display = True
        self.call_after_refresh(field.focus)

    @on(DataTable.RowHighlighted, "#run-log")
    def _read_line(self, event: DataTable.RowHighlighted) -> None:
        """Show a line that is wider than the screen in full below the log."""
        shown = self.query_one("#run-log", PagedTable).items
        text = shown[event.cursor_row].line.text if event.cursor_row < len(shown) else ""
        self._show_in("#run-line", plain(text))

    @on(Input.Changed, "#run-wanted")
    def _wanted(self, event: Input.Changed) -> None:
        self._show_log(event.value)

    @on(Input.Submitted, "#run-wanted")
    def _wanted_is_set(self) -> None:
        self.query_one("#run-log").focus()

    def action_back(self) -> None:
        """Remove the filter; without one go one screen back."""
        field = self.query_one("#run-wanted", Input)
        if field.display and self.query_one(TabbedContent).active == "log":
            field.value, field.display = "", False
            self.query_one("#run-log").focus()
            return
        super().action_back()

    def action_html(self) -> None:
        """Write the HTML report into the current folder."""
        self.notify("writing the report", markup=False)
        self.change(lambda: files.write_report(self._run, Path()), self._written)

    def action_export(self) -> None:
        """Pack the run into a single file in the current folder."""
        self.notify("packing the run", markup=False)
        self.change(lambda: files.export(self._run, Path()), self._written)

    def _written(self, path: Path) -> None:
        self.notify(f"{path.name} ({short_bytes(path.stat().st_size)})", title="written here")

    def action_compare(self) -> None:
        """Compare with its original, if it is a replay."""
        original = self.original
        if original is None:
            self.notify("mark runs with space on Home, then c compares them", markup=False)
            return
        self.kit.show_compare([original, self._run])

    @property
    def original(self) -> Path | None:
        """The run that this one replays, if the store has it."""
        path = self.kit.store.root / self._documents.parent
        return path if self._documents.parent and path.is_dir() else None

    def action_verify(self) -> None:
        """Check the run: every hash, form and number."""
        self.kit.show_verify(self._run, self.original)

    def action_replay(self) -> None:
        """Run the sealed spec again on this machine; its plan is shown first."""
        replay(self, self._run)

    def action_play(self) -> None:
        """Play the run again from its events."""
        self.kit.show_recording(self._run)

    def action_edit(self) -> None:
        """Begin a new spec with this run's."""
        self.fetch(lambda: spec_of(self._run), lambda spec: self.kit.show_spec(document=spec))

    def copy_text(self) -> str:
        return runviews.citation(self._documents)


def _fault(run: Path) -> str:
    """Why the run cannot be believed; empty if its files are those that were sealed."""
    try:
        admission.admit(run)
    except ArchiveRefused as refused:
        return f"{refused.message}; v says more"
    return ""
