"""States of runs as a glyph and a word."""

from __future__ import annotations

from rich.text import Text

from kit.show.render.rows import BADGES
from kit.tui.screen import badge


def state_of(status: str) -> Text:
    """``✔ complete``: a run's state; an unknown one is shown as a failure."""
    return badge(BADGES.get(status, "fail"), status[:12])
