"""Lag and gain of a PDU by a step of load: the computation, and the command on a real agent."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kit import energy
from kit.cli import load_step, pdu
from kit.cli.main import dispatch
from kit.energy.calibration import CannotCalibrate, Record, calibrate, true_edges
from kit.machine.host import HostConfig, pdu_calibration
from kit.measure.meters import get
from kit.record import samples
from kit.show.render import outlets
from tests.meters.conftest import COMMUNITY, OUTLET, Agent
from tests.plans import facts_in

S = 1e9
BEGIN, END = 60.25, 121.6
HEART = """
import pathlib, sys, time
path, began = pathlib.Path(sys.argv[1]), time.monotonic()
while True:
    new = path.with_suffix(".new")
    new.write_text(f"{began} {time.monotonic() + 0.05}")
    new.replace(path)
    time.sleep(0.02)
"""


def watts(t: np.ndarray, average_s: float) -> np.ndarray:
    """200 W, 500 W under load, as a trailing mean over ``average_s``."""
    on = np.clip(t - BEGIN, 0, average_s) - np.clip(t - END, 0, average_s)
    return 200 + 300 * on / average_s


def polled(
    period: float, lag: float, average_s: float = 1e-3, step: float = 1.0, seed: int = 1
) -> tuple[Record, np.ndarray]:
    """A PDU polled at 1 Hz for three minutes: renewed, late, averaged, rounded, noisy."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.37, 182, 1.0)
    renewed = (t - lag - seed * 0.173) // period * period + seed * 0.173
    noise = dict(zip(np.unique(renewed), rng.normal(0, 2, len(t)), strict=False))
    exact = watts(renewed, average_s) + np.array([noise[key] for key in renewed])
    raw = np.round(exact / step).astype(np.int64)
    return Record(t * S, raw * step), raw


