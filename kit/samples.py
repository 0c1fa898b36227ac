"""``samples/*.csv`` as columns: raw integers with their times and return codes.

A row says that a device's quantity was read between ``t0`` and ``t1``; ``raw`` is empty exactly
when the return code is not 0. Rows of a file are numbered from 0 without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Key = tuple[str, str]

HEADER = "seq,t0,t1,t_dev,device,quantity,rc,raw"
_COLUMNS = 8
_RC_OK = "0"


class MalformedSamplesError(ValueError):
    """A sample file that kit did not write; the message names file and line."""


class Series(NamedTuple):
    """The good readings of one quantity of one device, in the order they were taken.

    Attributes:
        t: nanoseconds since the origin, the middle of the read, or the device's own time where it
            gives one. Shape ``(n,)``.
        raw: raw integers as read. Shape ``(n,)``.
        errors: how many reads failed.
        error_times: when they failed (ns). Shape ``(errors,)``.
    """

    t: Ints
    raw: Ints
    errors: int
    error_times: Ints


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

    Raises:
        MalformedSamplesError: a file that is not of this form.
    """
    series: dict[Key, Series] = {}
    gaps: list[str] = []
    for name, data in files.items():
        columns = _columns(name, data)
        if columns is None:
            continue
        gaps += _sequence_gaps(name, columns[0])
        for key, found in _by_key(name, columns).items():
            if key in series:
                raise MalformedSamplesError(f"{name}: {key[0]} {key[1]} stands in two files")
            series[key] = found
    spans = {key: (int(s.t[0]), int(s.t[-1])) for key, s in series.items() if len(s.t)}
    return Samples(series, tuple(gaps), spans)


def _columns(name: str, data: bytes) -> list[tuple[str, ...]] | None:
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedSamplesError(f"{name} is not ASCII") from error
    if lines[0] != HEADER:
        raise MalformedSamplesError(f"{name} does not begin with {HEADER!r}")
    if lines[-1] != "":
        raise MalformedSamplesError(f"{name} does not end with a whole line")
    rows = [line.split(",") for line in lines[1:-1]]
    if not rows:
        return None
    for number, row in enumerate(rows):
        if len(row) != _COLUMNS:
            raise MalformedSamplesError(f"{name} line {number + 2} has {len(row)} columns")
    return list(zip(*rows, strict=True))


def _sequence_gaps(name: str, seq: tuple[str, ...]) -> Iterable[str]:
    numbers = _ints(name, seq)
    wrong = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(wrong):
        yield f"{name}: row {int(wrong[0])} is numbered {int(numbers[wrong[0]])}"


def _by_key(name: str, columns: list[tuple[str, ...]]) -> dict[Key, Series]:
    _, t0, t1, t_dev, device, quantity, rc, raw = columns
    begin, end = _ints(name, t0), _ints(name, t1)
    middle = (begin + end) // 2
    own = _ints(name, t_dev, absent=-1)
    times = np.where(own >= 0, own, middle)
    good = np.array([code == _RC_OK for code in rc])
    if any((value == "") == bool(ok) for value, ok in zip(raw, good, strict=True)):
        raise MalformedSamplesError(f"{name}: a value must stand exactly where the code is 0")
    values = _ints(name, raw, absent=0)
    keys: dict[Key, list[int]] = {}
    for index, key in enumerate(zip(device, quantity, strict=True)):
        keys.setdefault(key, []).append(index)
    return {key: _series(np.array(where), times, values, good) for key, where in keys.items()}


def _series(where: Ints, times: Ints, values: Ints, good: npt.NDArray[np.bool_]) -> Series:
    ok, bad = where[good[where]], where[~good[where]]
    order = np.argsort(times[ok], kind="stable")
    return Series(times[ok][order], values[ok][order], len(bad), times[bad])


def _ints(name: str, column: tuple[str, ...], absent: int | None = None) -> Ints:
    try:
        if absent is not None:
            column = tuple(value or str(absent) for value in column)
        return np.array([int(value) for value in column], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise MalformedSamplesError(f"{name} holds what is not an integer: {error}") from error
