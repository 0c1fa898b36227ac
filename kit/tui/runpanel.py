"""The panel next to the list of runs: a summary of the run under the cursor."""

from __future__ import annotations

from typing import cast

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from kit.show.render.console import plain
from kit.show.runlist import Row
from kit.show.runsummary import RunSummary, read
from kit.tui.power import PowerPlot
from kit.tui.runsummary import RunSummaries, caveats, identity
from kit.tui.screen import KitScreen
from kit.tui.widgets.changingtext import ChangingText


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
        yield ChangingText(id="home-identity")
        yield PowerPlot(id="home-power", ascii_only=self._screen.kit.ascii_only)
        yield ChangingText(id="home-caveats")

    def show(self, row: Row | None, replays: tuple[str, ...]) -> None:
        """Show another run; ``replays`` are the runs that replay it."""
        self._row, self._replays = row, replays
        self._refresh_all()

    def _refresh_all(self) -> None:
        row = self._row
        self.border_title = str(plain(row.name or row.run[:12])) if row else ""
        summary = self._summaries.get(row.run) if row else None
        readable = row and not row.in_flight and row.status != "broken"
        coming = bool(readable and summary is None and self.display)
        if self.display:
            self._draw(row, summary or RunSummary(), coming)
        if row and coming:
            self._look_at(row.run)

    def _draw(self, row: Row | None, summary: RunSummary, coming: bool) -> None:
        """Show a summary; while it is ``coming``, the plot keeps its place and shows nothing."""
        text = identity(row, summary, self._replays) if row else Text()
        self.query_one("#home-identity", ChangingText).update(text)
        self.query_one("#home-caveats", ChangingText).update(caveats(summary))
        plot = self.query_one(PowerPlot)
        plot.display = bool(summary.picture.traces) or (coming and plot.display)
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
