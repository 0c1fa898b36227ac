"""The base of all screens: top line, command line, keys, work outside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from kit.core import extras
from kit.core.errors import KitError
from kit.core.model import RunSpec
from kit.show.render.console import GLYPHS, plain
from kit.tui._textual_hacks import FrugalScreen, own_bindings
from kit.tui.commands import in_prose
from kit.tui.keys import acting
from kit.tui.threads import in_thread, run_latest
from kit.tui.widgets.foot import Foot

if TYPE_CHECKING:
    from kit.tui.app import KitApp

T = TypeVar("T")


def badge(state: str, word: str | None = None) -> Text:
    """``✔ complete``: a state as glyph and word."""
    glyph, _, style = GLYPHS.get(state, GLYPHS["skip"])
    return plain(f"{glyph} {state if word is None else word}", style, no_wrap=True)


class TopLine(Widget):
    """``kit › Home › Spec`` on the left, the screen's state on the right."""

    crumbs = reactive("")
    state: reactive[Text] = reactive(Text(), always_update=True)

    def render(self) -> Text:
        width = max(1, self.size.width)
        left = plain(f" kit › {self.crumbs}" if self.crumbs else " kit", "name")
        right = self.state.copy()
        left.truncate(max(8, width - right.cell_len - 2), overflow="ellipsis")
        gap = max(1, width - left.cell_len - right.cell_len - 1)
        line = Text.assemble(left, " " * gap, right)
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        return line


class KitScreen(FrugalScreen):
    """A screen of kit: subclass it, give `body`, set `crumbs`, `state` and `command`.

    Attributes:
        crumbs: the path of screens, for the top line.
        state: the screen's state for the top line (a `rich.text.Text`).
        command: the command line that does the same as this screen; the shown store is added
            to it here.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", key_display="?", id="help"),
        Binding("escape,q", "back", "Back", key_display="q", id="back"),
        Binding("y", "copy", "Copy", id="copy"),
        Binding("s", "shot", "Screenshot", show=False, id="screenshot"),
        Binding("z", "zoom", "Zoom", show=False, id="zoom"),
    ]
    ALLOW_IN_MAXIMIZED_VIEW: ClassVar[str | None] = ".-textual-system,Foot"
    # The widget itself shows that it has the focus; and only three lines show the others: a change
    # must not draw the whole screen again.
    focused: reactive[Widget | None] = reactive(None, repaint=False)
    crumbs = reactive("", repaint=False)
    state: reactive[Text] = reactive(Text(), repaint=False, always_update=True)
    command = reactive("", repaint=False)

    @property
    def kit(self) -> KitApp:
        """The application."""
        return cast("KitApp", self.app)

    def __init__(self) -> None:
        super().__init__()
        self.top = TopLine(id="top")
        self._same_as = Static(id="command", markup=False)
        self._changing = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield self.top
        yield from self.body()
        yield self._same_as
        yield Foot()

    def body(self) -> Iterable[Widget]:
        """The screen's own widgets, between top line and command line."""
        raise NotImplementedError

    def watch_crumbs(self, crumbs: str) -> None:
        self.top.crumbs = crumbs

    def watch_state(self, state: Text) -> None:
        if state != self.top.state:
            self.top.state = state

    def watch_command(self, command: str) -> None:
        if self.is_attached:
            hint = f" same as: {self.kit.command(command)}" if command else ""
            self._same_as.update(plain(hint, "quiet"), layout=False)  # it is one line high
            self._same_as.set_class(not command, "-empty")

    def on_mount(self) -> None:
        """Show what was set before there was an application."""
        self.watch_command(self.command)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that act now, without letters while text is typed."""
        return acting(super().active_bindings, self.focused)

    @property
    def all_bindings(self) -> dict[str, ActiveBinding]:
        """Also keys that the focused widget takes as letters: their actions can be chosen."""
        bindings = super().active_bindings
        for node in (self, self.app):
            for key, binding in own_bindings(self.app, node):
                bindings.setdefault(key, binding)
        return bindings

    # --- work off the event loop ------------------------------------------------------------

    def fetch(
        self,
        work: Callable[[], T],
        then: Callable[[T], None],
        *,
        group: str = "fetch",
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Read in a thread by ``work``, then call ``then`` with the result on the event loop.

        A later call of the same ``group`` replaces an earlier one, whose result is dropped: what
        changes something is for `change`. An error is shown by `show_error`, unless ``failed``
        takes it.
        """
        run_latest(self, partial(self._work, work, then, failed), group)

    def change(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Change something in a thread by ``work``, then call ``then`` as `fetch` does.

        Changes are made one after another, each to its end. None is dropped, but for those that
        have not begun when the screen is left.
        """

        async def in_turn() -> None:
            async with self._changing:
                await self._work(work, then, None)

        self.run_worker(cast(Any, in_turn), group="change")

    async def _work(
        self,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[Exception], None] | None,
    ) -> None:
        try:
            result = await in_thread(work)
        except Exception as error:  # a bug in a package below must not end the UI, and is shown
            (failed or self.show_error)(error)
            return
        try:
            if self.is_attached:
                then(result)
        except Exception as error:  # nor one in what draws a stranger's data
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Show an error and its remedy, for as long as it takes to read."""
        error = extras.missing(error) or error
        if isinstance(error, KitError):
            text = f"{error.message}\n{error.remedy}" if error.remedy else error.message
            self.notify(str(plain_lines(text)), severity="error", timeout=12, markup=False)
        else:
            message = f"{type(error).__name__}: {error}"
            self.notify(
                str(plain_lines(message)),
                title="a bug in kit",
                severity="error",
                timeout=20,
                markup=False,
            )

    # --- keys that every screen has ---------------------------------------------------------

    def action_help(self) -> None:
        """Show every key of this screen, and what it does."""
        from kit.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self))

    def action_back(self) -> None:
        """Go one screen back; from the first one, quit."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()
        else:
            self.app.exit()

    def keep_draft(self) -> Path | None:
        """Keep an unsaved draft when the UI ends without asking; returns its file, if any."""
        return None

    def take_spec(self, spec: RunSpec) -> bool:  # noqa: ARG002
        """Continue to edit ``spec`` here; returns false if this screen edits none."""
        return False

    def copy_text(self) -> str:
        """The text that ``y`` copies; a screen may offer more than its command."""
        return self.command

    def action_copy(self) -> None:
        """Copy this screen's text."""
        text = self.copy_text()
        if text:
            self.kit.copy(self.kit.command(text))

    def notify(self, message: str, **more: Any) -> None:
        """Show a message, in which every command works on the shown store."""
        super().notify(in_prose(message, self.kit.runs), **more)

    def action_shot(self) -> None:
        """Write the screen as SVG into the current folder."""
        name = f"kit-{datetime.now():%Y%m%d-%H%M%S}.svg"
        try:
            path = self.app.save_screenshot(name, str(self.kit.shots))
        except OSError as error:
            self.notify(f"cannot write {name}: {error.strerror}", severity="error", markup=False)
            return
        self.notify(path, title="screenshot", markup=False)

    def action_zoom(self) -> None:
        """Enlarge the focused part to the whole screen, or reduce it again."""
        if self.maximized:
            self.minimize()
        elif self.focused:
            self.maximize(self.focused)


def plain_lines(text: str) -> Text:
    """``text`` as inert lines."""
    return Text("\n").join(plain(line) for line in text.splitlines())
