"""When each row of an EnergiBridge CSV was read.

A row is written one interval after its values were read. ``Time`` (ms since 1970) is when they were
read, ``Delta`` (ms) the age of the values when the row was written, so that ``Time + Delta`` is the
next row's ``Time``. Both come from the wall clock. If they disagree, the row came late, or the
clock was set: then the growth of the energy counter shows how much time passed.

The first row's values were read before its ``Time``. The second row has the same ``Time``, but its
values were read right after. Rows closer than half the usual interval show no power, only the
clock's resolution. The last of them is kept: the counter holds the others' energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kit.measure.readers.energibridge.table import refuse

_ROOM_MS, _ROOM_SHARE = 150.0, 0.25
_EARLY_MS = 40.0  # a row is early by some ticks of a coarse clock at most
_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_MOST_MS = 10**12  # `kit.record.samples` holds integers of 18 digits, nanoseconds
_LATE_MS = 1000.0  # a row that is later than this is checked against the counter
_LEAST = 3  # neighbours among which one row may be displaced
_FEW, _SHARE = 3, 0.05  # the most rows that may be out of order or time
_NEAR = 6  # rows on both sides that give the usual power
_FIRST_MS, _USUAL_MS = 2.0, 20.0  # a recording's first row has no Delta; others have the interval


class Times(NamedTuple):
    """The kept rows with their times.

    Attributes:
        rows: indices of the kept rows, by time. Shape ``(n,)``.
        ms: milliseconds since the first row of the file. Shape ``(n,)``, ascending.
        notes: which rows were left out or corrected.
    """

    rows: list[int]
    ms: list[int]
    notes: list[str]


class _Step(NamedTuple):
    """From one row to the next, milliseconds by the clock and by Delta."""

    before: int
    after: int
    clock: float
    delta: float

    @property
    def is_odd(self) -> bool:
        late = self.clock - self.delta
        return late > max(_ROOM_MS, _ROOM_SHARE * self.clock) or -late > _EARLY_MS


def read(
    times: Sequence[float],
    deltas: Sequence[float],
    counter: Sequence[float],
    lines: Sequence[int],
    name: str,
) -> Times:
    """The time of every row.

    Args:
        times, deltas: the columns.
        counter: an energy counter in any unit, NaN without a reading.
        lines: line numbers of the rows in the file, for messages.

    Raises:
        UsageError: these are no times, or the times of two recordings.
    """
    for line, time in zip(lines, times, strict=True):
        if not 0 <= time <= _LAST_MS:
            refuse(f"{name} line {line}: Time is {time:g}, not milliseconds since 1970")
    ranked = _ranked(times, deltas)
    notes = [] if ranked == list(range(len(times))) else ["rows are out of order: sorted by Time"]
    times, deltas, counter = ([c[i] for i in ranked] for c in (times, deltas, counter))
    lines = [lines[i] for i in ranked]
    order, stray = _in_order(times)
    order, displaced = _in_place(order, times, deltas)
    stray += displaced
    notes += [f"line {lines[i]}: Time {times[i]:.0f} is out of order: left out" for i in stray]
    steps = [_step(a, b, times, deltas) for a, b in pairwise(order)]
    odd = [step for step in steps if step.is_odd]
    _refuse_second(odd, deltas, lines, name)
    if len(odd) + len(stray) > max(_FEW, _SHARE * len(times)):
        _refuse_clock(odd, stray, lines, name)
    passed = [0.0]
    for step in steps:
        seconds, note = _settled(step, steps, counter, lines) if step.is_odd else (step.clock, "")
        passed.append(passed[-1] + seconds)
        notes += [note] if note else []
    if passed[-1] >= _MOST_MS:
        refuse(f"{name}: Time runs over more than 30 years, from {times[0]:.0f} ms on")
    distinct = _apart(passed)
    return Times([ranked[order[i]] for i in distinct], [round(passed[i]) for i in distinct], notes)


def _ranked(times: Sequence[float], deltas: Sequence[float]) -> list[int]:
    """Rows sorted by Time, if that alone makes every step right; else in the file's order."""
    ranked = sorted(range(len(times)), key=times.__getitem__)
    at, after = [times[i] for i in ranked], [deltas[i] for i in ranked]
    if any(_step(i, i + 1, at, after).is_odd for i in range(len(ranked) - 1)):
        return list(range(len(times)))
    return ranked


