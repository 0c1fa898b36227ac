"""Smart plugs over HTTP: real servers on this machine that answer as the makes do, and as none."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.core.model import MeterSpec
from kit.core.units import QUANTITIES
from kit.energy.scopes.wall import curve as pdu_curve
from kit.judge.replay.undertaking import _meter
from kit.machine.host import HostConfig
from kit.measure import meters
from kit.measure.meters import digest, plug, web, webreader
from kit.measure.meters.contract import MeterUnavailable
from kit.record.events import Clock
from kit.record.samples import from_csv
from tests.meters.fake import Sampled
from tests.meters.web_device import Asked, Device, Page, certificate, device

PLUG = meters.get("plug")
PASSWORD = "open-Sesame-9"
GEN1 = '{"power":12.34,"overpower":0.00,"is_valid":true,"timestamp":1,"counters":[1.0],"total":77}'
GEN2 = '{"id":0,"output":true,"apower":8.9,"voltage":237.5,"aenergy":{"total":11.679}}'
TASMOTA = '{"StatusSNS":{"Time":"2026-01-01T00:00:00","ENERGY":{"Total":3.185,"Power":86}}}'
# By make: host.toml's words, path, answer, and what it must give: (W, J) by raw and scale.
MAKES: dict[str, tuple[dict[str, Any], str, str, tuple[int, float], tuple[int, float]]] = {
    "shelly-gen1": ({}, "/meter/0", GEN1, (1234, 0.01), (77, 60.0)),
    "shelly-gen2": ({}, "/rpc/Switch.GetStatus?id=0", GEN2, (8900, 0.001), (11679, 3.6)),
    "shelly-gen2-pm1": ({}, "/rpc/PM1.GetStatus?id=0", GEN2, (8900, 0.001), (11679, 3.6)),
    "tasmota": ({}, "/cm?cmnd=Status%208", TASMOTA, (86000, 0.001), (318500, 36.0)),
    "generic": (
        {"path": "/now", "power": "/a~1b/0/w", "digits": 1, "energy": "/kwh"}
        | {"energy_unit": "kWh", "energy_digits": 3},
        "/now",
        '{"a/b":[{"w":4.5e2}],"kwh":1.5}',
        (4500, 0.1),
        (1500, 3600.0),
    ),
}


@pytest.fixture
def server() -> Iterator[Device]:
    with device() as web:
        yield web


def config(server: Device, profile: str = "shelly-gen1", **changes: Any) -> dict[str, Any]:
    """What `HostConfig.meter` hands on; the words go through host.toml as a person's do."""
    words = {"url": server.url, "profile": profile, "timeout_s": 0.5, **changes}
    text = "[plug.desk]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in words.items())
    return HostConfig.parse(text).meter("plug", "desk")


def read(section: dict[str, Any]) -> list[meters.Reading]:
    reader = PLUG.open("desk", section, Clock())
    try:
        return [reading for tier in reader.tiers for reading in tier.read()]
    finally:
        reader.close()


# --- what the makes tell ------------------------------------------------------------------------


def test_every_profile_has_an_answer_here() -> None:
    assert set(MAKES) == {*plug.names(), "generic"}, "put an answer of the make into MAKES"


@pytest.mark.parametrize("make", MAKES)
def test_a_make_is_read_to_its_last_digit(server: Device, make: str) -> None:
    words, path, answer, *expected = MAKES[make]
    server.pages[path] = answer
    section = config(server, make, **words)
    plan = PLUG.probe("desk", section)
    (device,) = plan.devices
    readings = read(section)
    assert [(r.device, r.rc) for r in readings] == [(device.device, 0)] * 2
    for reading, (raw, scale) in zip(readings, expected, strict=True):
        facts = device.quantities[reading.quantity]
        assert (reading.raw, facts.scale) == (raw, scale)
        assert facts.poll_s == 1.0 and facts.period_reason and facts.source
        assert QUANTITIES[reading.quantity].unit == facts.unit
    power = device.quantities["pdu_power"]
    assert power.probe.watts == pytest.approx(expected[0][0] * expected[0][1])
    assert power.gain == 0.05 and "prior" in power.gain_source
    assert all(asked.method == "GET" for asked in server.seen)


