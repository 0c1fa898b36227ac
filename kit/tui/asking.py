"""Small questions on top of a screen: yes or no, or a word."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from kit.render.console import plain
from kit.tui.widgets.line import LineInput


class Ask(ModalScreen[bool]):
    """A question; the answer that loses nothing has the focus.

    Args:
        question: what is asked, in a line or a few.
        yes: the word on the button that acts.
        no: the word on the button that does not.
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


class AskWord(ModalScreen[str | None]):
    """A line of text; escape gives None.

    Args:
        question: what is asked.
        value: what stands there at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "none", "Leave it", id="ask-word-none"),
    ]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question, self._value = question, value

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(plain(self._question), markup=False)
            yield LineInput(self._value, compact=True, select_on_focus=False)

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        self.dismiss(submitted.value.strip() or None)

    def action_none(self) -> None:
        self.dismiss(None)
