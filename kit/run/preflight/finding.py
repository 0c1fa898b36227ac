"""Short constructors of findings, which keep rules readable."""

from __future__ import annotations

from kit.core.model import Finding


def ok(code: str, message: str) -> Finding:
    """All is well with this aspect."""
    return Finding(code=code, level="ok", message=message)


def warn(code: str, message: str, remedy: str) -> Finding:
    """The run may begin; the doubt is sealed with it."""
    return Finding(code=code, level="warn", message=message, remedy=remedy)


def fail(code: str, message: str, remedy: str) -> Finding:
    """The run may not begin."""
    return Finding(code=code, level="fail", message=message, remedy=remedy)