@pytest.mark.parametrize("period", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("lag", [0.0, 1.7, 6.0])
def test_lag_is_found_within_its_uncertainty(period: float, lag: float) -> None:
    """What comes late is the PDU's own lag, and on average half an update and half a poll."""
    errors = []
    for seed in range(1, 21):
        record, raw = polled(period, lag, seed=seed)
        calibration = calibrate(record, raw, (BEGIN * S, END * S), 1.0, 0.0)
        errors.append((calibration.lag_s - lag - period / 2 - 0.5) / calibration.lag_u_s)
        assert calibration.period_s == pytest.approx(period, rel=0.4)
        assert (
            calibration.discarded_s
            >= max(calibration.lag_s + calibration.period_s, 3 * calibration.period_s) * 0.9
        )
    assert np.sqrt(np.mean(np.square(errors))) < 2


def test_a_trailing_mean_is_half_its_window_late() -> None:
    record, raw = polled(1.0, 0.0, average_s=8.0)
    calibration = calibrate(record, raw, (BEGIN * S, END * S), 1.0, 0.0)
    assert calibration.lag_s == pytest.approx(4.0 + 0.5 + 0.5, abs=0.6)


def test_plateaus_are_means_without_their_edges() -> None:
    record, raw = polled(2.0, 3.0, step=10.0)
    calibration = calibrate(record, raw, (BEGIN * S, END * S), 1.0, 0.0)
    assert calibration.idle.watts == pytest.approx(200, abs=3)
    assert calibration.load.watts == pytest.approx(500, abs=3)


@pytest.mark.parametrize(
    ("period", "word"), [(30.0, "too short"), (1.0, "too little"), (1.0, "0 W")]
)
def test_what_tells_no_lag_is_refused(period: float, word: str) -> None:
    record, raw = polled(period, 0.0)
    if word == "too little":
        record = Record(record.t, np.where(np.arange(len(raw)) % 2, 200.0, 230.0))
    if word == "0 W":
        record = Record(record.t, np.where(record.watts < 300, 0.0, record.watts))
    with pytest.raises(CannotCalibrate, match=word):
        calibrate(record, raw, (BEGIN * S, END * S), 1.0, 0.0)


def test_a_quick_meter_tells_when_the_load_truly_began() -> None:
    t = np.arange(0, 182, 0.05)
    edges = true_edges(Record(t * S, watts(t, 1e-3)), (BEGIN * S - 0.8 * S, END * S + 0.3 * S))
    assert np.array(edges) / S == pytest.approx([BEGIN, END], abs=0.05)


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def configured(agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "host.toml"
    path.write_text(
        f'[pdu.rack1]\nhost = "127.0.0.1"\nport = {agent.port}\nprofile = "apc-rpdu2"\n'
        f'outlets = [3, 4]\ncommunity = "{COMMUNITY}"\npoll_s = 0.1\n'
    )
    monkeypatch.setenv("KIT_HOST_CONFIG", str(path))
    return path


@pytest.mark.slow
def test_the_command_finds_the_lag_of_two_supplies_and_the_plan_takes_it_up(
    agent: Agent, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heart, script = configured.parent / "heart", configured.parent / "load.py"
    script.write_text(HEART)
    supply = {"type": "gauge", "base": 100, "amp": 150, "heart": str(heart), "lag": 0.6}
    supply |= {"period": 0.2, "wobble": 2}
    agent.set({f"{OUTLET}.7.3": supply, f"{OUTLET}.7.4": supply})
    argv = ["pdu", "calibrate", "rack1", "--idle-s", "4", "--load-s", "4", "--json"]
    argv += ["--load", f"{sys.executable} {script} {heart}", "--reference-watts", "505"]
    assert dispatch(argv) == 0
    entry = json.loads(capsys.readouterr().out)
    lag = entry["facts"]["lag_s"]
    assert lag == pytest.approx(0.6 + 0.1 + 0.05, abs=3 * entry["facts"]["lag_u_s"] + 0.1)
    assert entry["measured"]["load_w"] == pytest.approx(502, abs=3)
    assert entry["facts"]["correction"] == pytest.approx(505 / 502, rel=0.01)
    assert json.loads((configured.parent / pdu_calibration.FILE).read_text())["rack1"] == entry
    plan = get("pdu").probe("rack1", HostConfig.load().meter("pdu", "rack1"))
    facts = plan.devices[0].quantities["pdu_power"]
    assert (facts.lag_s, facts.correction) == (lag, entry["facts"]["correction"])
    assert "reference" in facts.gain_source


def test_a_calibration_of_other_outlets_is_not_used(agent: Agent, configured: Path) -> None:
    section = HostConfig.load().meter("pdu", "rack1")
    entry = {"made_for": pdu_calibration.made_for(section), "facts": {"lag_s": 2.5}}
    pdu_calibration.keep(configured.parent, "rack1", entry)
    stored = HostConfig.load().meter("pdu", "rack1")["calibration"]
    (name,) = HostConfig.load().calibrations("pdu", "rack1")
    assert stored == {"lag_s": 2.5, "calibration_sha256": name}
    configured.write_text(configured.read_text().replace("[3, 4]", "[3]"))
    facts = HostConfig.load().meter("pdu", "rack1")["calibration"]
    assert list(facts) == ["calibration_unused"]


@pytest.mark.parametrize(("parts_w", "ratio"), [(300.0, 1.5), (900.0, 0.375)])
def test_what_gpus_and_cpus_draw_bounds_the_wall_but_tells_no_gain(
    parts_w: float, ratio: float
) -> None:
    record, raw = polled(1.0, 0.0)
    calibration = calibrate(record, raw, (BEGIN * S, END * S), 1.0, 0.0)
    recorded = load_step.Recorded(
        record, raw, (BEGIN * S, END * S), 0.0, (100.0, parts_w), ("nvml", "rapl")
    )
    section = {"profile": "apc-rpdu2", "outlets": [3], "inlets": []}
    entry = pdu._entry(section, recorded, calibration, None, 0.01)
    assert "correction" not in entry["facts"]
    assert "gain" not in entry["facts"]
    assert entry["measured"]["step_ratio"] == pytest.approx(ratio, rel=0.02)
    assert entry["measured"]["impossible"] is (ratio < 1)
    text = "\n".join(outlets.calibration("rack1", entry, True))
    assert "gain    unknown" in text
    assert ("IMPOSSIBLE" in text) is (ratio < 1)


@pytest.mark.slow
def test_kits_own_load_keeps_every_cpu_busy_and_leaves_nothing_behind() -> None:
    with load_step.load(None) as alive:
        before = os.times()
        time.sleep(1.5)
        assert alive()
    after = os.times()
    # The children are waited for when they end: their CPU time is then in ours. Others may run
    # beside the tests, so that a little of each CPU must do.
    assert after.children_user - before.children_user > 0.1 * len(os.sched_getaffinity(0))
    assert not alive()


@pytest.mark.slow
def test_a_load_that_ends_by_itself_is_told(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["pdu", "calibrate", "rack1", "--idle-s", "0.3", "--load", "true"]) == 2
    assert "ended by itself" in capsys.readouterr().err
    assert dispatch(["pdu", "calibrate", "rack1", "--idle-s", "0.1", "--load", "no-such"]) == 2
    assert "cannot start" in capsys.readouterr().err


def test_a_calibrated_lag_moves_the_curve_and_the_correction_scales_it() -> None:
    from kit.core.model import MeterDevice, MeterPlan

    t = np.arange(0, 300, dtype=np.int64) * 10**9
    raw = np.where((t >= 105e9) & (t < 205e9), 400, 200) + np.arange(300) % 2
    series = samples.Series(t, raw, 0, t[:0], t, t)
    read = samples.Samples({("pdu:a:3", "pdu_power"): series}, (), {})

    def joules(**facts: float) -> tuple[float, float]:
        quantities = {"pdu_power": {"scale": 1, "resolution": 1, "poll_s": 1.0, **facts}}
        device = MeterDevice(device="pdu:a:3", description="", quantities=facts_in(quantities))
        plan = MeterPlan(name="pdu", alias="a", devices=(device,))
        value = energy.Energy(read, (plan,)).of(95 * 10**9, 160 * 10**9)[0]
        assert value.joules is not None
        return value.joules, value.terms["lag"]

    late, wide = joules()
    right, narrow = joules(lag_s=5.0, lag_u_s=0.2)
    assert right - late == pytest.approx(5 * 200, abs=20)
    assert narrow == pytest.approx(0.2 * 200, rel=0.05)
    assert wide > narrow
    assert joules(lag_s=5.0, lag_u_s=0.2, correction=1.1)[0] == pytest.approx(right * 1.1)
