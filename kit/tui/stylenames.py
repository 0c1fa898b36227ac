"""The console's names of styles, known to Textual too."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.style import Style

from kit.show.render.console import STYLES, THEME


class NamedStyles(Stylesheet):
    """A stylesheet that knows names such as ``quiet``.

    Textual looks them up where they style a part of a text; where they style the whole, it took
    them for names of colours: the text was plain, and each drawing searched for similar names.
    """

    def __init__(self, app: App[Any]) -> None:
        super().__init__(variables=app.get_css_variables())
        self._app = app

    def parse_style(self, style_text: str | Style) -> Style:
        if isinstance(style_text, str) and style_text in STYLES:
            return Style.from_rich_style(THEME.styles[style_text], self._app.ansi_theme)
        return super().parse_style(style_text)
