"""The verdict on one metric, and its sentence."""

from __future__ import annotations

from typing import Literal

from kit.core.model import Record
from kit.energy import names
from kit.energy.results.document import Mean, Metric

Equivalence = Literal[
    "REPRODUCED", "EQUIVALENT", "DIFFERENT", "INCONCLUSIVE", "NOT-COMPARABLE", "FAILED"
]
GOOD: frozenset[str] = frozenset({"REPRODUCED", "EQUIVALENT"})


def side_of(metric: Metric | None) -> Mean | None:
    """A metric's mean with its uncertainty, as an axis keeps it; None without a number."""
    if metric is None or metric.value is None:
        return None
    return Mean(**{name: getattr(metric, name) for name in Mean.__struct_fields__})


class Axis(Record, frozen=True, kw_only=True):
    """The verdict on one metric.

    ``ratio`` is new over original, ``ci90`` its interval, ``margin`` the allowed half-width.
    ``u_gain`` is the relative standard uncertainty that the sensors of two machines add to the
    interval. ``launches_needed`` is how many launches a side would settle an inconclusive one.
    ``original`` and ``new`` are the two means, as in results.json; None without a number.
    """

    metric: str
    verdict: Equivalence
    reason: str
    ratio: float | None = None
    ci90: tuple[float, float] | None = None
    margin: float | None = None
    estimated: bool = False
    u_gain: float | None = None
    launches_needed: int | None = None
    original: Mean | None = None
    new: Mean | None = None

    def line(self) -> str:
        """``GPU energy per output token ×1.021 [0.998, 1.044], margin ±10% → EQUIVALENT``."""
        parts = " ".join(part for part in (names.metric(self.metric), self.number()) if part)
        tail = f" ({self.reason})" if self.reason else ""
        return f"{parts} → {self.verdict}{tail}"

    def number(self) -> str:
        """``×1.021 [0.998, 1.044], margin ±10%``."""
        parts = [] if self.ratio is None else [f"×{self.ratio:.3f}"]
        if self.ci90 is not None:
            parts.append(f"[{self.ci90[0]:.3f}, {self.ci90[1]:.3f}]")
        margin = "" if self.margin is None else f", margin ±{self.margin:.0%}"
        return " ".join(parts) + margin
