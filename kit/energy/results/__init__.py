"""Every number that kit reports, computed from raw records. Pure: verify computes them again.

The runner stores what `compute` returns; ``kit verify`` calls the same function on the sealed
files and compares. Floats are kept to 12 significant digits.

    windows    energy of blocks, and of prefill, decode and mixed stretches
    net        above the baselines, with drift
    requests   counts, latency, throughput, the texts' hash
    checks     cross-check of two views, steady state, what the power readings average
    split      joules per prefill and per decode token by difference of workloads
    doubts     readings that no device can have given, and views that contradict one another
    metrics    what a spec may name as primary, over launches
    notices    what a reader must know before believing a number
"""

from __future__ import annotations

from typing import Any

from kit.core.reason import plain
from kit.core.units import rounded
from kit.energy import Energy
from kit.energy.results import checks, doubts, requests, windows
from kit.energy.results.metrics import metrics
from kit.energy.results.net import nets
from kit.energy.results.notices import notices
from kit.energy.results.split import split
from kit.record.records import RunRecords

__all__ = ("FORMULAS", "SCHEMA", "compute")

SCHEMA = "kit.results/1"
FORMULAS = "5"


def compute(records: RunRecords, energy: Energy | None = None) -> dict[str, Any]:
    """Everything derived from a run, as the document ``results.json``.

    Args:
        energy: the run's, where it was made before: its curves are then computed once.
    """
    energy = energy or Energy(records.samples, records.plan.meters)
    launches = [
        _launch(records, energy, index) for index in sorted({p.launch for p in records.phases})
    ]
    doubted = doubts.of_run(records, energy)
    doubts.add_wall(launches)
    all_metrics = metrics(launches)
    found = {
        "schema": SCHEMA,
        "formulas": FORMULAS,
        "primary": {
            "metric": records.spec.primary_metric,
            **all_metrics[records.spec.primary_metric],
        },
        "launches": launches,
        "metrics": all_metrics,
        "split": split(records, energy, launches),
        "averaging": checks.averages(records, energy),
        **({"doubts": doubted} if doubted else {}),
        "notices": notices(records, energy, launches),
    }
    document: dict[str, Any] = rounded(plain(found))
    return document


def _launch(records: RunRecords, energy: Energy, index: int) -> dict[str, Any]:
    asked = requests.measured(records, index)
    good = [r for r in asked if r.status == "ok"]
    own = [p for p in records.phases if p.launch == index]
    block = next((p for p in own if p.name == "measured"), None)
    phases = windows.of_launch(records, energy, index)
    return {
        "launch": index,
        "phases": phases,
        "net": nets(phases),
        "cross_check": checks.cross_check(records, energy, block),
        "steady": checks.steady(records, energy, own),
        "requests": requests.counts(asked, good),
        "latency": requests.latency(records, index, good),
        "throughput": requests.throughput(block, good),
        "outputs_sha256": requests.outputs(records, index),
    }
