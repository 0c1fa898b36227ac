"""A run as a page, as text or as tables, drawn from sealed records alone.

html      self-contained, with inline SVG
text      plain, 80 columns
phases    tidy CSV: a row per launch, phase and scope
metrics   tidy CSV: a row per metric and launch
"""

from __future__ import annotations

from kit.report.page import html
from kit.report.plain import text
from kit.report.tidy import metrics, phases

__all__ = ("html", "metrics", "phases", "text")
