"""Numbers about PDUs that cannot be: out of host.toml, calibrations, profiles, and from the PDU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.facts import QuantityFacts
from kit.core.model import MeterPlan
from kit.machine.host import HostConfig, pdu_calibration
from kit.measure.meters import get
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu import points, profiles, snmp
from tests.meters.conftest import OUTLET, Agent
from tests.properties import examples

SECTION = {"host": "192.0.2.1", "profile": "apc-rpdu2", "outlets": [3], "community": "x"}
ESTIMATE = {"idle_w": 35, "max_w": 120, "source": "x"}
# What TOML can say, in its own words; much of it JSON cannot.
ODD = [
    "inf", "-inf", "nan", "1e308", "1" + "0" * 400, "1" + "0" * 5000, "-1", "0", "true", "1e-300",
    '"x"', '""', '"\\u0000"', '"' + "a" * 5000 + '"', '"' + "9" * 5000 + '"', '"²"', '"..."',
    '"~nobody-of-that-name/x.json"', '"/nowhere/x.json"', '"日本.json"', "[]", "[[3]]", "[3.5]",
    '["²"]', '["' + "9" * 5000 + '"]', "{}", "{a = 1}", "1979-05-27", "[" * 2000,
]  # fmt: skip


def toml(name: str, section: dict[str, Any], **odd: str) -> str:
    words = {k: json.dumps(v) for k, v in section.items()} | odd
    return "\n".join([f"[{name}]", *(f"{k} = {v}" for k, v in words.items()), ""])


# --- what a PDU says where it meters nothing --------------------------------------------------


@pytest.mark.parametrize("raw", [2**32 - 1, 2**31 - 1])
def test_the_largest_number_is_not_supported_rather_than_4_gw(agent: Agent, raw: int) -> None:
    """−1 read as unsigned, and what a MIB without negative numbers has instead."""
    agent.set({f"{OUTLET}.7.3": {"type": "gauge", "value": raw}})
    plan = get("pdu").probe("rack1", agent.config())
    assert plan.devices == ()
    assert "does not meter this" in plan.reason


def test_a_counter_may_pass_any_number() -> None:
    from pysnmp.proto import rfc1902

    for raw in (2**32 - 1, 2**31 - 1):
        assert snmp.answer_of(rfc1902.Gauge32(raw)) == (snmp.UNSUPPORTED, None)
        assert snmp.answer_of(rfc1902.Counter32(raw)) == (0, raw)
        assert snmp.answer_of(rfc1902.TimeTicks(raw)) == (0, raw)
    assert snmp.answer_of(rfc1902.Gauge32(2**31)) == (0, 2**31)
    assert snmp.answer_of(rfc1902.Integer32(2**31 - 1)) == (snmp.UNSUPPORTED, None)


# --- host.toml --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "odd", "words"),
    [
        ("pdu.a", {"timeout_s": "inf"}, "`timeout_s` must lie in 0.01…60"),
        ("pdu.a", {"timeout_s": "nan"}, "`timeout_s`"),
        ("pdu.a", {"timeout_s": "1e308"}, "`timeout_s`"),
        ("pdu.a", {"poll_s": "nan"}, "`poll_s`"),
        ("pdu.a", {"retries": "99999999999"}, "`retries`"),
        ("pdu.a", {"host": '"..."'}, "`host`"),
        ("pdu.a", {"profile": '"~nobody-of-that-name/x.json"'}, "`profile`"),
        ("estimate", {"max_w": "inf"}, "`max_w`"),
        ("estimate", {"max_w": "nan"}, "`idle_w`"),
        ("estimate", {"idle_w": "-inf"}, "`idle_w`"),
        ("estimate", {"idle_w": "nan"}, "`idle_w`"),
        ("estimate", {"max_w": "1e9"}, "`max_w`"),
        ("store", {"runs": '"~nobody-of-that-name"'}, "`runs`"),
        ("weights", {"folders": '["~nobody-of-that-name"]'}, "`folders`"),
        ("calibration", {"folder": f'"{"a" * 300}"'}, "`folder`"),
    ],
)
def test_numbers_and_names_that_cannot_be_are_refused(
    section: str, odd: dict[str, str], words: str
) -> None:
    sound = {"pdu.a": SECTION, "estimate": ESTIMATE}.get(section, {})
    with pytest.raises(UsageError, match=words) as caught:
        HostConfig.parse(toml(section, sound, **odd))
    assert "docs/host.md" in caught.value.remedy


@pytest.mark.heavy
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:12])
def test_no_value_of_host_toml_ends_in_a_traceback(odd: str, tmp_path: Path) -> None:
    """Whatever stands there: a refusal, a meter that says why, or a plan that can be sealed."""
    silent = SECTION | {"host": "127.0.0.1", "port": 1, "timeout_s": 0.01, "retries": 0}
    keyed = {k: v for k, v in silent.items() if k != "community"} | {"user": "u"}
    keyed |= {"auth_key": "12345678", "priv_key": "12345678"}
    more = ("port", "inlets", "auth_protocol", "priv_protocol", "version", "poll_s")
    for sound in (silent, keyed):
        for key in {*sound, *more}:
            config = parsed(toml("pdu.a", sound, **{key: odd}))
            if config:
                sealed(get("pdu").probe("a", config.meter("pdu", "a")))
    for key in ESTIMATE:
        config = parsed(toml("estimate", ESTIMATE, **{key: odd}))
        if config:
            sealed(get("estimate").probe(None, config.meter("estimate")))
    for name, key in (("store", "runs"), ("weights", "folders"), ("calibration", "folder")):
        config = parsed(toml(name, {}, **{key: odd}))
        if config:
            assert (config.store_root, config.weights_folders) is not None
            assert config.meter("nvml") == {}
    for text in (f"pdu = {odd}", f"[pdu]\na = {odd}", f"estimate = {odd}", f"store = {odd}"):
        parsed(text)


def parsed(text: str) -> HostConfig | None:
    try:
        return HostConfig.parse(text)
    except UsageError as error:
        assert error.remedy
        return None


def sealed(plan: MeterPlan) -> None:
    """A plan is written canonically: it holds no number that JSON has not."""
    assert plan.devices or plan.reason
    jsonio.canonical(msgspec.to_builtins(plan))


# --- pdu-calibration.json -----------------------------------------------------------------------


def calibrated(folder: Path, facts: Any) -> dict[str, Any]:
    """What the meter is told where the file holds these facts (JSON, or a value)."""
    path = folder / "host.toml"
    path.write_text(toml("pdu.a", SECTION))
    made_for = json.dumps(pdu_calibration.made_for(SECTION))
    text = facts if isinstance(facts, str) else json.dumps(facts)
    entry = f'{{"a": {{"made_for": {made_for}, "facts": {text}}}}}'
    (folder / pdu_calibration.FILE).write_text(entry)
    section: dict[str, Any] = HostConfig.load(path).meter("pdu", "a").get("calibration", {})
    return section


@pytest.mark.parametrize(
    "fact",
    [
        '"correction": 0', '"correction": -1', '"correction": 1e6', '"correction": "x"',
        '"correction": 1e99', '"correction": true', '"correction": null', '"correction": [1]',
        '"gain": -0.5', '"gain": 0.6', '"lag_s": -30', '"lag_s": 121',
        '"lag_u_s": 0', '"lag_u_s": -1', '"period_s": 0', '"period_s": 1e12', '"gain_source": 3',
        '"calibrated": {}',
    ],
)  # fmt: skip
def test_a_calibration_that_cannot_be_is_refused(tmp_path: Path, fact: str) -> None:
    with pytest.raises(UsageError, match=fact.split('"')[1]) as caught:
        calibrated(tmp_path, f"{{{fact}}}")
    assert "entry a" in caught.value.message
    assert "kit pdu calibrate" in caught.value.remedy


@pytest.mark.parametrize(
    "fact", ['"gain_source": "\\ud800"', '"gain": 1' + "0" * 400, '"gain": 1e400']
)
def test_a_calibration_that_is_no_json_is_refused(tmp_path: Path, fact: str) -> None:
    with pytest.raises(UsageError, match="cannot be read: pdu-calibration"):
        calibrated(tmp_path, f"{{{fact}}}")


def test_every_problem_of_a_calibration_is_told_at_once_and_none_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        calibrated(tmp_path, {"correction": 3, "lag_s": -1, "gain": 0.1})
    problems = "entry a: lag_s must lie in 0…120, correction must lie in 0.5…2"
    assert problems in caught.value.message
    with pytest.raises(UsageError, match="correction"):
        pdu_calibration.keep(tmp_path / "new", "a", {"facts": {"correction": 3.1}})
    assert not (tmp_path / "new").exists()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_NAMES = st.sampled_from(["lag_s", "lag_u_s", "period_s", "correction", "gain", "gain_source", "x"])


@examples(200)
@given(facts=_VALUES | st.dictionaries(_NAMES, _VALUES | st.floats(0.1, 1.0), max_size=4))
def test_whatever_a_calibration_holds_is_taken_whole_or_refused(
    facts: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("host", numbered=True)
    try:
        section = calibrated(folder, facts)
    except UsageError:
        return
    jsonio.canonical(section)
    assert 0.5 <= section.get("correction", 1.0) <= 2
    assert 0 <= section.get("gain", 0.0) <= 0.5
    for point in points.of_config("a", HostConfig.load(folder / "host.toml").meter("pdu", "a")):
        msgspec.convert(msgspec.to_builtins(point.facts), QuantityFacts)


# --- profiles, and what a PDU tells of itself -------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        '"scale": 1e99', '"scale": -1', '"resolution": 1e99', '"resolution": 0', '"gain": 1e99',
        '"gain": -0.1', '"gain": 0.6', '"offset": 1e99', '"offset": -1', '"squelch": 1e99',
        '"squelch": -1', '"period_s": 1e99', '"period_s": 0', '"period_s": -1',
    ],
)  # fmt: skip
def test_a_profile_of_numbers_that_cannot_be_is_refused(tmp_path: Path, odd: str) -> None:
    document = json.loads((profiles.FOLDER / "enlogic.json").read_text())
    document["enterprise"] = "1.3.6.1.4.1.424242"
    document["measurements"] = document["measurements"][:1]
    document["measurements"][0]["oid"] = "1.3.6.1.4.1.424242.1"
    key = odd.split('"')[1]
    del document["measurements"][0][key]
    text = json.dumps(document).replace('"measurements": [{', f'"measurements": [{{{odd}, ')
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(MeterUnavailable, match=key):
        profiles.load(str(tmp_path / "mine.json"))


@pytest.mark.parametrize(
    ("fact", "raw", "words"),
    [
        ("digits", 10, "digits"),
        ("digits", 2**31, "digits"),
        ("prefix", 0, "prefix"),
        ("prefix", 18, "prefix"),
        ("prefix", 2**31, "prefix"),
    ],
)
def test_digits_that_no_number_has_are_a_reason(fact: Any, raw: int, words: str) -> None:
    asked = profiles.Asked(fact=fact, oid="1.3")
    facts = QuantityFacts(scale=1.0, resolution=1.0, unit="W")
    assert words in str(points._with_answers(facts, [(asked, (0, raw))]).reason)


@pytest.mark.parametrize("raw", [51, 2**31])
def test_an_accuracy_that_is_none_leaves_the_prior(raw: int) -> None:
    asked = profiles.Asked(fact="gain", oid="1.3", scale=0.01)
    facts = QuantityFacts(gain=0.05, unit="W")
    assert points._with_answers(facts, [(asked, (0, raw))]).gain == 0.05
    slow = profiles.Asked(fact="period", oid="1.3", scale=100.0)
    assert points._with_answers(facts, [(slow, (0, raw))]).period_s is None
