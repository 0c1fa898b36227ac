"""``samples/*.csv`` as columns: raw integers with their times and return codes.

A row records that a device's quantity was read between ``t0`` and ``t1``. ``raw`` is empty exactly
when the return code is not 0. Rows of a file are numbered from 0 without a gap.

A GPU gives some hundred rows a second, and `kit verify` reads all of them. So numpy splits the
cells and sums their digits, whole columns at a time (100 MB/s).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from kit.core.arrays import np, npt
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, Sample

Ints: TypeAlias = "npt.NDArray[np.int64]"
Bytes: TypeAlias = "npt.NDArray[np.uint8]"
Key = tuple[str, str]

HEADER = ",".join(Sample._fields)
_COLUMNS = len(Sample._fields)
_COMMA, _NEWLINE, _MINUS, _ZERO = 44, 10, 45, 48
_MAX_DIGITS = 18  # digits that an int64 surely holds
_ABSENT = -1
# Bytes that are parsed at a time; parsing needs about ten times as much memory.
_BLOCK, _LINE = 1 << 22, 1 << 16
_COLUMNS_KEPT = ("t", "raw", "t0", "t1")


class MalformedSamplesError(ValueError):
    """A sample file in another form than kit's; the message names file and line."""


class Series(NamedTuple):
    """The good readings of one quantity of one device, by time.

    Attributes:
        t: nanoseconds since the origin: the device's own time if it gives one, else the middle of
            the read. Shape ``(n,)``, ascending.
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
    """All readings of a run by ``(device, quantity)``, and the faults of the files."""

    series: dict[Key, Series]
    gaps: tuple[str, ...]
    spans: dict[Key, tuple[int, int]]

    def get(self, device: str, quantity: str) -> Series | None:
        """The series of one quantity of one device; None if there is none."""
        return self.series.get((device, quantity))


EMPTY = Samples({}, (), {})


def readings(
    device: MeterDevice, samples: Samples, quantity: str
) -> tuple[Series, QuantityFacts] | None:
    """A quantity's readings and its facts in the plan.

    None if the plan has a reason against them, or if there are fewer than two.
    """
    facts = device.quantities.get(quantity)
    series = samples.get(device.device, quantity)
    if facts is None or not facts.is_read or series is None or len(series.t) < 2:
        return None
    return series, facts


def from_csv(files: Mapping[str, bytes]) -> Samples:
    """Parse sample files in memory, by name; see `from_pieces`."""
    return from_pieces({name: (data,) for name, data in files.items()})


def from_pieces(files: Mapping[str, Iterable[bytes]]) -> Samples:
    """Parse sample files, by name, each given piece by piece.

    Some megabytes are parsed at a time. Four or five integers a row are kept, about as much memory
    as the files have bytes. A last row that a crash cut short is left out and reported in
    ``gaps``.

    Raises:
        MalformedSamplesError: a file does not have this form.
    """
    series: dict[Key, Series] = {}
    gaps: list[str] = []
    for name, pieces in files.items():
        file = _File(name)
        for block in _blocks(name, pieces):
            file.take(block)
        gaps += file.gaps
        for key in list(file.parts):
            if key in series:
                raise MalformedSamplesError(f"{name}: {key[0]} {key[1]} stands in two files")
            series[key], in_order = _joined(file.parts.pop(key))
            if not in_order:
                gaps.append(f"{name}: rows of {key[0]} {key[1]} do not stand in the order of time")
    spans = {key: (int(s.t[0]), int(s.t[-1])) for key, s in series.items() if len(s.t)}
    return Samples(series, tuple(gaps), spans)


def _blocks(name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of complete lines, from pieces of a file; the last block may be incomplete."""
    rest = b""
    for piece in pieces:
        rest += piece
        if len(rest) < _BLOCK:
            continue
        end = rest.rfind(b"\n") + 1
        if len(rest) - end > _LINE:
            raise MalformedSamplesError(f"{name}: a line is longer than {_LINE} bytes")
        if end:
            yield rest[:end]
            rest = rest[end:]
    yield rest


