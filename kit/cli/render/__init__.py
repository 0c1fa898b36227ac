"""How the command line shows things: every function prints one thing.

Data goes to stdout, talk to stderr (see `kit.cli.render.console`). Nothing here computes: it
lays out what the rooms below have found. Strings may come from a stranger's archive, so that
each passes through `console.plain` before it is drawn.
"""

from __future__ import annotations

from kit.cli.render.before import error, findings, plan, privileges, problems
from kit.cli.render.imported import imported
from kit.cli.render.live_power import power
from kit.cli.render.rows import Row, row, runs
from kit.cli.render.show import run
from kit.cli.render.verdicts import comparison
from kit.cli.render.verification import verdict

__all__ = [
    "Row",
    "comparison",
    "error",
    "findings",
    "imported",
    "plan",
    "power",
    "privileges",
    "problems",
    "row",
    "run",
    "runs",
    "verdict",
]
