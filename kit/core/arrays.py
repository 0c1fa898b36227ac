"""numpy, imported when something is first computed with it.

It takes a fifth of a second of CPU time, and most processes of kit compute nothing: the sampler,
the face of a run, the lists. Modules that need it take ``np`` from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ("load", "np", "npt")


def load() -> None:
    """Import it now, for a process that will need it while a machine is measured."""
    import_module("numpy")


class _Late:
    """A module that is imported at the first use of one of its names."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._module), name)
        setattr(self, name, value)  # from here on it is found without this function
        return value


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np, npt = _Late("numpy"), _Late("numpy.typing")
