"""The readings in an EnergiBridge CSV, without other lines of the file.

Without ``-o`` EnergiBridge writes to stdout, so that lines of the measured program come between the
rows. A spreadsheet adds a ``sep=`` line, quotes, semicolons, decimal commas. Lines that are no
readings are left out with a note. Ambiguous lines are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from kit.core.errors import UsageError

REMEDY = "give kit the file as EnergiBridge wrote it"
_HEADER = re.compile(r'\s*"?Delta"?\s*([^\w\s".+-]|\t)\s*"?Time"?\s*(?:\1|$)')
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+(?:[eE][+-]?\d+)?")
_LEAST_ROWS = 3
_STRAY = 2  # so many rows that are too long are two lines run into one; more are a column


class Table(NamedTuple):
    """Readings as text.

    Attributes:
        header: titles of the columns.
        rows: cells of each reading, as many as titles.
        lines: number of each reading's line in the file.
        notes: what was left out, and why.
    """

    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    notes: tuple[str, ...]

    def numbers(self, title: str) -> list[float]:
        """A column's values; NaN for a cell without a finite number."""
        at = self.header.index(title)
        return [number(row[at]) for row in self.rows]


def read(text: str, name: str, is_used: Callable[[str], bool]) -> Table:
    """The readings in ``text``.

    Args:
        is_used: whether kit needs the column of this title.

    Raises:
        UsageError: it is not EnergiBridge's, or its cells cannot be matched with its titles.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    first, separator = _heading(lines, name)
    header = tuple(_cells(lines[first], separator))
    if len(set(header)) < len(header):
        refuse(f"{name} has a column twice")
    rows, skipped = _rows(lines, first, separator, header, name)
    notes = [_left_out(skipped, "no readings")] if skipped else []
    if lines[-1] and rows and rows[-1][0] == len(lines) and is_used(header[-1]):
        notes.append(f"line {rows.pop()[0]} has no end and may be cut: it is left out")
    if len(rows) < _LEAST_ROWS:
        refuse(f"{name} has {len(rows)} readings: too few for an energy")
    _check_times([row[header.index("Time")] for _, row in rows], name)
    return Table(header, [row for _, row in rows], [line for line, _ in rows], tuple(notes))


def number(cell: str) -> float:
    """The finite number in a cell, else NaN."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def refuse(message: str, remedy: str = REMEDY) -> NoReturn:
    """Raise the `UsageError` of a file that cannot be read."""
    raise UsageError(message, remedy)


def _left_out(lines: Sequence[int], what: str) -> str:
    if len(lines) == 1:
        return f"line {lines[0]} is left out: {what}"
    return f"{len(lines)} lines are left out: {what} (the first is line {lines[0]})"


def _heading(lines: Sequence[str], name: str) -> tuple[int, str]:
    """The line of the titles, and their separator."""
    for at, line in enumerate(lines):
        if match := _HEADER.match(line):
            return at, match.group(1)
    refuse(f"{name} has no line with EnergiBridge's titles, which begin with Delta and Time")


def _cells(line: str, separator: str) -> list[str]:
    cells = [cell.strip().strip('"').strip() for cell in line.split(separator)]
    if separator == ",":
        return cells
    return [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in cells]


def _rows(
    lines: Sequence[str], first: int, separator: str, header: Sequence[str], name: str
) -> tuple[list[tuple[int, list[str]]], list[int]]:
    """Readings by their line, and lines that are no readings."""
    rows: list[tuple[int, list[str]]] = []
    skipped: list[int] = []
    long: list[int] = []
    for line, text in enumerate(lines[first + 1 :], first + 2):
        if not text.strip():
            continue
        if _HEADER.match(text):
            refuse(
                f"{name} holds two recordings: the titles come again in line {line}",
                "cut the file there and import each part by itself",
            )
        cells = _cells(text, separator)
        reading = _is_reading(cells)
        if reading and len(cells) == len(header):
            rows.append((line, cells))
            continue
        skipped.append(line)
        if reading and len(cells) > len(header):
            long.append(line)
    if len(long) > _STRAY:
        refuse(
            f"{name} line {long[0]} and {len(long) - 1} more have more cells than there are titles "
            f"({len(header)}): a device that appeared while recording moves the columns, "
            "and which is which cannot be decided",
        )
    return rows, skipped


def _is_reading(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and not math.isnan(number(cells[0])) and not math.isnan(number(cells[1]))


def _check_times(cells: Sequence[str], name: str) -> None:
    rounded = [cell for cell in cells if "e" in cell.lower()]
    if 2 * len(rounded) > len(cells):
        refuse(
            f"{name}: Time is {rounded[0]}, rounded by a spreadsheet to less than a second",
            "give kit the file as EnergiBridge wrote it; the times in this one are lost",
        )
