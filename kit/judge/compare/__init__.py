"""Two runs compared: differences, ratios with intervals, and a verdict for each metric. Pure.

The margin is the one that the *original* registered in its spec. Energy and latency are judged by
two one-sided tests (TOST) on log values of launches: equivalent if the 90% interval of the ratio
lies inside the margin, different if it lies wholly outside, inconclusive otherwise.

- `judge`: the verdict of a replay on each axis: a metric, or the texts.
- `runs`: any number of runs in one table, with the ratio of each to the first.
- `ranked`: all differences, those first that may explain most (confounders).
- `environments`, `specs`: the differences of two fingerprints, or of two specs.
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
from kit.judge.compare.work import Point, Work

__all__ = [
    "GOOD",
    "Axis",
    "Cell",
    "Comparison",
    "Equivalence",
    "Identity",
    "Likeness",
    "Meaning",
    "Point",
    "Ranked",
    "Row",
    "Work",
    "environments",
    "image_identity",
    "judge",
    "likeness",
    "ranked",
    "runs",
    "specs",
]
