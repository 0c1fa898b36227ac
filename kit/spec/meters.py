"""The meters that a spec can name: kit's own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.base.Meter`. Here are the names alone; a meter's
module is imported when `kit.measure.meters` is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def knows(name: str) -> bool:
    """Whether there is a meter of that name."""
    return REGISTRY.knows(name)


def scopes(named: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The energy scopes that these meters feed, each with its meters' names, sorted.

    Raises:
        UsageError: there is no such meter, or its package cannot be imported.
    """
    found: dict[str, set[str]] = {}
    for name in named:
        found.setdefault(REGISTRY.get(name).scope, set()).add(name)
    return {scope: tuple(sorted(names)) for scope, names in found.items()}


def of_scope(scope: str) -> tuple[str, ...]:
    """The meters that feed a scope; kit's own first."""
    return tuple(name for name in names() if REGISTRY.get(name).scope == scope)
