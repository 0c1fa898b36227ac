"""``samples/*.csv`` as columns: raw integers with their times and return codes.

A row says that a device's quantity was read between ``t0`` and ``t1``; ``raw`` is empty exactly
when the return code is not 0. Rows of a file are numbered from 0 without a gap.

A GPU gives some hundred rows a second, and `kit verify` reads all of them: the cells are found and
their digits summed with numpy, whole columns at a time (100 MB/s).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kit.model import Sample

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Key = tuple[str, str]

HEADER = ",".join(Sample._fields)
_COLUMNS = len(Sample._fields)
_COMMA, _NEWLINE, _MINUS, _ZERO = 44, 10, 45, 48
_MAX_DIGITS = 18  # what an int64 surely holds
_ABSENT = -1


class MalformedSamplesError(ValueError):
    """A sample file that kit did not write; the message names file and line."""


class Series(NamedTuple):
    """The good readings of one quantity of one device, by time.

    Attributes:
        t: nanoseconds since the origin, the middle of the read, or the device's own time where it
            gives one. Shape ``(n,)``, ascending.
        raw: raw integers as read. Shape ``(n,)``.
        errors: how many reads failed.
        error_times: when they failed (ns). Shape ``(errors,)``.
        t0: when each read began (ns). Shape ``(n,)``.
        t1: when each read ended (ns). Shape ``(n,)``.
    """

    t: Ints
    raw: Ints
    errors: int
    error_times: Ints
    t0: Ints
    t1: Ints


class Samples(NamedTuple):
    """All readings of a run, by ``(device, quantity)``, and what is wrong with the files."""

    series: dict[Key, Series]
    gaps: tuple[str, ...]
    spans: dict[Key, tuple[int, int]]

    def get(self, device: str, quantity: str) -> Series | None:
        """The series of one quantity of one device; None where nothing was read."""
        return self.series.get((device, quantity))


EMPTY = Samples({}, (), {})


def from_csv(files: Mapping[str, bytes]) -> Samples:
    """Parse sample files, by name.

    A last row that a crash cut short is left out and told of in ``gaps``.

    Raises:
        MalformedSamplesError: a file that is not of this form.
    """
    series: dict[Key, Series] = {}
    gaps: list[str] = []
    for name, data in files.items():
        table = _Table(name, data)
        gaps += table.gaps()
        for key, found in table.series().items():
            if key in series:
                raise MalformedSamplesError(f"{name}: {key[0]} {key[1]} stands in two files")
            series[key] = found
    spans = {key: (int(s.t[0]), int(s.t[-1])) for key, s in series.items() if len(s.t)}
    return Samples(series, tuple(gaps), spans)


class _Table:
    """The cells of one file: where each begins and ends. Shape ``(rows, 8)``."""

    def __init__(self, name: str, data: bytes) -> None:
        head = HEADER.encode() + b"\n"
        if not data.startswith(head):
            raise MalformedSamplesError(f"{name} does not begin with {HEADER!r}")
        end = data.rindex(b"\n") + 1
        self.name = name
        self.cut_short = end < len(data)
        self.body = data[len(head) : end]
        self.bytes: Bytes = np.frombuffer(self.body, np.uint8)
        self.begin, self.end = self._cells()

    def __len__(self) -> int:
        return len(self.begin)

    def gaps(self) -> Iterable[str]:
        """What is missing: rows that are not numbered 0, 1, 2, …, and a row cut short."""
        numbers = self.ints(0)
        wrong = np.flatnonzero(numbers != np.arange(len(self)))
        if len(wrong):
            yield f"{self.name}: row {int(wrong[0])} is numbered {int(numbers[wrong[0]])}"
        if self.cut_short:
            yield f"{self.name} ends in the middle of row {len(self)}"

    def series(self) -> dict[Key, Series]:
        """The rows, taken apart by device and quantity."""
        t0, t1, own = self.ints(1), self.ints(2), self.ints(3, optional=True)
        rc, raw = self.ints(6), self.ints(7, optional=True)
        present = self.end[:, 7] > self.begin[:, 7]
        self._refuse(present != (rc == 0), "a value must stand exactly where the code is 0")
        self._refuse(t1 < t0, "a read ends before it begins")
        times = np.where(own >= 0, own, t0 + (t1 - t0) // 2)
        return {
            key: _series(rows, times, raw, present, t0, t1) for key, rows in self._keys().items()
        }

    def ints(self, column: int, *, optional: bool = False) -> Ints:
        """A column of integers; -1 where an ``optional`` one is empty."""
        begin, end = self.begin[:, column], self.end[:, column]
        if not len(begin):
            return np.zeros(0, np.int64)
        empty = begin == end
        negative = (self.bytes[begin] == _MINUS) & ~empty
        digits = end - begin - negative
        self._refuse((digits == 0) & ~(empty & optional), "an integer is missing")
        self._refuse(digits > _MAX_DIGITS, "an integer is too large")
        value = self._sum_digits(end, digits)
        value[negative] *= -1
        value[empty] = _ABSENT
        return value

    def _sum_digits(self, end: Ints, digits: Ints) -> Ints:
        """The numbers that end at ``end``, from their last digit to their first."""
        value = np.zeros(len(end), np.int64)
        for place in range(int(digits.max())):
            here = digits > place
            digit = self.bytes[end - 1 - place] - np.uint8(_ZERO)  # not a digit wraps to over 9
            self._refuse(here & (digit > 9), "a cell is not an integer")
            value += np.where(here, digit, 0) * np.int64(10**place)
        return value

    def _cells(self) -> tuple[Ints, Ints]:
        ends = np.flatnonzero((self.bytes == _COMMA) | (self.bytes == _NEWLINE))
        lines = int(np.count_nonzero(self.bytes == _NEWLINE))
        whole = len(ends) == lines * _COLUMNS
        if not whole or not (self.bytes[ends[_COLUMNS - 1 :: _COLUMNS]] == _NEWLINE).all():
            raise MalformedSamplesError(f"{self.name}: not every row has {_COLUMNS} columns")
        begins = np.concatenate([[0], ends[:-1] + 1]) if lines else ends
        shape = (lines, _COLUMNS)
        return begins.reshape(shape).astype(np.int64), ends.reshape(shape).astype(np.int64)

    def _keys(self) -> dict[Key, Ints]:
        """Row numbers by device and quantity, in the order in which these first appear."""
        cells = zip(self.begin[:, 4].tolist(), self.end[:, 5].tolist(), strict=True)
        numbers: dict[bytes, int] = {}
        of_row = [numbers.setdefault(self.body[a:b], len(numbers)) for a, b in cells]
        of = np.array(of_row, np.int64)
        return {self._key(text): np.flatnonzero(of == n) for text, n in numbers.items()}

    def _key(self, text: bytes) -> Key:
        try:
            device, _, quantity = text.decode("ascii").partition(",")
        except UnicodeDecodeError as error:
            raise MalformedSamplesError(f"{self.name} is not ASCII") from error
        return device, quantity

    def _refuse(self, wrong: npt.NDArray[np.bool_], why: str) -> None:
        if wrong.any():
            raise MalformedSamplesError(f"{self.name} line {int(np.argmax(wrong)) + 2}: {why}")


def _series(
    rows: Ints, times: Ints, raw: Ints, present: npt.NDArray[np.bool_], t0: Ints, t1: Ints
) -> Series:
    good, bad = rows[present[rows]], rows[~present[rows]]
    if len(good) > 1 and (np.diff(times[good]) < 0).any():
        good = good[np.argsort(times[good], kind="stable")]
    return Series(times[good], raw[good], len(bad), times[bad], t0[good], t1[good])
