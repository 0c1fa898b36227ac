"""A bell and a notification of the terminal, for who looks elsewhere while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from kit.core.text import clean

BELL = "\a"
_MOST = 120
# Terminals that show OSC 9, and those that show OSC 777; what others do with either is not known.
_NINE = ("iterm", "wezterm", "ghostty", "kitty", "mintty", "windows terminal")
_SEVENS = ("rxvt", "foot", "contour")


def announcement(title: str, text: str, environ: Mapping[str, str]) -> str:
    """The bell, and a notification where the terminal shows one.

    tmux and screen pass only the bell on.
    """
    if environ.get("TMUX") or environ.get("STY"):
        return BELL
    terminal = f"{environ.get('TERM_PROGRAM', '')} {environ.get('TERM', '')}".casefold()
    if "WT_SESSION" in environ:
        terminal += " windows terminal"
    words = [clean(part).replace(";", ",")[:_MOST] for part in (title, text)]
    if any(name in terminal for name in _NINE):
        return f"\x1b]9;{words[0]}: {words[1]}\x1b\\{BELL}"
    if any(name in terminal for name in _SEVENS):
        return f"\x1b]777;notify;{words[0]};{words[1]}\x1b\\{BELL}"
    return BELL
