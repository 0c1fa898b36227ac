"""A meter of another package, installed with pip: joules in Live, results and report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.measure import meters
from tests.journey.conftest import Workplace, loopback_spec

ROOT = Path(__file__).resolve().parents[2]
WATTS = 240.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of `docs/examples/meter`, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "-q", "install", "--target", str(folder), "--no-index"]
    here = ["--no-deps", "--no-build-isolation", str(ROOT / "docs/examples/meter")]
    done = subprocess.run([*pip, *here], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def supply(tmp_path: Path) -> Path:
    """A tree of hwmon whose machine draws the same all the time."""
    (tmp_path / "hwmon0").mkdir()
    (tmp_path / "hwmon0/power1_input").write_text(f"{WATTS * 1e6:.0f}\n")
    return tmp_path


def test_kit_does_not_know_it_before() -> None:
    assert "hwmon" not in meters.names()


@pytest.mark.docker
def test_it_yields_joules_in_live_results_and_report(
    workplace: Workplace, installed: Path, supply: Path
) -> None:
    there = {"PYTHONPATH": str(installed), "HWMON_ROOT": str(supply)}
    asked = loopback_spec(
        {"tokens_per_s": 20},
        meters=[{"name": "hwmon"}, {"name": "estimate"}],
        primary_metric="wall_energy_per_output_token",
        workload={"name": "prompts", "options": {"requests": 16, "max_output_tokens": 8}},
    )
    done = workplace.kit("run", workplace.spec(asked), "--runs", workplace.runs, **there)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    results = json.loads((run / "results.json").read_text())

    block = next(p for p in results["launches"][0]["phases"] if p["phase"] == "measured")
    wall = block["energy"]["wall"]
    assert wall["status"] == "measured"
    assert wall["joules"] == pytest.approx(WATTS * block["duration_s"], rel=0.01)
    assert wall["terms"]["gain"] == pytest.approx(0.05 / 3**0.5 * wall["joules"], rel=1e-6)
    assert results["primary"]["status"] == "measured"

    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    live = [(e["t"], e["data"]["joules"]["hwmon0"]) for e in events if _is_live(e)]
    (t0, first), (t1, last) = live[0], live[-1]
    assert last - first == pytest.approx(WATTS * (t1 - t0) * 1e-9, rel=0.1)

    # A reviewer has no such package.
    assert workplace.kit("verify", run).returncode == 0
    page = (workplace.folder / workplace.kit("report", run).stdout.strip()).read_text()
    assert "hwmon0" in page
    assert f"{wall['joules']:.0f}" in page or f"{wall['joules'] / 1000:.3g}" in page
    shown = workplace.kit("show", run).stdout
    assert "wall energy per output token" in shown


def _is_live(event: dict[str, object]) -> bool:
    data = event["data"]
    joules = data.get("joules", {}) if isinstance(data, dict) else {}
    return event["kind"] == "live" and "hwmon0" in joules
