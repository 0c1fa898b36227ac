"""Keys for people: which ones act now, their names, and their actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode
from textual.keys import format_key
from textual.widget import Widget

# Words instead of glyphs: they are ASCII, and the words on a keyboard.
_WORDS = {"enter": "enter", "escape": "esc", "space": "space", "tab": "tab"}
_WORDS |= {"backspace": "backspace", "delete": "del", "home": "home", "end": "end"}
_WORDS |= {"pageup": "page up", "pagedown": "page down"}
_WORDS |= {"up": "up", "down": "down", "left": "left", "right": "right"}


class ActionKeys(NamedTuple):
    """An action and all the keys for it."""

    node: DOMNode
    binding: Binding
    keys: list[str]


def called(key: str) -> str:
    """``esc``, ``^s``, ``shift+left``: a key's name, as on a keyboard."""
    *held, last = key.split("+")
    word = _WORDS.get(last) or format_key(last)
    ctrl = "^" if "ctrl" in held else ""
    return "+".join([*(name for name in held if name != "ctrl"), ctrl + word])


def is_spelled(binding: Binding) -> bool:
    """Whether `called` has a word for the binding's key."""
    return binding.key.split("+")[-1] in _WORDS


def acting(
    bindings: Mapping[str, ActiveBinding], focused: Widget | None
) -> dict[str, ActiveBinding]:
    """The bindings while ``focused`` has the focus, without the letters that it takes as text.

    Textual drops most of these keys, but not those whose names are no Unicode names, such as
    ``slash``. The rest of a binding would still be called by the letter: ``?`` for ``f1``.
    """
    if focused is None:
        return dict(bindings)
    says: Mapping[str, str] = getattr(focused, "says", {})
    return {
        key: _as_it_acts(active, says.get(key, ""), focused)
        for key, active in bindings.items()
        if not _is_typed(key, format_key(key), focused)
    }


def _is_typed(key: str, shown: str, focused: Widget) -> bool:
    # A glyph beyond ASCII, such as an arrow's, is a key's name and cannot be typed.
    return len(shown) == 1 and shown.isascii() and focused.check_consume_key(key, shown)


def _as_it_acts(active: ActiveBinding, says: str, focused: Widget) -> ActiveBinding:
    binding = active.binding
    if binding.key_display and _is_typed(binding.key_display, binding.key_display, focused):
        binding = replace(binding, key_display=None)
    if not says:
        return active._replace(binding=binding)
    shown = replace(binding, description=says, show=True, key_display=None, tooltip="")
    return active._replace(binding=shown, tooltip="")


def by_action(bindings: Mapping[str, ActiveBinding]) -> list[ActionKeys]:
    """Each named action once, with all of its keys; disabled ones are left out."""
    keys: dict[tuple[DOMNode, str], ActionKeys] = {}
    for key, active in bindings.items():
        if active.enabled and active.binding.description:
            new = ActionKeys(active.node, active.binding, [])
            keys.setdefault((active.node, active.binding.action), new).keys.append(called(key))
    return list(keys.values())
