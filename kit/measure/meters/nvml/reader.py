"""Reads every GPU in tiers: cheap queries often, expensive ones rarely, each in its own thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from kit.measure.meters.contract import Reading, Tier
from kit.measure.meters.nvml.api import Api
from kit.measure.meters.nvml.board import Board, Field, Keeper, Query
from kit.measure.meters.nvml.buffer import Buffer
from kit.measure.meters.nvml.cards import Card, cards, counter_of
from kit.measure.meters.nvml.counter import Bursts, Polls, Ticker
from kit.measure.meters.nvml.pace import SLOW_CALL_S
from kit.measure.meters.nvml.processes import Census
from kit.measure.meters.nvml.quantities import BUFFER_S, POWER, PROCESSES, STATE_S
from kit.record.events import Clock


class Batch(NamedTuple):
    """What one GPU is asked in one tier: all its fields in one call, then every function.

    Attributes:
        names: quantities that are fields of NVML.
        numbers: the fields' numbers, one each.
        queries: (quantity, function).
    """

    alias: str
    board: Board
    names: tuple[str, ...]
    numbers: tuple[Field, ...]
    queries: tuple[tuple[str, Query], ...]


class NvmlReader:
    """Reads the cards of an initialised NVML."""

    def __init__(self, api: Api, count: int | None, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self._cards = cards(api, count, clock)
        self.devices = tuple(card.device for card in self._cards)
        self._keeper = Keeper(api, [card.board for card in self._cards], clock)
        self._buffers = [
            Buffer(card.alias, card.board, clock)
            for card in self._cards
            if card.reads("gpu_power_sample")
        ]
        self._begun = False
        self.tiers = tuple(self._tiers())

    def explain(self, rc: int) -> str:
        return self._api.explain(rc)

    def close(self) -> None:
        self._api.close()

    def _tiers(self) -> Iterator[Tier]:
        """Power and state at each pace that the cards' calls allow; buffers; counters."""
        for period_s in self._periods(power=True):
            yield self._tier("power", period_s, power=True)
        for period_s in self._periods(power=False):
            yield self._tier("state", period_s, power=False)
        counted = [(c.alias, c.board, [q for q in PROCESSES if q in c.asked]) for c in self._cards]
        if any(names for _, _, names in counted):
            yield Census([one for one in counted if one[2]], self._clock).tier()
        if self._buffers:
            yield Tier("samples", BUFFER_S, self._samples, slow=True, last=self._last_samples)
        yield from self._counter_tiers()

    def _periods(self, *, power: bool) -> list[float]:
        periods = {p.period_s for c in self._cards for q, p in c.paces.items() if _is(q, power)}
        return sorted(periods if power else {STATE_S, *periods})

    def _tier(self, kind: str, period_s: float, *, power: bool) -> Tier:
        wanted = [
            [q for q, p in card.paces.items() if _is(q, power) and p.period_s == period_s]
            for card in self._cards
        ]
        batches = [_batch(card, names) for card, names in zip(self._cards, wanted, strict=True)]
        calls = [c.cost_s(q) for c, names in zip(self._cards, wanted, strict=True) for q in names]
        slow = period_s >= STATE_S or max(calls, default=0.0) > SLOW_CALL_S
        keeps = not power and period_s == STATE_S
        read = partial(self._read_and_watch if keeps else self._read, batches)
        return Tier(f"{kind}-{round(period_s * 1e3)}ms", period_s, read, slow)

    def _counter_tiers(self) -> Iterator[Tier]:
        """Bursts where the samples give the shape, even polling where nothing else does."""
        counting = [card for card in self._cards if card.reads("gpu_energy")]
        shaped = [self._ticker(c) for c in counting if c.reads("gpu_power_sample")]
        tickers = [self._ticker(c) for c in counting if not c.reads("gpu_power_sample")]
        if shaped:
            yield Bursts(shaped, self._clock).tier()
        if tickers:
            yield Polls(tickers, self._clock).tier()

    def _ticker(self, card: Card) -> Ticker:
        return Ticker(card.alias, partial(counter_of, card.board), self._clock)

    def _read(self, batches: Sequence[Batch]) -> list[Reading]:
        """Every quantity of every GPU; the code is short, since it is what a read costs."""
        readings: list[Reading] = []
        now = self._clock.now
        for alias, board, names, numbers, queries in batches:
            if numbers:
                t0 = now()
                answers = board.fields(numbers)
                t1 = now()
                for quantity, (rc, raw) in zip(names, answers, strict=True):
                    readings.append(Reading(t0, t1, None, alias, quantity, rc, raw))
            for quantity, query in queries:
                t0 = now()
                rc, raw = board.ask(query)
                readings.append(Reading(t0, now(), None, alias, quantity, rc, raw))
        return readings

    def _read_and_watch(self, batches: Sequence[Batch]) -> list[Reading]:
        """The same, and a look whether the driver or a GPU is gone."""
        readings = self._read(batches)
        codes = [{r.rc for r in readings if r.device == batch.alias} for batch in batches]
        self._keeper.look_after(codes)
        return readings

    def _samples(self) -> Sequence[Reading]:
        if not self._begun:  # nothing measured may lie before the first sample
            self._begun = True
            return self._last_samples(self._clock.now())
        return [reading for buffer in self._buffers for reading in buffer.read()]

    def _last_samples(self, stopped_at: int) -> Sequence[Reading]:
        return [reading for buffer in self._buffers for reading in buffer.until(stopped_at)]


def _is(quantity: str, power: bool) -> bool:
    return (quantity in POWER) == power


def _batch(card: Card, quantities: Sequence[str]) -> Batch:
    asked = [(quantity, card.asked[quantity]) for quantity in quantities]
    fields = [(quantity, how.field) for quantity, how in asked if how.field is not None]
    return Batch(
        card.alias,
        card.board,
        tuple(quantity for quantity, _ in fields),
        tuple(number for _, number in fields),
        tuple((quantity, how.query) for quantity, how in asked if how.query is not None),
    )
