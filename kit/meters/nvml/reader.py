"""Reads every GPU in tiers: what is cheap often, what is dear seldom and in threads apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from kit.events import Clock
from kit.meters.base import Reading, Tier
from kit.meters.nvml.api import Answer, Api
from kit.meters.nvml.buffer import Buffer
from kit.meters.nvml.cards import (
    BUFFER_S,
    FIELD_AVERAGE,
    FIELD_INSTANT,
    FIELDS,
    LOAD,
    LOAD_S,
    STATE,
    STATE_S,
    VIOLATIONS,
    Card,
    Query,
    cards,
    gone,
    renew,
    violation,
)
from kit.meters.nvml.counter import Bursts, Polls, Ticker

# A card's alias, its handle, which power quantities it gives, and by which fields.
_Asked = tuple[str, Any, tuple[str, ...], tuple[int, ...]]
DRIVER_S = 2.0
_FIELDS = {"gpu_power_instant": FIELD_INSTANT, "gpu_power_average": FIELD_AVERAGE}


class NvmlReader:
    """An opened NVML; the counter costs within 0.6% of a CPU, all else together less."""

    def __init__(self, api: Api, count: int | None, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self._cards = cards(api, count)
        self.devices = tuple(card.device for card in self._cards)
        # The path of the 50 Hz tier is kept short: its cost is this code, not NVML.
        self._fields: dict[float, list[_Asked]] = {}
        for card in self._cards:
            if fields := _fields_of(card):
                asked = card.alias, card.handle, tuple(fields), tuple(filter(None, fields.values()))
                pace = float(card.facts(next(iter(fields)))["poll_s"])
                self._fields.setdefault(pace, []).append(asked)
        self._buffers = [
            Buffer(api, card.alias, card.handle, clock)
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
        for pace, asked in self._fields.items():
            name = "power" if len(self._fields) == 1 else f"power-{pace:g}s"
            yield Tier(name, pace, partial(self._power, asked))
        yield Tier("state", STATE_S, self._state)
        yield Tier("load", LOAD_S, self._load, slow=True)
        if self._buffers:
            yield Tier("samples", BUFFER_S, self._samples, slow=True, last=self._last_samples)
        yield from self._counter_tiers()
        yield Tier("driver", DRIVER_S, self._driver, slow=True)

    def _counter_tiers(self) -> Iterator[Tier]:
        """Bursts where the samples give the shape, even polling where nothing else does."""
        counting = [card for card in self._cards if card.reads("gpu_energy")]
        shaped = [self._ticker(c) for c in counting if c.reads("gpu_power_sample")]
        bare = [self._ticker(c) for c in counting if not c.reads("gpu_power_sample")]
        if shaped:
            yield Bursts(shaped, self._clock).tier()
        if bare:
            yield Polls(bare, self._clock).tier()

    def _ticker(self, card: Card) -> Ticker:
        query = self._api.nvml.nvmlDeviceGetTotalEnergyConsumption
        return Ticker(card.alias, lambda: self._api.ask(lambda: query(card.handle)), self._clock)

    def _power(self, asked: Sequence[_Asked]) -> Sequence[Reading]:
        found: list[Reading] = []
        now = self._clock.now
        for alias, handle, quantities, numbers in asked:
            t0 = now()
            answers = self._api.fields(handle, numbers) if numbers else self._usage(handle)
            t1 = now()
            for quantity, (rc, raw) in zip(quantities, answers, strict=True):
                found.append(Reading(t0, t1, None, alias, quantity, rc, raw))
        return found

    def _usage(self, handle: Any) -> list[Answer]:
        return [self._api.ask(lambda: self._api.nvml.nvmlDeviceGetPowerUsage(handle))]

    def _state(self) -> Sequence[Reading]:
        return self._each(STATE)

    def _load(self) -> Sequence[Reading]:
        found = self._each(LOAD)
        for card in self._cards:
            found += self._field_values(card)
        return found

    def _field_values(self, card: Card) -> list[Reading]:
        """Field values of one card, all in one call; older cards' violation times one by one."""
        told = [name for name in FIELDS if card.reads(name)]
        older = [name for name in told if card.facts(name)["source"] == "violation time"]
        names = [name for name in told if name not in older]
        found = [
            self._one(card, name, self._query(card, partial(_violation, VIOLATIONS[name])))
            for name in older
        ]
        if names:
            t0 = self._clock.now()
            answers = self._api.fields(card.handle, tuple(FIELDS[name] for name in names))
            t1 = self._clock.now()
            found += [
                Reading(t0, t1, None, card.alias, name, rc, raw)
                for name, (rc, raw) in zip(names, answers, strict=True)
            ]
        return found

    def _driver(self) -> Sequence[Reading]:
        """Take hold of the driver again once it is back from being reloaded; reads nothing.

        Until then every reading carries its code, and the counter begins anew: no window that
        touches the reload is told.
        """
        lost = [card for card in self._cards if gone(self._api, card)]
        if lost and self._api.restart():
            for card in self._cards:
                renew(self._api, card)
        return []

    def _each(self, queries: Mapping[str, Query]) -> list[Reading]:
        return [
            self._one(card, quantity, self._query(card, query))
            for card in self._cards
            for quantity, query in queries.items()
            if card.reads(quantity)
        ]

    def _query(self, card: Card, query: Query) -> Callable[[], Answer]:
        return lambda: self._api.ask(lambda: query(self._api, card.handle))

    def _one(self, card: Card, quantity: str, ask: Callable[[], Answer]) -> Reading:
        t0 = self._clock.now()
        rc, raw = ask()
        return Reading(t0, self._clock.now(), None, card.alias, quantity, rc, raw)

    def _samples(self) -> Sequence[Reading]:
        if not self._begun:  # nothing measured may lie before the first sample
            self._begun = True
            return self._last_samples(self._clock.now())
        return [reading for buffer in self._buffers for reading in buffer.read()]

    def _last_samples(self, stopped_at: int) -> Sequence[Reading]:
        return [reading for buffer in self._buffers for reading in buffer.until(stopped_at)]


def _violation(policy: int, api: Api, handle: Any) -> int:
    return violation(api, handle, policy)


def _fields_of(card: Card) -> dict[str, int | None]:
    """Which power quantities a card gives, each with its field; None is "power usage"."""
    return {
        quantity: field if card.facts(quantity).get("source") != "power usage" else None
        for quantity, field in _FIELDS.items()
        if card.reads(quantity)
    }
