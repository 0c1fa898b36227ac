"""A run as a page: self-contained HTML with inline SVG, drawn from sealed records alone."""

from __future__ import annotations

from kit.report.page import html

__all__ = ("html",)
