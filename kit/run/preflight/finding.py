"""Short constructors, so that a rule reads as what it says."""

from __future__ import annotations

from kit.core.model import Finding


def ok(code: str, message: str) -> Finding:
    """All is well with this aspect."""
    return Finding(code=code, level="ok", message=message)


def warn(code: str, message: str, remedy: str) -> Finding:
    """The run may go on; the doubt goes into the archive."""
    return Finding(code=code, level="warn", message=message, remedy=remedy)


def fail(code: str, message: str, remedy: str) -> Finding:
    """The run may not begin."""
    return Finding(code=code, level="fail", message=message, remedy=remedy)
