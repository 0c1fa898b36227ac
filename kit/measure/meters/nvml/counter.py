"""The energy counter: expensive to query (2.8 ms on an H200), and true only when it ticks.

The counter is published every 100 ms or so, on a period as steady as a clock, and its value is
worth the most when the moment of its tick is known. Around a tick that is expected it is asked in
a short burst, which tells that moment; each burst narrows what is known of the next ticks, so that
bursts become rare. In between one read a second, halfway between two ticks, tells the value at
the earlier one. Where a GPU has no power samples to give the shape in between, the counter is
polled evenly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from kit.measure.meters.contract import Reading, Tier
from kit.measure.meters.nvml.api import Answer
from kit.record.events import Clock

# Share of one CPU that one GPU's counter may cost, asked once in a while and when polled.
_READ_BUDGET, _POLL_BUDGET = 0.0056, 0.03
_SHORTEST_S, _LONGEST_S = 1.0, 10.0
_GONE_S = 2.0  # how often a GPU that is gone is asked whether it is back
_BURST_S = 15.0
_LOCKED = 0.2  # periods by which a tick may be misjudged for a read to fall between two
_POLL_S = (0.05, 0.07)  # less often, and a change no longer brackets its tick
_SEARCH_NS, _SEARCH_NAP_S, _SEARCH_TICKS = 1_200_000_000, 0.003, 3
_DRIFT = 5e-5  # how far a period may wander, as a share of the time since the last tick
_CLEAR_S = 0.03  # a read this long after a tick surely tells its value
_MOST_READS = 32
_SHORTEST_STEP_NS, _WAKE_NS = 5e5, 5e5  # of a fast counter; how late a sleeper may wake
_SHARP_READS = 3  # reads within which a tick is expected for each of them to be worth it
_MISSES = 3


class Ticker:
    """One GPU's counter, and what is known of its ticks.

    Attributes:
        period_ns: between two ticks; None while unknown.
        tick: when the last known tick was (ns), within ± ``error`` ns.
        latency_ns: what one read takes.
        bracket: between which times the counter ticked, if the last read was the first to see it.
    """

    def __init__(self, device: str, ask: Callable[[], Answer], clock: Clock) -> None:
        self.device, self._ask, self._clock = device, ask, clock
        self.period_ns: float | None = None
        self.tick = self.error = 0.0
        self.latency_ns = 1e6
        self._first = (0.0, 0.0)  # an earlier tick and its error: the baseline of the period
        self._elapsed = 0  # periods from there to the last known tick
        self._wrong = 0.0  # how wrong the period may be (± ns)
        self._misses = 0
        self._ahead = 1
        self._start = self._between = 0
        self._before: Reading | None = None
        self.bracket: tuple[int, int] | None = None

    def poll(self) -> Reading:
        """Read once; a change since the read before brackets a tick."""
        t0 = self._clock.now()
        rc, raw = self._ask()
        reading = Reading(t0, self._clock.now(), None, self.device, "gpu_energy", rc, raw)
        self.latency_ns += 0.2 * (reading.t1 - t0 - self.latency_ns)
        before, self._before = self._before, reading
        is_tick = before and before.raw is not None and raw is not None and raw != before.raw
        self.bracket = (before.t0, reading.t1) if before and is_tick else None
        return reading

    def forget(self) -> None:
        """Compare the next read with none before it."""
        self._before = self.bracket = None

    @property
    def step_ns(self) -> float:
        """The time between two reads of a burst: what a read takes, or a little rest."""
        return max(self.latency_ns, _SHORTEST_STEP_NS)

    @property
    def gone(self) -> bool:
        """Whether the last read failed."""
        return self._before is not None and self._before.rc != 0

    @property
    def due(self) -> int:
        """When it is to be asked next (ns)."""
        return min(self._start, self._between) if self.period_ns else int(self.tick)

    def read(self) -> list[Reading]:
        """The burst or the single read that is due."""
        if self._between < self._start:
            reading = self.poll()
            self._plan_between(self._clock.now())
            if self.gone:
                self._lose()
            return [reading]
        return self._burst()

    def plan(self) -> None:
        """Choose the next tick to watch, as far ahead as it can be foreseen."""
        now = self._clock.now()
        if self.period_ns is None:
            self.tick = now + (_GONE_S if self.gone else _LONGEST_S) * 1e9
            return
        # Not further than what is foreseen stays sharp, or nearly as sharp as what is known.
        most = max(1, round(_BURST_S * 1e9 / self.period_ns))
        loss = max(2.5 * self.step_ns - self.error, 0.5 * self.error)
        sharp = loss / (self._wrong + _DRIFT * self.period_ns)
        self._ahead = min(max(1, int(sharp)), most)
        while (start := self._burst_start()) < now:
            self._ahead += 1
        self._start = start
        self._plan_between(now)

    def _lose(self) -> None:
        """The GPU is gone: nothing known of its ticks holds when it comes back."""
        self.period_ns = None
        self.plan()

    def _burst_start(self) -> int:
        """A read must end before the tick can come."""
        assert self.period_ns is not None
        margin = self._error_after(self._ahead) + 1.1 * self.step_ns + _WAKE_NS
        return int(self.tick + self._ahead * self.period_ns - margin)

    def _plan_between(self, now: int) -> None:
        """The next single read: halfway between two ticks, as often as its cost allows."""
        if self.period_ns is None or self._error_after(self._ahead) > _LOCKED * self.period_ns:
            self._between = self._start
            return
        wanted_s = min(max(self.latency_ns * 1e-9 / _READ_BUDGET, _SHORTEST_S), _LONGEST_S)
        periods = math.ceil((now + wanted_s * 1e9 - self.tick) / self.period_ns)
        self._between = int(self.tick + (periods - 0.5) * self.period_ns - self.latency_ns / 2)

    def _burst(self) -> list[Reading]:
        """Read around the tick that is expected, and learn from it."""
        assert self.period_ns is not None
        if self._clock.now() - self._start > self.step_ns + _WAKE_NS:
            self.plan()  # too late for this tick: another GPU was being asked
            return []
        self.forget()
        foreseen, error = self.tick + self._ahead * self.period_ns, self._error_after(self._ahead)
        sharp = error < _SHARP_READS * self.step_ns
        readings = self._until_tick(error) if sharp else self._halve(foreseen)
        bracket = self.bracket
        if self.gone:
            self._lose()
            return readings
        if bracket is None and not sharp:
            bracket = (readings[-1].t0, int(foreseen + error))
        self._learn(bracket, foreseen, error)
        self.plan()
        return readings

    def _until_tick(self, error: float) -> list[Reading]:
        """Read until the counter ticks, or until the tick must have been missed."""
        readings = []
        patience = (2 * error + 2 * _WAKE_NS) / self.step_ns + 4
        for _ in range(min(_MOST_READS, math.ceil(patience))):
            readings.append(self.poll())
            if self.gone or self.bracket:
                break
            time.sleep(max(0.0, (self.step_ns - self.latency_ns) * 1e-9))
        return readings

    def _halve(self, foreseen: float) -> list[Reading]:
        """Read before the tick can come and again where it is expected: which half is it in?"""
        readings = [self.poll()]
        time.sleep(max(0.0, (foreseen - self.latency_ns / 2 - self._clock.now()) * 1e-9))
        return [*readings, self.poll()]

    def settle(self, brackets: Sequence[tuple[int, int]]) -> None:
        """Take period and tick from the brackets of a search."""
        middles = [(lo + hi) / 2 for lo, hi in brackets]
        if len(middles) < 2:
            self.period_ns = None
            self.plan()
            return
        self.period_ns = median(b - a for a, b in pairwise(middles))
        self.tick, self.error = middles[-1], (brackets[-1][1] - brackets[-1][0]) / 2
        self._first = middles[0], (brackets[0][1] - brackets[0][0]) / 2
        self._elapsed = round((middles[-1] - middles[0]) / self.period_ns)
        self._wrong = (self.error + self._first[1]) / max(1, self._elapsed)
        self._misses = 0
        self.plan()

    def _learn(self, bracket: tuple[int, int] | None, foreseen: float, error: float) -> None:
        """Move to the tick just seen, within what was foreseen and what was read."""
        if bracket is None:
            self._misses += 1
            self.error *= 2
            if self._misses >= _MISSES:
                self.period_ns = None  # it is not where it was: `plan` waits, `Bursts` searches
            return
        both = max(bracket[0], foreseen - error), min(bracket[1], foreseen + error)
        lower, upper = both if both[0] < both[1] else (float(bracket[0]), float(bracket[1]))
        self.tick, self.error = (lower + upper) / 2, (upper - lower) / 2
        self._elapsed, self._misses = self._elapsed + self._ahead, 0
        wrong = (self.error + self._first[1]) / self._elapsed
        if wrong < self._wrong:
            self._wrong = wrong
            self.period_ns = (self.tick - self._first[0]) / self._elapsed
        if self.error < self._first[1] / 2:
            self._first, self._elapsed = (self.tick, self.error), 0

    def _error_after(self, periods: int) -> float:
        """How wrong the time of a tick ``periods`` ahead may be (± ns)."""
        if self.period_ns is None:
            return 0.0
        return self.error + periods * (self._wrong + _DRIFT * self.period_ns)


class Bursts:
    """The counters of several GPUs, one burst at a time, at each one's own moments."""

    def __init__(self, tickers: Sequence[Ticker], clock: Clock) -> None:
        self._tickers, self._clock = tickers, clock
        self._searched = False

    def tier(self) -> Tier:
        """Its tier: the usual period, and when the next burst is due."""
        return Tier("counter", _SHORTEST_S, self._read, True, self._due, self._last)

    def _due(self) -> int:
        return min(ticker.due for ticker in self._tickers)

    def _read(self) -> Sequence[Reading]:
        lost = [t for t in self._tickers if t.period_ns is None]
        if lost and (not self._searched or any(t.due <= self._clock.now() for t in lost)):
            self._searched = True
            return search(lost, self._clock)
        return min(self._tickers, key=lambda t: t.due).read()

    def _last(self, stopped_at: int) -> Sequence[Reading]:
        """One tick more of each, so that nothing measured lies after the last one."""
        longest = max((t.period_ns or 0.0) for t in self._tickers)
        return _until_ticked(self._tickers, self._clock, stopped_at + int(3 * longest))


