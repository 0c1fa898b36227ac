"""The panel next to the list of runs: a summary of the run under the cursor."""

from __future__ import annotations

from typing import cast

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from kit.show.render.console import plain
from kit.show.runlist import Row
from kit.show.runsummary import RunSummary, read
from kit.tui.power import PowerPlot
from kit.tui.runsummary import RunSummaries, caveats, identity
from kit.tui.screen import KitScreen


class RunPanel(VerticalScroll, can_focus=False):
    """Identity, power and caveats of one run, read in a thread if necessary."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="panel")
        self._summaries = RunSummaries()
        self._row: Row | None = None
        self._replays: tuple[str, ...] = ()
        self._looking = False

    @property
    def _screen(self) -> KitScreen:
        return cast(KitScreen, self.screen)

    def compose(self) -> ComposeResult:
        yield Static(id="home-identity", markup=False)
        yield PowerPlot(id="home-power", ascii_only=self._screen.kit.ascii_only)
        yield Static(id="home-caveats", markup=False)

    def show(self, row: Row | None, replays: tuple[str, ...]) -> None:
        """Show another run; ``replays`` are the runs that replay it."""
        self._row, self._replays = row, replays
        self._refresh_all()

    def _refresh_all(self) -> None:
        row = self._row
        self.border_title = str(plain(row.name or row.run[:12])) if row else ""
        summary = self._summaries.get(row.run) if row else None
        self._draw(row, summary or RunSummary())
        readable = row and not row.in_flight and row.status != "broken"
        if row and readable and summary is None and self.display:
            self._look_at(row.run)

    def _draw(self, row: Row | None, summary: RunSummary) -> None:
        text = identity(row, summary, self._replays) if row else ""
        self.query_one("#home-identity", Static).update(text)
        self.query_one("#home-caveats", Static).update(caveats(summary))
        plot = self.query_one(PowerPlot)
        plot.display = bool(summary.picture.traces)
        if plot.picture is not summary.picture:
            plot.show(summary.picture)

    def _look_at(self, run: str) -> None:
        """Read one run at a time: scrolling must not start a hundred threads."""
        if self._looking:
            return
        self._looking, path = True, self._screen.kit.store.root / run

        def take(summary: RunSummary) -> None:
            self._summaries.put(run, summary)
            self._looking = False
            self.call_later(self._refresh_all)

        def failed(error: Exception) -> None:
            take(RunSummary(no_power=f"{type(error).__name__}: {error}"))

        self._screen.fetch(lambda: read(path), take, group="summary", failed=failed)
