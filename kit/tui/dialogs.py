"""Dialogs over a screen: yes or no, a choice from a list, a line, a long text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from kit.show.render.console import plain
from kit.tui.keys import acting
from kit.tui.screen import plain_lines
from kit.tui.widgets.foot import Foot
from kit.tui.widgets.line import LineInput


class YesNo(ModalScreen[bool]):
    """A question with two answers; the safe one has the focus.

    Args:
        question: its text, of one or some lines.
        yes: the label of the button that acts.
        no: the label of the button that does not.
    """

    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="ask-yes"),
        Binding("n,escape,q", "answer(False)", "No", id="ask-no"),
        Binding("left,right,up,down", "other", "Other answer", show=False, id="ask-other"),
    ]

    def __init__(self, question: str, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield from self._asked()

    def _asked(self) -> ComposeResult:
        yield Static(
            "\n".join(str(plain(line)) for line in self._question.splitlines()), markup=False
        )
        with Horizontal():
            yield Button(f"{self._no} (n)", id="no", compact=True)
            yield Button(f"{self._yes} (y)", id="yes", compact=True)

    def on_button_pressed(self, pressed: Button.Pressed) -> None:
        self.dismiss(pressed.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        self.focus_next()


class Consent(YesNo):
    """A question about a list, which may be longer than the screen; up and down scroll it.

    Args:
        shown: the list.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="consent-up"),
        Binding("down,j", "move(1)", "Down", show=False, id="consent-down"),
        Binding("pageup", "move(-10)", "Page up", show=False, id="consent-page-up"),
        Binding("pagedown,space", "move(10)", "Page down", show=False, id="consent-page-down"),
    ]

    def __init__(self, shown: RenderableType, question: str, yes: str, no: str) -> None:
        super().__init__(question, yes, no)
        self._shown = shown

    def compose(self) -> ComposeResult:
        with Vertical(id="ask", classes="long"):
            yield VerticalScroll(Static(self._shown, markup=False), id="shown", can_focus=False)
            yield from self._asked()

    def action_move(self, lines: int) -> None:
        """Scroll the list."""
        self.query_one("#shown").scroll_relative(y=lines, animate=False)


class Window(ModalScreen[str | None]):
    """A dialog; its answer is a string, or None if it was closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", key_display="esc", id="window.leave"),
    ]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="window panel") as frame:
            frame.border_title = plain(self._title).plain.replace("[", "(")
            if self._text:
                yield Static(plain_lines(self._text), classes="text", markup=False)
            yield from self.body()
        yield Foot()

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that act now, without letters while text is typed."""
        return acting(super().active_bindings, self.focused)

    def body(self) -> Iterable[Widget]:
        """The dialog's widgets."""
        raise NotImplementedError

    def action_leave(self) -> None:
        """Close the window without an answer."""
        self.dismiss(None)


class Choose(Window):
    """A question with a few answers; the first one is the safe one, and selected at first.

    Args:
        answers: (answer, its text) of each.
    """

    def __init__(self, title: str, text: str, answers: Sequence[tuple[str, str]]) -> None:
        super().__init__(title, text)
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
    """Asks for a line of text, such as a file's name.

    Args:
        value: the initial text.
        most: the longest line, in characters.
    """

    def __init__(self, title: str, text: str, value: str = "", most: int = 0) -> None:
        super().__init__(title, text)
        self._value, self._most = value, most

    def body(self) -> Iterable[Widget]:
        yield LineInput(
            self._value,
            says={"enter": "OK"},
            compact=True,
            select_on_focus=False,
            max_length=self._most,
        )

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip() or None)


class AskText(Window):
    """Asks for a text of several lines; however it is closed, the typed text is kept."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+s", "keep", "Done", key_display="esc", priority=True, id="window.keep")
    ]

    def __init__(self, title: str, text: str, value: str) -> None:
        super().__init__(title, text)
        self._value = value

    def body(self) -> Iterable[Widget]:
        yield TextArea(self._value, compact=True, soft_wrap=True, tab_behavior="focus")

    def action_keep(self) -> None:
        """Close the window and keep the text."""
        self.dismiss(self.query_one(TextArea).text)


def _two_lines(text: str) -> Text:
    """An answer's first line, and its explanation in quiet style."""
    first, _, rest = text.partition("\n")
    answer = plain(first)
    if rest:
        answer.append("\n  ").append_text(plain(rest, "quiet"))
    return answer
