"""PDU profiles: a contract over all of them, and every make played by a real SNMP agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.core.facts import Probe
from kit.core.units import QUANTITIES
from kit.measure import meters
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu import points, profiles
from kit.measure.meters.pdu.profiles import Measurement, Profile
from kit.measure.meters.pdu.recognise import candidates, identify
from kit.record.events import Clock
from tests.meters.conftest import Agent

PDU = meters.get("pdu")
AMPS = "1.3.6.1.4.1.318.1.1.12.2.3.1.1.2"
SYS_OBJECT_ID = "1.3.6.1.2.1.1.2.0"
NAMES = profiles.names()
MAKES = (
    "apc-rpdu apc-rpdu2 raritan-px servertech-sentry3 servertech-sentry4 eaton-epdu-g3 "
    "vertiv-geist schleifenbauer cyberpower-epdu cyberpower-epdu2 enlogic entity-sensor"
)


def index_of(profile: Profile, of: str, number: int = 3) -> str:
    """A whole index, such as ``1.1.3``, or nothing for a total."""
    if of == "total":
        return ""
    parts = profile.parts.get(of, (of,))
    usual = profile.leading.get(of, "210").split(".")
    return ".".join([*usual[: len(parts) - 1], str(number)])


def played(profile: Profile, numbers: tuple[int, ...] = (3,)) -> dict[str, dict[str, Any]]:
    """What an agent of this make answers: raw 50 everywhere, and what the device has to tell."""
    facts = {"digits": 1, "prefix": 9, "gain": 100, "period": 2000}
    state: dict[str, dict[str, Any]] = {}
    prefix = profile.sys_object_ids[0] if profile.sys_object_ids else "1.3.6.1.4.1.99999"
    state[SYS_OBJECT_ID] = {"type": "objectid", "value": f".{prefix}.1"}
    for m in profile.measurements:
        for number in numbers:
            i = index_of(profile, m.of, number)
            state[f"{m.oid}.{m.index.format(i=i)}"] = {"type": "gauge", "value": 50}
            for asked in m.asked:
                value = asked.equals if asked.fact == "unit" else facts[asked.fact]
                oid = f"{asked.oid}.{asked.index.format(i=i)}"
                state[oid] = {"type": "integer", "value": value}
    for column in profile.names:
        i = index_of(profile, column.of)
        named = {"type": "string", "value": f"name of {column.of}"}
        state.setdefault(f"{column.oid}.{i}", named)
    return state


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_whole_and_says_where_its_numbers_come_from(name: str) -> None:
    profile = profiles.load(name)
    assert profile.name == name
    assert profile.powers()
    assert len({(m.of, m.quantity) for m in profile.measurements}) == len(profile.measurements)
    for m in profile.measurements:
        assert m.source
        assert m.unit == QUANTITIES[m.quantity].unit
        assert m.oid.startswith(f"{profile.enterprise}.")
        assert m.gain is None or m.gain_source
        assert ("{i}" in m.index) == (m.of != "total")
    for asked in (a for m in profile.measurements for a in m.asked):
        assert (asked.equals is not None) == (asked.fact == "unit")


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_leaves_nothing_unsaid(name: str) -> None:
    """What is not known is null in the file, not missing from it."""
    wanted = {f for f in Measurement.__struct_fields__ if f not in ("gain_source", "asked")}
    document = json.loads((profiles.FOLDER / f"{name}.json").read_text())
    assert all(wanted <= set(measurement) for measurement in document["measurements"])
    assert {"title", "enterprise", "sys_object_ids", "source"} <= set(document)


def test_every_make_of_the_reference_has_its_profile() -> None:
    assert set(MAKES.split()) == set(NAMES)


def test_no_column_of_amperes_is_a_power_anywhere() -> None:
    amperes = {m.oid for p in profiles.every() for m in p.measurements if m.unit == "A" and m.scale}
    powers = {
        m.oid for p in profiles.every() for m in p.measurements if m.unit == "W" and not m.asked
    }
    assert AMPS in amperes
    assert not amperes & powers


@pytest.mark.parametrize("name", NAMES)
def test_every_make_is_recognised_and_read(agent: Agent, name: str) -> None:
    profile = profiles.load(name)
    agent.set(played(profile))
    pdu = identify(agent.config())
    assert pdu.profile is not None
    assert pdu.profile.name == name
    place = next(p for p in pdu.places if "pdu_power" in p.values)
    power = next(m for m in profile.measurements if (m.of, m.quantity) == (place.of, "pdu_power"))
    assert place.number == index_of(profile, place.of)
    digits = 0.1 if power.asked else 1.0
    assert place.values["pdu_power"] == pytest.approx(50 * power.scale * digits)
    if any(column.of == place.of for column in profile.names):
        assert place.name == f"name of {place.of}"


@pytest.mark.parametrize("name", NAMES)
def test_every_make_is_measured_by_its_short_index(agent: Agent, name: str) -> None:
    profile = profiles.load(name)
    agent.set(played(profile))
    short = index_of(profile, "outlet") if "unit" in profile.parts.get("outlet", ()) else 3
    config = {"profile": name, "outlets": [short] if "outlet" in profile.powers() else []}
    plan = PDU.probe("rack1", agent.config(**config))
    assert plan.reason == ""
    device = next(d for d in plan.devices if "pdu_power" in d.quantities)
    facts = device.quantities["pdu_power"]
    assert facts.summed is True
    assert facts.gain > 0
    assert facts.gain_source
    assert set(device.quantities) <= {"pdu_power", "pdu_energy"}
    assert facts.probe.watts == pytest.approx(50 * facts.scale)


def test_a_known_make_whose_columns_are_silent_is_another_generation(agent: Agent) -> None:
    """CyberPower's second MIB under the first one's sysObjectID; APC's under an unlisted one."""
    for name, prefix in (("cyberpower-epdu2", "3808.1.1.3"), ("apc-rpdu2", "318.1.3.4.8")):
        state = played(profiles.load(name))
        state[SYS_OBJECT_ID]["value"] = f".1.3.6.1.4.1.{prefix}"
        agent.set(state)
        pdu = identify(agent.config())
        assert pdu.profile is not None
        assert pdu.profile.name == name


