"""A mean over launches is said in the same words on every face."""

from __future__ import annotations

import dataclasses
import math
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from rich.console import Console, Group

from kit.energy import results
from kit.energy.reason import Reason
from kit.energy.results.document import Metric, Results
from kit.energy.results.older import readable
from kit.judge import compare
from kit.judge.contrast import Contrast, Side
from kit.record import archive, records
from kit.record.records import RunRecords
from kit.show import report
from kit.show.mean import HEADING, LEGEND, interval, mean, pieces, short
from kit.show.render.console import THEME
from kit.show.render.show import run_parts
from kit.show.render.verdicts import comparison_view
from kit.show.runlist import row
from kit.tui.comparison import metrics
from tests import golden

NAME = "ab" * 32
THREE = Metric(
    status="measured", unit="J", value=2.4164, n=3, se=0.0345, sd=0.0598,
    ci95=(2.268, 2.565), u_reading=0.000029, u_sensor=0.0898, launches=(2.35, 2.43, 2.47),
)  # fmt: skip
ONE = structs.replace(THREE, n=1, se=None, sd=None, ci95=None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "2.416 J ± 0.035 (3 launches) ± 0.090 (sensor)"),
        ({"se": 0.5}, "2.42 J ± 0.50 (3 launches) ± 0.090 (sensor)"),  # by the larger
        ({"u_sensor": 0.5}, "2.42 J ± 0.035 (3 launches) ± 0.50 (sensor)"),
        ({"se": 0.0, "u_sensor": 0.0}, "2.416 J ± 0 (3 launches) ± 0 (sensor)"),
        ({"status": "estimated"}, "2.416 J estimated ± 0.035 (3 launches) ± 0.090 (model)"),
        ({"value": 0.02416, "se": 0.000345, "u_sensor": 0.0009},
         "24.16 mJ ± 0.34 (3 launches) ± 0.90 (sensor)"),
        ({"doubts": (Reason("no_block"),)},
         "2.416 J ± 0.035 (3 launches) ± 0.090 (sensor) (readings in doubt)"),
        ({"unit": "s", "value": 0.0234, "se": 0.0003, "u_sensor": None},
         "23.40 ms ± 0.30 (3 launches)"),
        ({"unit": "tokens/s", "value": 3388.0, "se": 21.0, "u_sensor": None},
         "3,388 tokens/s ± 21 (3 launches)"),
    ],
)  # fmt: skip
def test_a_mean(change: dict[str, Any], sentence: str) -> None:
    assert mean(structs.replace(THREE, **change)) == sentence


def test_one_launch_has_no_standard_error_and_says_so() -> None:
    assert mean(ONE) == "2.416 J (one launch) ± 0.090 (sensor)"
    assert short(ONE) == "2.416 ± – ± 0.090"
    assert interval(ONE) == "–"


def test_in_short_and_in_pieces() -> None:
    assert short(THREE) == "2.416 ± 0.035 ± 0.090"
    words = pieces(THREE)
    assert words and words.spread == "± 0.035 (3 launches) ± 0.090 (sensor)"
    assert interval(THREE) == "95% [2.268, 2.565] J"
    none = Metric(status="unmeasured", unit="J", launches=(None,), reason=Reason("said", said="x"))
    assert mean(none) == "unmeasured: x" and pieces(none) is None


def test_reading_noise_is_never_said_of_a_mean() -> None:
    assert mean(THREE) == mean(structs.replace(THREE, u_reading=77.0))


# --- every face -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    sealed = golden.copied(tmp_path_factory.mktemp("mean") / "runs")
    return records.load(archive.open_source(sealed))


@pytest.fixture(scope="module")
def run_results(run: RunRecords) -> Results:
    """Results whose launches differ by much more than their reading noise."""
    asked = {0: tuple(structs.replace(r, output_tokens=7) for r in run.requests[0])}
    return results.compute(dataclasses.replace(run, requests={**run.requests, **asked}))