class Polls:
    """The counters of GPUs without power samples, polled evenly at 14 or 20 Hz."""

    def __init__(self, tickers: Sequence[Ticker], clock: Clock) -> None:
        self._tickers, self._clock = tickers, clock
        self._watched = False

    def tier(self) -> Tier:
        """Its tier, at the rate that its latency allows."""
        for ticker in self._tickers:
            ticker.poll()
        dearest_s = max(t.latency_ns for t in self._tickers) * 1e-9
        fits = [period for period in _POLL_S if dearest_s <= period * _POLL_BUDGET]
        period_s = fits[0] if fits else _POLL_S[-1]
        return Tier("counter-poll", period_s, self._read, True, last=self._last)

    def _read(self) -> Sequence[Reading]:
        if not self._watched:  # nothing measured may lie before the first tick
            self._watched = True
            return _until_ticked(self._tickers, self._clock, self._clock.now() + _SEARCH_NS)
        return [ticker.poll() for ticker in self._tickers]

    def _last(self, stopped_at: int) -> Sequence[Reading]:
        return _until_ticked(self._tickers, self._clock, stopped_at + _SEARCH_NS // 4)


def _until_ticked(tickers: Sequence[Ticker], clock: Clock, until: int) -> list[Reading]:
    """Poll all until the last has ticked, and once more: only a read that is clear of a tick tells
    its value, so that those which ticked already are polled on."""
    readings, waiting = list[Reading](), list(tickers)
    for ticker in waiting:
        ticker.forget()
    while waiting and clock.now() < until:
        readings += [ticker.poll() for ticker in tickers if not ticker.gone]
        waiting = [t for t in waiting if t.bracket is None and not t.gone]
        time.sleep(_SEARCH_NAP_S)
    time.sleep(_CLEAR_S)
    return [*readings, *(ticker.poll() for ticker in tickers)]


def search(tickers: Sequence[Ticker], clock: Clock) -> list[Reading]:
    """Poll all in turn until each has ticked three times, at most for 1.2 s, and learn from it."""
    readings: list[Reading] = []
    brackets: dict[str, list[tuple[int, int]]] = {t.device: [] for t in tickers}
    until = clock.now() + _SEARCH_NS
    for ticker in tickers:
        ticker.forget()
    waiting = list(tickers)
    while waiting and clock.now() < until:
        for ticker in waiting:
            readings.append(ticker.poll())
            if ticker.bracket:
                brackets[ticker.device].append(ticker.bracket)
        waiting = [t for t in waiting if len(brackets[t.device]) < _SEARCH_TICKS and not t.gone]
        time.sleep(_SEARCH_NAP_S)
    for ticker in tickers:
        ticker.settle(brackets[ticker.device])
    return readings
