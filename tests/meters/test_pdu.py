"""PDUs against a real SNMP agent: Debian's snmpd with a scripted device behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.core.errors import UsageError
from kit.core.model import MeterDevice, MeterPlan
from kit.machine.host import HostConfig
from kit.measure import meters
from kit.measure.meters.pdu.snmp import NO_NAME, Snmp
from tests.meters.conftest import OUTLET, Agent

PDU = meters.get("pdu")


def outlet(plan: MeterPlan, name: str = "pdu:rack1:3") -> MeterDevice:
    return next(device for device in plan.devices if device.device == name)


def test_an_outlet_gives_watts_and_says_how_they_are_meant(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config())
    facts = outlet(plan).quantities["pdu_power"]
    assert plan.reason == ""
    assert (facts.unit, facts.scale, facts.summed) == ("W", 1, True)
    assert facts.oid == f"{OUTLET}.7.3"
    assert "rPDU2OutletMeteredStatusPower" in facts.source


def test_v3_with_privacy_gives_the_same(agent: Agent) -> None:
    assert PDU.probe("rack1", agent.v3()) == PDU.probe("rack1", agent.config())


@pytest.mark.parametrize(
    "level",
    [
        {"user": "kit-none", "auth_key": None, "priv_key": None},
        {"user": "kit-auth", "auth_protocol": "SHA256", "priv_key": None},
    ],
    ids=["noAuth", "authNoPriv"],
)
def test_v3_with_less_gives_the_same(agent: Agent, level: dict[str, str | None]) -> None:
    assert PDU.probe("rack1", agent.v3(**level)) == PDU.probe("rack1", agent.config())


def test_v3_below_the_level_that_the_pdu_demands_is_refused(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.v3(priv_key=None))
    assert plan.devices == ()
    assert plan.reason


def test_v1_gives_the_same(agent: Agent) -> None:
    assert PDU.probe("rack1", agent.config(version="1")) == PDU.probe("rack1", agent.config())


def test_v1_answers_for_what_is_there_when_one_oid_is_missing(agent: Agent) -> None:
    agent.set({f"{OUTLET}.7.3": {"type": "gauge", "value": 230}})
    quantities = outlet(PDU.probe("rack1", agent.config(version="1"))).quantities
    assert quantities["pdu_power"].is_read
    assert "noSuchName" in quantities["pdu_energy"].reason


@pytest.mark.parametrize(
    "keys",
    [{"auth_key": "another-key-1"}, {"priv_key": "another-key-1"}, {"user": "nobody"}],
    ids=["auth", "priv", "user"],
)
def test_a_wrong_key_is_called_that(agent: Agent, keys: dict[str, str]) -> None:
    plan = PDU.probe("rack1", agent.v3(**keys))
    assert plan.devices == ()
    # A wrong privacy key leaves the agent unable to read the request: it stays silent.
    words = {"auth_key": "WrongDigest", "priv_key": "no answer", "user": "does not know"}
    assert words[next(iter(keys))] in plan.reason


def test_a_dead_host_is_a_reason_without_its_address(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(port=1, timeout_s=0.2))
    assert plan.devices == ()
    assert "no answer" in plan.reason
    assert "127.0.0.1" not in plan.reason


def test_a_wrong_community_is_a_reason(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(community="wrong", timeout_s=0.2))
    assert "community" in plan.reason


def test_v1_misses_many_of_many(agent: Agent) -> None:
    """Each missing OID fails the whole request: the others must still be told, in their places."""
    agent.set({f"{OUTLET}.7.{o}": {"type": "gauge", "value": 100 + o} for o in (2, 5, 9)})
    snmp = Snmp(agent.config(version="1"))
    answers = snmp.get([f"{OUTLET}.7.{o}" for o in range(1, 11)])
    snmp.close()
    answer_of = {o: raw for o, (_, raw) in enumerate(answers, 1) if raw is not None}
    assert answer_of == {2: 102, 5: 105, 9: 109}
    assert {rc for rc, raw in answers if raw is None} == {NO_NAME}


@pytest.mark.slow
def test_more_values_than_fit_into_one_answer(agent: Agent) -> None:
    agent.set({f"{OUTLET}.7.{o}": {"type": "gauge", "value": o} for o in range(1, 97)})
    for version in ("1", "2c"):
        snmp = Snmp(agent.config(version=version))
        assert [raw for _, raw in snmp.get([f"{OUTLET}.7.{o}" for o in range(1, 97)])] == list(
            range(1, 97)
        )
        assert len(snmp.walk(f"{OUTLET}.7")[0]) == 96
        snmp.close()


def test_an_outlet_that_is_not_there_is_a_reason(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(outlets=[3, 7]))
    assert outlet(plan).quantities["pdu_power"].is_read
    assert "NoSuchInstance" in outlet(plan, "pdu:rack1:7").quantities["pdu_power"].reason
    assert "NoSuchInstance" in PDU.probe("rack1", agent.config(outlets=[7])).reason


def test_a_negative_reading_is_not_supported_rather_than_a_power(agent: Agent) -> None:
    agent.set({f"{OUTLET}.7.3": {"type": "integer", "value": -1}})
    assert "negative" in PDU.probe("rack1", agent.config()).reason


def test_outlets_of_a_pdu_that_meters_none_are_refused(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config(profile="apc-rpdu"))
    assert "meters no outlets" in plan.reason


def test_an_unknown_profile_names_those_that_there_are(agent: Agent) -> None:
    assert "apc-rpdu2" in PDU.probe("rack1", agent.config(profile="other")).reason


# --- host.toml --------------------------------------------------------------------------------


def section(**keys: object) -> str:
    lines = {"host": "192.0.2.1", "profile": "apc-rpdu2", **keys}
    return "[pdu.a]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())


@pytest.mark.parametrize(
    ("keys", "version"),
    [
        ({"community": "x"}, "2c"),
        ({"community": "x", "version": "1"}, "1"),
        ({"community": "x", "version": 1}, "1"),
        ({"user": "x"}, "3"),
    ],
)
def test_host_toml_says_which_snmp(keys: dict[str, object], version: str) -> None:
    assert HostConfig.parse(section(**keys)).meter("pdu", "a")["version"] == version


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"community": "x", "version": "3"}, "needs a `user`"),
        ({"user": "x", "version": "1"}, "has no `user`"),
        ({"community": "x", "version": 4}, "must be 1, 2c or 3"),
        ({"community": "x", "poll_s": 0.01}, "poll_s"),
    ],
)
def test_host_toml_refuses_what_cannot_be(keys: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        HostConfig.parse(section(**keys))


def test_ones_own_profile_lies_beside_host_toml(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text(section(community="x", profile="mine.json"))
    profile = HostConfig.load(path).meter("pdu", "a")
    assert profile["profile"] == str(tmp_path / "mine.json")
    assert "knows no PDU profile 'mine'" in PDU.probe("a", profile).reason
