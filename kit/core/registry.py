"""Registries of runtimes, meters and workloads: kit's own, and those of other packages.

A registry knows kit's own by module, imported when asked for, and what other installed packages
register under an entry-point group.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kit.core.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Registry:
    """Things of one ``kind`` by name.

    Args:
        kind: the word for one of them, in messages.
        group: the entry-point group where packages register theirs.
        package: where kit's own are, each in a module of its name, with ``_`` for ``-``.
        own: the names of kit's own.
        attribute: what to take from kit's own modules.
    """

    def __init__(
        self, kind: str, group: str, package: str, own: Iterable[str], attribute: str
    ) -> None:
        self.kind, self.group = kind, group
        self._own = {name: f"{package}.{name.replace('-', '_')}" for name in own}
        self._attribute = attribute
        self._loaded: dict[str, Any] = {}

    def names(self) -> tuple[str, ...]:
        """Every name; kit's own first."""
        return (*self._own, *self.outside())

    def outside(self) -> tuple[str, ...]:
        """The names that other packages registered."""
        return tuple(sorted(set(self._registered()) - set(self._own)))

    def knows(self, name: str) -> bool:
        """Whether there is one of that name; packages are searched only for what is not kit's."""
        return name in self._own or name in self._registered()

    def get(self, name: str) -> Any:
        """The thing called ``name``.

        Raises:
            UsageError: there is none, or the package that registered it cannot be imported.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        if module := self._own.get(name):
            return getattr(import_module(module), self._attribute)
        entry = self._registered().get(name)
        if entry is None:
            names = ", ".join(self.names())
            raise UsageError(f"kit knows no {self.kind} {name!r}", f"use one of: {names}")
        try:
            return entry.load()
        except Exception as error:
            raise UsageError(
                f"the {self.kind} {name!r} is registered, but cannot be loaded: {error}",
                "mend or remove the package that brings it",
            ) from error

    def _registered(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points  # takes long; kit's own need it not

        return {entry.name: entry for entry in entry_points(group=self.group)}
