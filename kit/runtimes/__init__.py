"""The runtimes that kit can run: its own, and those that other packages register.

Another package registers a runtime under the entry-point group ``kit.runtimes``: the entry's name
is the runtime's, its object a `kit.runtimes.base.Runtime`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from kit.errors import UsageError
from kit.runtimes.base import Runtime

__all__ = ("GROUP", "Runtime", "get", "names")

GROUP = "kit.runtimes"
_OWN = {
    "llama-server": "kit.runtimes.llama_server",
    "llama-cpp-python": "kit.runtimes.llama_cpp_python",
    "loopback": "kit.runtimes.loopback",
}


def names() -> tuple[str, ...]:
    """Every runtime's name; kit's own first."""
    return (*_OWN, *sorted(set(_registered()) - set(_OWN)))


@cache
def get(name: str) -> Runtime:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none, or the package that registered it cannot be imported.
    """
    if module := _OWN.get(name):
        own: Runtime = import_module(module).RUNTIME
        return own
    try:
        found: Runtime = _registered()[name].load()
    except KeyError:
        known = ", ".join(names())
        raise UsageError(f"kit knows no runtime {name!r}", f"use one of: {known}") from None
    except Exception as error:
        raise UsageError(
            f"the runtime {name!r} is registered, but cannot be loaded: {error}",
            "mend or remove the package that brings it",
        ) from error
    return found


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