def _in_order(times: Sequence[float]) -> tuple[list[int], list[int]]:
    """Rows whose Time fits their neighbours', and single rows whose Time does not."""
    order = [0]
    stray: list[int] = []
    for at in range(1, len(times)):
        after = times[at + 1] if at + 1 < len(times) else math.inf
        early = times[at] < times[order[-1]] <= after < math.inf
        late = times[order[-1]] <= after < times[at]
        (stray if early or late else order).append(at)
    return order, stray


def _in_place(
    order: Sequence[int], times: Sequence[float], deltas: Sequence[float]
) -> tuple[list[int], list[int]]:
    """Rows without single ones that fit neither of two fitting neighbours."""
    if len(order) < _LEAST:
        return list(order), []
    placed = [order[0]]
    displaced: list[int] = []
    for at, after in pairwise(order[1:]):
        sides = _step(placed[-1], at, times, deltas), _step(at, after, times, deltas)
        over = _step(placed[-1], after, times, deltas)
        is_displaced = any(side.is_odd for side in sides) and not over.is_odd
        (displaced if is_displaced else placed).append(at)
    return [*placed, *order[-1:]], displaced


def _step(a: int, b: int, times: Sequence[float], deltas: Sequence[float]) -> _Step:
    """The step by Delta of the row before, or, in other files, of the row after."""
    clock = times[b] - times[a]
    delta = min((sum(deltas[a:b]), sum(deltas[a + 1 : b + 1])), key=lambda ms: abs(clock - ms))
    return _Step(a, b, clock, delta)


def _refuse_second(
    odd: Sequence[_Step], deltas: Sequence[float], lines: Sequence[int], name: str
) -> None:
    for step in odd:
        if deltas[step.after] <= _FIRST_MS and median(deltas) > _USUAL_MS:
            refuse(
                f"{name} holds two recordings: the second begins in line {lines[step.after]}",
                "cut the file there and import each part by itself",
            )


def _refuse_clock(
    odd: Sequence[_Step],
    stray: Sequence[int],
    lines: Sequence[int],
    name: str,
) -> None:
    many = len(odd) + len(stray)
    if odd:
        step = odd[0]
        refuse(
            f"{name} line {lines[step.after]}: Time moves by {step.clock:.0f} ms where Delta says "
            f"{step.delta:.0f} ms, and so in {many} lines: rows are missing, or Time is not in "
            "milliseconds"
        )
    refuse(f"{name} line {lines[stray[0]]}: Time runs backwards, in {many} lines")


def _settled(
    step: _Step, steps: Sequence[_Step], counter: Sequence[float], lines: Sequence[int]
) -> tuple[float, str]:
    """How long an inconsistent step took (ms), and a note on it."""
    where = f"line {lines[step.after]}"
    delta = max(step.delta, 0.0)
    if step.clock < delta:
        back = delta - step.clock
        return delta, f"{where}: the wall clock was set back by {back:.0f} ms: Delta is taken"
    late = step.clock - delta
    power = _power(step, steps, counter)
    grown = counter[step.after] - counter[step.before]
    if late > _LATE_MS and abs(grown - power * delta) < abs(grown - power * step.clock):
        return delta, f"{where}: the wall clock was set on by {late:.0f} ms: Delta is taken"
    return step.clock, f"{where} comes {late:.0f} ms late"


def _power(step: _Step, steps: Sequence[_Step], counter: Sequence[float]) -> float:
    """The counter's usual growth in a millisecond near a step; NaN if unknown."""
    near = [s for s in steps if abs(s.before - step.before) <= _NEAR and not s.is_odd and s.clock]
    watts = [(counter[s.after] - counter[s.before]) / s.clock for s in near]
    watts = [power for power in watts if power > 0]
    return median(watts) if watts else math.nan


def _apart(passed: Sequence[float]) -> list[int]:
    """Rows at least half the usual interval apart; the last row of a close group."""
    steps = [b - a for a, b in pairwise(passed) if b > a]
    least = median(steps) / 2 if steps else 0.0
    distinct = list(_from_the_end(passed, max(least, 1.0)))
    return distinct[::-1]


def _from_the_end(passed: Sequence[float], least: float) -> Iterator[int]:
    later = math.inf
    for at in range(len(passed) - 1, -1, -1):
        if later - passed[at] >= least:
            later = passed[at]
            yield at
