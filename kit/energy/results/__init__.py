"""Every number that kit reports, computed from raw records. Pure: verify computes them again.

The runner stores what `compute` returns; ``kit verify`` calls the same function on the sealed
files and compares. Floats are kept to 12 significant digits.

    document   the records of what is found
    form       the document results.json from them, and back
    older      documents of older formulas in today's terms
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

from kit.energy import Energy
from kit.energy.results import checks, doubts, requests, windows
from kit.energy.results.document import Launch, Results
from kit.energy.results.form import from_document, rounded, to_document
from kit.energy.results.metrics import metrics, outputs
from kit.energy.results.net import nets
from kit.energy.results.notices import notices
from kit.energy.results.split import split
from kit.record.records import RunRecords

__all__ = ("FORMULAS", "SCHEMA", "Results", "compute", "from_document", "to_document")

SCHEMA = "kit.results/1"
FORMULAS = "5"


def compute(records: RunRecords, energy: Energy | None = None) -> Results:
    """Everything derived from a run.

    Args:
        energy: the run's, where it was made before: its curves are then computed once.

    Raises:
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError: the records hold what
            no run of kit writes.
    """
    energy = energy or Energy(records.samples, records.plan.meters)
    numbers = sorted({p.launch for p in records.phases})
    launches = [doubts.of_wall(_launch(records, energy, index)) for index in numbers]
    results = Results(
        schema=SCHEMA,
        formulas=FORMULAS,
        primary=records.spec.primary_metric,
        launches=tuple(launches),
        outputs=outputs(launches),
        metrics=metrics(launches, records.makes),
        split=split(records, energy, launches),
        averaging=checks.averages(records, energy),
        doubts=doubts.of_run(records, energy),
        notices=notices(records, energy, launches),
    )
    if results.primary not in results.all_metrics:
        raise LookupError(f"there is no metric {results.primary!a}")
    return rounded(results)


def _launch(records: RunRecords, energy: Energy, index: int) -> Launch:
    asked = requests.measured(records, index)
    good = [r for r in asked if r.status == "ok"]
    own = [p for p in records.phases if p.launch == index]
    block = next((p for p in own if p.name == "measured"), None)
    phases = windows.of_launch(records, energy, index)
    return Launch(
        index=index,
        phases=phases,
        net=nets(phases),
        cross_check=checks.cross_check(records, energy, block),
        steady=checks.steady(records, energy, own),
        counts=requests.counts(asked, good),
        latency=requests.latency(records, index, good),
        throughput=requests.throughput(block, good, records.makes),
        outputs_sha256=requests.outputs(records, index),
    )
