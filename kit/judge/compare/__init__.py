"""Two runs side by side: what differs, ratios with intervals, and a verdict for each axis. Pure.

The margin is the one that the *original* registered in its spec. Energy and latency are judged by
two one-sided tests (TOST) on log values of launches: equivalent when the 90% interval of the
ratio lies inside the margin, different when it lies wholly outside, inconclusive otherwise.

- `judge`: the verdict of a replay, axis by axis.
- `runs`: any number of runs in one table, with the ratio of each to the first.
- `ranked`: what differs, by how much it may explain; confounders first.
- `environments`, `specs`: where two fingerprints, or two specs, differ.
"""

from __future__ import annotations

from kit.judge.compare.confounders import Meaning, Ranked, ranked
from kit.judge.compare.equivalence import GOOD, Axis, Comparison, Equivalence, judge
from kit.judge.compare.likeness import (
    Identity,
    Likeness,
    environments,
    image_identity,
    likeness,
    specs,
)
from kit.judge.compare.table import Cell, Row, runs

__all__ = [
    "GOOD",
    "Axis",
    "Cell",
    "Comparison",
    "Equivalence",
    "Identity",
    "Likeness",
    "Meaning",
    "Ranked",
    "Row",
    "environments",
    "image_identity",
    "judge",
    "likeness",
    "ranked",
    "runs",
    "specs",
]
