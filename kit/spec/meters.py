"""The meters that a spec can name: kit's own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.base.Meter`. Here are the names alone; a meter's
module is imported when `kit.measure.meters` is asked for it.
"""

from __future__ import annotations

from kit.core.registry import Registry

GROUP = "kit.meters"
REGISTRY = Registry(
    "meter",
    GROUP,
    {
        name: f"kit.measure.meters.{name}"
        for name in ("nvml", "rapl", "pdu", "estimate", "codecarbon")
    },
    "METER",
)


def names() -> tuple[str, ...]:
    """Every meter's name; kit's own first."""
    return REGISTRY.names()


def knows(name: str) -> bool:
    """Whether there is a meter of that name."""
    return REGISTRY.knows(name)
