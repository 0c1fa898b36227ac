"""What a person does to a run on Home: note, tag, delete; and the store that is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from kit.core.errors import UsageError
from kit.show.runlist import Row
from kit.store import notes, removal
from kit.store.store import Store
from kit.tui import settings
from kit.tui.dialogs import AskLine, Choose, YesNo
from kit.tui.screen import KitScreen

_OTHER = "another"


def note(screen: KitScreen, row: Row, done: Callable[[], None]) -> None:
    """Ask for the text of a run's note; an empty line keeps it, a dash removes it."""

    def answered(text: str | None) -> None:
        if text:
            _change(screen, lambda s: notes.write(s, row.run, "" if text == "-" else text), done)

    title, help_ = f"Note on {row.run[:12]}", "It is not sealed. A dash alone removes it."
    screen.app.push_screen(AskLine(title, help_, row.remark, notes.MOST_CHARS), answered)


def tags(screen: KitScreen, row: Row, done: Callable[[], None]) -> None:
    """Ask for tags to add (``+x`` or ``x``) and to remove (``-x``)."""

    def answered(text: str | None) -> None:
        words = (text or "").split()
        less = [word[1:] for word in words if word.startswith("-")]
        more = [word.removeprefix("+") for word in words if not word.startswith("-")]
        if words:
            _change(screen, lambda s: notes.tag(s, row.run, more, less), done)

    has = f"It has: {' '.join(row.tags)}\n" if row.tags else ""
    text = f"{has}x or +x adds the tag x, -x removes it. Tags are not sealed."
    screen.app.push_screen(AskLine(f"Tags of {row.run[:12]}", text), answered)


def delete(screen: KitScreen, row: Row, done: Callable[[], None]) -> None:
    """Delete a run of the store after a yes."""
    store = screen.kit.store

    def answered(yes: bool | None) -> None:
        if yes:
            _change(screen, lambda s: removal.remove(s, s.root / row.run), done)

    question = (
        f"Delete run {row.run[:12]} {row.name} of {store.root.name}/?\n"
        "Its files are gone for good. The ledger keeps that it was here."
    )
    screen.app.push_screen(YesNo(question, "Delete", "Keep"), answered)


def _change(screen: KitScreen, change: Callable[[Store], object], done: Callable[[], None]) -> None:
    store = screen.kit.store
    screen.change(lambda: change(store), lambda _: done())


def switch(screen: KitScreen, done: Callable[[], None]) -> None:
    """Ask for another folder of runs: one that was shown lately, or a typed one."""
    here = screen.kit.store.root
    lately = [name for name in settings.load().stores if name != str(here)]

    def chosen(answer: str | None) -> None:
        if answer == _OTHER:
            screen.app.push_screen(
                AskLine("Folder of runs", "A folder with sealed runs.", str(here)), typed
            )
        elif answer and answer != str(here):
            typed(answer)

    def typed(answer: str | None) -> None:
        if answer:
            _show(screen, Path(answer).expanduser().absolute(), done)

    answers = [(str(here), f"{here}\nas now"), *((name, name) for name in lately)]
    answers.append((_OTHER, "Another folder …"))
    screen.app.push_screen(Choose("Which store?", "", answers), chosen)


def _show(screen: KitScreen, root: Path, done: Callable[[], None]) -> None:
    if not root.is_dir():
        screen.show_error(UsageError(f"there is no folder {root}", "name a folder of runs"))
        return
    with contextlib.suppress(OSError):  # remembering is a convenience
        settings.keep_store(screen.kit.store.root)
        settings.keep_store(root)
    screen.kit.store, screen.kit.runs = Store(root), str(root)
    done()
