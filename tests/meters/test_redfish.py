"""A machine's power by its BMC: real HTTP and HTTPS servers that answer as Redfish does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.cli.machine import _settings
from kit.core.errors import UsageError
from kit.core.facts import Probe
from kit.core.model import MeterSpec
from kit.energy.scopes.wall import curve as pdu_curve
from kit.judge.replay.undertaking import _meter
from kit.machine.host import HostConfig
from kit.measure import meters
from kit.measure.meters import web, webreader
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.watch import watch
from kit.record.events import Clock
from kit.record.samples import from_csv
from kit.run.preflight import meter_rules
from tests.meters.fake import Sampled
from tests.meters.web_device import Asked, Device, Page, certificate, device

REDFISH = meters.get("redfish")
PASSWORD, TOKEN = "open-Sesame-9", "f9b0c1aa"
CHASSIS = "/redfish/v1/Chassis"
SESSIONS = "/redfish/v1/SessionService/Sessions"
POWER = '{"PowerControl":[{"PowerConsumedWatts":590,"PowerCapacityWatts":1600}]}'
ENVIRONMENT = '{"PowerWatts":{"Reading":231.27000427246094},"EnergykWh":{"Reading":325.5}}'


def members(*names: str) -> dict[str, Any]:
    return {"Members": [{"@odata.id": f"{CHASSIS}/{name}"} for name in names]}


@pytest.fixture
def bmc() -> Iterator[Device]:
    with device() as web:
        web.pages[CHASSIS] = members("1")
        web.pages[f"{CHASSIS}/1/Power"] = POWER
        yield web


def config(server: Device, **changes: Any) -> dict[str, Any]:
    """What `HostConfig.meter` hands on; the words go through host.toml as a person's do."""
    words = {"url": server.url, "timeout_s": 0.5, **changes}
    text = "[redfish.bmc]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in words.items())
    return HostConfig.parse(text).meter("redfish", "bmc")


def read(section: dict[str, Any]) -> list[meters.Reading]:
    reader = REDFISH.open("bmc", section, Clock())
    try:
        return [reading for tier in reader.tiers for reading in tier.read()]
    finally:
        reader.close()


# --- what it tells ------------------------------------------------------------------------------


def test_power_of_the_only_chassis(bmc: Device) -> None:
    (device,) = REDFISH.probe("bmc", config(bmc)).devices
    facts = device.quantities["pdu_power"]
    assert device.device == "redfish:bmc:chassis0" and set(device.quantities) == {"pdu_power"}
    assert facts.probe == Probe(watts=590.0) and facts.summed is True
    (reading,) = read(config(bmc))
    assert (reading.rc, reading.raw, facts.scale) == (0, 590_000, 0.001)


def test_environment_metrics_go_first_and_tell_energy(bmc: Device) -> None:
    bmc.pages[f"{CHASSIS}/1/EnvironmentMetrics"] = ENVIRONMENT
    (device,) = REDFISH.probe("bmc", config(bmc)).devices
    power, energy = read(config(bmc))
    assert (power.raw, energy.raw) == (231_270, 325_500_000)
    quantities = device.quantities
    assert energy.raw * quantities["pdu_energy"].scale == pytest.approx(325.5 * 3.6e6)
    assert "rounded" in quantities["pdu_power"].rounding


@pytest.mark.parametrize("reading", ["null", '"231"', "true", "{}"])
def test_an_environment_without_a_number_falls_back_to_power(bmc: Device, reading: str) -> None:
    bmc.pages[f"{CHASSIS}/1/EnvironmentMetrics"] = f'{{"PowerWatts":{{"Reading":{reading}}}}}'
    assert [(r.rc, r.raw) for r in read(config(bmc))] == [(0, 590_000)]


def test_lag_and_accuracy_are_wide_priors_and_never_zero(bmc: Device) -> None:
    (device,) = REDFISH.probe("bmc", config(bmc)).devices
    facts = device.quantities["pdu_power"]
    assert facts.lag_u_s > 30 and "prior" in facts.lag_source
    assert facts.gain == 0.1 and "prior" in facts.gain_source
    assert facts.period_reason and facts.period_s is None
    (stated,) = REDFISH.probe("bmc", config(bmc, period_s=10)).devices
    assert stated.quantities["pdu_power"].period_s == 10.0


