"""The meters that a spec can name: kit's own, and those that other packages register.

Another package registers a meter under the entry-point group ``kit.meters``: the entry's name is
the meter's, its object a `kit.measure.meters.contract.Meter`. Here are the names alone; a meter's
module is imported when `kit.measure.meters` is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from kit.core.errors import UsageError
from kit.core.registry import Registry
from kit.core.units import Scope
from kit.machine.host.sections import is_aliased

__all__ = ("GROUP", "REGISTRY", "is_aliased", "knows", "names", "of_scope", "scope_of", "scopes")

GROUP = "kit.meters"
OWN = ("nvml", "amdsmi", "rapl", "pdu", "plug", "redfish", "estimate", "codecarbon")
REGISTRY = Registry("meter", GROUP, "kit.measure.meters", OWN, "METER")


def names() -> tuple[str, ...]:
    """Every meter's name; kit's own first."""
    return REGISTRY.names()


def knows(name: str) -> bool:
    """Whether there is a meter of that name."""
    return REGISTRY.knows(name)


def scopes(meters: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The energy scopes that these meters feed, each with its meters' names, sorted.

    Raises:
        UsageError: there is no such meter, or its package cannot be imported.
    """
    meters_of: dict[str, set[str]] = {}
    for name in meters:
        meters_of.setdefault(scope_of(name), set()).add(name)
    return {scope: tuple(sorted(names)) for scope, names in meters_of.items()}


def of_scope(scope: str) -> tuple[str, ...]:
    """The meters that feed a scope, kit's own first; without those that cannot be asked."""
    return tuple(name for name in names() if _feeds(name, scope))


def scope_of(name: str) -> Scope:
    """The energy scope that a meter says it feeds.

    Raises:
        UsageError: there is no such meter, its package cannot be imported, or says no scope.
    """
    stated = getattr(REGISTRY.get(name), "scope", None)
    known_scopes: tuple[Scope, ...] = get_args(Scope)
    for scope in known_scopes:
        if stated == scope:
            return scope
    raise UsageError(
        f"the meter {name!r} names no scope of energy that kit knows ({stated!r})",
        f"update or remove the package that brings it; the scopes are {', '.join(known_scopes)}",
    )


def _feeds(name: str, scope: str) -> bool:
    try:
        return scope_of(name) == scope
    except UsageError:
        return False