def test_an_unknown_make_is_none_and_names_itself(agent: Agent) -> None:
    agent.set({SYS_OBJECT_ID: {"type": "objectid", "value": ".1.3.6.1.4.1.424242.1"}})
    pdu = identify(agent.config())
    assert (pdu.profile, pdu.places) == (None, ())
    assert pdu.sys_object_id == "1.3.6.1.4.1.424242.1"


def test_the_longest_prefix_is_tried_first() -> None:
    assert [p.name for p in candidates("1.3.6.1.4.1.318.1.3.4.5")][:2] == ["apc-rpdu", "apc-rpdu2"]
    assert [p.name for p in candidates("1.3.6.1.4.1.17184.1")] == ["entity-sensor"]


def test_raritan_tells_its_own_unit_digits_and_accuracy(agent: Agent) -> None:
    state = played(profiles.load("raritan-px"))
    config, value = "1.3.6.1.4.1.13742.6.3.5.4.1", "1.3.6.1.4.1.13742.6.5.4.3.1.4"
    state[f"{value}.1.3.5"]["value"] = 1234
    agent.set(state)
    device = next(iter(PDU.probe("r", agent.config(profile="raritan-px")).devices))
    facts = device.quantities["pdu_power"]
    assert (facts.scale, facts.resolution, facts.period_s) == (0.1, 0.1, 1.0)
    assert (facts.gain, facts.gain_source) == (0.01, "vendor: read from the PDU")
    assert device.quantities["pdu_energy"].scale == 360
    state[f"{config}.6.1.3.8"]["value"] = 6  # volt-ampere-hours are no energy of kit's
    agent.set(state)
    section = agent.config(profile="raritan-px")
    energy = PDU.probe("r", section).devices[0].quantities["pdu_energy"]
    assert "in unit 6" in energy.reason
    reader = PDU.open("r", section, Clock())
    read = {(r.quantity, r.rc) for r in reader.tiers[0].read()}
    reader.close()
    assert read == {("pdu_power", 0), ("pdu_uptime", 0)}
    state[f"{config}.6.1.3.5"]["value"] = 4
    agent.set(state)
    assert "in unit 4" in PDU.probe("r", agent.config(profile="raritan-px")).reason
    del state[f"{config}.7.1.3.5"]
    agent.set(state)
    assert "digits" in PDU.probe("r", agent.config(profile="raritan-px")).reason


