"""Text that changes in its place."""

from __future__ import annotations

from rich.console import RenderableType
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget


class ChangingText(Widget):
    """A text as high as it is, drawn once for each width.

    A `Static` draws a table three times, to ask twice how high it is, and lays out the screen for
    every other text. Here that happens only where the height changes, and of an equally high text
    only the lines that differ are drawn.
    """

    # Its size changes nothing around it that the layout, which gave it this size, has not seen.
    virtual_size: reactive[Size] = reactive(Size(0, 0))

    def __init__(self, text: RenderableType = "", *, id: str) -> None:
        super().__init__(id=id)
        self._text = text
        self._lines: tuple[int, list[Strip]] = (0, [])  # of which width

    def update(self, text: RenderableType) -> None:
        """Show another text."""
        width, before = self._lines
        self._text, self._lines = text, (0, [])
        after = self._drawn(width) if width else []
        if len(after) != len(before) or not width:
            self.refresh(layout=True)
            return
        pairs = enumerate(zip(before, after, strict=True))
        if regions := [Region(0, y, width, 1) for y, (old, new) in pairs if old != new]:
            self.refresh(*regions)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return len(self._drawn(width))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        lines = self._drawn(width)
        line = lines[y] if y < len(lines) else Strip([])
        return line.adjust_cell_length(width).apply_style(self.visual_style.rich_style)

    def _drawn(self, width: int) -> list[Strip]:
        if self._lines[0] != width:
            console = self.app.console
            options = console.options.update(width=width, height=None, highlight=False)
            lines = console.render_lines(self._text, options, pad=False)
            self._lines = width, Strip.from_lines(lines)
        return self._lines[1]