def test_hosts_words_on_accuracy_go_before_the_profiles(server: Device) -> None:
    server.pages["/meter/0"] = GEN1
    words = {"gain": 0.01, "gain_source": "its data sheet", "squelch": 2.0, "period_s": 3.0}
    (device,) = PLUG.probe("desk", config(server, **words, poll_s=0.5)).devices
    facts = device.quantities["pdu_power"]
    assert words.items() <= msgspec.to_builtins(facts).items() and facts.poll_s == 0.5
    assert facts.period_reason is None


def test_another_channel_and_ones_own_profile(server: Device, tmp_path: Path) -> None:
    own = json.loads((plug.FOLDER / "shelly-gen1.json").read_text()) | {"path": "/m/{channel}"}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    server.pages["/m/2"] = GEN1
    (tmp_path / "host.toml").write_text(
        f'[plug.a]\nurl = "{server.url}"\nprofile = "mine.json"\nchannel = 2\n'
    )
    section = HostConfig.load(tmp_path / "host.toml").meter("plug", "a")
    (device,) = PLUG.probe("a", section).devices
    assert device.device == "plug:a:2"


@pytest.mark.slow
def test_a_plugs_power_becomes_joules(server: Device, tmp_path: Path) -> None:
    """The whole way: real server, sampler process, samples, the curve that outlets have."""
    server.pages["/meter/0"] = GEN1
    section = config(server, poll_s=0.1)
    (device,) = PLUG.probe("desk", section).devices
    wanted = {"name": "plug", "alias": "desk", "config": section}
    sampled = Sampled(tmp_path / "samples", [wanted])
    t0, t1 = sampled.run(2.0)
    samples = from_csv({name.removesuffix(".csv"): d for name, d in sampled.files().items()})
    curve = pdu_curve(device, samples)
    assert curve is not None
    part = curve.between(t0 + 2e8, t1 - 2e8)
    assert part.joules == pytest.approx(12.34 * (t1 - t0 - 4e8) * 1e-9)


# --- what is lost, and what is hostile ----------------------------------------------------------

