"""Common output of screens: a run's short name, its report, a text to copy."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, RenderableType

from kit.core import jsonio
from kit.show.render.console import THEME, plain
from kit.tui import files
from kit.tui.screen import KitScreen

_WIDTH = 120


def short(run: Path) -> str:
    """The first twelve digits of a run's hash; otherwise the folder's name."""
    return str(plain(run.name))[:12]


def argument(run: Path) -> str:
    """The name of ``run`` in a command line."""
    return run.name[:12] if jsonio.is_sha256(run.name) else str(plain(run))


def as_text(*shown: RenderableType) -> str:
    """Renderables as text, without colours or trailing blanks."""
    console = Console(file=io.StringIO(), width=_WIDTH, theme=THEME, markup=False, highlight=False)
    with console.capture() as captured:
        for part in shown:
            console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def write_report(screen: KitScreen, run: Path, original: Path | None = None) -> None:
    """Write the HTML report of ``run`` into the current folder, in a thread; show its path.

    Args:
        original: the run that it is compared with, if there is one.
    """
    screen.notify("writing the report", markup=False)
    screen.fetch(
        lambda: files.write_report(run, Path.cwd(), original),
        lambda path: screen.notify(str(plain(path)), title="report", markup=False),
        group="report",
    )
