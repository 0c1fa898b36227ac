"""How both faces show things: printed, or drawn on a screen.

Data go to stdout, messages to stderr (see `kit.show.render.console`). Nothing here computes: it
lays out results of the packages below. Strings may come from a stranger's archive, so that each
passes through `console.plain` before it is drawn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kit.show.render.audit import audit, ledger_doubts
from kit.show.render.rows import runs
from kit.show.render.undertaking import QUESTION, undertaking, undertaking_list
from kit.show.render.verdicts import comparison
from kit.show.runlist import Row, row

if TYPE_CHECKING:
    from kit.show.render.energibridge import imported
    from kit.show.render.live_power import power
    from kit.show.render.rehearsal import (
        duration,
        error,
        findings,
        findings_table,
        plan,
        plan_facts,
        problems,
        tally,
    )
    from kit.show.render.show import run, run_parts
    from kit.show.render.verification import verdict

# Loaded when they are first asked for: what they draw takes longer to load than a list to show.
_LATER = {
    "energibridge": ("imported",),
    "live_power": ("power",),
    "rehearsal": (
        *("duration", "error", "findings", "findings_table", "plan", "plan_facts"),
        *("problems", "tally"),
    ),
    "show": ("run", "run_parts"),
    "verification": ("verdict",),
}

__all__ = [
    "QUESTION",
    "Row",
    "audit",
    "comparison",
    "duration",
    "error",
    "findings",
    "findings_table",
    "imported",
    "ledger_doubts",
    "plan",
    "plan_facts",
    "power",
    "problems",
    "row",
    "run",
    "run_parts",
    "runs",
    "tally",
    "undertaking",
    "undertaking_list",
    "verdict",
]


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
