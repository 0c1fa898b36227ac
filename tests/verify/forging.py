"""What the tests of forgeries share."""

from __future__ import annotations

from kit.verify import Verdict


def failed(verdict: Verdict) -> set[str]:
    """The codes that failed; a verdict that fails says 4 and claims nothing."""
    assert not verdict.passed
    assert verdict.exit_code == 4
    assert verdict.claim.startswith("nothing")
    return {check.code for check in verdict.failures}
