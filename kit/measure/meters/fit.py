"""Whether what a meter of another package returns is what its contract says.

A wrong type found here is a sentence in a plan; found later, it would be a traceback in a run.
"""

from __future__ import annotations

import math

import msgspec

from kit.core import jsonio
from kit.core.model import MeterPlan
from kit.measure.meters.base import Reader, Reading, Tier

_MOST = 10**18  # `kit.record.samples` reads 18 digits
_USUAL_S, _SHORTEST_S = 1.0, 1e-3
_PARTS = ',"'  # what parts the columns of a samples file


def fault_of_plan(plan: object) -> str:
    """Why an object is no plan that an archive can hold, else empty."""
    if not isinstance(plan, MeterPlan):
        return f"its probe returned {type(plan).__name__}, not a MeterPlan"
    try:
        jsonio.canonical(msgspec.to_builtins(plan))
        msgspec.convert(msgspec.to_builtins(plan), MeterPlan)
    except (TypeError, ValueError) as error:
        return f"its plan is malformed: {error}"
    seen: set[str] = set()
    for name in (device.device for device in plan.devices):
        if not name or not name.isprintable() or set(name) & set(_PARTS):
            return f"{name!r} cannot be a device's name"
        if name in seen:
            return f"two of its devices are called {name}"
        seen.add(name)
    return "" if plan.devices or plan.reason else "it names no device, and gives no reason"


def fault_of_reader(reader: Reader) -> str:
    """Why an object cannot be read as a meter's reader, else empty.

    Raises:
        AttributeError, TypeError: it has no devices or tiers.
    """
    plan = MeterPlan(name="", alias=None, devices=tuple(reader.devices), reason="read")
    if fault := fault_of_plan(plan):
        return fault
    wrong = (t.name for t in reader.tiers if not isinstance(t.period_s, int | float))
    return next((f"the period of its tier {name} is no number" for name in wrong), "")


def period_s(tier: Tier) -> float:
    """A tier's period in seconds; one that is none is read once a second."""
    if not math.isfinite(tier.period_s) or tier.period_s <= 0:
        return _USUAL_S
    return max(tier.period_s, _SHORTEST_S)


def is_value(reading: Reading) -> bool:
    """Whether a row of a samples file can hold it: an integer and code 0, or another code."""
    raw, rc = reading.raw, reading.rc
    if type(rc) is not int or not -_MOST < rc < _MOST:
        return False
    return rc != 0 if raw is None else type(raw) is int and -_MOST < raw < _MOST
