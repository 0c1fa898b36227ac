"""Compared runs side by side: a column a run, a row a metric; as a table, CSV or LaTeX. Pure.

A column is named by its run's spec, with the beginning of the run's hash where names collide. The
first is the baseline: every other one has its ratio to it with the 90% interval.
"""

from __future__ import annotations

from kit.show.sidebyside.model import Cell, Column, Line, as_dict, columns, lines
from kit.show.sidebyside.texts import as_csv, as_latex

__all__ = ["Cell", "Column", "Line", "as_csv", "as_dict", "as_latex", "columns", "lines"]