def test_chassis_add_up_only_where_they_are_named(bmc: Device) -> None:
    bmc.pages |= {CHASSIS: members("1", "GPU.Tray-2"), f"{CHASSIS}/GPU.Tray-2/Power": POWER}
    plan = REDFISH.probe("bmc", config(bmc))
    assert not plan.devices and "name those" in plan.reason and "Tray" not in plan.reason
    with pytest.raises(MeterUnavailable):
        REDFISH.open("bmc", config(bmc), Clock())
    plan = REDFISH.probe("bmc", config(bmc, chassis=["1", "GPU.Tray-2"]))
    assert [d.device for d in plan.devices] == ["redfish:bmc:chassis0", "redfish:bmc:chassis1"]
    assert all(d.quantities["pdu_power"].summed for d in plan.devices)
    assert len(read(config(bmc, chassis=["1", "GPU.Tray-2"]))) == 2


def test_of_several_chassis_the_only_one_that_tells_power_is_read(bmc: Device) -> None:
    bmc.pages[CHASSIS] = members("Riser", "1")
    assert len(REDFISH.probe("bmc", config(bmc)).devices) == 1


@pytest.mark.parametrize("page", [Page(status=503), Page(status=500), "NaN", Page(status=403)])
def test_a_chassis_that_cannot_be_asked_is_not_passed_over(bmc: Device, page: Any) -> None:
    """The other one that tells power may be a part of the machine."""
    bmc.pages |= {CHASSIS: members("1", "Tray"), f"{CHASSIS}/Tray/Power": page}
    plan = REDFISH.probe("bmc", config(bmc))
    assert not plan.devices and "name those" in plan.reason
    assert len(REDFISH.probe("bmc", config(bmc, chassis=["1"])).devices) == 1


@pytest.mark.parametrize("more", [{}, {"Members@odata.nextLink": f"{CHASSIS}?$skip=1"}])
def test_chassis_beyond_those_that_are_asked_must_be_named(
    bmc: Device, more: dict[str, Any]
) -> None:
    listed = members("1") if more else members(*map(str, range(17)))
    bmc.pages[CHASSIS] = {**listed, **more}
    plan = REDFISH.probe("bmc", config(bmc))
    assert not plan.devices and "too many" in plan.reason


def test_a_named_chassis_that_tells_no_power_is_the_reason(bmc: Device) -> None:
    plan = REDFISH.probe("bmc", config(bmc, chassis=["1", "2"]))
    assert not plan.devices and web.REASONS[404] in plan.reason


@pytest.mark.slow
def test_its_power_becomes_joules_with_a_wide_uncertainty(bmc: Device, tmp_path: Path) -> None:
    section = config(bmc, poll_s=0.1)
    (device,) = REDFISH.probe("bmc", section).devices
    sampled = Sampled(tmp_path / "s", [{"name": "redfish", "alias": "bmc", "config": section}])
    t0, t1 = sampled.run(1.5)
    samples = from_csv({name.removesuffix(".csv"): d for name, d in sampled.files().items()})
    curve = pdu_curve(device, samples)
    assert curve is not None and curve.lag_s > 30
    part = curve.between(t0 + 2e8, t1 - 2e8)
    assert part.joules == pytest.approx(590 * (t1 - t0 - 4e8) * 1e-9)


# --- what is lost, and what is hostile ----------------------------------------------------------

