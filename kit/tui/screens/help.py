"""Help: every key of a screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.console import Group
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from kit.show.render.console import grid, plain
from kit.tui.keys import ActionKeys, by_action
from kit.tui.screen import KitScreen

_ALWAYS = (
    "\nA run continues when you leave: quitting, a lost link or a dead tmux never ends "
    "it; `kit attach` shows it again. The mouse works too; hold shift to "
    "select text with the terminal itself. Keys of your own: ui.json next to "
    'host.toml, {"keys": {"NAME": "KEYS"}} with the names on the right.'
)


class HelpScreen(KitScreen):
    """The keys of ``about``, each with its action; the same as in the palette."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "back", "Back", show=False, id="help-back")
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._about = about
        self.crumbs = f"{getattr(about, 'crumbs', '')} › Help".removeprefix(" › ")
        self.command = "kit --help"

    def body(self) -> Iterable[Widget]:
        actions = by_action(self._about.active_bindings)
        table = grid({"no_wrap": True, "style": "name"}, {"overflow": "fold"}, {"style": "quiet"})
        for _, binding, keys in sorted(filter(_is_kits, actions), key=self._place):
            what = plain(binding.tooltip or binding.description)
            table.add_row(plain(", ".join(keys)), what, plain(binding.id or ""))
        others = ", ".join(_briefly(action) for action in actions if _is_general(action))
        yield VerticalScroll(
            Static(plain(_about(self._about)), id="help-about"),
            Static(table),
            Static(Group(plain(_ALWAYS, "quiet"), plain(f"\nAlso: {others}.", "quiet"))),
        )

    def _place(self, keys: ActionKeys) -> int:
        """The order: the screen's own keys, the focused widget's, the keys of all screens."""
        of_all = {binding.id for binding in KitScreen.BINDINGS if isinstance(binding, Binding)}
        if keys.node is self._about:
            return 2 if keys.binding.id in of_all else 0
        return 3 if keys.node is self.app else 1


def _is_kits(keys: ActionKeys) -> bool:
    """Whether it is kit's own key, and not one that moves a cursor or edits a line."""
    return keys.binding.id is not None


def _is_general(keys: ActionKeys) -> bool:
    """Whether it moves a cursor or edits a line; keys for selecting are left out."""
    return not (_is_kits(keys) or "select" in keys.binding.description.lower())


def _briefly(keys: ActionKeys) -> str:
    return f"{keys.binding.description.lower()} ({keys.keys[0]})"


def _about(screen: Screen[object]) -> str:
    """The first paragraph of a screen's docstring."""
    first = (screen.__doc__ or "").split("\n\n")[0]
    return " ".join(first.replace("``", "").split()) + "\n"