DEEP = "[" * 100_000
ANSWERS: dict[str, tuple[Any, int]] = {
    "gone": (Page(status=404), 404),
    "refused": (Page(status=401), 401),
    "forbidden": (Page(status=403), 403),
    "out of order": (Page(status=503), 503),
    "empty": (Page(b""), web.NO_JSON),
    "a page": (Page(b"<html>"), web.NO_JSON),
    "cut": (Page(GEN1.encode()[:-9], missing=9), web.NO_ANSWER),
    "dripping": (Page(GEN1.encode(), drip_s=0.1), web.NO_ANSWER),
    "not HTTP": (Page(raw=b"SSH-2.0-OpenSSH\r\n\r\n"), web.NO_HTTP),
    "endless headers": (Page(raw=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200), web.NO_HTTP),
    "too large": (Page(b" " * 300_000 + GEN1.encode()), web.TOO_LARGE),
    "latin": (Page(b'{"power": "\xe9"}'), web.NO_JSON),
    "NaN": (GEN1.replace("12.34", "NaN"), web.NO_JSON),
    "infinite": (GEN1.replace("12.34", "-Infinity"), web.NO_JSON),
    "twice": ('{"power":1,"power":2,"is_valid":true}', web.NO_JSON),
    "deep": (DEEP, web.NO_JSON),
    "deep in objects": ('{"a":' * 50_000, web.NO_JSON),
    "beyond Decimal": (GEN1.replace("12.34", "1e99999999999999999999"), web.NO_JSON),
    "missing": ('{"is_valid":true}', webreader.MISSING),
    "a list": ("[]", webreader.MISSING),
    "a bare number": ("12.34", webreader.MISSING),
    "null": (GEN1.replace("12.34", "null"), webreader.NO_NUMBER),
    "boolean": (GEN1.replace("12.34", "true"), webreader.NO_NUMBER),
    "text": (GEN1.replace("12.34", '"12.34"'), webreader.NO_NUMBER),
    "object": (GEN1.replace("12.34", "{}"), webreader.NO_NUMBER),
    "huge": (GEN1.replace("12.34", "1e30"), webreader.TOO_LARGE),
    "vast": (GEN1.replace("12.34", "1e999999"), webreader.TOO_LARGE),
    "long": (GEN1.replace("12.34", "9" * 200_000), webreader.TOO_LARGE),
    "fine": (GEN1.replace("12.34", "12.345"), webreader.TOO_FINE),
    "tiny": (GEN1.replace("12.34", "1e-999999"), webreader.TOO_FINE),
    "negative": (GEN1.replace("12.34", "-12.34"), webreader.NEGATIVE),
    "of no value": (GEN1.replace("true", "false"), webreader.NOT_VALID),
    "of doubtful value": (GEN1.replace("true", "1"), webreader.NOT_VALID),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_a_code_with_words(server: Device, name: str) -> None:
    page, code = ANSWERS[name]
    server.pages["/meter/0"] = GEN1
    reader = PLUG.open("desk", config(server), Clock())
    (tier,) = reader.tiers
    server.pages["/meter/0"] = page
    readings = tier.read()
    assert (readings[0].rc, readings[0].raw) == (code, None)
    assert len(readings) == 2 and all((r.rc == 0) == (r.raw is not None) for r in readings)
    assert reader.explain(code) and reader.explain(code) != reader.explain(-999)
    server.pages["/meter/0"] = GEN1  # and it recovers by itself
    assert [r.rc for r in tier.read()] == [0, 0]
    reader.close()
    server.pages["/meter/0"] = page
    plan = PLUG.probe("desk", config(server))
    assert not plan.devices and reader.explain(code) in plan.reason
    assert "[plug.desk] in host.toml" in plan.reason


def test_a_value_that_is_lost_loses_no_other(server: Device) -> None:
    server.pages["/meter/0"] = GEN1.replace("77", "null")
    (device,) = PLUG.probe("desk", config(server)).devices
    assert device.quantities["pdu_energy"].reason == webreader.explain(webreader.NO_NUMBER)
    assert [r.rc for r in read(config(server))] == [0, webreader.NO_NUMBER]


def test_a_plug_that_is_off_and_comes_back_is_read_again() -> None:
    with device() as server:
        server.pages["/meter/0"] = Page(GEN1.encode(), headers=(("Connection", "close"),))
        section = config(server)
        reader = PLUG.open("desk", section, Clock())
        assert [r.rc for r in reader.tiers[0].read()] == [0, 0]
    readings = reader.tiers[0].read()
    assert {r.rc for r in readings} == {web.UNREACHABLE}
    reader.close()
    assert PLUG.probe("desk", section).reason.startswith(web.REASONS[web.UNREACHABLE])


def test_the_time_of_a_whole_answer_is_bounded(server: Device) -> None:
    server.pages["/meter/0"] = Page(GEN1.encode(), drip_s=0.2)  # each byte in time, 17 s in all
    begun = time.monotonic()
    assert {r.rc for r in read(config(server))} == {web.NO_ANSWER}
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("/moved", 0),
        ("http://198.51.100.7/meter/0", web.ELSEWHERE),
        ("//198.51.100.7/meter/0", web.ELSEWHERE),
        ("https://127.0.0.1/meter/0", web.ELSEWHERE),
        ("http://127.0.0.1:1/meter/0", web.ELSEWHERE),
        ("file:///etc/passwd", web.ELSEWHERE),
        ("http://[", web.ELSEWHERE),
        ("", web.ELSEWHERE),
        ("/meter/0", web.ELSEWHERE),
    ],
)
def test_a_redirect_leads_to_the_same_host_alone(server: Device, location: str, code: int) -> None:
    server.pages |= {"/meter/0": Page(status=302, headers=(("Location", location),))}
    server.pages["/moved"] = GEN1
    assert {r.rc for r in read(config(server, user="me", password=PASSWORD))} == {code}