def test_entity_sensors_scale_themselves(agent: Agent) -> None:
    state = played(profiles.load("entity-sensor"))
    table = "1.3.6.1.2.1.99.1.1.1"
    for column, value in (("2", 8), ("3", 1), ("4", 2305000)):  # milli, one digit
        state[f"{table}.{column}.3"]["value"] = value
    agent.set(state)
    device = next(iter(PDU.probe("r", agent.config(profile="entity-sensor")).devices))
    facts = device.quantities["pdu_power"]
    assert facts.probe.watts == pytest.approx(230.5)
    assert facts.period_s == 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "pdu_power"},
        {"quantity": "pdu_power", "unit": "W"},
        {"unit": "W"},
        {"quantity": "pdu_power", "unit": "W", "oid": f"{AMPS}.1", "index": ""},
        {"quantity": "pdu_power", "unit": "W", "oid": AMPS[:-2], "index": "2.1"},
    ],
    ids=["quantity", "both", "unit", "with its index", "column in the index"],
)
def test_a_profile_that_calls_amperes_watts_is_refused(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    """The OID that a published study divided by ten and called watts."""
    document = json.loads((profiles.FOLDER / "apc-rpdu.json").read_text())
    document["measurements"][1] |= changes
    (tmp_path / "mine.json").write_text(json.dumps(document))
    with pytest.raises(MeterUnavailable, match=r"tenths of ampere|unit is"):
        profiles.load(str(tmp_path / "mine.json"))


def test_a_known_column_in_another_scale_is_refused(tmp_path: Path) -> None:
    document = json.loads((profiles.FOLDER / "apc-rpdu2.json").read_text())
    document["measurements"][3] |= {"scale": 1, "resolution": 1}
    (tmp_path / "mine.json").write_text(json.dumps(document))
    with pytest.raises(MeterUnavailable, match="steps of 10 W"):
        profiles.load(str(tmp_path / "mine.json"))


def test_a_profile_of_ones_own_is_one_file(agent: Agent, tmp_path: Path) -> None:
    document = json.loads((profiles.FOLDER / "enlogic.json").read_text())
    document["enterprise"] = "1.3.6.1.4.1.424242"
    for measurement in document["measurements"]:
        measurement["oid"] = measurement["oid"].replace("38446", "424242")
    (tmp_path / "mine.json").write_text(json.dumps(document | {"name": "mine"}))
    agent.set({"1.3.6.1.4.1.424242.1.5.9.1.6.1.3": {"type": "gauge", "value": 77}})
    plan = PDU.probe("rack1", agent.config(profile=str(tmp_path / "mine.json")))
    assert plan.devices[0].quantities["pdu_power"].probe == Probe(watts=77)


def test_indices_are_whole_or_refused() -> None:
    sentry = profiles.load("servertech-sentry4")
    assert points.select(sentry, [5, "2.7", "3.2.9"], [])["outlet"] == {
        "1.1.5": True,
        "1.2.7": True,
        "3.2.9": True,
    }
    with pytest.raises(MeterUnavailable, match=r"UNIT\.OUTLET"):
        points.select(profiles.load("schleifenbauer"), [4], [])
    for wrong in ("1.2.3.4", "A4", ""):
        with pytest.raises(MeterUnavailable, match=r"UNIT\.CORD\.OUTLET"):
            points.select(sentry, [wrong], [])
