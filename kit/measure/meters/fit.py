"""Checks that a meter of another package keeps the contract.

A wrong type found here is a sentence in a plan; found later, it would be a traceback in a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.model import MeterDevice, MeterPlan
from kit.measure.meters.contract import MeterUnavailable, Reader, Reading, Tier

_MOST = 10**18  # `kit.record.samples` reads 18 digits
_USUAL_S, _SHORTEST_S = 1.0, 1e-3
_PARTS = ',"'  # what parts the columns of a samples file


def plan_of(answer: object) -> MeterPlan:
    """The answer of a probe as a plan that an archive can hold.

    Raises:
        MeterUnavailable: it is none, and why.
    """
    if not isinstance(answer, MeterPlan):
        raise MeterUnavailable(f"its probe returned {type(answer).__name__}, not a MeterPlan")
    try:
        document = msgspec.to_builtins(answer)
        jsonio.canonical(document)
        plan = msgspec.convert(document, MeterPlan)
    except (RecursionError, TypeError, ValueError) as error:
        raise MeterUnavailable(f"its plan is malformed: {error}") from error
    if fault := _fault_of(plan) or next(_unknown(plan, document), ""):
        raise MeterUnavailable(fault)
    return plan


def _fault_of(plan: MeterPlan) -> str:
    names: set[str] = set()
    for name in (device.device for device in plan.devices):
        if not name or not name.isprintable() or set(name) & set(_PARTS):
            return f"{name!r} cannot be a device's name"
        if name in names:
            return f"two of its devices are called {name}"
        names.add(name)
    return "" if plan.devices or plan.reason else "it names no device, and gives no reason"


def _unknown(plan: MeterPlan, document: dict[str, Any]) -> Iterator[str]:
    """Facts that kit does not know: a plan without them would not be what the meter said."""
    for device, fields in zip(plan.devices, document["devices"], strict=True):
        for quantity, facts in device.quantities.items():
            if name := _lost(fields["quantities"][quantity], msgspec.to_builtins(facts)):
                yield f"{device.device}: kit does not know the fact {name!r} of {quantity}"


def _lost(source: dict[str, Any], record: dict[str, Any]) -> str:
    """The first key of a document whose value is not kept, else empty."""
    for key, value in source.items():
        if value is not None and key not in record:
            return key
        if isinstance(value, dict) and (inside := _lost(value, record[key])):
            return inside
    return ""


@dataclass
class _Fitting:
    """A reader whose devices are records."""

    tiers: tuple[Tier, ...]
    devices: tuple[MeterDevice, ...]
    explain: Callable[[int], str]
    close: Callable[[], None]


def reader_of(answer: Reader) -> Reader:
    """The opened reader, its devices as in a plan; one that breaks the contract is closed.

    Raises:
        MeterUnavailable: it cannot be read, and why.
        AttributeError, TypeError: it has no devices or tiers.
    """
    plan = MeterPlan(name="", alias=None, devices=tuple(answer.devices), reason="read")
    try:
        devices, tiers = plan_of(plan).devices, tuple(answer.tiers)
        for tier in tiers:
            if not isinstance(tier.period_s, int | float):
                raise MeterUnavailable(f"the period of its tier {tier.name} is no number")
    except MeterUnavailable:
        with suppress(Exception):
            answer.close()
        raise
    return _Fitting(tiers, devices, answer.explain, answer.close)


def period_s(tier: Tier) -> float:
    """A tier's period in seconds; 1 for an invalid one."""
    if not math.isfinite(tier.period_s) or tier.period_s <= 0:
        return _USUAL_S
    return max(tier.period_s, _SHORTEST_S)


def is_value(reading: Reading) -> bool:
    """Whether a row of a samples file can hold it: an integer and code 0, or another code."""
    raw, rc = reading.raw, reading.rc
    if type(rc) is not int or not -_MOST < rc < _MOST:
        return False
    return rc != 0 if raw is None else type(raw) is int and -_MOST < raw < _MOST
