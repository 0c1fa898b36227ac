"""What goes over the link: only what changed, and the terminal shows all of it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.strip import Strip

from kit.store.store import Store
from kit.tui.app import KitApp
from kit.tui.sent import Sent

SIZE = Size(40, 6)
STYLES = [
    None,
    *(Style.parse(s) for s in ("red", "bold", "bold red on blue", "#ffaa00 on #001122", "reverse")),
    *(Style.parse(s) for s in ("underline #ffaa00 on #001122", "strike red", "underline2")),
    *(Style.parse(s) for s in ("overline blue", "dim green", "link https://example.org")),
]
LINES = {"4", "7", "9", "21", "53"}  # what is seen without a character
PARTS = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([\d;]*)m|\x1b\]8;[^;]*;([^\x1b]*)(\x1b\\)|(.)", re.S)


class Terminal:
    """Cells as a terminal holds them: a character and what SGR sequences made of it."""

    def __init__(self) -> None:
        self.cells = {(x, y): ("?", "") for x in range(SIZE.width) for y in range(SIZE.height)}
        self._x = self._y = 0
        self._sgr: dict[str, str] = {}
        self._link = ""

    def write(self, sequences: str) -> None:
        for y, x, sgr, link, is_link, char in PARTS.findall(sequences):
            if y:
                self._x, self._y = int(x) - 1, int(y) - 1
            elif is_link:
                self._link = link
            elif char:
                self._put(char)
            else:
                self._style(sgr.split(";"))

    def _style(self, numbers: list[str]) -> None:
        while numbers:
            first = numbers[0]
            long = {"2": 5, "5": 3}[numbers[1]] if first in ("38", "48") else 1
            part, numbers = ";".join(numbers[:long]), numbers[long:]
            if first in ("", "0"):
                self._sgr = {}
            elif first in ("39", "49"):
                self._sgr.pop(f"{first[0]}x", None)
            else:
                self._sgr[f"{first[0]}x" if len(first) == 2 and first[0] in "34" else first] = part

    def _put(self, char: str) -> None:
        parts = self._sgr
        if char == " " and not self._link and not LINES & parts.keys():
            parts = {key: part for key, part in parts.items() if key == "4x"}  # the ground alone
        look = ";".join(sorted(parts.values())) + self._link
        self.cells[self._x, self._y] = char, look
        for n in range(1, cell_len(char)):
            self.cells[self._x + n, self._y] = "", look
        self._x += cell_len(char)


def line(chance: random.Random, width: int) -> Strip:
    segments = []
    while width > 0:
        text = "".join(chance.choice("ab  ─漢") for _ in range(chance.randint(1, 6)))
        while cell_len(text) > width:
            text = text[:-1] or " "
        segments.append(Segment(text, chance.choice(STYLES)))
        width -= cell_len(text)
    return Strip(segments)


def written_by_rich(lines: Sequence[Strip]) -> Terminal:
    """A terminal to which every segment was written in full, by Rich alone."""
    terminal = Terminal()
    for y, strip in enumerate(lines):
        segments = ((segment.style or Style(), segment.text) for segment in strip)
        texts = [style.render(text, color_system=ColorSystem.TRUECOLOR) for style, text in segments]
        terminal.write(f"\x1b[{y + 1};1H{''.join(texts)}")
    return terminal


@pytest.mark.parametrize("seed", range(20))
def test_a_terminal_shows_whatever_was_drawn(seed: int) -> None:
    chance, sent, terminal = random.Random(seed), Sent(), Terminal()
    whole = [line(chance, SIZE.width) for _ in range(SIZE.height)]
    terminal.write(
        sent.changes([(0, y, s) for y, s in enumerate(whole)], SIZE, ColorSystem.TRUECOLOR)
    )
    for _ in range(30):
        y, x = chance.randrange(SIZE.height), chance.randrange(SIZE.width - 4)
        strip = line(chance, chance.randint(4, SIZE.width - x))
        # Textual cuts the line where the part is drawn: half of a wide character is a blank.
        whole[y] = Strip.join([whole[y].crop(0, x), strip, whole[y].crop(x + strip.cell_length)])
        terminal.write(sent.changes([(0, y, whole[y])], SIZE, ColorSystem.TRUECOLOR))
        assert terminal.cells == written_by_rich(whole).cells


@pytest.mark.parametrize("narrower", [Size(10, 6), Size(40, 2), Size(0, 0)])
def test_a_layout_of_the_former_size_is_cut_at_the_edge(narrower: Size) -> None:
    """A new size is known before it is laid out."""
    pieces = [(30, y, Strip([Segment("x" * 10)])) for y in range(6)]
    assert Sent().changes(pieces, narrower, None) in ("", Sent().changes(pieces[:2], SIZE, None))


@pytest.mark.parametrize(
    "texts", [("e", "\u0301x"), ("\u0301abc",), ("❤", "\ufe0f"), ("\u200babc", "d")], ids=ascii
)
def test_a_row_whose_width_is_in_doubt_is_sent_whole_each_time(texts: tuple[str, ...]) -> None:
    sent, strip = Sent(), Strip([Segment(text) for text in (*texts, "end")])
    for _ in range(2):
        changes = sent.changes([(0, 0, strip)], SIZE, None)
        assert "end" in changes
    after = sent.changes([(0, 0, Strip([Segment("plain", None)]))], SIZE, None)
    assert "plain" in after


def test_what_stands_there_is_not_sent_again() -> None:
    sent, strip = Sent(), Strip([Segment("the same" * 5, STYLES[3])])
    assert "the same" in sent.changes([(0, 0, strip)], SIZE, ColorSystem.TRUECOLOR)
    assert sent.changes([(0, 0, strip)], SIZE, ColorSystem.TRUECOLOR) == ""
    other = Strip([Segment("the sane" + "the same" * 4, STYLES[3])])
    change = sent.changes([(0, 0, other)], SIZE, ColorSystem.TRUECOLOR)
    assert change.startswith("\x1b[1;7H") and "n" in change and len(change) < 60


@pytest.mark.parametrize("why", ["asked", "another size"])
def test_everything_is_sent_after_another_program(why: str) -> None:
    sent, strip = Sent(), Strip([Segment("word")])
    sent.changes([(0, 0, strip)], SIZE, None)
    if why == "asked":
        sent.forget()
    size = SIZE if why == "asked" else Size(41, 6)
    assert "word" in sent.changes([(0, 0, strip)], size, None)


async def test_a_new_size_makes_all_of_it_be_sent(store: Store) -> None:
    """Also where it is the old one again: the terminal has cut its lines meanwhile."""
    app = KitApp(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        strip = Strip([Segment("here")])
        size = Size(80, 24)
        assert app.sent.changes([(0, 0, strip)], size, None)
        assert not app.sent.changes([(0, 0, strip)], size, None)
        app.post_message(events.Resize(size, size))
        await pilot.pause()
        assert app.sent.changes([(0, 0, strip)], size, None)


def test_blanks_send_no_foreground() -> None:
    def sent(text: str) -> str:
        red, blue = Style.parse("red"), Style.parse("bold blue")
        strip = Strip([Segment("a", red), Segment(text, blue), Segment("b", red)])
        return Sent().changes([(0, 0, strip)], SIZE, ColorSystem.TRUECOLOR)

    assert sent("   ") == "\x1b[1;1H\x1b[31ma   b\x1b[0m"
    assert "34" in sent(" c ")
