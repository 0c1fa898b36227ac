"""Results by older formulas: how far this kit's formulas confirm them.

The code of older formulas is not kept. Compared are only the values that people quote: each
metric's mean and its value in each launch. A value that new formulas changed may differ by the
uncertainty that *this* kit computes (the stored one could be forged wide), and no more. The rest
of such a results.json (phases, uncertainties, notices) is not recomputed; the message says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from kit.energy import results
from kit.judge.verify.verdict import Check, check

RELATIVE = 1e-9
_COVERAGE = 2.0  # of the standard uncertainties of sensor and scatter, together about 95%


class Pair(NamedTuple):
    """A quoted value: its place, the stored and the computed value, and the allowed difference."""

    where: str
    stored: Any
    computed: Any
    within: float

    @property
    def equal(self) -> bool:
        """Whether formulas did not change it."""
        if _is_number(self.stored) and _is_number(self.computed):
            return math.isclose(self.stored, self.computed, rel_tol=RELATIVE)
        return type(self.stored) is type(self.computed) and bool(self.stored == self.computed)

    @property
    def near(self) -> bool:
        """Whether the difference lies within the uncertainty that this kit computes."""
        if self.equal:
            return True
        if not (_is_number(self.stored) and _is_number(self.computed)):
            return False
        return bool(abs(self.stored - self.computed) <= self.within)


def is_former(stored: object) -> bool:
    """Whether a results document is by formulas before this kit's, as kit writes their number.

    ``04`` is none: it would spare a document of formulas 4 that all of it is computed again.
    """
    formulas = stored.get("formulas") if isinstance(stored, dict) else None
    return formulas in [str(number) for number in range(int(results.FORMULAS))]


def judge(stored: dict[str, Any], computed: dict[str, Any]) -> Check:
    """FAIL if a quoted value is not confirmed; else WARN with what was not recomputed."""
    pairs = list(_pairs(stored, computed))
    far = [p for p in pairs if not p.near]
    if far or not pairs:
        shown = "; ".join(_moved(p) for p in far[:3]) or "it quotes no metric"
        return check("RESULTS_DIFFER", "FAIL", f"by formulas {stored['formulas']}: {shown}")
    moved = [p for p in pairs if not p.equal]
    shown = f", {len(moved)} within its uncertainty ({_moved(moved[0])})" if moved else ""
    return check(
        "FORMULAS_FORMER",
        "WARN",
        f"by formulas {stored['formulas']}, this kit computes by {results.FORMULAS}: of "
        f"{len(pairs)} values of metrics {len(pairs) - len(moved)} are equal{shown}; phases, "
        "uncertainties and notices were not recomputed (`kit recompute` renews them)",
    )


def _pairs(stored: dict[str, Any], computed: dict[str, Any]) -> Iterator[Pair]:
    """Every metric's mean and launch values; metrics that only the computed one has are left out.

    No value may be quoted without being compared: a stored value of a metric that this kit does
    not compute is paired with None, and so fails. The primary metric is always paired.
    """
    old, new = stored.get("metrics"), computed["metrics"]
    if not isinstance(old, dict):
        return
    for name in sorted(old.keys() & new.keys()):
        yield from _of_metric(f"metrics.{name}", old[name], new[name])
    primary = stored.get("primary")
    yield from _of_metric("primary", primary, computed["primary"])
    for name in sorted(old.keys() - new.keys()):
        if isinstance(old[name], dict) and old[name].get("value") is not None:
            yield Pair(f"metrics.{name}", old[name]["value"], None, 0.0)


def _of_metric(where: str, old: Any, new: dict[str, Any]) -> Iterator[Pair]:
    if not isinstance(old, dict):
        yield Pair(where, old, new, 0.0)
        return
    for key in ("metric", "status", "unit"):
        yield Pair(f"{where}.{key}", old.get(key), new.get(key), 0.0)
    within = _within(new)
    yield Pair(f"{where}.value", old.get("value"), new.get("value"), within)
    old_launches, new_launches = old.get("launches", []), new.get("launches", [])
    if not isinstance(old_launches, list) or len(old_launches) != len(new_launches):
        yield Pair(f"{where}.launches", old_launches, new_launches, 0.0)
        return
    for index, (a, b) in enumerate(zip(old_launches, new_launches, strict=True)):
        yield Pair(f"{where}.launches[{index}]", a, b, within)


def _within(metric: dict[str, Any]) -> float:
    """The allowed change of ``metric``, in its unit: its uncertainty by present formulas."""
    terms = [float(metric[k]) for k in ("u_sensor", "sd") if _is_number(metric.get(k))]
    return _COVERAGE * math.hypot(*terms) if "u_sensor" in metric else 0.0


def _moved(pair: Pair) -> str:
    return f"{pair.where} is {_text(pair.stored)}, now {_text(pair.computed)}"


def _text(value: Any) -> str:
    return ascii(value)[:40] if isinstance(value, str | int | float | None) else "something else"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
