"""Every key of a screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from kit.render.console import grid, plain
from kit.tui.base import KitScreen


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
        table = grid({"no_wrap": True, "style": "name"}, {"overflow": "fold"}, {"style": "quiet"})
        for active in self._about.active_bindings.values():
            binding = active.binding
            if binding.description:
                key = binding.key_display or self.app.get_key_display(binding)
                told = plain(binding.tooltip or binding.description)
                table.add_row(plain(key), told, plain(binding.id or ""))
        yield VerticalScroll(
            Static(Text((self._about.__doc__ or "").split("\n\n")[0].strip() + "\n")),
            Static(table),
            Static(
                plain(
                    "\nkit runs on when you leave: quitting, a lost link or a dead tmux never ends "
                    "a run; `kit attach` shows it again. The mouse works too; hold shift to "
                    "select text with the terminal itself. Keys of your own: ui.json beside "
                    'host.toml, {"keys": {"NAME": "KEYS"}} with the names on the right.',
                    "quiet",
                )
            ),
        )