def test_a_server_that_closes_after_each_answer_is_asked_again(server: Device) -> None:
    server.pages["/meter/0"] = Page(GEN1.encode(), headers=(("Connection", "close"),))
    reader = PLUG.open("desk", config(server), Clock())
    assert [r.rc for _ in range(3) for r in reader.tiers[0].read()] == [0] * 6
    reader.close()


# --- exact numbers ------------------------------------------------------------------------------


@given(st.integers(0, 10**14), st.integers(0, 6))
def test_a_decimal_text_is_kept_exactly(raw: int, digits: int) -> None:
    text = str(Decimal(raw).scaleb(-digits))
    assert webreader.raw(web.parse(text.encode()), digits) == (0, raw)


@given(st.decimals(0, 10**6, allow_nan=False, places=9))
def test_more_digits_are_lost_or_rounded_half_to_even_where_said(value: Decimal) -> None:
    exact = value.scaleb(3)
    code, number = webreader.raw(value, 3)
    assert (code, number) == (
        (0, int(exact)) if exact == int(exact) else (webreader.TOO_FINE, None)
    )
    assert webreader.raw(value, 3, rounded=True) == (0, int(exact.to_integral_value()))


# --- credentials --------------------------------------------------------------------------------


def test_basic_goes_with_the_request(server: Device) -> None:
    server.pages["/meter/0"] = lambda asked: (
        GEN1
        if asked.headers.get("Authorization") == "Basic bWU6b3Blbi1TZXNhbWUtOQ=="
        else Page(status=401)
    )
    assert {r.rc for r in read(config(server, user="me", password=PASSWORD))} == {0}
    assert {r.rc for r in read(config(server, user="me", password="wrong"))} == {401}


def digested(algorithm: str) -> Any:
    """A page that asks for digest authentication, and checks the answer as RFC 7616 says."""

    def hashed(text: str) -> str:
        return hashlib.new(algorithm.replace("-", "").lower(), text.encode()).hexdigest()

    other = 'Digest qop="auth", realm="plug", nonce="60dc59c6", algorithm=SHA-512-256'
    challenge = f'Digest qop="auth", realm="plug", nonce="60dc59c6", algorithm={algorithm}'
    challenges = ('Basic realm="plug"', other, challenge)

    def page(asked: Asked) -> Any:
        sent = asked.headers.get("Authorization", "")
        parameters = dict(re.findall(r'(\w+)="?([^",]+)"?', sent))
        who, what = hashed(f"admin:plug:{PASSWORD}"), hashed(f"GET:{asked.path}")
        right = hashed(
            f"{who}:60dc59c6:{parameters.get('nc')}:{parameters.get('cnonce')}:auth:{what}"
        )
        if parameters.get("response") == right:
            return GEN2
        return Page(
            status=401, headers=tuple(("WWW-Authenticate", challenge) for challenge in challenges)
        )

    return page


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_digest_never_sends_the_password(server: Device, algorithm: str) -> None:
    path = "/rpc/Switch.GetStatus?id=0"
    server.pages[path] = digested(algorithm)
    section = config(server, "shelly-gen2", user="admin", password=PASSWORD)
    assert {r.rc for r in read(section)} == {0}
    assert {r.rc for r in read({**section, "password": "wrong"})} == {401}
    assert not any("Basic" in asked.headers.get("Authorization", "") for asked in server.seen)
    server.pages[path] = Page(status=401, headers=(("WWW-Authenticate", 'Basic realm="x"'),))
    assert {r.rc for r in read(section)} == {401}
    assert not any("Basic" in asked.headers.get("Authorization", "") for asked in server.seen)


def test_tasmota_wants_them_in_the_query(server: Device) -> None:
    server.pages["/cm?cmnd=Status%208&user=a+b&password=x%26y"] = TASMOTA
    assert {r.rc for r in read(config(server, "tasmota", user="a b", password="x&y"))} == {0}


