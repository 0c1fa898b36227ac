"""A table that adds rows as the cursor moves down, so that a hundred thousand cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rich.text import Text
from textual import on
from textual.widgets import DataTable

from kit.show.render.console import plain

T = TypeVar("T")
PAGE = 100


class PagedTable(DataTable[Text], Generic[T]):
    """Items in rows; ``cells`` makes a row's texts of an item.

    Args:
        headings: the headings of the columns; one that begins with ``>`` is right-aligned.
    """

    def __init__(
        self, headings: Sequence[str], cells: Callable[[T], Sequence[str | Text]], *, id: str
    ) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._headings, self._cells = headings, cells
        self.items: Sequence[T] = ()
        self._drawn = 0

    def show(self, items: Sequence[T]) -> None:
        """Show other items, from the first."""
        self.items, self._drawn = items, 0
        self.clear(columns=True)
        for heading in self._headings:
            right = heading.startswith(">")
            self.add_column(Text(heading.lstrip(">"), justify="right" if right else "left"))
        self._more()

    def _more(self) -> None:
        for item in self.items[self._drawn : self._drawn + PAGE]:
            self.add_row(*(self._cell(n, c) for n, c in enumerate(self._cells(item))))
        self._drawn = min(len(self.items), self._drawn + PAGE)

    def _cell(self, number: int, value: str | Text) -> Text:
        text = value if isinstance(value, Text) else plain(value)
        text.justify = "right" if self._headings[number].startswith(">") else "left"
        return text

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        if self.cursor_row >= self._drawn - PAGE // 2 and self._drawn < len(self.items):
            self._more()
