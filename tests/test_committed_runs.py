"""The runs that are committed verify with this kit: a formula that changes must say so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kit.core import jsonio
from kit.energy import results
from kit.judge.replay import judge
from kit.judge.verify import verify
from kit.record import archive, records
from kit.show import report
from kit.store import seal
from kit.store.store import Store
from tests.committed import ALL


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_a_committed_run_verifies(run: Path) -> None:
    verdict = verify(run)
    assert verdict.passed, [f"{c.code}: {c.message}" for c in verdict.failures]


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
@pytest.mark.slow
def test_a_committed_run_is_drawn(run: Path) -> None:
    loaded = records.load(archive.open_source(run))
    page = report.html(run.name, loaded, results.compute(loaded))
    assert loaded.spec.name in page


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_a_committed_run_of_older_formulas_is_recomputed(run: Path, tmp_path: Path) -> None:
    """By formulas 5 the numbers of formulas 4 stay; no reason is a sentence any more."""
    before = jsonio.read(run / "results.json")
    if before["formulas"] == results.FORMULAS:
        pytest.skip("it is of today's formulas")
    copy = Path(shutil.copytree(run, tmp_path / "runs" / run.name))
    new = seal.recompute(copy, Store(tmp_path / "runs"))
    after = jsonio.read(new / "results.json")
    assert after["formulas"] == results.FORMULAS
    assert [c for c in verify(new).checks if "FORMULAS" in c.code or c.status == "FAIL"] == []
    for name, metric in before["metrics"].items():
        old_fields = {k: v for k, v in metric.items() if k not in ("reason", "doubts")}
        assert old_fields.items() <= after["metrics"][name].items(), name
    unmeasured = [m for m in after["metrics"].values() if m["status"] == "unmeasured"]
    assert unmeasured and all(m["reason"]["code"] for m in unmeasured)


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.name[:12])
def test_no_committed_run_names_its_machine(run: Path) -> None:
    for path in run.rglob("*.json*"):
        if "private" not in path.parts:
            assert not re.search(rb'"/(root|home|work|tmp)/', path.read_bytes()), path


# --- runs of several runtimes on real H100s and H200s ------------------------------------------

KEPT = Path(__file__).parents[1] / "benchmarks/results"
H100, ON_H200 = KEPT / "h100-runtimes", KEPT / "h200-runtimes"
ON_GPUS = sorted(KEPT.glob("*-runtimes/*.kit"))
EQUAL = [
    (H100, "llama-server-1", "vllm-1"),
    (H100, "llama-server-16", "vllm-16"),
    (ON_H200, "llama-server-1", "onnxruntime-genai-1"),
    (ON_H200, "llama-server-1", "vllm-1"),
]


@pytest.mark.parametrize("run", ON_GPUS, ids=lambda p: f"{p.parent.name[:4]} {p.stem}")
def test_a_run_on_a_gpu_verifies_and_the_table_has_its_numbers(run: Path) -> None:
    verdict = verify(run)
    assert verdict.passed, [f"{c.code}: {c.message}" for c in verdict.failures]
    metrics = results.compute(records.read(run)).metrics
    kind = "image" if "gpu_energy_per_image" in metrics else "output_token"
    joules = metrics[f"gpu_energy_per_{kind}"].value
    page = run.parent.with_suffix(".md").read_text("utf-8")
    assert joules is not None
    told = [float(number) for number in re.findall(r"\| (\d+\.\d+) ±", page)]
    assert min(abs(number / joules - 1) for number in told) < 0.005, joules


@pytest.mark.parametrize("run", sorted(ON_H200.glob("*.kit")), ids=lambda run: run.stem)
def test_its_row_has_its_pace_and_how_long_each_launch_took_to_start(run: Path) -> None:
    found = results.compute(records.read(run))
    images = "image_throughput" in found.metrics
    joules = found.metrics[f"gpu_energy_per_{'image' if images else 'output_token'}"].value
    pace = found.metrics[f"{'image' if images else 'output'}_throughput"].value
    starts = [p.duration_s for n in found.launches for p in n.phases if p.name == "startup"]
    assert joules is not None and pace is not None
    page = ON_H200.with_suffix(".md").read_text("utf-8")
    cells = r"\| (\d+\.\d+) ±[^|]*\|(?: [\d.]+ ± [\d.]+ \|)? ([\d.]+)[^|]*\|[^|]*\| (.*) \|"
    rows = re.findall(cells, page)
    (row,) = [row for row in rows if abs(float(row[0]) / joules - 1) < 0.005]
    assert abs(float(row[1]) / pace - 1) < 0.005
    assert row[2] == " and ".join(f"{seconds:.0f}" for seconds in starts)


def test_a_run_there_whose_gpu_was_idle_failed_for_that() -> None:
    run = ON_H200 / "failed" / "idle-gpu.kit"
    assert verify(run).passed
    (end,) = [e.data for e in records.read(run).events if e.kind == "run.end"]
    assert end["status"] == "failed" and "does not use gpu0" in end["reason"]


@pytest.mark.parametrize(("kept", "original", "new"), EQUAL)
def test_two_runtimes_did_the_same_work_there(kept: Path, original: str, new: str) -> None:
    judged = judge(kept / f"{original}.kit", kept / f"{new}.kit", ["runtime", "weights", "image"])
    assert judged.work is not None and judged.work.same == "same", judged.work
