"""Energy from PDUs on a real SNMP agent: supplies, periods, squelch, silence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kit import energy
from kit.energy.reasons import sentence
from kit.energy.scopes.wall import judged_period_s, update_period_s
from kit.measure import meters
from kit.record import samples
from tests.meters.conftest import OUTLET, Agent
from tests.meters.fake import Sampled

PDU = meters.get("pdu")


def sampled(out: Path, *configs: dict[str, Any]) -> Sampled:
    """Samplers over one alias for each configuration: rack1, rack2, …"""
    wanted = [
        {"name": "pdu", "alias": f"rack{n}", "config": config}
        for n, config in enumerate(configs, 1)
    ]
    return Sampled(out, wanted)


def test_two_supplies_add_up_and_inlets_do_not(agent: Agent) -> None:
    agent.set(
        {f"{OUTLET}.7.{o}": {"type": "gauge", "value": w} for o, w in ((3, 230), (4, 120))}
        | {"1.3.6.1.4.1.318.1.1.26.4.3.1.5.1": {"type": "gauge", "value": 90}}
    )
    plan = PDU.probe("rack1", agent.config(outlets=[3, 4], inlets=[1]))
    summed = {d.device: d.facts("pdu_power").summed for d in plan.devices}
    assert summed["pdu:rack1:3"] and summed["pdu:rack1:4"]
    assert summed["pdu:rack1:inlet1"] is False


def test_power_becomes_energy_of_windows_of_ten_periods(agent: Agent, tmp_path: Path) -> None:
    config = agent.config(poll_s=0.2)
    plan = PDU.probe("rack1", config)
    run = sampled(tmp_path / "out", config)
    t0, _ = run.run(2.6)
    read = samples.from_csv(run.files())
    assert list(run.files()) == ["pdu-rack1.csv"]
    window = t0 + 2 * 10**8, t0 + 24 * 10**8
    value = energy.Energy(read, (plan,)).of(*window)[0]
    assert value.scope == "wall"
    assert value.joules == pytest.approx(230 * 2.2)
    assert value.terms["gain"] == pytest.approx(230 * 2.2 * 0.03 / 3**0.5)
    assert value.terms["offset"] == pytest.approx(2.2 / 3**0.5)
    short = energy.Energy(read, (plan,)).of(window[0], window[0] + 10**9)[0]
    assert (short.status, short.joules) == ("unmeasured", None)
    assert "cannot resolve" in sentence(short.reason)


def test_a_pdu_that_vanishes_leaves_codes_and_one_complaint(
    own_agent: Agent, tmp_path: Path
) -> None:
    run = sampled(tmp_path / "out", own_agent.config(timeout_s=0.3, poll_s=0.2))
    run.wait_for("ready")
    time.sleep(0.8)
    own_agent.stop()
    lost = run.wait_for("error")
    time.sleep(0.8)
    run.stop()
    assert lost["meter"] == "pdu-rack1"
    assert "no answer" in lost["message"]
    complaints = [line["message"] for line in run.said if line["event"] == "error"]
    assert len(complaints) == len(set(complaints)) == 2  # the outlet's, and the PDU's uptime
    read = samples.from_csv(run.files()).get("pdu:rack1:3", "pdu_power")
    assert read is not None
    assert read.errors >= 2
    assert len(read.t) >= 2


@pytest.mark.parametrize("version", ["2c", "3"])
def test_a_pdu_that_restarts_is_read_again(own_agent: Agent, tmp_path: Path, version: str) -> None:
    """A v3 agent that restarted has another clock and boot count: kit must find into step."""
    config = own_agent.v3() if version == "3" else own_agent.config()
    run = sampled(tmp_path / "out", config | {"timeout_s": 0.3, "poll_s": 0.2})
    run.wait_for("ready")
    time.sleep(0.6)
    own_agent.stop()
    run.wait_for("error")
    own_agent.start()
    back = run.now()
    time.sleep(2.0)
    run.stop()
    read = samples.from_csv(run.files()).get("pdu:rack1:3", "pdu_power")
    assert read is not None
    assert read.errors >= 1
    assert (read.t > back + 5 * 10**8).sum() >= 3


def test_a_pdu_that_never_answers_still_lets_the_run_go_on(tmp_path: Path, agent: Agent) -> None:
    run = sampled(tmp_path / "out", agent.config(port=1, timeout_s=0.2))
    run.run(1.5)
    read = samples.from_csv(run.files()).get("pdu:rack1:3", "pdu_power")
    assert read is not None
    assert (len(read.t), read.errors > 0) == (0, True)


def test_two_pdus_that_feed_one_supply_each_add_up(agent: Agent, tmp_path: Path) -> None:
    agent.set({f"{OUTLET}.7.{o}": {"type": "gauge", "value": w} for o, w in ((3, 230), (4, 120))})
    configs = [agent.config(outlets=[o], poll_s=0.1) for o in (3, 4)]
    plans = tuple(PDU.probe(f"rack{n}", config) for n, config in enumerate(configs, 1))
    run = sampled(tmp_path / "out", *configs)
    t0, _ = run.run(2.5)
    read = samples.from_csv(run.files())
    window = t0 + 2 * 10**8, t0 + 22 * 10**8
    value = energy.Energy(read, plans).of(*window)[0]
    assert value.joules == pytest.approx(350 * 2.0)
    assert value.devices == pytest.approx({"pdu:rack1:3": 460.0, "pdu:rack2:4": 240.0})
    silent = (plans[0], PDU.probe("rack2", agent.config(outlets=[7])))
    lost = energy.Energy(read, silent).of(*window)[0]
    assert (lost.status, lost.joules) == ("unmeasured", None)


@pytest.mark.parametrize("period", [0.2, 0.5, 1.0])
def test_the_update_period_is_seen_at_run_time(agent: Agent, tmp_path: Path, period: float) -> None:
    """A tenth of the usual times: polled every 0.1 s, renewed as one in 2, 5 and 10 s."""
    wave = {"type": "gauge", "base": 200, "amp": 0, "wave": 60, "period": period, "wobble": 5}
    agent.set({f"{OUTLET}.7.3": wave})
    config = agent.config(poll_s=0.1)
    plan = PDU.probe("rack1", config)
    run = sampled(tmp_path / "out", config)
    t0, _ = run.run(max(2.0, 3.5 * period))
    read = samples.from_csv(run.files())
    series = read.get("pdu:rack1:3", "pdu_power")
    assert series is not None
    seen_s, changes = update_period_s(series.t.astype(float), series.raw, 0.1)
    assert changes >= 2
    assert seen_s == pytest.approx(period, rel=0.35)
    short = energy.Energy(read, (plan,)).of(t0 + 10**8, t0 + 10**8 + int(period * 9e8))[0]
    assert "cannot resolve" in sentence(short.reason) or "cover" in sentence(short.reason)


def test_periods_up_to_a_minute_from_values_alone() -> None:
    import numpy as np

    rng = np.random.default_rng(3)
    t = np.arange(0.0, 1800.0, 1.0)
    for period in (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0):
        for keeps in (0.0, 0.5):  # how often a renewed value is the old one
            levels = rng.integers(200, 400, int(1800 / period) + 1)
            for k in range(1, len(levels)):
                levels[k] = levels[k - 1] if rng.random() < keeps else levels[k]
            raw = levels[(t // period).astype(int)]
            seen_s, _ = update_period_s(t * 1e9, raw, 1.0)
            assert seen_s == pytest.approx(period, rel=0.45 if period < 3 else 0.15), keeps


def test_few_changes_bound_the_period_and_give_way_to_what_is_stated() -> None:
    import numpy as np

    t = np.arange(0.0, 200.0) * 1e9
    once = np.where(t < 60e9, 200, 230)
    assert judged_period_s(t, once, 1.0, None) == pytest.approx(60.0)
    assert judged_period_s(t, once, 1.0, 2.0) == 2.0
    assert judged_period_s(t, np.full(200, 230), 1.0, None) == 1.0
    busy = np.repeat(np.arange(40), 5)
    assert judged_period_s(t, busy, 1.0, 2.0) == pytest.approx(5.0)


def test_squelch_and_steps_of_ten_watts(agent: Agent, tmp_path: Path) -> None:
    """An inlet in tens of watts that squelches: 0 W is a hole, never 0 J."""
    inlet = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
    wave = {"type": "gauge", "base": 8, "amp": 200, "wave": 1.5, "period": 0.1, "step": 10}
    agent.set({inlet: wave | {"squelch": 2}})
    config = agent.config(outlets=[], poll_s=0.1)
    plan = PDU.probe("rack1", config)
    run = sampled(tmp_path / "out", config)
    t0, t1 = run.run(2.0)
    read = samples.from_csv(run.files())
    series = read.get("pdu:rack1:inlet1", "pdu_power")
    assert series is not None
    assert set(series.raw.tolist()) == {0, 20}
    value = energy.Energy(read, (plan,)).of(t0, t1 - 10**8)[0]
    assert value.joules is None
    assert "cannot measure so little" in sentence(value.reason)
