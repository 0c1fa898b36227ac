"""Home: every run of the store, and a summary of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from kit.show import runlist
from kit.show.documents import spec_of
from kit.show.render.console import plain
from kit.show.runlist import Column, Row, ordered
from kit.tui import ownership
from kit.tui.form.origin import ask_file
from kit.tui.replay import replay
from kit.tui.rowlist import SORTS, counted, fitting, in_words
from kit.tui.runpanel import RunPanel
from kit.tui.runtable import RunTable
from kit.tui.screen import KitScreen
from kit.tui.widgets.line import LineInput
from kit.tui.widgets.panel import Panel

REFRESH_S = 2.0
EMPTY = (
    "No runs yet in {root}\n\n"
    "n            write the first spec here, check it and run it\n"
    "O            open an existing spec\n"
    "kit init     writes a spec on the command line; kit run runs it\n"
    "make demo    a small model on this CPU: run, sealed and replayed\n\n"
    "kit import FILE.kit.zip brings a run that somebody else made"
)


class HomeScreen(KitScreen):
    """The runs of the store: open, mark, compare, verify and replay them.

    A mark (space) chooses runs to compare; the filter looks into every column.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="home-new"),
        Binding("space", "mark", "Mark", key_display="space", id="home-mark"),
        Binding("c", "compare", "Compare", id="home-compare"),
        Binding("v", "verify", "Verify", id="home-verify"),
        Binding("r", "replay", "Replay", id="home-replay"),
        Binding("slash", "filter", "Filter", key_display="/", id="home-filter"),
        Binding("o", "sort", "Sort", id="home-sort"),
        Binding("i", "reverse", "Reverse the order", show=False, id="home-reverse"),
        Binding("e", "edit", "Edit as new", id="home-edit"),
        Binding("O", "open_spec", "Open spec", id="home-open-spec"),
        Binding("t", "tags", "Tags", show=False, id="home-tags"),
        Binding("N", "note", "Note", show=False, id="home-note"),
        Binding("D,delete", "delete", "Delete", key_display="D", show=False, id="home-delete"),
        Binding("S", "switch", "Other store", show=False, id="home-store"),
        Binding("R", "refresh", "Refresh", id="home-refresh"),
        Binding("escape", "clear", "Clear the filter", show=False, id="home-clear"),
        Binding("q", "back", "Quit", id="home-quit"),
    ]
    AUTO_FOCUS = "RunTable"

    def __init__(self) -> None:
        super().__init__()
        self.crumbs, self.command = "", "kit ls"
        self._rows: dict[str, Row] = {}
        self._marked: list[str] = []
        self._sort: Column = "started"
        self._reverse = False
        self._coming: Iterator[list[Row]] | None = None
        self._reading = self._read_again = self._looking = False
        self._sealed_seen: tuple[int, int, int] | None = None

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="home-body"):
            with Panel(id="home-runs", classes="panel"):
                yield LineInput(placeholder="filter: any column", id="home-filter", compact=True)
                yield RunTable(id="home-table")
                yield Static(id="home-empty", markup=False)
                yield Static(id="home-foot", markup=False)
            yield RunPanel(id="home-panel")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#home-runs").border_title = "Runs"
        self.query_one("#home-filter").display = False
        self.action_refresh()
        self.set_interval(REFRESH_S, self._look_again)

    def on_resize(self) -> None:
        self.call_after_refresh(self._resized)

    def on_screen_resume(self) -> None:
        """Adapt to what changed under another screen: the size, and the runs."""
        self.call_after_refresh(self._resized)
        self._look_again()

    def _resized(self) -> None:
        """Choose the columns for the new size, and update the panel if it became visible."""
        self._table.relayout()
        self._show_panel()

    @property
    def _table(self) -> RunTable:
        return self.query_one(RunTable)

    # --- rows -----------------------------------------------------------------------------------

    def action_refresh(self) -> None:
        """Read the store again, a batch at a time."""
        self._reading, self._read_again = True, False
        self._coming = runlist.batches(self.kit.store)
        names: set[str] = set()
        self._next_batch(self._coming, names)

    def _next_batch(self, coming: Iterator[list[Row]], names: set[str]) -> None:
        if coming is not self._coming:  # its store is read again: this must not replace that
            return

        def batch() -> list[Row] | None:
            return next(coming, None)

        def take(rows: list[Row] | None) -> None:
            if coming is not self._coming:
                return
            for row in rows or ():
                self._rows[row.run] = row
                names.add(row.run)
            if rows is None:
                self._rows = {run: row for run, row in self._rows.items() if run in names}
                self._reading = False
            self._redraw(done=rows is None)
            if rows is not None:
                # In a separate worker: one that started the next would cancel itself.
                self.call_later(self._next_batch, coming, names)
            elif self._read_again:
                self.action_refresh()

        def failed(error: Exception) -> None:
            self._reading = False
            self.show_error(error)

        self.fetch(batch, take, group="rows", failed=failed)

    def _look_again(self) -> None:
        """Every two seconds: read runs in flight, and check whether a run was sealed or checked.

        Not under another screen: Textual draws that one again when this one changes.
        """
        if self.app.screen is not self or self._looking:
            return
        self._looking = True
        store, sealed_before = self.kit.store, self._sealed_seen

        def look() -> tuple[list[Row], tuple[int, int, int]]:
            now = runlist.stamp(store)
            return runlist.in_flight(store), now

        def take(result: tuple[list[Row], tuple[int, int, int]]) -> None:
            self._looking = False
            if store is not self.kit.store:
                return
            rows, self._sealed_seen = result
            before = {run: row for run, row in self._rows.items() if row.in_flight}
            now = {row.run: row for row in rows}
            if before != now:
                self._rows = {r: row for r, row in self._rows.items() if r not in before} | now
                self._redraw(done=not self._reading)
            if sealed_before not in (None, self._sealed_seen) or before.keys() - now.keys():
                self._read_soon()

        def failed(error: Exception) -> None:
            self._looking = False
            self.show_error(error)

        self.fetch(look, take, group="look", failed=failed)

    def _read_soon(self) -> None:
        """Read the store again when a reading that is under way has come to its end."""
        if self._reading:
            self._read_again = True
        else:
            self.action_refresh()

    def _redraw(self, *, done: bool = True) -> None:
        """Update filter, order, counts and table."""
        rows = list(self._rows.values())
        wanted = self.query_one("#home-filter", Input).value
        shown = ordered(fitting(rows, wanted), self._sort, reverse=self._reverse)
        self._table.show(shown, frozenset(self._marked))
        self._table.display = bool(rows) or not done
        empty = self.query_one("#home-empty", Static)
        empty.display = done and not rows
        if empty.display:
            empty.update(plain_text(EMPTY.format(root=self.kit.store.root.name + "/")))
        self.state = counted(rows, done=done)
        self._foot(len(shown), len(rows))
        self._show_panel()

    def _foot(self, shown: int, rows: int) -> None:
        parts = [f"{shown:,} of {rows:,}"]
        parts += [f"{len(self._marked)} marked"] if self._marked else []
        parts.append(f"sort: {in_words(self._sort, reverse=self._reverse)}")
        current = self._table.current
        if current and current.note:
            parts.append(current.note)
        foot = self.query_one("#home-foot", Static)
        foot.update(plain(" · ".join(parts), "quiet"), layout=False)  # it is one line high

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self._table.more()
        self._foot(len(self._table.rows_shown), len(self._rows))
        self._show_panel()

    def _show_panel(self) -> None:
        row = self._table.current
        replays = tuple(r.run for r in self._rows.values() if row and r.replay_of == row.run)
        self.query_one(RunPanel).show(row, replays)

    # --- keys -----------------------------------------------------------------------------------

    def _sealed(self, what: str) -> Path | None:
        """The sealed run under the cursor; shows a hint without one."""
        row = self._table.current
        if row is None:
            self.notify("there is no run under the cursor", markup=False)
        elif row.status == "broken":
            message = f"{plain_note(row)}\nv shows what is wrong with it"
            self.notify(message, title=f"cannot {what}", severity="warning", markup=False)
        elif row.in_flight:
            refused = row.status == "refused"
            why = "was refused; enter says why" if refused else "is not sealed yet"
            self.notify(f"cannot {what}: the run {why}", markup=False)
        else:
            return self.kit.store.root / row.run
        return None

    def action_open(self) -> None:
        """Open the run: watch one in progress, read a sealed one."""
        row = self._table.current
        if row and row.status in ("running", "waiting", "refused"):
            self.kit.show_live(row.run)
        elif row and row.status == "unsealed":
            message = "no runner works on this run; `kit recover` seals its records"
            self.notify(message, title=row.run, timeout=10, markup=False)
        elif row and row.status == "broken":
            self.action_verify()  # only its fault can be read
        elif path := self._sealed("open"):
            self.kit.show_run(path)

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_open()

    def action_new(self) -> None:
        """Write a new spec."""
        self.kit.show_spec()

    def action_open_spec(self) -> None:
        """Open a spec's file: one of the current folder, or a typed name."""
        ask_file(self, self.kit.show_spec)

    def action_mark(self) -> None:
        """Mark the run for a comparison, or remove the mark."""
        path = self._sealed("compare")
        if path is None:
            return
        if path.name in self._marked:
            self._marked.remove(path.name)
        else:
            self._marked.append(path.name)
        self._redraw()

    def action_compare(self) -> None:
        """Compare the marked runs; or the one under the cursor with the one marked."""
        runs = list(self._marked)
        if len(runs) < 2:
            path = self._sealed("compare")
            runs += [path.name] if path and path.name not in runs else []
        if len(runs) < 2:
            self.notify("mark a run with space, then c on another", markup=False)
            return
        self.kit.show_compare([self.kit.store.root / run for run in runs])

    def action_verify(self) -> None:
        """Check the run under the cursor; for a broken one show what is wrong."""
        row = self._table.current
        if row and row.status == "broken":
            self.kit.show_verify(self.kit.store.root / row.run)
        elif path := self._sealed("verify"):
            self.kit.show_verify(path)

    def action_replay(self) -> None:
        """Run the sealed spec again on this machine; its plan is shown first."""
        if path := self._sealed("replay"):
            replay(self, path)

    def action_edit(self) -> None:
        """Begin a new spec with this run's."""
        if path := self._sealed("edit"):
            self.fetch(lambda: spec_of(path), lambda spec: self.kit.show_spec(document=spec))

    def action_tags(self) -> None:
        """Add tags to the run under the cursor, or remove them."""
        if row := self._own("tag"):
            ownership.tags(self, row, self.action_refresh)

    def action_note(self) -> None:
        """Note a line of text on the run under the cursor."""
        if row := self._own("note"):
            ownership.note(self, row, self.action_refresh)

    def action_delete(self) -> None:
        """Delete the run under the cursor, after a yes."""
        row = self._table.current
        if row and self.kit.store.is_run(self.kit.store.root / row.run):
            ownership.delete(self, row, lambda: self._deleted(row))
        else:
            self.notify("only sealed runs of the store are deleted", markup=False)

    def _deleted(self, row: Row) -> None:
        self._marked = [run for run in self._marked if run != row.run]
        self.notify(f"deleted run {row.run[:12]}", markup=False)
        self.action_refresh()

    def _own(self, what: str) -> Row | None:
        return self._table.current if self._sealed(what) else None

    def action_switch(self) -> None:
        """Show the runs of another folder."""
        ownership.switch(self, self._switched)

    def _switched(self) -> None:
        self._rows, self._marked, self._sealed_seen = {}, [], None
        self.query_one("#home-runs").border_title = f"Runs of {plain(self.kit.store.root.name)}"
        self.query_one("#home-filter", Input).value = ""
        self.command = ""
        self.command = "kit ls"
        self.action_refresh()

    def action_sort(self) -> None:
        """Sort by the next column."""
        columns = list(SORTS)
        self._sort = columns[(columns.index(self._sort) + 1) % len(columns)]
        self._redraw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._reverse = not self._reverse
        self._redraw()

    def action_filter(self) -> None:
        """Show only runs with these letters in any column."""
        field = self.query_one("#home-filter", Input)
        field.display = True
        field.focus()

    def action_clear(self) -> None:
        """Remove the filter; without one do nothing: an extra esc does not leave."""
        field = self.query_one("#home-filter", Input)
        if not field.display:
            self.minimize()
            return
        field.value, field.display = "", False
        self._table.focus()

    @on(Input.Changed)
    def _filtered(self) -> None:
        self._redraw()

    @on(Input.Submitted)
    def _filter_is_set(self) -> None:
        self._table.focus()

    def copy_text(self) -> str:
        row = self._table.current
        return _command(row) if row else self.command


def _command(row: Row) -> str:
    """The command for a run: `kit show` knows only sealed ones."""
    return {
        "running": f"kit attach {row.run}",
        "waiting": f"kit attach {row.run}",
        "refused": f"kit attach {row.run}",
        "unsealed": "kit recover",
        "broken": f"kit verify {row.run}",
    }.get(row.status, f"kit show {row.run}")


def plain_text(text: str) -> Text:
    """``text`` line by line, without markup."""
    return Text("\n").join(plain(line) for line in text.split("\n"))


def plain_note(row: Row) -> str:
    """A row's note as an inert string."""
    return str(plain(row.note))
