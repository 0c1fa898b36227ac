"""The table of metrics, with columns by its width, and the row under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.widgets import DataTable

from kit.tui.comparison import GAP, MetricRow, cell, columns


class MetricTable(DataTable[Text]):
    """A row for each metric and run; the width decides which columns are shown."""

    def __init__(self, *, id: str, classes: str) -> None:
        super().__init__(id=id, classes=classes, cursor_type="row", cell_padding=0)
        self._lines: tuple[MetricRow, ...] = ()
        self._shown: dict[str, int] = {}

    @property
    def current(self) -> MetricRow | None:
        """The row under the cursor, whatever has the focus."""
        row = self.cursor_row
        return self._lines[row] if 0 <= row < len(self._lines) else None

    def show(self, lines: Sequence[MetricRow]) -> None:
        """Show these metrics."""
        self._lines = tuple(lines)
        self._rebuild()

    def on_resize(self, _: events.Resize) -> None:
        """Choose the columns for the new width."""
        if self._columns_now() != self._shown:
            self._rebuild()

    def _columns_now(self) -> dict[str, int]:
        return columns(self._lines, self.scrollable_content_region.width)

    def _rebuild(self) -> None:
        row = self.cursor_row
        self._shown = self._columns_now()
        self.clear(columns=True)
        *_, last = self._shown
        for heading, width in self._shown.items():
            self.add_column(Text(heading), width=width + (0 if heading == last else GAP))
        for line in self._lines:
            self.add_row(*(cell(line, heading, width) for heading, width in self._shown.items()))
        self.move_cursor(row=row)
