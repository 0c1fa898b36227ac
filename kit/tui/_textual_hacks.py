"""Every private name of Textual and of its plots that kit uses, and why.

Checked against Textual 8.2.8, textual-plotext 1.0.1 and plotext 5.3.2.

- `DOMNode._bindings`, a node's own keys: `Screen.active_bindings` leaves out a key that the focused
  widget takes as a letter, but the palette must still offer its action.
- `App._check_action_state`, whether an action can be done now (None: it is shown and does nothing):
  the public `check_action` of one node does not ask the node that the action's name points to.
- plotext's `_set_size`: its `plotsize` alone does not follow a change of size; `PlotextPlot.render`
  of textual-plotext calls it for the same reason.

No other module of `kit.tui` uses a private name of theirs (`tests/tui/test_house.py`): if one of
them changes, only this module needs a fix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual.app import App
from textual.binding import ActiveBinding
from textual.dom import DOMNode


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
