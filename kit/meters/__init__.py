"""The meters that kit can read: its own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.meters.base.Meter`.
"""

from __future__ import annotations

from kit.meters.base import Meter, MeterUnavailable, Reader, Reading, Tier, label
from kit.registry import Registry

__all__ = (
    "GROUP",
    "Meter",
    "MeterUnavailable",
    "Reader",
    "Reading",
    "Tier",
    "get",
    "label",
    "names",
)

GROUP = "kit.meters"
_OWN = {name: f"kit.meters.{name}" for name in ("nvml", "rapl", "pdu", "estimate", "codecarbon")}
_REGISTRY = Registry("meter", GROUP, _OWN, "METER")


def names() -> tuple[str, ...]:
    """Every meter's name; kit's own first."""
    return _REGISTRY.names()


def get(name: str) -> Meter:
    """The meter called ``name``; a `UsageError` where there is none."""
    found: Meter = _REGISTRY.get(name)
    return found