class _File:
    """The content of one file so far: rows by device and quantity, and gaps."""

    def __init__(self, name: str) -> None:
        self.name, self.gaps = name, list[str]()
        self.parts: dict[Key, list[Series]] = {}
        self._rows, self._begun, self._misnumbered = 0, False, False

    def take(self, block: bytes) -> None:
        """Add complete lines; in the last block the last line may be incomplete."""
        begin = 0 if self._begun else self._header(block)
        end = block.rfind(b"\n") + 1
        table = _Table(self.name, block[begin:end], self._rows)
        if not self._misnumbered and (wrong := table.misnumbered()):
            self._misnumbered = True
            self.gaps.append(wrong)
        for key, series in table.series().items():
            self.parts.setdefault(key, []).append(series)
        self._rows += len(table)
        if end < len(block):
            self.gaps.append(f"{self.name} ends in the middle of row {self._rows}")

    def _header(self, block: bytes) -> int:
        head = HEADER.encode() + b"\n"
        if not block.startswith(head):
            raise MalformedSamplesError(f"{self.name} does not begin with {HEADER!r}")
        self._begun = True
        return len(head)


def _joined(parts: list[Series]) -> tuple[Series, bool]:
    """One series from those of a file's blocks, by time; and whether it was in order before."""
    t, raw, t0, t1 = (np.concatenate([getattr(p, n) for p in parts]) for n in _COLUMNS_KEPT)
    errors = np.concatenate([part.error_times for part in parts])
    in_order = not (np.diff(t0) < 0).any()
    if len(t) > 1 and (np.diff(t) < 0).any():
        order = np.argsort(t, kind="stable")
        t, raw, t0, t1 = t[order], raw[order], t0[order], t1[order]
    return Series(t, raw, len(errors), errors, t0, t1), in_order


class _Table:
    """The cells of some lines: begin and end of each. Shape ``(rows, 8)``.

    Args:
        first: the number of the first row.
    """

    def __init__(self, name: str, body: bytes, first: int) -> None:
        self.name, self.body, self.first = name, body, first
        self.bytes: Bytes = np.frombuffer(self.body, np.uint8)
        self.begin, self.end = self._cells()

    def __len__(self) -> int:
        return len(self.begin)

    def misnumbered(self) -> str:
        """The first row with a wrong number; empty if all are right."""
        numbers = self.ints(0)
        wrong = np.flatnonzero(numbers != np.arange(self.first, self.first + len(self)))
        if not len(wrong):
            return ""
        return f"{self.name}: row {self.first + int(wrong[0])} is numbered {numbers[wrong[0]]}"

    def series(self) -> dict[Key, Series]:
        """The rows by device and quantity, in their order in the file."""
        t0, t1, own = self.ints(1), self.ints(2), self.ints(3, optional=True)
        rc, raw = self.ints(6), self.ints(7, optional=True)
        present = self.end[:, 7] > self.begin[:, 7]
        self._refuse(present != (rc == 0), "a value must stand exactly where the code is 0")
        self._refuse(t1 < t0, "a read ends before it begins")
        self._refuse((t0 < 0) | self._negative(3), "a time before the run")
        times = np.where(own >= 0, own, t0 + (t1 - t0) // 2)
        return {
            key: _series(rows, times, raw, present, t0, t1) for key, rows in self._keys().items()
        }

    def _negative(self, column: int) -> npt.NDArray[np.bool_]:
        begin = self.begin[:, column]
        minus: npt.NDArray[np.bool_] = self.bytes[begin] == _MINUS
        return minus & (self.end[:, column] > begin)

    def ints(self, column: int, *, optional: bool = False) -> Ints:
        """A column of integers; -1 for an empty cell of an ``optional`` column."""
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
        """The values of the numbers that end at ``end``, summed from last digit to first."""
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
        is_rectangular = len(ends) == lines * _COLUMNS
        if not is_rectangular or not (self.bytes[ends[_COLUMNS - 1 :: _COLUMNS]] == _NEWLINE).all():
            raise MalformedSamplesError(f"{self.name}: not every row has {_COLUMNS} columns")
        begins = np.concatenate([[0], ends[:-1] + 1]) if lines else ends
        shape = (lines, _COLUMNS)
        return begins.reshape(shape).astype(np.int64), ends.reshape(shape).astype(np.int64)

    def _keys(self) -> dict[Key, Ints]:
        """Row numbers by device and quantity, in order of first appearance."""
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

    def _refuse(self, wrong: npt.NDArray[np.bool_], reason: str) -> None:
        if wrong.any():
            line = self.first + int(np.argmax(wrong)) + 2
            raise MalformedSamplesError(f"{self.name} line {line}: {reason}")


def _series(
    rows: Ints, times: Ints, raw: Ints, present: npt.NDArray[np.bool_], t0: Ints, t1: Ints
) -> Series:
    good, bad = rows[present[rows]], rows[~present[rows]]
    return Series(times[good], raw[good], len(bad), times[bad], t0[good], t1[good])
