"""Which GPUs there are, and what each can report: every query is tried and timed once.

The aliases ``gpu0``, ``gpu1``, … are NVML's own order, by bus address: CUDA_VISIBLE_DEVICES does
not change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median

from msgspec.structs import replace

from kit.core.facts import NO_FACTS, QuantityFacts
from kit.core.model import MeterDevice
from kit.energy.scopes.gpu import GAIN, GAIN_SOURCE
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.nvml.api import NOT_FOUND, UNSEEN, Answer, Api
from kit.measure.meters.nvml.board import Asked, Board
from kit.measure.meters.nvml.counter import Ticker, search
from kit.measure.meters.nvml.pace import (
    POWER_LADDER,
    POWER_SHARE,
    STATE_LADDER,
    STATE_SHARE,
    Ask,
    Pace,
    call_s,
    paced,
    update_periods,
)
from kit.measure.meters.nvml.quantities import (
    BUFFER_S,
    CHECK_S,
    FIELD_AVERAGE,
    FIELD_INSTANT,
    POWER,
    POWER_S,
    PROCESSES,
    STATE,
    STATE_S,
    TIMES,
    WATCH_S,
    WATCHED,
)
from kit.record.events import Clock

_SHARED = "NVML gives the whole board's power here, not this {}'s"
_STILL = "its changes, in less than a second before the run, showed no even pace"
_ZERO = "the driver reads 0: no sensor"
# Architecture numbers of nvml.h. Before Ampere, and on the GA100, "power usage" is instantaneous;
# since then it is the mean of the last second.
_AMPERE, _GA100 = 7, (8, 0)
_VIRTUAL_MODES = ("NVML_GPU_VIRTUALIZATION_MODE_VGPU", "NVML_GPU_VIRTUALIZATION_MODE_HOST_VGPU")
_CHANGING = ("gpu_power_instant", "gpu_power_average", "gpu_temperature")


@dataclass(frozen=True)
class Card:
    """One GPU: its facts for the plan, its handle, and the pace of each query.

    Attributes:
        asked: by quantity, what is asked; counter and buffer are not among them.
        paces: by quantity, how often; processes are counted at a pace of their own.
    """

    device: MeterDevice
    board: Board
    asked: Mapping[str, Asked]
    paces: Mapping[str, Pace]

    @property
    def alias(self) -> str:
        return self.device.device

    def reads(self, quantity: str) -> bool:
        """Whether this card gives ``quantity``."""
        return self.device.reads(quantity)

    def cost_s(self, quantity: str) -> float:
        """Seconds that one call takes."""
        return self.device.facts(quantity).call_s or 0.0


def cards(api: Api, count: int | None, clock: Clock, *, watch: bool = False) -> list[Card]:
    """The GPUs, the first ``count`` where that is given.

    Args:
        watch: look at counters and power for a while, to tell their periods.

    Raises:
        MeterUnavailable: there is none, NVML does not list them, or not one can be asked.
    """
    rc, present = api.ask(api.nvml.nvmlDeviceGetCount)
    if rc:
        raise MeterUnavailable(f"NVML: {api.explain(rc)}")
    if not present:
        raise MeterUnavailable("the NVIDIA driver sees no GPU")
    result = [_asked(api, index, clock) for index in range(min(present, count or present))]
    if not any(card.device.quantities.keys() - set(POWER) for card in result):
        raise MeterUnavailable(result[0].device.facts("gpu_energy").reason or "no GPU can be read")
    if watch:
        _add_counter_periods(result, clock)
        _add_power_periods(result, clock)
    return result


def _asked(api: Api, index: int, clock: Clock) -> Card:
    """One GPU; one that cannot be asked has that as its reason, and hides no other."""
    alias = f"gpu{index}"
    rc, handle = api.ask(lambda: api.nvml.nvmlDeviceGetHandleByIndex(index))
    try:
        if rc == 0:
            return _card(api, Board(api, index, handle), alias, clock)
        why = f"{alias}: {api.explain(rc)}"
    except Exception as error:
        why = f"{alias} cannot be asked: {type(error).__name__}: {error}"
    quantities = dict.fromkeys(POWER, QuantityFacts(reason=why))
    device = MeterDevice(
        device=alias, description="a GPU that cannot be asked", quantities=quantities
    )
    return Card(device, Board(api, index, handle), {}, {})


def _card(api: Api, board: Board, alias: str, clock: Clock) -> Card:
    rc, name = board.ask(lambda a, h: a.nvml.nvmlDeviceGetName(h))
    quantities, asked = _quantities(api, board, clock)
    even = {quantity: how for quantity, how in asked.items() if quantity not in PROCESSES}
    paces = {q: _paced(quantities, q, partial(board.value, how), clock) for q, how in even.items()}
    for quantity in set(PROCESSES) & set(asked):
        cost_s = round(call_s(partial(board.value, asked[quantity]), clock), 6)
        quantities[quantity] = replace(quantities[quantity], call_s=cost_s)
    _add_facts(quantities, asked)
    _add_limit(board, quantities)
    description = str(name) if rc == 0 else "a GPU without a name"
    device = MeterDevice(device=alias, description=description, quantities=quantities)
    return Card(device, board, asked, paces)


def _quantities(
    api: Api, board: Board, clock: Clock
) -> tuple[dict[str, QuantityFacts], dict[str, Asked]]:
    """By quantity: facts, or the reason why there is none; and how those are asked that are."""
    quantities = {
        "gpu_energy": _fact(api, counter_of(board), Asked(zero_is_absent=True)),
        "gpu_power_sample": _buffer(api, board, clock),
    }
    asked: dict[str, Asked] = {}
    for quantity, how in {**_power(board), **STATE, **PROCESSES}.items():
        answer, asked[quantity] = _tried(board, how)
        quantities[quantity] = _fact(api, answer, how)
    shared = _shared(board, api)
    if shared:
        quantities |= dict.fromkeys(POWER, QuantityFacts(reason=shared, cause="shared"))
    return quantities, {q: how for q, how in asked.items() if quantities[q].is_read}


def _tried(board: Board, asked: Asked) -> tuple[Answer, Asked]:
    """What one quantity says, and by which of its two ways."""
    ways = [asked._replace(query=None)] if asked.field is not None else []
    ways += [asked._replace(field=None)] if asked.query else []
    for way in ways:
        answer = board.value(way)
        if answer[1] is not None:
            break
    return answer, way


def _add_facts(quantities: dict[str, QuantityFacts], asked: Mapping[str, Asked]) -> None:
    for quantity, how in asked.items():
        quantities[quantity] = replace(quantities[quantity], source=_source(quantity, how))
    for quantity in POWER:
        if quantities[quantity].is_read:
            quantities[quantity] = replace(quantities[quantity], gain=GAIN, gain_source=GAIN_SOURCE)


def _source(quantity: str, how: Asked) -> str | None:
    """How NVML is asked for a quantity, where it has several ways."""
    if how.field is not None:
        number, scope = how.field if isinstance(how.field, tuple) else (how.field, 0)
        return f"field {number}" + (f", scope {scope}" if scope else "")
    if quantity in POWER:
        return "power usage"
    return "violation status" if quantity in TIMES else None


def _add_limit(board: Board, quantities: dict[str, QuantityFacts]) -> None:
    """The highest cap that the card can be set to: `kit.core.limits` judges its readings by it."""
    rc, limits = board.ask(lambda a, h: a.nvml.nvmlDeviceGetPowerManagementLimitConstraints(h))
    if rc or not limits or not limits[1]:
        return
    for quantity in POWER:
        if quantities[quantity].is_read:
            quantities[quantity] = replace(quantities[quantity], limit_w=round(limits[1] * 1e-3, 3))


def _paced(quantities: dict[str, QuantityFacts], quantity: str, ask: Ask, clock: Clock) -> Pace:
    """How often a quantity is read; the plan is told where it would not turn out otherwise."""
    cost = call_s(ask, clock)
    if quantity in POWER:
        pace = paced(cost, _power_s(quantities), POWER_SHARE, POWER_LADDER)
    else:
        without_times = quantity in WATCHED and any(
            not quantities[name].is_read for name in _LEAST_TIMES
        )
        pace = paced(cost, WATCH_S if without_times else STATE_S, STATE_SHARE, STATE_LADDER)
    poll_s = pace.period_s if pace.sure else None
    quantities[quantity] = replace(quantities[quantity], call_s=round(cost, 6), poll_s=poll_s)
    return pace


# The reasons that hold clocks down in use: without their times the mask has to be watched.
_LEAST_TIMES = ("gpu_power_cap_time", "gpu_thermal_time")


def _power_s(quantities: Mapping[str, QuantityFacts]) -> float:
    """Power is a cross-check at 10 Hz, and the way to the energy where another one lacks."""
    is_alone = any(
        not quantities[quantity].is_read for quantity in ("gpu_energy", "gpu_power_sample")
    )
    return POWER_S if is_alone else CHECK_S


def _fact(api: Api, answer: Answer, asked: Asked) -> QuantityFacts:
    rc, raw = answer
    if rc or raw is None:
        explanation = api.explain(rc)
        return QuantityFacts(reason=explanation if rc == UNSEEN else f"NVML: {explanation}")
    return QuantityFacts(reason=_ZERO) if asked.zero_is_absent and raw == 0 else NO_FACTS


def counter_of(board: Board) -> Answer:
    """The energy counter, mJ since the driver was loaded."""
    return board.ask(lambda a, h: a.nvml.nvmlDeviceGetTotalEnergyConsumption(h))


def _power(board: Board) -> dict[str, Asked]:
    """Instant and average power, by the fields that say which is which; else by power usage."""
    fields = {
        "gpu_power_instant": Asked(FIELD_INSTANT, zero_is_absent=True),
        "gpu_power_average": Asked(FIELD_AVERAGE, zero_is_absent=True),
    }
    if any(board.value(asked)[1] for asked in fields.values()):
        return fields
    which = "gpu_power_average" if _usage_is_average(board) else "gpu_power_instant"
    usage = Asked(query=lambda a, h: a.nvml.nvmlDeviceGetPowerUsage(h), zero_is_absent=True)
    return {**fields, which: usage}


def _usage_is_average(board: Board) -> bool:
    _, architecture = board.ask(lambda a, h: a.nvml.nvmlDeviceGetArchitecture(h))
    _, compute = board.ask(lambda a, h: a.nvml.nvmlDeviceGetCudaComputeCapability(h))
    known_instant = architecture is not None and architecture < _AMPERE
    return not known_instant and tuple(compute or ()) != _GA100


def _buffer(api: Api, board: Board, clock: Clock) -> QuantityFacts:
    """The buffer of power samples, and the period at which the driver fills it."""
    begin = clock.now()
    rc, samples = board.ask(
        lambda a, h: a.nvml.nvmlDeviceGetSamples(h, a.nvml.NVML_TOTAL_POWER_SAMPLES, 0)
    )
    taken = (clock.now() - begin) * 1e-9
    if rc == NOT_FOUND:
        return QuantityFacts(reason="the buffer of power samples is empty")
    if rc:
        return QuantityFacts(reason=f"NVML: {api.explain(rc)}")
    stamps = [sample.timeStamp for sample in samples[1]]
    gaps = [b - a for a, b in pairwise(stamps) if b > a]
    if not gaps:
        return QuantityFacts(reason="the buffer of power samples has no times")
    return QuantityFacts(
        poll_s=BUFFER_S,
        period_s=round(median(gaps) * 1e-6, 3),
        slots=len(stamps),
        call_s=round(taken, 6),
    )


def _add_counter_periods(cards: Sequence[Card], clock: Clock) -> None:
    """Watch the counters of all GPUs together until each has ticked a few times."""
    tickers = {
        card.alias: Ticker(card.alias, partial(counter_of, card.board), clock)
        for card in cards
        if card.reads("gpu_energy")
    }
    search(list(tickers.values()), clock)
    for card in cards:
        ticker = tickers.get(card.alias)
        if ticker is None:
            continue
        if ticker.period_ns is None:
            facts = QuantityFacts(reason="the energy counter does not advance", cause="still")
        else:
            facts = replace(
                card.device.quantities["gpu_energy"],
                period_s=round(ticker.period_ns * 1e-9, 2),
                call_s=round(ticker.latency_ns * 1e-9, 6),
            )
        card.device.quantities["gpu_energy"] = facts


def _add_power_periods(cards: Sequence[Card], clock: Clock) -> None:
    """Watch what else changes; on an idle GPU a temperature seldom does."""
    watched: dict[str, Callable[[], Answer]] = {}
    for card in cards:
        for quantity in set(_CHANGING) & set(card.asked):
            watched[f"{card.alias} {quantity}"] = partial(card.board.value, card.asked[quantity])
    found_s = update_periods(watched, clock)
    for card in cards:
        for quantity in set(_CHANGING) & set(card.asked):
            period_s = found_s.get(f"{card.alias} {quantity}")
            facts = card.device.quantities[quantity]
            card.device.quantities[quantity] = (
                replace(facts, period_s=period_s)
                if period_s
                else replace(facts, period_reason=_STILL)
            )


def _shared(board: Board, api: Api) -> str | None:
    """Why the board's energy is not this device's: MIG, or a virtual GPU."""
    rc, mig = board.ask(lambda a, h: a.nvml.nvmlDeviceGetMigMode(h))
    if rc == 0 and mig[0]:
        return "MIG is on: " + _SHARED.format("instance")
    rc, mode = board.ask(lambda a, h: a.nvml.nvmlDeviceGetVirtualizationMode(h))
    virtual = {getattr(api.nvml, name, None) for name in _VIRTUAL_MODES}
    if rc == 0 and mode in virtual:
        return "a virtual GPU: " + _SHARED.format("virtual GPU")
    return None
