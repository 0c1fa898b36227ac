"""Saving and leaving a draft, with questions before data could be lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.core import onestep
from kit.core.errors import UsageError
from kit.tui.dialogs import AskLine, Choose
from kit.tui.form.draft import to_text
from kit.tui.form.files import ELSEWHERE, SpecFile, Written
from kit.tui.screen import KitScreen

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
Then = Callable[[], object]


class Keeper:
    """Writes the documents of a screen into its file.

    Args:
        saved: called with the document that was written.
    """

    def __init__(self, screen: KitScreen, file: SpecFile, saved: Callable[[Any], None]) -> None:
        self._screen, self._file, self._saved = screen, file, saved

    def save(self, document: Any, then: Then) -> None:
        """Write ``document``, then call ``then``; ask for a name if there is none."""
        if self._file.path:
            self._write(self._file.path, document, then)
            return
        name = document.get("name")
        is_plain = isinstance(name, str) and _PLAIN_NAME.fullmatch(name)

        def named(answer: str | None) -> None:
            if answer:
                self._write(Path(answer).expanduser(), document, then)

        window = AskLine(
            "Save as", "A file's name; enter writes it.", f"{name if is_plain else 'run-spec'}.json"
        )
        self._screen.app.push_screen(window, named)

    def _write(self, path: Path, document: Any, then: Then, *, force: bool = False) -> None:
        text = to_text(document)

        def done(state: Written) -> None:
            if state != "written":
                self._ask(path, state, lambda: self._write(path, document, then, force=True))
                return
            self._saved(document)
            then()

        self._screen.change(lambda: self._file.write(path, text, force=force), done)

    def _ask(self, path: Path, state: Written, overwrite: Then) -> None:
        why = "already exists" if state == "exists" else "was changed since it was read"
        answers = [("no", "Keep that file"), ("yes", "Overwrite it")]

        def answered(answer: str | None) -> None:
            if answer == "yes":
                overwrite()

        self._screen.app.push_screen(Choose("Overwrite?", f"{path} {why}.", answers), answered)

    def leave(self, name: str, save: Then | None, go: Then) -> None:
        """Ask what to do with unsaved changes; ``save`` None: they cannot be saved."""
        answers = [("stay", "Keep editing"), ("drop", "Leave without saving")]
        if save:
            answers.insert(1, ("save", "Save, then leave"))

        def answered(answer: str | None) -> None:
            if answer == "save" and save:
                save()
            elif answer == "drop":
                go()

        question = f"{name} has changes that are not saved."
        self._screen.app.push_screen(Choose("Leave?", question, answers), answered)


def keep(path: Path | None, text: str) -> Path | None:
    """Write ``text`` next to the spec's file, whole, under a new name; None if that fails."""
    base = (path or Path("run-spec.json")).absolute()
    draft = base.with_name(f"{base.stem}.draft-{time.strftime('%Y%m%d-%H%M%S')}.json")
    try:
        onestep.write(draft, text.encode(), ELSEWHERE)
    except UsageError:
        return None
    return draft
