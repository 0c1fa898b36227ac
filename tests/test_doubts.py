"""Doubtful readings from the sealed run to every verdict: results, verify, compare, report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio, limits
from kit.core.facts import QuantityFacts
from kit.core.model import MeterPlan
from kit.energy import results
from kit.energy.reason import Reason
from kit.energy.reasons import notices, sentence
from kit.energy.results import doubts
from kit.energy.results.document import (
    CrossCheck,
    Latencies,
    Latency,
    Launch,
    Percentiles,
    Phase,
    RequestCounts,
    Throughput,
)
from kit.energy.scopes import SCOPES
from kit.energy.value import EnergyValue
from kit.judge import compare
from kit.judge.verify import reads, verify
from kit.record import archive, records
from kit.record.records import RunRecords
from kit.show import report
from kit.show.report import plain
from tests import golden

GPU, CPU = "gpu_energy_per_output_token", "cpu_energy_per_output_token"
Row = list[str]
Edit = Callable[[Row], Row]


def between(seconds: tuple[float, float], quantity: str, raw: Callable[[int], int]) -> Edit:
    """Readings of one quantity between two times say something else."""

    def edit(row: Row) -> Row:
        inside = seconds[0] <= int(row[1]) * 1e-9 < seconds[1]
        return [*row[:7], str(raw(int(row[7])))] if row[5] == quantity and inside else row

    return edit


def spoilt(root: Path, file: str, edit: Edit) -> Path:
    """A golden run whose samples are garbage here and there, sealed like an honest one."""
    run = golden.copied(root)
    path = run / "samples" / file
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(",".join(edit(r.split(","))) for r in rows), ""]))
    golden.recompute(run)
    return golden.reseal(run)


# A board at 250 W whose cap nobody knows, and a package at 40 W.
EDITS: dict[str, tuple[str, Edit, str]] = {
    "power of 90 kW": ("nvml.csv", between((6, 12), "gpu_power_instant", lambda _: 9 * 10**7), ""),
    "a counter that jumps": (
        "nvml.csv",
        between((8.05, 99), "gpu_energy", lambda v: v + 10**9),
        GPU,
    ),
    "a glitch of the counter": (
        "nvml.csv",
        between((8.0, 8.1), "gpu_energy", lambda _: 10**15),
        GPU,
    ),
    "a counter in uJ": ("nvml.csv", between((0, 99), "gpu_energy", lambda v: 1000 * v), GPU),
    "a glitch of a package": ("rapl.csv", between((8, 8.1), "cpu_energy", lambda _: 7), CPU),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    sealed = golden.copied(tmp_path_factory.mktemp("honest") / "runs")
    return records.load(archive.open_source(sealed))


@pytest.mark.parametrize("case", EDITS)
@pytest.mark.slow
def test_a_doubt_is_in_results_verify_compare_and_report(
    case: str, honest: RunRecords, tmp_path: Path
) -> None:
    file, edit, metric = EDITS[case]
    run = spoilt(tmp_path / "runs", file, edit)
    loaded = records.load(archive.open_source(run))
    document: dict[str, Any] = results.to_document(results.compute(loaded))
    assert document == jsonio.read(run / "results.json")

    assert document["doubts"], case
    doubts = [n for n in notices(document["notices"], 2) if n.code == "READINGS_DOUBTED"]
    assert len(doubts) == len(document["doubts"])
    verdict = verify(run)
    # Live showed what the honest rows say, and the garbage is not that.
    assert {c.code for c in verdict.failures} <= {"LIVE_DIFFERS"}, verdict.failures
    (check,) = (c for c in verdict.checks if c.code == "READINGS_DOUBTED")
    assert (check.level, check.status) == ("L5", "WARN")
    computed = results.compute(loaded)
    assert "READINGS_DOUBTED" in plain.text(run.name, loaded, computed)
    assert "READINGS_DOUBTED" in report.html(run.name, loaded, computed)

    for a, b in ((honest, loaded), (loaded, honest), (loaded, loaded)):
        judged = compare.judge(
            a,
            results.compute(a),
            b,
            results.compute(b),
            same_card=True,
        )
        verdicts = {axis.metric: (axis.verdict, axis.reason) for axis in judged.axes}
        if metric:
            assert verdicts[metric][0] in ("INCONCLUSIVE", "NOT-COMPARABLE"), case
            assert "doubt" in verdicts[metric][1] or "unmeasured" in verdicts[metric][1]
        others = {GPU, CPU} - {metric}
        assert {verdicts[m][0] for m in others} == {"EQUIVALENT"}


def test_an_honest_run_says_that_its_readings_are_believable(
    honest: RunRecords, tmp_path: Path
) -> None:
    assert "doubts" not in results.to_document(results.compute(honest))
    run = golden.copied(tmp_path / "runs")
    (check,) = (c for c in verify(run).checks if c.code == "READINGS_DOUBTED")
    assert check.status == "PASS"


def test_a_number_in_doubt_says_so_beside_its_uncertainty(tmp_path: Path) -> None:
    file, edit, _ = EDITS["a glitch of the counter"]
    run = spoilt(tmp_path / "runs", file, edit)
    loaded = records.load(archive.open_source(run))
    run_results = results.compute(loaded)
    assert run_results.metrics[GPU].doubts
    assert "(readings in doubt)" in plain.text(run.name, loaded, run_results)


def test_a_lane_that_was_lost_is_why_its_scope_is_unmeasured(tmp_path: Path) -> None:
    run = golden.copied(tmp_path / "runs")
    path = run / "samples" / "rapl.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows[:30], ""]))
    lost = {"meter": "rapl", "message": "rapl failed: ZeroDivisionError: 0"}
    golden.rechain(run / "events.jsonl", lambda events: events.insert(1, _event(events[0], lost)))
    document = results.to_document(results.compute(records.load(archive.open_source(run))))
    reason = sentence(document["metrics"][CPU]["reason"])
    assert "the sampler said: rapl failed: ZeroDivisionError" in reason
    assert document["metrics"][GPU]["status"] == "measured"


def _event(before: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    return {"t": before["t"], "kind": "sampler.lost", "data": data}


ODD: list[object] = ["x", "Infinity", "nan", None, [], {}, True, False, -1, -0.0, 0, 2**53 - 1]
ODD += [1e-300, 1e-12, 1e-6, 1e-3, 1e4, 86_400, 1e18, 1e300, 1e308]
FACTS = ["limit_w", "period_s", "poll_s", "wrap", "scale", "gain", "resolution", "bridge_s"]


def forged(plan: dict[str, Any], fact: str, odd: object) -> None:
    for meter in plan["meters"]:
        for device in meter["devices"]:
            for facts in device["quantities"].values():
                facts[fact] = odd


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.slow
def test_a_forged_fact_is_no_traceback_and_no_warning(fact: str, honest: RunRecords) -> None:
    """Every odd value that the record takes, also those that the schema would refuse."""
    for odd in ODD:
        document = msgspec.to_builtins(honest.plan)
        forged(document, fact, odd)
        try:
            meters = msgspec.convert(document["meters"], tuple[MeterPlan, ...], strict=False)
        except msgspec.ValidationError:
            continue
        plan = msgspec.structs.replace(honest.plan, meters=meters)
        records_ = dataclasses.replace(honest, plan=plan)
        with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):
            results.to_document(results.compute(records_))
        assert reads.checks(records_, is_complete=True)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("odd", ["nan", None, 0, 1e-300, 1e-6, 86_400])
@pytest.mark.parametrize("fact", ["period_s", "poll_s"])
def test_a_sealed_run_with_a_forged_fact_fails(fact: str, odd: object, tmp_path: Path) -> None:
    run = golden.copied(tmp_path / "runs")
    golden.edit_json(run / "plan.json", lambda plan: forged(plan, fact, odd))
    verdict = verify(golden.reseal(run))
    assert not verdict.passed


@pytest.mark.parametrize(
    "odd", ["x", [], {}, True, -1, 1e300, math.inf, -math.inf, math.nan, 86_401]
)
def test_a_period_that_no_meter_has_is_refused(odd: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"period_s": odd}, QuantityFacts, strict=False)


@pytest.mark.parametrize("odd", [None, 0.0, 1e-300, 1e-7])
def test_a_period_that_is_none_is_read_as_absent(odd: float | None) -> None:
    assert limits.seconds_or(odd, 0.1) == 0.1
    assert limits.seconds_or(2.0, 0.1) == 2.0


# --- the wall against its parts ---------------------------------------------------------------


def launch(wall_j: float, ratio: float | None) -> Launch:
    """A measured block in which GPUs drew 5 kJ; ``ratio``: of power readings to the counter."""

    joules = {"gpu": 5000.0, "wall": wall_j}
    energies = {
        scope: EnergyValue(
            scope=scope, status="measured", joules=joules[scope], u_reading=1.0, u_sensor=50.0
        )
        if scope in joules
        else EnergyValue(scope=scope, status="unmeasured", reason=Reason("no_meter"))
        for scope in SCOPES
    }
    block = Phase(
        name="measured", part=None, pieces=1, t0=0, t1=10**9, duration_s=1.0, energy=energies
    )
    check = CrossCheck(status="unmeasured" if ratio is None else "measured", ratio=ratio)
    none = Percentiles(n=0, unit="s")
    latencies = Latencies(ttft=none, tpot=none, e2e=none)
    return Launch(
        index=0,
        phases=(block,),
        net={},
        counts=RequestCounts(
            issued=0, completed=0, failed=0, prompt_tokens=None, output_tokens=None
        ),
        latency=Latency(sent=latencies, intended=latencies, itl=none),
        throughput=Throughput(),
        outputs_sha256=None,
        cross_check={"gpu0": check},
    )


@pytest.mark.parametrize(
    ("wall_j", "ratio", "doubted"),
    [
        (6000.0, 1.0, set()),
        (2000.0, 1.001, {"wall"}),  # two views of the GPU agree: the wall lacks an outlet
        (2000.0, 1.3, {"wall", "gpu"}),
        (2000.0, None, {"wall", "gpu"}),
    ],
)
def test_where_the_wall_shows_less_than_its_parts_what_nothing_confirms_is_doubted(
    wall_j: float, ratio: float | None, doubted: set[str]
) -> None:
    (block,) = doubts.of_wall(launch(wall_j, ratio)).phases
    assert {scope for scope, e in block.energy.items() if e.doubts} == doubted
