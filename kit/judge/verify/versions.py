"""Differences in what follows from kit's own rules, which another version may have changed.

Preflight's findings, the container's arguments and the requests of a schedule follow from a spec by
rules that may change with every version. A run of this version must obey them. A run of another
version may differ: the difference is a warning. A forger who writes another version gains no more
than that warning: every file must then name that version, and checks that do not depend on kit's
rules still apply.
"""

from __future__ import annotations

from collections.abc import Iterable

from kit import __version__
from kit.core.model import Plan
from kit.judge.verify.verdict import Check, check, judged


def ruled_by(plan: Plan, code: str, problems: Iterable[str], fine: str) -> Check:
    """FAIL with the problems of a run of this version, WARN with those of another version's."""
    differences = list(problems)
    if not differences or plan.kit_version == __version__:
        return judged(code, differences, fine)
    by = f"sealed by kit {plan.kit_version[:20]!a}; this kit {__version__} may have other rules"
    return check(code, "WARN", f"{by}: {'; '.join(differences[:3])}")
