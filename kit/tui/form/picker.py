"""Windows for a model of one's own: which one, and how far it is hashed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, OptionList, ProgressBar, Static
from textual.widgets.option_list import Option

from kit.show.render.console import plain, short_bytes
from kit.spec import models
from kit.spec.models import Begun, Entry
from kit.tui.dialogs import Window
from kit.tui.threads import in_thread, run_latest
from kit.tui.widgets.line import LineInput

_SHOWN = 300  # lines of a list; typing finds the rest
_REFRESH_S = 0.25


class ModelPicker(Window):
    """Which model: those that this machine knows, then those of a folder.

    Letters filter the list. A path or hf:ORG/REPO@REVISION can be typed whole. The answer is a
    path or that name.

    Args:
        folder: the folder to begin in.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, priority=True, id="picker.up"),
        Binding("down", "move(1)", "Down", show=False, priority=True, id="picker.down"),
        Binding("pageup", "move(-10)", "Page up", show=False, priority=True, id="picker.page-up"),
        Binding("pagedown", "move(10)", "Page down", show=False, priority=True, id="picker.page"),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__("My own model: which file or folder?")
        self._place = folder.absolute()
        self._known: list[Entry] | None = None
        self._offers: list[Entry] = []  # all of this place
        self._lines: list[Entry] = []  # those that the list shows

    def body(self) -> Iterable[Widget]:
        yield LineInput(
            placeholder="letters filter; or a path, or hf:ORG/REPO@REVISION",
            says={"enter": "Open", "escape": "Back"},
            compact=True,
        )
        yield Static(id="place", markup=False)
        yield OptionList(compact=True, markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._go(self._place)

    def _go(self, folder: Path) -> None:
        """Show what ``folder`` holds; the first time also what this machine knows."""
        self.query_one(Input).value = ""

        async def look() -> None:
            if self._known is None:
                self._known = await in_thread(models.known)
            entries = await in_thread(lambda: models.listed(folder))
            above = [Entry(str(folder.parent), "../", None)] if folder.parent != folder else []
            self._place, self._offers = folder, [*self._known, *entries, *above]
            self.query_one("#place", Static).update(plain(str(folder), "quiet"))
            self._show()

        run_latest(self, look, "look")

    @on(Input.Changed)
    def _typed(self) -> None:
        self._show()

    def _show(self) -> None:
        typed = self.query_one(Input).value
        words = [] if _is_whole(typed) else typed.lower().split()
        fits = (e for e in self._offers if all(w in e.name.lower() for w in words))
        self._lines = [entry for entry, _ in zip(fits, range(_SHOWN), strict=False)]
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options([Option(_line(entry)) for entry in self._lines])
        if self._lines:
            shown.highlighted = 0

    def action_move(self, lines: int) -> None:
        """Move the highlight, which letters leave where they are."""
        shown = self.query_one(OptionList)
        if self._lines:
            shown.highlighted = min(max(0, (shown.highlighted or 0) + lines), len(self._lines) - 1)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._open(self._lines[event.option_index])

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        typed, at = event.value.strip(), self.query_one(OptionList).highlighted
        if typed.startswith("hf:"):
            self.dismiss(typed)
        elif self._lines and at is not None and not _is_whole(typed):
            self._open(self._lines[at])
        elif typed:
            self._open_typed(typed)

    def _open(self, entry: Entry) -> None:
        if entry.size is None:
            self._go(Path(entry.path))
        else:
            self.dismiss(entry.path)

    def _open_typed(self, typed: str) -> None:
        """A path that was typed: a folder is shown, anything else is the answer."""
        try:
            path = self._place / Path(typed).expanduser()
        except RuntimeError:  # the home of nobody
            path = self._place / typed

        async def look() -> None:
            if await in_thread(lambda: path.is_dir() and not models.is_model(path)):
                self._go(path)
            else:
                self.dismiss(str(path))

        run_latest(self, look, "look")


def _is_whole(typed: str) -> bool:
    """Whether a path or a name of the hub is typed, and no filter."""
    return typed.startswith(("/", "~", "hf:"))


def _line(entry: Entry) -> Text:
    size = "" if entry.size is None else f"  {short_bytes(entry.size)}"
    where = f"  {entry.where}" if entry.where else ""
    return plain(entry.name, "" if entry.size is not None else "quiet").append(
        size + where, "quiet"
    )


class _Cancelled(Exception):
    """The person left the window while a file was hashed."""


class Hashing(Window):
    """Hashes a model and begins a spec with it; the answer is a `Begun`, or None if cancelled.

    Args:
        name: the model's path, or its name of the hub.
    """

    def __init__(self, name: str) -> None:
        super().__init__("Hashing the model")
        self._model = name
        self._at: tuple[str, float, float | None] = ("", 0, None)
        self._left = False
        self.begun: Begun | None = None
        self.error: Exception | None = None

    def body(self) -> Iterable[Widget]:
        yield Static(id="hashed", markup=False)
        yield ProgressBar(show_eta=False)
        yield Static(plain("esc cancels; what is hashed once is remembered", "quiet"), markup=False)

    def on_mount(self) -> None:
        self.set_interval(_REFRESH_S, self._draw)
        self._draw()
        run_latest(self, self._hash, "hash")

    async def _hash(self) -> None:
        def progress(name: str, done: float, total: float | None) -> None:
            if self._left:
                raise _Cancelled
            self._at = (name, done, total)

        try:
            self.begun = await in_thread(lambda: models.begun(self._model, progress))
        except _Cancelled:
            return
        except Exception as error:  # shown by the screen below, as any error
            self.error = error
        if not self._left:
            self.dismiss("error" if self.error else "begun")

    def _draw(self) -> None:
        name, done, total = self._at
        self.query_one(ProgressBar).update(total=total or None, progress=done)
        amount = f"{short_bytes(done)} of {short_bytes(total)}" if total else "looking"
        self.query_one("#hashed", Static).update(plain(f"{name}  {amount}" if name else amount))

    def action_leave(self) -> None:
        """Stop hashing."""
        self._left = True
        self.dismiss(None)
