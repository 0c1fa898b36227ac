"""Every private name of Textual and of its plots that kit uses, and why.

Checked against Textual 8.2.8, textual-plotext 1.0.1 and plotext 5.3.2.

- `DOMNode._bindings`, a node's own keys: `Screen.active_bindings` leaves out a key that the focused
  widget takes as a letter, but the palette must still offer its action.
- `App._check_action_state`, whether an action can be done now (None: it is shown and does nothing):
  the public `check_action` of one node does not ask the node that the action's name points to.
- plotext's `_set_size`: its `plotsize` alone does not follow a change of size; `PlotextPlot.render`
  of textual-plotext calls it for the same reason.
- `App._display` and the compositor's updates: the one place that all output comes through, where
  kit sends only what changed (`kit.tui.sent`). Nothing is sent, or recorded as sent, while the
  application's `_batch_count` holds updates back.
- `Screen._compositor`, and of it `_get_renders` and `_dirty_regions`: Textual draws every widget in
  the rectangle around all that changed, which is the whole screen when its first and its last line
  did. Here it draws those alone that are where something changed.
- `App._handle_exception`, for a bug in a task that nobody awaits.
- `App._driver`, for the bell and a notification: `App.bell` sends no other sequence.
- Rich's `Console._color_system`: Textual renders its strips for it.

No other module of `kit.tui` uses a private name of theirs (`tests/tui/test_house.py`): if one of
them changes, only this module needs a fix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.binding import ActiveBinding
from textual.dom import DOMNode
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

from kit.tui.sent import Piece, Sent


def own_bindings(app: App[Any], node: DOMNode) -> Iterator[tuple[str, ActiveBinding]]:
    """The keys of ``node`` itself, without hidden actions, whatever has the focus."""
    for key, binding in node._bindings:
        state = app._check_action_state(binding.action, node)
        if state is not False:
            yield key, ActiveBinding(node, binding, bool(state), binding.tooltip)


def set_plot_size(plot: Any, width: int, height: int) -> None:
    """Draw ``plot`` (plotext's) ``width`` columns wide and ``height`` lines high from now on."""
    plot.plotsize(width, height)
    plot._set_size(width, height)


class FrugalApp(App[None]):
    """An application that sends the terminal only what changed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = Sent()

    def on_resize(self) -> None:
        """The terminal has cut or moved its lines, also where it has its old size again."""
        self.sent.forget()

    def fail(self, bug: Exception) -> None:
        """End as for an exception that nobody awaits."""
        self._handle_exception(bug)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate) and not (self._batch_count or self.is_headless):
            system = self.console._color_system
            changes = self.sent.changes(_pieces(renderable), self.size, system)
            still = self._previous_cursor_position == self.cursor_position
            renderable = None if still and not changes else _Ready(changes)
        super()._display(screen, renderable)


def send(app: App[Any], sequence: str) -> None:
    """Send the terminal a sequence that draws nothing; nothing where there is no terminal."""
    if not app.is_headless and app._driver is not None:
        app._driver.write(sequence)


class FrugalScreen(Screen[Any]):
    """A screen that draws those widgets alone that are where something changed."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = _Sparing()


class _Sparing(Compositor):
    _changed: tuple[Region, ...] = ()

    def render_partial_update(self) -> ChopsUpdate | None:
        self._changed = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._changed = ()

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        if not self._changed:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            seen = clip.intersection(region)
            if near := [changed for changed in self._changed if changed.overlaps(seen)]:
                lines = Region.from_union(near).intersection(seen)
                part = Region(seen.x, lines.y, seen.width, lines.height)
                yield region, part, widget.render_lines(part.translate(-region.offset))


class _Ready(CompositorUpdate):
    """An update as it is sent."""

    def __init__(self, sequences: str) -> None:
        self._sequences = sequences

    def render_segments(self, console: Console) -> str:  # noqa: ARG002
        return self._sequences


def _pieces(update: CompositorUpdate) -> Iterator[Piece]:
    """The parts of lines that an update draws."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield x, y, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, first, last in update.spans:
            for end, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if chop is not None and x < last and end > first:
                    yield x, y, chop.crop(0, min(end, last) - x)
