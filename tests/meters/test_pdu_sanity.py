"""What a wall meter cannot show: less than its parts, watts that its own amperes cannot carry."""

from __future__ import annotations

from typing import Any

import pytest

from kit.core.facts import Probe
from kit.core.model import MeterDevice, MeterPlan
from kit.energy import sanity
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.measure import meters
from kit.run.preflight import meter_rules
from tests.meters.conftest import Agent
from tests.plans import facts_in

PDU = meters.get("pdu")
SENTRY = "1.3.6.1.4.1.1718.4.1.8.3.1"


def value(scope: str, joules: float | None, u: float = 10.0) -> EnergyValue:
    status: Any = "unmeasured" if joules is None else "measured"
    return EnergyValue(scope=scope, status=status, joules=joules, u_reading=0.0, u_sensor=u)


def test_a_wall_below_its_parts_is_impossible() -> None:
    parts = [value("gpu", 5000.0), value("cpu", 1000.0)]
    assert "impossible" in sentence(sanity.wall_below_parts([value("wall", 3500.0), *parts]))
    assert "GPU and CPU" in sentence(sanity.wall_below_parts([value("wall", 3500.0), *parts]))
    assert sanity.wall_below_parts([value("wall", 7000.0), *parts]) is None
    assert sanity.wall_below_parts([value("wall", 5500.0, 300.0), *parts]) is None


def test_what_is_unmeasured_proves_nothing() -> None:
    assert sanity.wall_below_parts([value("wall", None), value("gpu", 5000.0)]) is None
    assert sanity.wall_below_parts([value("wall", 1.0)]) is None
    estimate = EnergyValue(scope="estimate", status="estimated", joules=9e9)
    assert sanity.wall_below_parts([value("wall", 1.0), estimate]) is None


@pytest.mark.parametrize(
    ("watts", "others", "fits"),
    [
        (460.0, {"volts": 230.0, "amperes": 2.05, "power_factor": 0.98}, True),
        (46.0, {"volts": 230.0, "amperes": 2.05, "power_factor": 0.98}, False),
        (4600.0, {"volts": 230.0, "amperes": 2.05, "power_factor": 0.98}, False),
        (4600.0, {"amperes": 2.05}, False),
        (500.0, {"amperes": 2.05}, True),
        (9.0, {"volts": 230.0, "amperes": 0.1, "power_factor": 0.2}, True),
        (460.0, {}, True),
    ],
)
def test_watts_fit_voltage_current_and_power_factor(
    watts: float, others: dict[str, float], fits: bool
) -> None:
    assert (sanity.against_itself(Probe(watts=watts, **others)) is None) == fits


def sentry(watts: int) -> dict[str, dict[str, Any]]:
    raw = {"7": watts, "14": 1000, "3": 205, "6": 2300, "10": 98}
    return {f"{SENTRY}.{c}.1.1.3": {"type": "integer", "value": v} for c, v in raw.items()}


def test_preflight_judges_what_a_real_agent_told(agent: Agent) -> None:
    config = agent.config(profile="servertech-sentry4")
    for watts, codes in ((461, []), (46, ["PDU_IMPLAUSIBLE"])):
        agent.set(sentry(watts))
        plan = PDU.probe("rack1", config)
        probe = plan.devices[0].quantities["pdu_power"].probe
        assert probe.volts * probe.amperes * probe.power_factor == pytest.approx(462, abs=1)
        assert [f.code for f in meter_rules.wall([plan], {})] == codes


def test_preflight_sees_gpus_that_draw_more_than_the_wall(agent: Agent) -> None:
    plan = PDU.probe("rack1", agent.config())  # 230 W
    fine = {"gpu0": 50_000, "gpu1": {"absent": "no counter"}}
    assert list(meter_rules.wall([plan], fine)) == []
    findings = list(meter_rules.wall([plan], {"gpu0": 100_000, "gpu1": 90_000}))
    assert [f.code for f in findings] == ["PDU_IMPLAUSIBLE"]
    assert "380 W" in findings[0].message
    assert list(meter_rules.wall([plan], {"absent": "no GPU is planned for"})) == []


def test_preflight_says_that_a_calibration_does_not_fit() -> None:
    facts = {"probe": {"watts": 230.0}, "summed": True, "calibration_unused": "other outlets"}
    device = MeterDevice(
        device="pdu:a:3", description="", quantities=facts_in({"pdu_power": facts})
    )
    plan = MeterPlan(name="pdu", alias="a", devices=(device,))
    assert [f.code for f in meter_rules.wall([plan], {})] == ["PDU_UNCALIBRATED"]


@pytest.mark.parametrize(
    ("device", "watts", "scale", "codes"),
    [
        ("pdu:a:3", 65_535.0, 1, ["PDU_IMPLAUSIBLE"]),
        ("pdu:a:3", 6_553.5, 0.1, ["PDU_IMPLAUSIBLE"]),
        ("pdu:a:3", 9_000.0, 1, ["PDU_IMPLAUSIBLE"]),
        ("pdu:a:inlet1", 9_000.0, 1, []),
        ("pdu:a:3", 900.0, 1, []),
    ],
)
def test_preflight_sees_an_outlet_that_tells_more_than_it_can_carry(
    device: str, watts: float, scale: float, codes: list[str]
) -> None:
    facts = {"scale": scale, "summed": True, "gain": 0.03, "probe": {"watts": watts}}
    findings = MeterDevice(device=device, description="", quantities=facts_in({"pdu_power": facts}))
    plan = MeterPlan(name="pdu", alias="a", devices=(findings,))
    assert [f.code for f in meter_rules.wall([plan], {})] == codes