ANSWERS: dict[str, tuple[Any, int]] = {
    "gone": (Page(status=404), 404),
    "refused": (Page(status=401), 401),
    "busy": (Page(status=503), 503),
    "a page": (Page(b"<html>"), web.NO_JSON),
    "dripping": (Page(POWER.encode(), drip_s=0.1), web.NO_ANSWER),
    "cut": (Page(POWER.encode()[:-5], missing=5), web.NO_ANSWER),
    "too large": (Page(b" " * 300_000), web.TOO_LARGE),
    "elsewhere": (Page(status=302, headers=(("Location", "http://198.51.100.7/"),)), web.ELSEWHERE),
    "empty": ('{"PowerControl":[]}', webreader.MISSING),
    "no list": ('{"PowerControl":{"0":{"PowerConsumedWatts":5}}}', 0),
    "null": (POWER.replace("590", "null"), webreader.NO_NUMBER),
    "boolean": (POWER.replace("590", "true"), webreader.NO_NUMBER),
    "text": (POWER.replace("590", '"590"'), webreader.NO_NUMBER),
    "NaN": (POWER.replace("590", "NaN"), web.NO_JSON),
    "infinite": (POWER.replace("590", "Infinity"), web.NO_JSON),
    "huge": (POWER.replace("590", "1e40"), webreader.TOO_LARGE),
    "tiny": (POWER.replace("590", "1e-999999"), webreader.TOO_FINE),
    "negative": (POWER.replace("590", "-1"), webreader.NEGATIVE),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_a_code_with_words(bmc: Device, name: str) -> None:
    page, code = ANSWERS[name]
    reader = REDFISH.open("bmc", config(bmc), Clock())
    (tier,) = reader.tiers
    bmc.pages[f"{CHASSIS}/1/Power"] = page
    (reading,) = tier.read()
    assert reading.rc == code and (reading.raw is None) == bool(code)
    assert not code or reader.explain(code)
    bmc.pages[f"{CHASSIS}/1/Power"] = POWER
    assert [r.rc for r in tier.read()] == [0]
    reader.close()


@pytest.mark.parametrize(
    "listed",
    [
        "[]",
        "{}",
        '{"Members":7}',
        '{"Members":[]}',
        '{"Members":[null,{"@odata.id":5}]}',
        '{"Members":[{"@odata.id":"/redfish/v1/Chassis/../../x y"}]}',
        '{"Members":[{"@odata.id":"http://198.51.100.7/?"}]}',
        "NaN",
    ],
)
def test_a_hostile_list_of_chassis_is_a_reason(bmc: Device, listed: str) -> None:
    bmc.pages[CHASSIS] = listed
    plan = REDFISH.probe("bmc", config(bmc))
    assert not plan.devices and plan.reason and "[redfish.bmc]" in plan.reason
    assert all(asked.path.startswith(CHASSIS) for asked in bmc.seen)


def test_a_bmc_that_is_off_is_a_reason() -> None:
    with device() as server:
        section = config(server)
    assert web.REASONS[web.UNREACHABLE] in REDFISH.probe("bmc", section).reason
    plan = REDFISH.probe("bmc", {})
    assert "[redfish.bmc]" in plan.reason
    (finding,) = meter_rules.meters([plan])
    assert (finding.code, finding.level) == ("REDFISH_UNREACHABLE", "fail") and finding.remedy


def test_a_bmc_that_is_busy_when_the_run_starts_is_asked_again(bmc: Device) -> None:
    answers = iter([Page(status=503), members("1"), members("1")])
    bmc.pages[CHASSIS] = lambda _: next(answers)
    assert [r.rc for r in read(config(bmc))] == [0]


# --- credentials --------------------------------------------------------------------------------


def guarded(server: Device, header: str, value: str) -> None:
    """Every page of a BMC that wants a header."""
    for path, page in list(server.pages.items()):
        server.pages[path] = lambda asked, page=page: (
            page if asked.headers.get(header) == value else Page(status=401)
        )


def test_basic_credentials_go_with_each_request(bmc: Device) -> None:
    guarded(bmc, "Authorization", "Basic bWU6b3Blbi1TZXNhbWUtOQ==")
    assert [r.rc for r in read(config(bmc, user="me", password=PASSWORD))] == [0]
    plan = REDFISH.probe("bmc", config(bmc, user="me", password="wrong"))
    assert web.REASONS[401] in plan.reason


def test_a_token_of_someone_elses_session(bmc: Device) -> None:
    guarded(bmc, "X-Auth-Token", TOKEN)
    assert [r.rc for r in read(config(bmc, token=TOKEN))] == [0]


@pytest.mark.parametrize("location", [f"{SESSIONS}/7", f"http://198.51.100.7{SESSIONS}/7", "/x"])
def test_a_session_is_begun_renewed_and_ended(bmc: Device, location: str) -> None:
    tokens = iter(["one", "two"])
    valid: list[str] = []

    def begin(asked: Asked) -> Page:
        credentials = json.loads(asked.body)
        if credentials != {"UserName": "me", "Password": PASSWORD}:
            return Page(status=401)
        valid[:] = [next(tokens)]
        headers = (("X-Auth-Token", valid[0]), ("Location", location))
        return Page(b"{}", 201, headers)

    def power(asked: Asked) -> Any:
        return POWER if asked.headers.get("X-Auth-Token") in valid else Page(status=401)

    bmc.pages |= {SESSIONS: begin, f"{CHASSIS}/1/Power": power}
    section = config(bmc, user="me", password=PASSWORD, session=True, chassis=["1"])
    reader = REDFISH.open("bmc", section, Clock())
    (tier,) = reader.tiers
    assert [r.rc for r in tier.read()] == [0]
    valid.clear()  # it ended by itself
    assert [r.rc for r in tier.read()] == [0]
    reader.close()
    ended = [asked.path for asked in bmc.seen if asked.method == "DELETE"]
    assert ended == ([f"{SESSIONS}/7"] if location.endswith("7") else [])
    assert not any("Authorization" in asked.headers for asked in bmc.seen)
    wrong = {**section, "password": "wrong"}
    assert web.REASONS[401] in REDFISH.probe("bmc", wrong).reason


def test_a_plan_holds_neither_address_nor_credential_nor_chassis(bmc: Device) -> None:
    bmc.pages[f"{CHASSIS}/CN7475162I0123/EnvironmentMetrics"] = ENVIRONMENT
    for words in ({"user": "someone", "password": PASSWORD}, {"token": TOKEN}):
        for chassis in (["CN7475162I0123"], ["CN747516"], []):
            section = config(bmc, chassis=chassis, **words)
            text = json.dumps(msgspec.to_builtins(REDFISH.probe("bmc", section)))
            for secret in (PASSWORD, TOKEN, "someone", "127.0.0.1", "CN7475", "c29tZW"):
                assert secret not in text


def test_the_plan_says_when_a_certificate_was_not_verified(tmp_path: Path) -> None:
    trusted = certificate(tmp_path)
    with device(trusted) as server:
        server.pages |= {CHASSIS: members("1"), f"{CHASSIS}/1/Power": POWER}
        assert web.REASONS[web.UNTRUSTED] in REDFISH.probe("bmc", config(server)).reason
        assert not server.seen  # before the certificate is trusted, nothing is sent
        (chassis,) = REDFISH.probe("bmc", config(server, verify=False)).devices
        assert "verify = false" in chassis.description
        assert "verify = false" in chassis.quantities["pdu_power"].security
        (chassis,) = REDFISH.probe("bmc", config(server, ca=str(trusted))).devices
        assert chassis.quantities["pdu_power"].security == "HTTPS, verified"


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    other = certificate(tmp_path, "127.0.0.2")
    with device(other) as server:
        server.pages |= {CHASSIS: members("1"), f"{CHASSIS}/1/Power": POWER}
        plan = REDFISH.probe("bmc", config(server, ca=str(other)))
        assert web.REASONS[web.UNTRUSTED] in plan.reason


# --- host.toml, and beside other meters ---------------------------------------------------------

GOOD = 'url = "https://192.0.2.12"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('user = "me"\npassword = "a"\n', "url"),
        (GOOD + "outlets = [1]\n", "outlets"),
        (GOOD.replace("192", "me:s3cret@192"), "password"),
        (GOOD.replace("192.0.2.12", "192.0.2.12/redfish/v1"), "url"),
        (GOOD + 'password = "s3cret"\n', "user"),
        (GOOD + 'user = "me"\npassword = "s3cret"\ntoken = "t"\n', "token"),
        (GOOD + 'token = "s3cret\\u000d"\n', "token"),
        (GOOD + "session = true\n", "session"),
        (GOOD + 'chassis = ["../Managers"]\n', "chassis"),
        (GOOD + 'chassis = [".."]\n', "chassis"),
        (GOOD + 'chassis = ["1", "1"]\n', "chassis"),
        (GOOD + "chassis = [1]\n", "chassis"),
        (GOOD + "poll_s = 0\n", "poll_s"),
        (GOOD + 'verify = "no"\n', "verify"),
    ],
)
def test_a_section_that_cannot_be_is_refused_with_key_and_remedy(text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        HostConfig.parse(f"[redfish.bmc]\n{text}")
    assert "[redfish.bmc]" in caught.value.message and word in caught.value.message
    assert caught.value.remedy and "s3cret" not in str(caught.value)


def test_a_replay_says_what_it_reaches_and_by_whose_word() -> None:
    text = f'[redfish.bmc]\n{GOOD}token = "{TOKEN}"\nverify = false\n'
    host_config = HostConfig.parse(text)
    part = _meter(MeterSpec(name="redfish", alias="bmc"), host_config)
    assert part.reaches == "192.0.2.12 port 443, over HTTPS, certificate not verified"
    assert part.credentials == "the session's token of [redfish.bmc] in host.toml"
    assert host_config.has_secrets and TOKEN not in repr(host_config)


def test_beside_outlets_a_bmc_is_in_no_sum(bmc: Device) -> None:
    section = {**config(bmc), "inside": True}
    shown = next(watch([("redfish", "bmc")], lambda *_: section, 0.6))
    (state,) = shown.devices.values()
    assert (state.scope, state.summed, state.watts) == ("wall", False, 590.0)


def test_the_monitor_says_so_where_host_toml_has_outlets_too() -> None:
    pdu = '[pdu.rack1]\nhost = "192.0.2.10"\nprofile = "apc-rpdu2"\ncommunity = "public"\n'
    for text, inside in (("", False), (pdu, True)):
        host_config = HostConfig.parse(f"[redfish.bmc]\n{GOOD}{text}")
        wanted: list[tuple[str, str | None]] = [("nvml", None), *host_config.aliased()]
        assert _settings(host_config, wanted, "redfish", "bmc").get("inside", False) is inside
        assert "inside" not in _settings(host_config, wanted, "pdu", "rack1")
