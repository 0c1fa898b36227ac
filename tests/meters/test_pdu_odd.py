"""PDUs that answer in circles, without an end, late or not at all; how addresses are written."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import dispatch
from kit.core.errors import UsageError
from kit.machine.host import HostConfig, address
from kit.measure import meters
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu import recognise
from kit.measure.meters.pdu.snmp import ENDLESS, IN_CIRCLES, NO_ANSWER, TOO_LONG, Snmp
from tests.meters.conftest import OUTLET
from tests.meters.odd_agent import OddAgent, Value, parts

POWER = f"{OUTLET}.7"
APC: dict[str, Value] = {
    "1.3.6.1.2.1.1.1.0": ("string", "rack PDU"),
    "1.3.6.1.2.1.1.2.0": ("oid", "1.3.6.1.4.1.318.1.3.4.6"),
    f"{POWER}.1": ("gauge", 110),
    f"{POWER}.2": ("gauge", 120),
}


def config(agent: OddAgent, **keys: Any) -> dict[str, Any]:
    section = {"host": "127.0.0.1", "port": agent.port, "community": "public", "version": "2c"}
    return section | {"timeout_s": 2.0, "retries": 0} | keys


# --- walks that would not end ---------------------------------------------------------------


def circle(oid: str) -> str:
    """From the last outlet back to the first."""
    return f"{POWER}.1" if oid == f"{POWER}.2" else f"{POWER}.2"


def same(oid: str) -> str:
    return oid


def back(oid: str) -> str:
    """To a lower number inside the table, another one each time."""
    last = oid.rpartition(".")[2]
    return f"{POWER}.{max(int(last) - 1, 0)}" if oid.startswith(f"{POWER}.") else f"{POWER}.900"


def onwards(oid: str) -> str:
    """Another outlet for ever, whatever is asked."""
    head, _, last = oid.rpartition(".")
    return f"{head}.{int(last) + 1}" if len(parts(oid)) > len(parts(POWER)) else f"{oid}.1"


@pytest.mark.parametrize(
    ("after", "rows", "end"),
    [
        (circle, 2, IN_CIRCLES),
        (same, 0, IN_CIRCLES),
        (back, 1, IN_CIRCLES),
        (onwards, 64, ENDLESS),
    ],
)
def test_a_walk_ends(after: Any, rows: int, end: int) -> None:
    with OddAgent(APC, after=after, value=("gauge", 7)) as agent:
        snmp = Snmp(config(agent))
        begin = POWER if after is not same else f"{POWER}.1"
        values, why = snmp.walk(begin, 64)
        snmp.close()
    assert why == end
    assert len(values) <= rows
    assert agent.requests <= rows + 2


def test_an_agent_in_circles_shows_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    def after(oid: str) -> str | None:
        if oid.startswith(POWER):
            return circle(oid) if oid != POWER else f"{POWER}.1"
        return None

    with OddAgent(APC, after=after) as agent:
        assert dispatch(["pdu", "probe", f"127.0.0.1:{agent.port}"]) == 0
    out = capsys.readouterr().out
    assert "110 W" in out
    assert "120 W" in out
    assert "in circles" in out


@pytest.mark.parametrize("after", [same, back])
def test_a_probe_of_an_agent_that_runs_back_ends(after: Any) -> None:
    with OddAgent(APC, after=after, value=("gauge", 7)) as agent:
        assert recognise.identify(config(agent)).notes
    assert agent.requests < 200


@pytest.mark.slow
def test_a_probe_of_an_agent_without_an_end_ends() -> None:
    with (
        OddAgent(APC, after=onwards, value=("gauge", 7)) as agent,
        pytest.raises(MeterUnavailable, match="more rows than any PDU has outlets"),
    ):
        recognise.identify(config(agent))
    assert agent.requests < 600


def test_all_requests_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "_BUDGET_S", 1.0)
    with OddAgent(APC, after=onwards, value=("gauge", 7), delay_s=0.05) as agent:
        with pytest.raises(MeterUnavailable, match="so slowly"):
            recognise.identify(config(agent))
        snmp = Snmp(config(agent), budget_s=0.0)
        assert snmp.walk(POWER) == ({}, TOO_LONG)
        assert snmp.get([f"{POWER}.1"]) == [(TOO_LONG, None)]
        snmp.close()


# --- slow and silent ------------------------------------------------------------------------


def test_a_slow_pdu_is_recognised_and_said_to_be_slow(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with OddAgent(APC, delay_s=0.5) as agent:
        assert dispatch(["pdu", "probe", f"127.0.0.1:{agent.port}", "--timeout-s", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "apc-rpdu2" in out
    assert "answers slowly" in out
    section = HostConfig.parse(out[out.index("[pdu.") :]).meter("pdu", "rack1")
    assert section["timeout_s"] >= 1
    assert section["poll_s"] >= 1


def test_a_pdu_whose_tables_stay_silent_is_not_an_unknown_make(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.measure.meters.pdu.snmp._PATIENT_S", 0.3)
    with OddAgent(APC, is_silent=lambda kind, oid: kind == "next") as agent:
        assert dispatch(["pdu", "probe", f"127.0.0.1:{agent.port}", "--timeout-s", "0.1"]) == 3
    output = capsys.readouterr()
    assert "no profile" not in output.out
    assert "names itself, but gives no table: no answer" in output.err


def test_a_silent_table_beside_a_good_one_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(kind: str, oid: str) -> bool:
        return kind == "next" and oid.startswith(f"{OUTLET}.6")

    monkeypatch.setattr("kit.measure.meters.pdu.snmp._PATIENT_S", 0.3)
    with OddAgent(APC, is_silent=silent) as agent:
        pdu = recognise.identify(config(agent, timeout_s=0.1))
    assert [place.values["pdu_power"] for place in pdu.places] == [110, 120]


def test_a_run_is_not_kept_waiting_by_patience() -> None:
    with OddAgent(APC, is_silent=lambda *_: True) as agent:
        snmp = Snmp(config(agent, timeout_s=0.1))
        assert snmp.get([f"{POWER}.1"]) == [(NO_ANSWER, None)]
        snmp.close()
    assert agent.requests == 1


# --- addresses ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both() -> Iterator[int]:
    """A PDU on both loopbacks, at one port."""
    with OddAgent(APC) as four, OddAgent(APC, bind="::1", port=four.port):
        yield four.port


@pytest.mark.parametrize(
    ("written", "is_port_in"),
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("[::1]", False),
        (" 127.0.0.1 ", False),
        ("127.0.0.1:{}", True),
        ("localhost:{}", True),
        ("[::1]:{}", True),
        ("udp:127.0.0.1:{}", True),
        ("udp:127.0.0.1", False),
        ("UDP:localhost:{}", True),
        ("udp6:[::1]:{}", True),
        ("0:0:0:0:0:0:0:1", False),
        ("::ffff:127.0.0.1", False),
    ],
)
def test_an_address_is_read_as_people_write_it(
    written: str, is_port_in: bool, both: int, capsys: pytest.CaptureFixture[str]
) -> None:
    port = [] if is_port_in else ["--port", str(both)]
    assert dispatch(["pdu", "probe", written.format(both), *port, "--json"]) == 0
    assert [p["values"]["pdu_power"] for p in json.loads(capsys.readouterr().out)["places"]] == [
        110,
        120,
    ]


def test_a_name_is_tried_at_each_of_its_addresses(both: int) -> None:
    with OddAgent(APC, bind="::1") as six:
        pdu = recognise.identify(config(six, host="localhost", timeout_s=0.2))
    assert len(pdu.places) == 2


def test_a_scoped_address_keeps_its_scope() -> None:
    name = next((name for _, name in socket.if_nameindex() if name != "lo"), "lo")
    target = address.resolve(f"fe80::1%{name}", 161)[0]
    assert target.sockaddr[:2] == ("fe80::1", 161)
    assert target.sockaddr[3:] == (socket.if_nametoindex(name),)


def test_host_toml_takes_the_same(both: int) -> None:
    text = (
        f'[pdu.a]\nhost = "[::1]:{both}"\nprofile = "apc-rpdu2"\noutlets = [1, 2]\n'
        'community = "public"\n'
    )
    plan = meters.get("pdu").probe("a", HostConfig.parse(text).meter("pdu", "a"))
    assert not plan.reason
    assert len([d for d in plan.devices if "pdu_power" in d.quantities]) == 2


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "name or an address"),
        (" ", "name or an address"),
        ("127.0.0.1:0", "port '0'"),
        ("127.0.0.1:65536", "port '65536'"),
        ("127.0.0.1:snmp", "port 'snmp'"),
        ("127.0.0.1:", "port ''"),
        ("[::1]:", "port ''"),
        ("[::1", "no IPv6 address"),
        ("::g", "no IPv6 address"),
        ("1:2:3", "no IPv6 address"),
        ("http://pdu1/", "not a URL"),
        ("snmp://pdu1:161", "not a URL"),
        ("tcp:pdu1:161", "not a URL"),
        ("pdu 1", "name or an address"),
        ("me@pdu1", "name or an address"),
        ("pdu1/24", "name or an address"),
        ("a" * 64 + ".example", "name or an address"),
        ("pdu\x00", "name or an address"),
    ],
)
def test_what_is_no_address_is_said_once_with_the_forms(
    written: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["pdu", "probe", written]) == 2
    output = capsys.readouterr().err
    assert words in output
    assert "[2001:db8::7]:161" in output
    toml = f"[pdu.a]\nhost = {json.dumps(written)}\nprofile = 'apc-rpdu2'\ncommunity = 'x'\n"
    with pytest.raises(UsageError, match="host"):
        HostConfig.parse(toml)


def test_two_ports_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["pdu", "probe", "127.0.0.1:1161", "--port", "2161"]) == 2
    assert "give one" in capsys.readouterr().err


def test_a_name_without_an_address_is_called_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["pdu", "probe", "no-such-host.invalid"]) == 3
    assert "no-such-host.invalid cannot be resolved" in capsys.readouterr().err
