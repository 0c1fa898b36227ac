"""Figures as files: the same bytes each time, with their readings beside them."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.record import archive, records, samples
from kit.show.report import chart, figures
from tests import golden
from tests.committed import H200

POWER = ["power.csv", "power.pdf", "power.png", "power.svg"]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return golden.copied(tmp_path / "runs")


def test_each_figure_is_written_with_its_readings(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "paper" / "figures"
    words = ["report", str(sealed), "--figures", str(folder)]
    assert dispatch(words) == 0
    assert sorted(path.name for path in folder.iterdir()) == POWER
    assert capsys.readouterr().out.split() == [
        str(folder / f"power.{form}") for form in (*figures.FORMS, "csv")
    ]
    starts = {"pdf": b"%PDF-", "png": b"\x89PNG", "svg": b"<?xml"}
    for form, magic in starts.items():
        assert (folder / f"power.{form}").read_bytes().startswith(magic)
    rows = list(csv.DictReader((folder / "power.csv").read_text().splitlines()))
    assert {row["device"] for row in rows} == {"gpu0", "cpu0-package"}
    assert {float(row["power_w"]) for row in rows if row["device"] == "gpu0"} == {250.0}
    assert float(rows[0]["time_s"]) < 0 < float(rows[-1]["time_s"]), "0 is the measured block"
    (folder / "power.svg").write_text("mine")
    assert dispatch(words) == 2
    assert "power.svg is there already" in capsys.readouterr().err
    assert (folder / "power.svg").read_text() == "mine"
    assert dispatch([*words, "--force"]) == 0
    assert (folder / "power.svg").read_text().startswith("<?xml")


def test_the_same_run_gives_the_same_bytes() -> None:
    run = records.load(archive.open_source(H200))
    made = figures.files(run)
    assert made == figures.files(run)
    assert len(made) == 8
    for name, data in made.items():
        assert b"matplotlib 3" not in data.lower(), f"{name} names a version"


def test_zero_is_where_the_axis_says(sealed: Path) -> None:
    run = records.load(archive.open_source(sealed))
    axis = chart.axis_of(run)
    measured = [p for p in run.phases if p.name == "measured"]
    assert axis.seconds(measured[0].t0) == 0
    early = dataclasses.replace(run, phases=())
    assert chart.axis_of(early).label == "time since the run began (s)"


@pytest.mark.parametrize(
    "more",
    [["--figures", "F", "--out", "x"], ["--figures", "F", "--format", "csv"], ["--force"]],
)
def test_options_that_do_not_go_together(
    sealed: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["report", str(sealed), *more]) == 2
    assert "--figures" in capsys.readouterr().err


def test_a_run_without_power_has_no_figures(sealed: Path) -> None:
    run = records.load(archive.open_source(sealed))
    blind = dataclasses.replace(run, samples=samples.EMPTY)
    assert figures.files(blind) == {}