def metrics_of(document: Any) -> str:
    """The table of metrics of a run, as it is drawn."""
    parts = run_parts(NAME, {}, {}, document, 120).results
    return next(text for part in parts if "GPU energy" in (text := drawn(part)))


def drawn(what: Any, width: int = 160) -> str:
    out = StringIO()
    Console(file=out, width=width, theme=THEME).print(what)
    return " ".join(out.getvalue().split())


def test_the_standard_error_is_over_launches(run_results: Results) -> None:
    metric = run_results.metrics["gpu_energy_per_output_token"]
    assert metric.se == pytest.approx(metric.sd / math.sqrt(metric.n))
    assert metric.se > 5 * metric.u_reading  # the two are not to be taken for one another


def test_every_face_says_the_same(run: RunRecords, run_results: Results) -> None:
    metric = run_results.metrics["gpu_energy_per_output_token"]
    sentence = mean(metric)
    document = results.to_document(run_results)
    shown = run_parts(NAME, {}, {}, document, 160)
    table = drawn(Group(*shown.results))
    text = " ".join(report.text(NAME, run, run_results).split())
    page = report.html(NAME, run, run_results)
    judged = compare.judge(run, run_results, run, run_results, same_card=True)
    verdicts = drawn(comparison_view(judged), 240)
    home = row(NAME, {}, {}, document).stated
    for face in (table, text, verdicts, home):
        assert sentence in face
    words = pieces(metric)
    spread = words.spread if words else ""
    assert spread in page and LEGEND in page
    for face in (table, text, verdicts):
        assert " ".join(LEGEND.split()) in face
    assert HEADING in table
    side = Side(Path("a"), "A", run, run_results)
    lines = metrics(Contrast((side, side), side, {"A": judged}))
    line = next(x for x in lines if x.axis and x.axis.metric == "gpu_energy_per_output_token")
    assert line.cells["baseline"].plain == short(metric) == line.cells["run"].plain
    for face in (table, text, page, verdicts):
        assert "(repeat)" not in face and "± repeat" not in face


def test_one_launch_says_so_on_every_face(run: RunRecords, run_results: Results) -> None:
    one = {"n": 1, "interval": "none: one launch", "se": None, "sd": None, "ci95": None}
    metrics = {
        name: structs.replace(metric, **one) if metric.value is not None else metric
        for name, metric in run_results.metrics.items()
    }
    alone = structs.replace(run_results, metrics=metrics)
    sentence = mean(alone.metrics["gpu_energy_per_output_token"])
    document = results.to_document(alone)
    assert "(one launch)" in sentence
    text = " ".join(report.text(NAME, run, alone).split())
    for face in (drawn(Group(*run_parts(NAME, {}, {}, document, 160).results)), text):
        assert sentence in face
    assert "(one launch)" in report.html(NAME, run, alone)


# --- older formulas ---------------------------------------------------------------------------


def as_of_formulas_3(value: Any) -> Any:
    if isinstance(value, dict):
        renamed = {"u_reading": "u_repeat"}
        return {renamed.get(k, k): as_of_formulas_3(v) for k, v in value.items() if k != "se"}
    return [as_of_formulas_3(v) for v in value] if isinstance(value, list) else value


def test_results_of_older_formulas_read_the_same(run_results: Results) -> None:
    document = results.to_document(run_results)
    older = as_of_formulas_3(document) | {"formulas": "3"}
    again = results.from_document(older)
    for name, metric in run_results.metrics.items():
        assert mean(again.metrics[name]) == mean(metric)
    assert metrics_of(older) == metrics_of(document)
    assert row(NAME, {}, {}, older).stated == row(NAME, {}, {}, document).stated


@pytest.mark.parametrize("broken", [{}, {"metrics": []}, {"metrics": {"x": 3}, "primary": "y"}])
def test_malformed_results_stay_as_they_are(broken: dict[str, Any]) -> None:
    assert readable(broken) == broken
