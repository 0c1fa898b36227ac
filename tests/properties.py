"""How often a property is tried: the same examples everywhere, few of them, or many new ones.

``make test`` draws each test's examples from the test itself, so that main is red only by what
changed; ``make test-fast`` tries a tenth of them. ``make explore`` draws new ones, twenty times as
many; what it finds becomes a test. Hypothesis' deadline is off: it measures how busy a machine is.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

_EXPLORED, _QUICK = 20, 10
_USUAL = 100

settings.register_profile("usual", max_examples=_USUAL, deadline=None, derandomize=True)
settings.register_profile("quick", max_examples=_USUAL // _QUICK, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=_USUAL * _EXPLORED, deadline=None)
settings.load_profile("usual")


def examples(usual: int, **how: Any) -> settings:
    """The settings of a test that tries ``usual`` examples; more or fewer by the profile."""
    asked = max(1, usual * settings.default.max_examples // _USUAL)
    return settings(max_examples=asked, **how)
