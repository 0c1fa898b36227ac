"""The meters that a spec can name: kit's own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.base.Meter`. Here are the names alone; a meter's
module is imported when `kit.measure.meters` is asked for it.
"""

from __future__ import annotations

from kit.core.registry import Registry
from kit.machine.host.sections import is_aliased

__all__ = ("GROUP", "REGISTRY", "is_aliased", "names")

GROUP = "kit.meters"
REGISTRY = Registry(
    "meter",
    GROUP,
    {
        name: f"kit.measure.meters.{name}"
        for name in ("nvml", "amdsmi", "rapl", "pdu", "plug", "redfish", "estimate", "codecarbon")
    },
    "METER",
)


def names() -> tuple[str, ...]:
    """Every meter's name; kit's own first."""
    return REGISTRY.names()
