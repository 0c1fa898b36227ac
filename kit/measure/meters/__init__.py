"""The meters that kit can read: its own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.base.Meter`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kit.core.errors import KitError
from kit.core.model import MeterPlan
from kit.measure.meters.base import Meter, MeterUnavailable, Reader, Reading, Tier, absent
from kit.spec.meters import GROUP, REGISTRY, names

__all__ = (
    "GROUP",
    "Meter",
    "MeterUnavailable",
    "Reader",
    "Reading",
    "Tier",
    "get",
    "names",
    "probe",
)


def probe(name: str, alias: str | None, config: dict[str, Any]) -> MeterPlan:
    """What a meter can read here; whatever else it raises is the reason why it reads nothing.

    Raises:
        KitError: what a person said of it cannot be.
    """
    meter = get(name)
    try:
        found = meter.probe(alias, config)
    except KitError:
        raise
    except Exception as error:
        found = absent(name, alias, f"the meter failed: {type(error).__name__}: {error}")
    return msgspec.structs.replace(found, scope=meter.scope)


def get(name: str) -> Meter:
    """The meter called ``name``; a `UsageError` where there is none."""
    found: Meter = REGISTRY.get(name)
    return found
