"""PDUs against a real SNMP agent: Debian's snmpd with a scripted device behind it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kit import energy, meters, samples
from kit.model import MeterDevice, MeterPlan
from tests.meters.conftest import OUTLET, Agent
from tests.meters.fake import Sampled

PDU = meters.get("pdu")


def sampled(out: Path, config: dict[str, object]) -> Sampled:
    return Sampled(out, [{"name": "pdu", "alias": "rack1", "config": config}])


def outlet(plan: MeterPlan, name: str = "pdu:rack1:3") -> MeterDevice:
    return next(device for device in plan.devices if device.device == name)


def test_an_outlet_gives_watts_and_says_how_they_are_meant(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config())
    facts = outlet(plan).quantities["pdu_power"]
    assert plan.reason == ""
    assert (facts["unit"], facts["scale"], facts["summed"]) == ("W", 1, True)
    assert facts["oid"] == f"{OUTLET}.7.3"
    assert "rPDU2OutletMeteredStatusPower" in facts["source"]


def test_v3_with_privacy_gives_the_same(agent: Agent) -> None:
    assert PDU.probe("rack1", agent.v3()) == PDU.probe("rack1", agent.config())


def test_v1_answers_for_what_is_there_when_one_oid_is_missing(agent: Agent) -> None:
    agent.set({f"{OUTLET}.7.3": {"type": "gauge", "value": 230}})
    quantities = outlet(PDU.probe("rack1", agent.config(version="1"))).quantities
    assert "reason" not in quantities["pdu_power"]
    assert "noSuchName" in quantities["pdu_energy"]["reason"]


@pytest.mark.parametrize(
    "keys",
    [{"auth_key": "another-key-1"}, {"priv_key": "another-key-1"}, {"user": "nobody"}],
    ids=["auth", "priv", "user"],
)
def test_a_wrong_key_is_called_that(agent: Agent, keys: dict[str, str]) -> None:
    plan = PDU.probe("rack1", agent.v3(**keys))
    assert plan.devices == ()
    # A wrong privacy key leaves the agent unable to read the request: it stays silent.
    assert "refuses" in plan.reason or ("priv_key" in keys and "no answer" in plan.reason)


def test_a_dead_host_is_a_reason_without_its_address(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(port=1, timeout_s=0.2))
    assert plan.devices == ()
    assert "no answer" in plan.reason
    assert "127.0.0.1" not in plan.reason


def test_a_wrong_community_is_a_reason(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(community="wrong", timeout_s=0.2))
    assert "community" in plan.reason


def test_an_outlet_that_is_not_there_is_a_reason(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(outlets=[3, 7]))
    assert "reason" not in outlet(plan).quantities["pdu_power"]
    assert "NoSuchInstance" in outlet(plan, "pdu:rack1:7").quantities["pdu_power"]["reason"]
    assert "NoSuchInstance" in PDU.probe("rack1", agent.config(outlets=[7])).reason


def test_a_negative_reading_is_not_supported_rather_than_a_power(agent: Agent) -> None:
    agent.set({f"{OUTLET}.7.3": {"type": "integer", "value": -1}})
    assert "negative" in PDU.probe("rack1", agent.config()).reason


def test_outlets_of_a_pdu_that_meters_none_are_refused(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(profile="apc-rpdu"))
    assert "meters no outlets" in plan.reason


def test_an_unknown_profile_names_those_that_there_are(agent: Agent) -> None:
    assert "apc-rpdu2" in PDU.probe("rack1", agent.config(profile="other")).reason


def test_two_supplies_add_up_and_inlets_do_not(agent: Agent) -> None:
    agent.set(
        {f"{OUTLET}.7.{o}": {"type": "gauge", "value": w} for o, w in ((3, 230), (4, 120))}
        | {"1.3.6.1.4.1.318.1.1.26.4.3.1.5.1": {"type": "gauge", "value": 90}}
    )
    plan = PDU.probe("rack1", agent.config(outlets=[3, 4], inlets=[1]))
    summed = {d.device: d.quantities.get("pdu_power", {}).get("summed") for d in plan.devices}
    assert summed["pdu:rack1:3"] and summed["pdu:rack1:4"]
    assert summed["pdu:rack1:inlet1"] is False


def test_power_becomes_energy_of_windows_of_ten_periods(agent: Agent, tmp_path: Path) -> None:
    plan = PDU.probe("rack1", agent.config(outlets=[3]))
    run = sampled(tmp_path / "out", agent.config())
    t0, _ = run.run(11.5)
    read = samples.from_csv(run.files())
    assert list(run.files()) == ["pdu-rack1.csv"]
    value = energy.energy_of(read, (plan,), t0 + 10**8, t0 + 10**8 + 11 * 10**9)[0]
    assert value.scope == "wall"
    assert value.joules == pytest.approx(230 * 11)
    assert value.terms["gain"] == pytest.approx(230 * 11 * 0.03 / 3**0.5)
    assert value.terms["offset"] == pytest.approx(11 / 3**0.5)
    short = energy.energy_of(read, (plan,), t0 + 10**8, t0 + 5 * 10**9)[0]
    assert (short.status, short.joules) == ("unmeasured", None)
    assert "n/a" in short.reason


def test_a_pdu_that_vanishes_leaves_codes_and_one_complaint(
    own_agent: Agent, tmp_path: Path
) -> None:
    run = sampled(tmp_path / "out", own_agent.config(timeout_s=0.3))
    run.wait_for("ready")
    time.sleep(2.2)
    own_agent.stop()
    lost = run.wait_for("error")
    time.sleep(2)
    run.stop()
    assert lost["meter"] == "pdu-rack1"
    assert "no answer" in lost["message"]
    complaints = [line["message"] for line in run.said if line["event"] == "error"]
    assert len(complaints) == len(set(complaints)) == 2  # the outlet's, and the PDU's uptime
    read = samples.from_csv(run.files()).get("pdu:rack1:3", "pdu_power")
    assert read is not None
    assert read.errors >= 2
    assert len(read.t) >= 2


def test_a_pdu_that_never_answers_still_lets_the_run_go_on(tmp_path: Path, agent: Agent) -> None:
    run = sampled(tmp_path / "out", agent.config(port=1, timeout_s=0.2))
    run.run(1.5)
    read = samples.from_csv(run.files()).get("pdu:rack1:3", "pdu_power")
    assert read is not None
    assert (len(read.t), read.errors > 0) == (0, True)
