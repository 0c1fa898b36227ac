"""A run as a page, as text or as tables, drawn from sealed records alone.

html      self-contained, with inline SVG
text      plain, 80 columns
phases    tidy CSV: a row per launch, phase and scope
metrics   tidy CSV: a row per metric and launch
"""

from __future__ import annotations

from kit.show.report.page import html
from kit.show.report.plain import text
from kit.show.report.tidy import metrics, phases

__all__ = ("html", "metrics", "phases", "text")
