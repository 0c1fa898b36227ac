"""kit: a containerised reproducibility kit for the energy of LLM inference.

Its packages are the stations of one journey: ``spec`` (what a person asks for) → ``run`` (plan,
preflight, launches, on this ``machine``) → ``measure`` → ``record`` → ``energy`` → ``store``
(seal) → ``judge`` (verify, compare, replay) → ``show``, drawn by the two faces ``cli`` and
``tui``. All stand on ``core``. `kit.run.runner` is the journey up to the seal.

A notebook takes the names below (`kit.api`); they are imported when first used, so that
``import kit`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.api import (
        ArchiveRefused,
        Comparison,
        EnergyValue,
        KitError,
        Launch,
        Metric,
        NetEnergy,
        Notice,
        Phase,
        Readings,
        Reason,
        Run,
        Verdict,
        compare,
        load,
        verify,
    )

__version__ = "0.3.0"
__all__ = (
    "ArchiveRefused",
    "Comparison",
    "EnergyValue",
    "KitError",
    "Launch",
    "Metric",
    "NetEnergy",
    "Notice",
    "Phase",
    "Readings",
    "Reason",
    "Run",
    "Verdict",
    "compare",
    "load",
    "verify",
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("kit.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
