"""The application: its screens, and how one leads to another.

Screens open one another only through `KitApp.show_…`, so that their modules are independent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme

from kit.run.runner import Order
from kit.run.session import Session
from kit.show.render.console import THEME
from kit.store.store import Store
from kit.tui import jobcontrol, settings
from kit.tui._textual_hacks import send
from kit.tui.bell import announcement
from kit.tui.clipboard import copied
from kit.tui.commands import in_prose, with_store
from kit.tui.filters import AsciiFilter, wants_ascii
from kit.tui.keys import by_action, called, is_spelled
from kit.tui.screen import KitScreen
from kit.tui.threads import in_thread, run_latest
from kit.tui.typeahead import TypeAhead


class KitApp(TypeAhead):
    """kit in a terminal.

    Args:
        store: the runs it shows.
        attach: the run in flight to show first.
        spec: the run spec to open first.
        runs: the store's folder in commands; empty for the default one.
        ascii_only: draw with ASCII alone; None: depends on the terminal's encoding.
        first: the first screen, instead of the list of runs.
    """

    TITLE = "kit"
    CSS_PATH = "style.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-wide"), (140, "-xl")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-low"), (30, "-high")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+p,colon", "command_palette", "Palette", key_display=":", id="palette"),
        Binding("ctrl+c", "quit_hint", "Quit", show=False, id="quit-hint"),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="quit"),
        Binding("ctrl+z", "suspend_process", "To the shell", show=False, id="suspend"),
        Binding("ctrl+l", "redraw", "Redraw", show=False, id="redraw"),
    ]

    def __init__(
        self,
        store: Store,
        *,
        attach: str = "",
        spec: Path | None = None,
        runs: str = "",
        ascii_only: bool | None = None,
        first: Screen[Any] | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"  # over a slow link animations only come late
        self._settings = settings.load()
        self.store, self.runs = store, runs
        self.sessions: list[Session] = []  # runners started here; they outlive the UI
        self._run_id, self._spec, self._first_screen = attach, spec, first
        self.ascii_only = self._ascii() if ascii_only is None else ascii_only
        self.console.push_theme(THEME)

    def _ascii(self) -> bool:
        asked = self._settings.ascii
        return wants_ascii() if asked is None else asked

    def on_mount(self) -> None:
        self._settle()
        if self._first_screen:
            self.push_screen(self._first_screen)
            return
        self.show_home()
        if self._run_id:
            self.show_live(self._run_id)
        if self._spec:
            self.show_spec(self._spec)

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = list(super().get_line_filters())
        return [*filters, AsciiFilter()] if self.ascii_only else filters

    def _settle(self) -> None:
        """Apply the person's theme and keys; a theme that is chosen later is kept."""
        asked = self._settings
        if asked.fault:
            self.notify(asked.fault, severity="warning", markup=False)
        if asked.theme in self.available_themes:
            self.theme = asked.theme
        self.set_keymap(dict(asked.keys))
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        for signal_ in (self.app_suspend_signal, self.app_resume_signal):
            signal_.subscribe(self, lambda _: self.sent.forget())

        with contextlib.suppress(
            NotImplementedError, RuntimeError
        ):  # only the main thread may set it
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)

    def _hung_up(self) -> None:
        """Keep unsaved drafts when the terminal is gone, without drawing or asking."""
        self._keep_drafts()
        os._exit(128 + signal.SIGHUP)

    def _keep_drafts(self) -> list[Path]:
        paths = [
            screen.keep_draft() for screen in self.screen_stack if isinstance(screen, KitScreen)
        ]
        return [path for path in paths if path]

    def action_suspend_process(self) -> None:
        """Leave the terminal to the shell until its `fg`; a run goes on meanwhile."""
        if self.is_headless or not jobcontrol.has_shell():
            self.notify("no shell waits behind kit: q leaves the UI, and a run goes on")
            return
        with self.suspend():
            jobcontrol.stop()

    async def action_quit(self) -> None:
        """Quit at once; an unsaved draft is kept in a file, whose name is printed."""
        paths = self._keep_drafts()
        messages = [
            f"not saved, kept in {path}; `kit tui {shlex.quote(str(path))}` opens it"
            for path in paths
        ]
        self.exit(message=in_prose("\n".join(messages), self.runs) if messages else None)

    def _keep_theme(self, theme: Theme) -> None:
        try:
            settings.keep_theme(theme.name)
        except OSError as error:
            self.notify(f"the theme is not kept: {error.strerror}", markup=False)

    # --- the ways from screen to screen -----------------------------------------------------

    def show_home(self) -> None:
        """The list of runs."""
        from kit.tui.screens.home import HomeScreen

        self.push_screen(HomeScreen())

    def show_spec(self, path: Path | None = None, document: dict[str, Any] | None = None) -> None:
        """The form of a spec: of a file, of a document (a sealed run's), or a new one."""
        from kit.tui.screens.spec import SpecScreen

        self.push_screen(SpecScreen(path, document))

    def show_plan(
        self, order: Order, path: Path | None = None, original: Path | None = None
    ) -> None:
        """What an order resolves to here, before it is launched.

        Args:
            path: the spec's file, if it has one.
            original: the sealed run that the order replays.
        """
        from kit.tui.screens.plan import PlanScreen

        self.push_screen(PlanScreen(order, path, original))

    def show_live(self, run_id: str) -> None:
        """A run in progress."""
        from kit.tui.screens.live import LiveScreen

        self.push_screen(LiveScreen(run_id))

    def show_recording(self, run: Path) -> None:
        """A sealed run, played again from its journal."""
        from kit.tui.screens.live import RecordingScreen

        self.push_screen(RecordingScreen(run))

    def show_run(self, run: Path) -> None:
        """A sealed run."""
        from kit.tui.screens.run import RunScreen

        self.push_screen(RunScreen(run))

    def show_compare(self, runs: Sequence[Path]) -> None:
        """Several runs compared; the first is the baseline."""
        from kit.tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(runs))

    def show_verify(self, run: Path, original: Path | None = None) -> None:
        """The verdict on a sealed run, and on it as a replay of ``original``."""
        from kit.tui.screens.verify import VerifyScreen

        self.push_screen(VerifyScreen(run, original))

    # --- what every screen can do ---------------------------------------------------------------

    def command(self, text: str) -> str:
        """A command line for the store that is shown."""
        return with_store(text, self.runs)

    def copy(self, text: str) -> None:
        """Copy by OSC 52 and into tmux, and into a file, whose path is shown."""
        self.copy_to_clipboard(text)
        run_latest(self, partial(self._copied, text), "copy")

    async def _copied(self, text: str) -> None:
        message = await in_thread(lambda: copied(text))
        self.notify(message, title="copied", markup=False)

    def announce(self, title: str, text: str) -> None:
        """Ring the terminal's bell, and show a notification where it can; a setting forbids it."""
        if self._settings.bell:
            send(self, announcement(title, text, os.environ))

    def action_redraw(self) -> None:
        """Draw everything again: another program has written on the terminal."""
        self.sent.forget()
        self.screen.refresh()

    def action_quit_hint(self) -> None:
        """Ctrl+C is "copy" to some and "quit" to others: show which key quits."""
        self.notify("ctrl+q quits; a run in progress continues", title="still here")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        bindings = screen.all_bindings if isinstance(screen, KitScreen) else screen.active_bindings
        for node, binding, keys in by_action(bindings):
            if binding.id:  # the others move a cursor: no palette gives the keys for that
                yield SystemCommand(
                    binding.description,
                    f"key {', '.join(keys)}",
                    lambda action=binding.action, node=node: self.call_later(
                        self.run_action, action, node
                    ),
                )

    def get_key_display(self, binding: Binding) -> str:
        """A key's name in the footer: a word instead of Textual's glyph."""
        if binding.key_display or not is_spelled(binding):
            return super().get_key_display(binding)
        return called(binding.key)

    @property
    def shots(self) -> Path:
        """The folder of screenshots: the current one."""
        return Path(os.environ.get("KIT_SHOTS", "."))
