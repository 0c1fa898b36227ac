"""The report as text and as CSV: 80 columns, tidy rows, the numbers of the run and no others."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.cli import look
from kit.core.errors import UsageError
from kit.energy import results
from kit.energy.names import SCOPES
from kit.energy.results.document import NetEnergy, NoticeRecord, Results
from kit.judge import compare
from kit.record import archive, records
from kit.record.records import RunRecords
from kit.show import report, rounding
from tests import golden
from tests.report.made import full

NAME = "a" * 64
HOSTILE = "=HYPERLINK(1)\x1b[31m\n\u202e<b>"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.copied(tmp_path_factory.mktemp("forms") / "runs")


@pytest.fixture(scope="module")
def run(sealed: Path) -> RunRecords:
    return records.load(archive.open_source(sealed))


@pytest.fixture(scope="module")
def run_results(run: RunRecords) -> Results:
    return results.compute(run)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- CSV ------------------------------------------------------------------------------------


def test_a_row_for_each_launch_phase_and_scope(run_results: Results) -> None:
    phases = rows(report.phases(run_results))
    keys = [(r["launch"], r["phase"], r["part"], r["scope"]) for r in phases]
    assert len(set(keys)) == len(keys) == 2 * 10 * len(SCOPES)
    idle = next(r for r in phases if r["phase"] == "idle" and r["scope"] == "gpu")
    assert float(idle["joules"]) == pytest.approx(golden.GPU_MW / 1000 * 2, rel=1e-3)
    assert float(idle["duration_s"]) == 2.0
    assert idle["status"] == "measured" and idle["reason"] == "" and idle["method"]
    assert float(idle["u_sensor_j"]) > 0 and float(idle["u_reading_j"]) > 0


def test_what_has_no_number_has_an_empty_cell_and_a_reason(run_results: Results) -> None:
    for row in rows(report.phases(run_results)):
        assert (row["joules"] == "") == (row["status"] == "unmeasured") == bool(row["reason"])
    lacking = [r for r in rows(report.metrics(run_results)) if r["status"] == "unmeasured"]
    assert lacking
    assert all(r["value"] == "" and r["reason"] for r in lacking)


def test_metrics_hold_the_mean_and_each_launch(run_results: Results) -> None:
    lines = [
        r for r in rows(report.metrics(run_results)) if r["metric"] == "gpu_energy_per_output_token"
    ]
    metric = run_results.metrics["gpu_energy_per_output_token"]
    assert [r["launch"] for r in lines] == ["", "0", "1"]
    assert float(lines[0]["value"]) == metric.value
    assert tuple(float(lines[0][f"ci95_{end}"]) for end in ("low", "high")) == metric.ci95
    for name in ("se", "u_reading", "u_sensor", "n"):
        assert float(lines[0][name]) == getattr(metric, name)
    assert [float(r["value"]) for r in lines[1:]] == metric.values


def test_metrics_hold_nets_checks_and_the_split(run_results: Results) -> None:
    by_metric = {(r["metric"], r["launch"]): r for r in rows(report.metrics(full(run_results)))}
    net = run_results.launches[1].net["gpu"]["above_loaded_idle"]
    assert float(by_metric["gpu_energy_above_loaded_idle", "1"]["value"]) == net.joules
    drift = by_metric["gpu_above_loaded_idle_drift_w", "1"]
    assert float(drift["value"]) == net.drift_w and drift["unit"] == "W"
    assert float(drift["u_reading"]) == net.u_drift_w
    assert by_metric["cross_check_gpu0", "0"]["value"] == "1.0034"
    assert by_metric["gpu_decode_j_per_token", ""]["se"] == "0.0041"


def test_a_cell_is_no_formula_and_one_line(run_results: Results) -> None:
    evil = results.to_document(run_results)
    energy = evil["launches"][0]["phases"][0]["energy"]
    energy["wall"] = {"status": "unmeasured", "reason": HOSTILE}
    text = report.phases(results.from_document(evil))
    assert "'=HYPERLINK(1) <b>" in text
    assert "\x1b" not in text and "\u202e" not in text
    assert len(text.splitlines()) == 1 + 2 * 10 * len(SCOPES)


# --- text -----------------------------------------------------------------------------------


def test_the_text_fits_80_columns_and_holds_the_numbers(
    run: RunRecords, run_results: Results
) -> None:
    text = report.text(NAME, run, full(run_results))
    assert max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.split())
    gross = run_results.launches[0].phases[4].energy["gpu"]
    assert f"gross: {rounding.in_line(gross)}" in joined
    assert "± " in rounding.in_line(gross) and "(sensor)" in rounding.in_line(gross)
    for sentence in (
        "energy, wall outlets: unmeasured: the spec asks for no meter of it",
        "the sensor's gain",
        "prefill 4.12 ± 0.32 mJ ± 0.12 (sensor), decode 0.2153 ± 0.0041 J ± 0.0062 (sensor), by "
        "difference of 24 requests in 3 launches, above loaded idle",
        "gpu0, launch 0, loaded idle (before): steady; temperature +0.05 ± 0.10 °C/min",
        "measured: not steady; temperature +3.10 ± 0.10 °C/min",
        "clocks held by: power cap, too hot (software)",
        "power readings give 1.003 of the energy counter",
        "640.0 J uncertainty not stated estimated",
    ):
        assert sentence in joined


def test_the_text_holds_a_replays_verdicts(run: RunRecords, run_results: Results) -> None:
    judged = compare.judge(run, run_results, run, run_results, same_card=True)
    assert "REPLAY\noutputs → REPRODUCED" in report.text(NAME, run, run_results, judged)


def test_the_text_is_inert(run: RunRecords, run_results: Results) -> None:
    spec = msgspec.structs.replace(run.spec, name=HOSTILE, description=HOSTILE)
    evil = msgspec.structs.replace(run_results, notices=(NoticeRecord("X", message=HOSTILE),))
    text = report.text(NAME, dataclasses.replace(run, spec=spec), evil)
    assert "\x1b" not in text and "\u202e" not in text
    assert text.count("HYPERLINK") == 3


# --- rounding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (-8.3e-14, 1.9, "0.0 ± 1.9"),
        (0.21534, 0.0041, "0.2153 ± 0.0041"),
        (118.313, 12.0, "118 ± 12"),
        (5.0, 0.0, "5"),
    ],
)
def test_a_value_is_rounded_to_its_uncertainty(value: float, u: float, text: str) -> None:
    assert rounding.with_u(value, u) == text


@pytest.mark.parametrize(
    ("joules", "reading", "sensor", "text"),
    [
        (915.2, 3.0, 26.0, "915 J ± 3 (reading noise) ± 26 (sensor)"),
        (1213.02432, 0.083, 45.1, "1,213 J ± 0.083 (reading noise) ± 45 (sensor)"),
        (449.9936, 0.2, 1.94, "450.0 J ± 0.2 (reading noise) ± 1.9 (sensor)"),
        (0.01913, 0.0001, 0.001, "19.1 mJ ± 0.1 (reading noise) ± 1 (sensor)"),
        (1213.02432, 30.0, 0.01, "1,213 J ± 30 (reading noise) ± 0.01 (sensor)"),
    ],
)
def test_energy_has_the_digits_that_its_larger_uncertainty_leaves(
    joules: float, reading: float, sensor: float, text: str
) -> None:
    value = NetEnergy(status="measured", joules=joules, u_reading=reading, u_sensor=sensor)
    assert rounding.in_line(value) == text


# --- the command ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "csv", "csv-metrics"])
def test_text_and_csv_go_to_stdout_or_a_file(
    sealed: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], form: Any
) -> None:
    look.report(str(sealed), format=form)
    printed = capfdbinary.readouterr().out
    look.report(str(sealed), format=form, out=Path("-"))
    assert capfdbinary.readouterr().out == printed
    look.report(str(sealed), format=form, out=tmp_path / "told")
    assert (tmp_path / "told").read_bytes() == printed
    assert capfdbinary.readouterr().out == f"{tmp_path / 'told'}\n".encode()


@pytest.mark.slow
def test_html_goes_to_a_file_named_after_the_run(
    sealed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.chdir(tmp_path)
    look.report(str(sealed))
    name = capfdbinary.readouterr().out.decode().strip()
    assert name == f"report-{sealed.name[:12]}.html"
    assert Path(name).read_text().startswith("<!doctype html>")


def test_csv_has_no_verdicts(sealed: Path) -> None:
    with pytest.raises(UsageError, match="CSV holds no verdicts"):
        look.report(str(sealed), format="csv", against=str(sealed))
