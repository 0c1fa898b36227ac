"""Differences that follow from kit's own rules: what another version of kit did by other rules.

Preflight's findings, the container's arguments and the requests of a schedule follow from a spec by
rules that may change with every version. A run of this version must follow from them. Of a run
sealed by another version nothing is known but that it may differ: its difference is a warning that
says so. A forger may write another version, and buys no more than that warning with it: every file
must then name that version, and what does not depend on kit's rules is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from kit import __version__
from kit.core.model import Plan
from kit.judge.verify.verdict import Check, check, judged


def ruled_by(plan: Plan, code: str, problems: Iterable[str], fine: str) -> Check:
    """FAIL with what this kit's rules show of a run of this version, WARN of another version's."""
    found = list(problems)
    if not found or plan.kit_version == __version__:
        return judged(code, found, fine)
    by = f"sealed by kit {plan.kit_version[:20]!a}; this kit {__version__} may have other rules"
    return check(code, "WARN", f"{by}: {'; '.join(found[:3])}")
