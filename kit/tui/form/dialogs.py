"""Small windows over a screen: a question, a name, a choice from a list, a long text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Footer, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from kit.render.console import plain
from kit.tui.base import plain_lines
from kit.tui.widgets.line import LineInput


class Window(ModalScreen[str | None]):
    """A window that asks; its answer is a string, or None where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", key_display="esc", id="window.leave"),
    ]

    def __init__(self, title: str, told: str = "") -> None:
        super().__init__()
        self._title, self._told = title, told

    def compose(self) -> ComposeResult:
        with Vertical(classes="window panel") as frame:
            frame.border_title = plain(self._title).plain.replace("[", "(")
            if self._told:
                yield Static(plain_lines(self._told), classes="told", markup=False)
            yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def body(self) -> Iterable[Widget]:
        """What is asked with."""
        raise NotImplementedError

    def action_leave(self) -> None:
        """Close the window without an answer."""
        self.dismiss(None)


class Ask(Window):
    """A question with a few answers; the first one is the safe one, and chosen at first.

    Args:
        answers: (answer, what it says) of each.
    """

    def __init__(self, title: str, told: str, answers: Sequence[tuple[str, str]]) -> None:
        super().__init__(title, told)
        self._answers = answers

    def body(self) -> Iterable[Widget]:
        options = [Option(_two_lines(text), id=answer) for answer, text in self._answers]
        yield OptionList(*options, compact=True, markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option.id)


class AskLine(Window):
    """Asks for a line of text, such as a file's name."""

    def __init__(self, title: str, told: str, value: str) -> None:
        super().__init__(title, told)
        self._value = value

    def body(self) -> Iterable[Widget]:
        yield LineInput(self._value, compact=True, select_on_focus=False)

    @on(Input.Submitted)
    def _given(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip() or None)


class AskText(Window):
    """Asks for a text of several lines; whatever way it is left, what was typed is kept."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+s", "keep", "Done", key_display="esc", priority=True, id="window.keep")
    ]

    def __init__(self, title: str, told: str, value: str) -> None:
        super().__init__(title, told)
        self._value = value

    def body(self) -> Iterable[Widget]:
        yield TextArea(self._value, compact=True, soft_wrap=True, tab_behavior="focus")

    def action_keep(self) -> None:
        """Close the window and keep the text."""
        self.dismiss(self.query_one(TextArea).text)


def _two_lines(text: str) -> Text:
    """An answer's first line, and quietly what it means."""
    first, _, rest = text.partition("\n")
    answer = plain(first)
    if rest:
        answer.append("\n  ").append_text(plain(rest, "quiet"))
    return answer
