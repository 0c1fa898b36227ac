"""The table of runs: columns by width, cells, and rows that are added with the cursor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from kit.energy.names import ENERGY_PER
from kit.show.render.console import plain
from kit.show.render.rows import amount
from kit.show.rounding import four
from kit.show.runlist import Row
from kit.tui.states import state_of

# Rows are added a page at a time: ten thousand at once would take two seconds.
PAGE = 100
_NAME_MIN = 12


class Column(NamedTuple):
    """A column: its heading, its width, and its cell of a row."""

    heading: str
    width: int
    cell: Callable[[Row], str]
    right: bool = False


def _error(row: Row) -> str:
    return "–" if row.se_percent is None else f"{row.se_percent:.1f} %"


def _short(row: Row) -> str:
    return row.run[:8]


def _energy(row: Row) -> str:
    """Joules per output token; of a run of images per image, with its unit, the column's being
    another."""
    if row.joules_image is not None:
        return f"{four(row.joules_image)} J/img"
    return row.energy or "–"


NAME = Column("name", _NAME_MIN, lambda row: row.name or "–")
ENERGY = Column(ENERGY_PER["output_token"].short, 12, _energy, right=True)
RATE = Column("tok/s", 7, lambda row: row.throughput or "–", right=True)
RUN = Column("run", 8, _short)
STARTED = Column("started UTC", 11, lambda row: row.started[5:] or "–")
ERROR = Column("±SE", 6, _error, right=True)
GPU = Column("GPU", 9, lambda row: row.gpu or "–")
RUNTIME = Column("runtime", 13, lambda row: row.runtime or "–")
CONCURRENCY = Column("conc.", 5, lambda row: amount(row.concurrency), right=True)
BATCH = Column("batch", 5, lambda row: amount(row.batch), right=True)
CHECKED = Column("checked", 9, lambda row: row.checked.partition(":")[0] or "–")
NOTE = Column("note", 24, lambda row: row.words)
# Importance decides which columns fit; their order does not change.
_IMPORTANCE = (
    *(NAME, ENERGY, CHECKED, RATE, RUN, ERROR, STARTED, GPU, RUNTIME),
    *(CONCURRENCY, BATCH, NOTE),
)
_PLACES = (
    *(NAME, STARTED, RUNTIME, GPU, CONCURRENCY, BATCH),
    *(RATE, ENERGY, ERROR, RUN, CHECKED, NOTE),
)
_STATE_WIDTH = 12


def columns(width: int) -> list[Column]:
    """The columns for ``width``; the name gets the rest."""
    left = width - _STATE_WIDTH - 1
    chosen: list[Column] = []
    for column in _IMPORTANCE:
        if column.width + 1 > left:
            break
        chosen.append(column)
        left -= column.width + 1
    wide = NAME._replace(width=NAME.width + max(0, min(left, 28)))
    return [wide if c is NAME else c for c in _PLACES if c in chosen]


def cells(row: Row, shown: Sequence[Column], marked: bool) -> list[Text]:
    """A row's cells: the state with the mark, then one for each column."""
    state = Text.assemble("*" if marked else " ", state_of(row.status))
    return [state, *(_cell(c, c.cell(row)) for c in shown)]


def _cell(column: Column, value: str) -> Text:
    text = plain(value)
    text.truncate(column.width, overflow="ellipsis")
    if column.right:
        text.pad_left(max(0, column.width - text.cell_len))
    return text


class RunTable(DataTable[Text]):
    """The filtered runs, in order; more are added when the cursor comes near the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "Open", key_display="enter", id="home-open"),
        Binding("home,g", "scroll_top", "First", show=False, id="home-first"),
        Binding("end,G", "scroll_bottom", "Last", show=False, id="home-last"),
        Binding("j", "cursor_down", "Down", show=False, id="home-down"),
        Binding("k", "cursor_up", "Up", show=False, id="home-up"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=0)
        self.rows_shown: list[Row] = []
        self._drawn: list[tuple[Row, bool]] = []
        self._columns: list[Column] | None = (
            None  # none is made; the narrowest table has but the state
        )
        self._marked: Collection[str] = ()

    @property
    def current(self) -> Row | None:
        """The run under the cursor."""
        row = self.cursor_row
        return self.rows_shown[row] if 0 <= row < len(self._drawn) else None

    def show(self, rows: list[Row], marked: Collection[str]) -> None:
        """Show ``rows``; the cursor stays on its run, and unchanged rows stay."""
        here = self.current
        self.rows_shown, self._marked = rows, marked
        count = max(PAGE, len(self._drawn))
        wanted = [(row, row.run in marked) for row in rows[:count]]
        if wanted[: len(self._drawn)] != self._drawn or self._columns is None:
            self._rebuild(here, wanted)
        else:
            self._add(wanted[len(self._drawn) :])

    def on_resize(self) -> None:
        """Choose the columns for the new size."""
        self.relayout()

    def relayout(self) -> None:
        """Choose the columns again; without a width, as under another screen, they stay."""
        room = self._room()
        if room and columns(room) != self._columns:
            self._rebuild(self.current, self._drawn)

    def _room(self) -> int:
        return self.size.width

    def _rebuild(self, here: Row | None, wanted: list[tuple[Row, bool]]) -> None:
        before, self._columns = self._columns, columns(self._room())
        self._drawn = []
        if before == self._columns:
            self.clear()
        else:
            self._head()
        self._add(wanted)
        self._return_to(here)

    def _head(self) -> None:
        """Make the columns anew."""
        self.clear(columns=True)
        self.add_column(Text(" status"), width=_STATE_WIDTH + 1)
        for column in self._columns or ():
            heading = column.heading.rjust(column.width) if column.right else column.heading
            self.add_column(Text(heading), width=column.width + 1)

    def _add(self, wanted: Sequence[tuple[Row, bool]]) -> None:
        for row, marked in wanted:
            self.add_row(*cells(row, self._columns or (), marked))
        self._drawn += wanted

    def _return_to(self, here: Row | None) -> None:
        if here is None:
            return
        place = next((n for n, (row, _) in enumerate(self._drawn) if row.run == here.run), 0)
        self.move_cursor(row=place, animate=False)

    def more(self) -> None:
        """Add the next page if the cursor is near the last row."""
        drawn = len(self._drawn)
        if self.cursor_row >= drawn - PAGE // 2 and drawn < len(self.rows_shown):
            following = self.rows_shown[drawn : drawn + PAGE]
            self._add([(row, row.run in self._marked) for row in following])

    def action_scroll_bottom(self) -> None:
        """Go to the last run, however many there are."""
        following = self.rows_shown[len(self._drawn) :]
        self._add([(row, row.run in self._marked) for row in following])
        super().action_scroll_bottom()
