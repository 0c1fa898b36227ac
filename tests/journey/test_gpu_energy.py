"""Whole runs over GPUs whose true power is known: the driver library is fake, all else is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.energy.reasons import sentence
from kit.judge.verify import verify
from tests.journey.conftest import Workplace, loopback_spec
from tests.meters import fake

pytestmark = pytest.mark.docker
# gpu0 draws 100 W and gpu1 120 W, always.
STEADY = {"base": 100.0, "amp": 0.0}
WATTS = 220.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.build(tmp_path_factory.mktemp("nvml"))


def run(place: Workplace, library: Path, seconds: float, **settings: float) -> Path:
    gpus = fake.Fake(library, STEADY | settings)
    spec = loopback_spec(
        {"ttft_s": 0.3},
        meters=[{"name": "nvml"}],
        primary_metric="gpu_energy_per_output_token",
        phases={"idle_s": seconds, "loaded_idle_s": seconds, "warmup_requests": 1},
    )
    env = {key: gpus.env[key] for key in ("LD_LIBRARY_PATH", "FAKE_NVML")}
    done = place.kit("run", place.spec(spec), "--runs", place.runs, **env)
    assert done.returncode == 0, done.stderr
    found = Path(done.stdout.strip())
    verdict = verify(found)
    assert verdict.passed, verdict.failures
    return found


@pytest.fixture(scope="module")
def steady(shared_place: Workplace, library: Path) -> Path:
    return run(shared_place, library, 1.5)


def phases(run: Path) -> dict[tuple[str, str | None], dict[str, Any]]:
    (launch,) = json.loads((run / "results.json").read_text())["launches"]
    return {(p["phase"], p["part"]): p for p in launch["phases"]}


def test_measured_energy_is_the_true_energy(steady: Path) -> None:
    found = phases(steady)
    for name in (("idle", "before"), ("loaded_idle", "before"), ("measured", None)):
        energy = found[name]["energy"]["gpu"]
        assert energy["status"] == "measured", energy
        truth = WATTS * found[name]["duration_s"]
        assert energy["joules"] == pytest.approx(truth, rel=0.02)
        assert energy["devices"]["gpu0"] < energy["devices"]["gpu1"]
        assert energy["u_sensor"] > energy["u_reading"] >= 0


def test_energy_per_token_is_reported_and_the_report_shows_it(
    workplace: Workplace, steady: Path
) -> None:
    results = json.loads((steady / "results.json").read_text())
    assert results["primary"]["status"] == "measured"
    measured = phases(steady)["measured", None]
    per_token = measured["energy"]["gpu"]["joules"] / (3 * 8)
    assert results["primary"]["value"] == pytest.approx(per_token)
    page = workplace.folder / workplace.kit("report", steady).stdout.strip()
    assert "gpu0" in page.read_text()
    assert "estimated</b>" not in page.read_text()


def test_a_gpu_lost_mid_run_leaves_its_phases_unmeasured(
    workplace: Workplace, library: Path
) -> None:
    """The run goes on: what was measured until then stands, the rest says why it is absent."""
    sealed = run(workplace, library, 1.5, lost_after=4.0, lost_gpu=1)
    kinds = [json.loads(line) for line in (sealed / "events.jsonl").read_text().splitlines()]
    lost = [event["data"] for event in kinds if event["kind"] == "sampler.lost"]
    assert lost
    assert "gpu1" in lost[0]["message"]
    found = phases(sealed)
    assert found["idle", "before"]["energy"]["gpu"]["status"] == "measured"
    last = found["idle", "after"]["energy"]["gpu"]
    assert last["status"] == "unmeasured"
    assert "gpu1" in sentence(last["reason"])
    assert "joules" not in last


@pytest.mark.heavy
@pytest.mark.parametrize("latency_us", [0, 3300])
def test_a_minute_on_eight_gpus_verifies(
    workplace: Workplace, library: Path, latency_us: int
) -> None:
    """What holds of every GPU in a short run may hold of all together alone in a longer one."""
    run(workplace, library, 20, gpus=8, latency_us=latency_us)
