"""The origin of a spec: a template, a file of the current folder, or another file."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kit.core import jsonio, resources
from kit.core.errors import UsageError
from kit.spec import spec as specs
from kit.tui.dialogs import AskLine, Choose
from kit.tui.form.own import ask_own
from kit.tui.screen import KitScreen

FIRST = "quickstart"  # of the templates
EMPTY = ""
OWN = "own model"  # no template can be called that
# A folder of downloads must not make the list slow or long: so many names are looked at, so many
# of the newest files are read, each no further than this.
_NAMES, _READ, _HEAD = 5000, 40, 64 << 10
_MARK = b'"kit.run-spec/'
_OPEN = "open another file …\nits name is typed"

Chosen = Callable[[Path | str | None], None]


class SpecHere(NamedTuple):
    """A file that looks like a run spec."""

    path: Path
    changed: float

    @property
    def line(self) -> str:
        """Its name, and below that its kind and when it was written."""
        what = "an unsaved draft that was kept" if ".draft-" in self.path.name else "a spec"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.changed))
        return f"{self.path.name}\n{what}, of {when}"


def specs_in(folder: Path) -> list[SpecHere]:
    """The run specs in ``folder``, drafts too, newest first. Slow."""
    newest = sorted(islice(_candidates(folder), _NAMES), key=lambda f: f.changed, reverse=True)
    return [entry for entry in newest[:_READ] if _looks_like_one(entry.path)]


def _candidates(folder: Path) -> Iterator[SpecHere]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and (stat := _stat(entry)):
                    yield SpecHere(folder / entry.name, stat.st_mtime)
    except OSError:  # an unreadable folder has no files to offer; a name can be typed
        return


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The stat of a regular file that is not too large for a spec; else None."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) and status.st_size <= specs.MAX_BYTES else None


def _looks_like_one(path: Path) -> bool:
    """Whether it names the spec's schema; a draft to repair need not be JSON."""
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD)
    except OSError:
        return False


def named(name: str) -> Path:
    """The file called ``name``, if the form can show its text.

    Raises:
        UsageError: it is missing, unreadable, or neither JSON nor a draft of a spec.
    """
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # the home of nobody
        path = path.expanduser()
    data = specs.read(path)
    try:
        jsonio.parse(data, path.name)
    except jsonio.JsonRefused as error:
        if _MARK not in data:
            raise UsageError(error.message, "that is no run spec: name another file") from error
    return path


def ask_begin(screen: KitScreen, chosen: Chosen) -> None:
    """Ask what a new spec begins with.

    Args:
        chosen: called with a template's text, `EMPTY`, the file to open, or None to go back.
    """
    paths = sorted(resources.specs_dir().glob("*.json"), key=lambda p: (p.stem != FIRST, p))
    templates = {path.stem: path for path in paths}
    answers = [(name, f"{name}\n{_about(path)}") for name, path in templates.items()]
    answers.insert(1, (OWN, "my own model …\na file or folder of this machine, or the hub's cache"))
    answers.append(("empty", "empty\nonly what the schema asks for, to be filled in"))

    def answered(answer: Path | str | None) -> None:
        if answer == OWN:
            again = partial(ask_begin, screen, chosen)
            ask_own(screen, chosen, again=again, at=Path())
            return
        if isinstance(answer, str):
            answer = EMPTY if answer == "empty" else templates[answer].read_text("utf-8")
        chosen(answer)

    _ask(screen, "New spec: begin with", answers, answered)


def ask_file(screen: KitScreen, chosen: Callable[[Path], None]) -> None:
    """Ask which spec to open: a file of the current folder, or a typed name."""

    def answered(answer: Path | str | None) -> None:
        if isinstance(answer, Path):
            chosen(answer)

    _ask(screen, "Open a spec", [], answered)


def _ask(screen: KitScreen, title: str, first: list[tuple[str, str]], chosen: Chosen) -> None:
    """Ask for one of ``first`` or for a file; a thread reads the folder."""

    def ask(here: list[SpecHere]) -> None:
        files = {f"file {path.path}": path for path in here}
        answers = [*first, *((key, path.line) for key, path in files.items()), ("open", _OPEN)]

        def answered(answer: str | None) -> None:
            if answer == "open":
                _ask_path(screen, chosen, again=lambda: ask(here))
            else:
                chosen(files[answer].path if answer in files else answer)

        if len(answers) == 1:
            _ask_path(screen, chosen, again=lambda: chosen(None))
        else:
            screen.app.push_screen(Choose(title, "", answers), answered)

    screen.fetch(lambda: specs_in(Path()), ask, group="specs-here")


def _ask_path(
    screen: KitScreen, chosen: Chosen, *, again: Callable[[], None], value: str = ""
) -> None:
    """Ask for a file's name until one can be read; ``again`` goes back."""

    def take(answer: str | None) -> None:
        if not answer:
            again()
            return

        def refused(error: Exception) -> None:
            screen.show_error(error)
            _ask_path(screen, chosen, again=again, value=answer)

        screen.fetch(lambda: named(answer), chosen, group="open", failed=refused)

    window = AskLine("Open a spec", "A file's name; enter opens it.", value)
    screen.app.push_screen(window, take)


def _about(path: Path) -> str:
    """The first sentence of a template's description."""
    description = str(jsonio.read(path).get("description", ""))
    return description.partition(". ")[0].rstrip(".") + "."