def test_a_plan_holds_neither_address_nor_credential(server: Device) -> None:
    for make, (words, path, answer, *_) in MAKES.items():
        server.pages[path] = answer
        section = config(server, make, user="someone", password=PASSWORD, **words)
        reader = PLUG.open("desk", section, Clock())
        plans = [PLUG.probe("desk", section), PLUG.probe("desk", {**section, "channel": 9})]
        text = json.dumps([msgspec.to_builtins(plan) for plan in (*plans, *reader.devices)])
        text += "".join(map(reader.explain, [*web.REASONS, *webreader.REASONS, 500]))
        reader.close()
        for secret in (PASSWORD, "someone", "127.0.0.1", server.url.rpartition(":")[2], "c29tZW"):
            assert secret not in text
    assert "HTTP, neither encrypted nor verified" in text


# --- HTTPS --------------------------------------------------------------------------------------


def test_a_certificate_is_verified_unless_host_toml_says_otherwise(tmp_path: Path) -> None:
    trusted = certificate(tmp_path)
    with device(trusted) as server:
        server.pages["/meter/0"] = GEN1
        assert PLUG.probe("desk", config(server)).reason.startswith(web.REASONS[web.UNTRUSTED])
        for words, security in (
            ({"ca": str(trusted)}, "HTTPS, verified"),
            ({"verify": False}, "certificate not verified"),
        ):
            (plug,) = PLUG.probe("desk", config(server, **words)).devices
            assert security in plug.description
            assert security in plug.quantities["pdu_power"].security
            assert {r.rc for r in read(config(server, **words))} == {0}
        no_file = config(server, ca=str(tmp_path / "none.pem"))
        assert PLUG.probe("desk", no_file).reason.startswith(web.REASONS[web.NO_CA])
        plain = {**config(server), "url": server.url.replace("https", "http")}
        assert not PLUG.probe("desk", plain).devices
    with device() as server:
        plain = {**config(server), "url": server.url.replace("http", "https")}
        assert PLUG.probe("desk", plain).reason.startswith(web.REASONS[web.NO_TLS])


# --- host.toml ----------------------------------------------------------------------------------

GOOD = 'url = "http://192.0.2.11"\nprofile = "shelly-gen1"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('profile = "tasmota"\n', "url"),
        ('url = "http://192.0.2.11"\n', "profile"),
        (GOOD + "colour = 1\n", "colour"),
        (GOOD.replace("http:", "ftp:"), "url"),
        (GOOD.replace("192.0.2.11", "192.0.2.11/meter"), "url"),
        (GOOD.replace("192.0.2.11", "192.0.2.11?a=1"), "url"),
        (GOOD.replace("192.0.2.11", "192.0.2.11:99999"), "url"),
        (GOOD.replace("192.0.2.11", "me:s3cret@192.0.2.11"), "password"),
        (GOOD.replace("192.0.2.11", ""), "url"),
        (GOOD + 'user = "me"\n', "password"),
        (GOOD + 'user = "me"\npassword = "a\\u000a"\n', "password"),
        (GOOD + 'user = "m:e"\npassword = "a"\n', "user"),
        (GOOD + "poll_s = nan\n", "poll_s"),
        (GOOD + "timeout_s = 0\n", "timeout_s"),
        (GOOD + "period_s = 1e9\n", "period_s"),
        (GOOD + "channel = -1\n", "channel"),
        (GOOD + "channel = true\n", "channel"),
        (GOOD + "gain = 0.1\n", "gain_source"),
        (GOOD + 'gain = 9\ngain_source = "a"\n', "gain"),
        (GOOD + "squelch = -1\n", "squelch"),
        (GOOD + 'power = "/power"\n', "generic"),
        (GOOD.replace("shelly-gen1", "generic"), "path"),
        (GOOD.replace("shelly-gen1", "generic") + 'path = "a"\npower = "/p"\n', "path"),
        (GOOD.replace("shelly-gen1", "generic") + 'path = "/a"\npower = "p"\n', "pointer"),
        (GOOD + 'energy_unit = "BTU"\n', "energy_unit"),
        (GOOD + "digits = 99\n", "digits"),
        (GOOD + 'verify = false\nca = "/etc/ca.pem"\n', "ca"),
    ],
)
def test_a_section_that_cannot_be_is_refused_with_key_and_remedy(text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        HostConfig.parse(f"[plug.desk]\n{text}")
    assert "[plug.desk]" in caught.value.message and word in caught.value.message
    assert caught.value.remedy and "s3cret" not in str(caught.value)


def test_sections_are_named_by_their_alias() -> None:
    with pytest.raises(UsageError, match=r"\[plug\.rack1\]"):
        HostConfig.parse(f"[plug]\n{GOOD}")
    config = HostConfig.parse(f"[plug.desk]\n{GOOD}")
    assert config.aliased() == [("plug", "desk")]
    assert config.meter("plug", "other") == {} == config.meter("plug")
    assert not config.has_secrets
    secret = HostConfig.parse(f'[plug.desk]\n{GOOD}user = "me"\npassword = "{PASSWORD}"\n')
    assert secret.has_secrets and PASSWORD not in repr(secret)


@pytest.mark.parametrize(
    "section",
    [{}, {"url": "http://127.0.0.1:9", "profile": "toaster"}, {"url": "http://127.0.0.1:9"}],
)
def test_what_host_toml_lacks_is_the_reason(section: dict[str, Any]) -> None:
    plan = PLUG.probe("desk", section)
    assert not plan.devices and "[plug.desk]" in plan.reason
    with pytest.raises(MeterUnavailable):
        PLUG.open("desk", section, Clock())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"unit": "Wh"}, "written in W"),
        ({"digits": 30}, "digits"),
        ({"pointer": "power"}, "pointer"),
        ({"gain": 7.0}, "gain"),
        ({"quantity": "pdu_energy"}, "one power"),
        ({"colour": 1}, "malformed"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    own = json.loads((plug.FOLDER / "shelly-gen1.json").read_text())
    own["measurements"][0] |= change
    (tmp_path / "mine.json").write_text(json.dumps(own))
    with pytest.raises(MeterUnavailable, match=word):
        plug.load(str(tmp_path / "mine.json"))


# --- before a yes, and what doctor says ---------------------------------------------------------


def test_a_replay_says_what_it_reaches_and_by_whose_word() -> None:
    text = f'[plug.desk]\n{GOOD}user = "me"\npassword = "{PASSWORD}"\n'
    part = _meter(MeterSpec(name="plug", alias="desk"), HostConfig.parse(text))
    assert part.reaches == "192.0.2.11 port 80, over HTTP"
    assert part.credentials == "the user me and its password of [plug.desk] in host.toml"
    assert _meter(MeterSpec(name="plug", alias="x"), HostConfig()).reaches.startswith("nothing")


def test_doctor_reads_a_plug_and_fails_on_one_that_is_silent(
    server: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.pages["/meter/0"] = GEN1
    path = tmp_path / "host.toml"
    sections = f'[plug.{{}}]\nurl = "{server.url}"\nprofile = "shelly-gen1"\nchannel = {{}}\n'
    path.write_text(sections.format("desk", 0) + sections.format("gone", 1))
    monkeypatch.setenv("KIT_HOST_CONFIG", str(path))
    dispatch(["doctor", "--json"])
    findings = {(f["code"], f["message"]) for f in json.loads(capsys.readouterr().out)}
    assert ("METER", "plug desk reads plug:desk:0") in findings
    assert any(code == "PLUG_UNREACHABLE" and "plug gone" in text for code, text in findings)


def test_a_user_with_quotes_stays_one_word_of_the_header() -> None:
    challenge = 'Digest realm="shelly", nonce="abc", qop="auth", algorithm=SHA-256'
    header = digest.answer(challenge, "GET", "/", 'a"b\\c', "x")
    assert header is not None
    assert r'username="a\"b\\c"' in header
