"""`kit pdu probe` against a real SNMP agent: what it shows, and that its section can be pasted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli.main import dispatch
from kit.machine.host import HostConfig
from kit.measure import meters
from tests.meters.conftest import AUTH, COMMUNITY, OUTLET, PRIV, USER, Agent

SYS = "1.3.6.1.2.1.1.2.0"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    agent = Agent(tmp_path_factory.mktemp("snmp"))
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture
def pdu(started: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Agent:
    """An APC with two outlets, one of them named; no host.toml, no passwords."""
    started.set(
        {
            SYS: {"type": "objectid", "value": ".1.3.6.1.4.1.318.1.3.4.6"},
            f"{OUTLET}.7.3": {"type": "gauge", "value": 230},
            f"{OUTLET}.6.3": {"type": "gauge", "value": 11},
            f"{OUTLET}.3.3": {"type": "string", "value": "node 17, left"},
            f"{OUTLET}.7.4": {"type": "gauge", "value": 120},
        }
    )
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    for name in ("COMMUNITY", "AUTH_KEY", "PRIV_KEY"):
        monkeypatch.delenv(f"KIT_PDU_{name}", raising=False)
    return started


def probe(agent: Agent, *options: str) -> int:
    return dispatch(["pdu", "probe", "127.0.0.1", "--port", str(agent.port), *options])


def test_it_names_the_make_the_outlets_and_their_watts(
    pdu: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(pdu, "--community", COMMUNITY) == 0
    out = capsys.readouterr().out
    for words in ("apc-rpdu2", "1.3.6.1.4.1.318.1.3.4.6", "230 W, 1.1 A", "node 17, left", "120 W"):
        assert words in out


def test_its_section_pasted_into_host_toml_measures(
    pdu: Agent, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert probe(pdu, "--community", COMMUNITY, "--alias", "lab") == 0
    section = capsys.readouterr().out.partition("[pdu.lab]")
    (tmp_path / "host.toml").write_text("".join(section[1:]))
    plan = meters.get("pdu").probe("lab", HostConfig.load().meter("pdu", "lab"))
    assert {d.device for d in plan.devices if "pdu_power" in d.quantities} == {
        "pdu:lab:3",
        "pdu:lab:4",
    }
    assert dispatch(["pdu", "probe", "--alias", "lab"]) == 0
    assert "230 W" in capsys.readouterr().out


def test_the_section_for_v1_says_so(pdu: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(pdu, "--version", "1", "--community", COMMUNITY) == 0
    assert 'version = "1"' in capsys.readouterr().out


def test_passwords_come_from_the_environment_and_are_never_printed(
    pdu: Agent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_PDU_AUTH_KEY", AUTH)
    monkeypatch.setenv("KIT_PDU_PRIV_KEY", PRIV)
    assert probe(pdu, "--user", USER) == 0
    out = capsys.readouterr().out
    assert f'user = "{USER}"' in out
    assert 'auth_protocol = "SHA"' in out
    assert AUTH not in out
    assert PRIV not in out


def test_a_community_from_the_environment_is_not_printed(
    pdu: Agent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_PDU_COMMUNITY", COMMUNITY)
    assert probe(pdu) == 0
    assert COMMUNITY not in capsys.readouterr().out


def test_without_a_password_it_says_which_is_wanted(
    pdu: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "kit.cli.main", "pdu", "probe", "127.0.0.1"]
    done = subprocess.run(
        [*command, "--user", USER], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "KIT_PDU_AUTH_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert probe(pdu, "--user", f"{USER}-none", "--no-auth") == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--community", "wrong", "--timeout-s", "0.2"], "no answer"),
        (["--version", "4"], "version must be"),
        (["--version", "3"], "needs a --user"),
        (["--profile", "other", "--community", COMMUNITY], "knows no PDU profile"),
    ],
)
def test_what_goes_wrong_is_one_error(
    pdu: Agent,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: str,
) -> None:
    monkeypatch.setenv("KIT_PDU_AUTH_KEY", AUTH)
    monkeypatch.setenv("KIT_PDU_PRIV_KEY", PRIV)
    assert probe(pdu, *options) in (2, 3)
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) <= 3


def test_amperes_are_said_to_be_amperes_and_give_no_section(
    pdu: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    pdu.set(
        {
            SYS: {"type": "objectid", "value": ".1.3.6.1.4.1.318.1.3.4.5"},
            "1.3.6.1.4.1.318.1.1.12.2.3.1.1.2.1": {"type": "gauge", "value": 23},
        }
    )
    assert probe(pdu, "--community", COMMUNITY) == 3
    out = capsys.readouterr().out
    assert "2.30 A (amperes alone" in out
    assert "[pdu." not in out


def test_an_unknown_make_says_what_it_is(pdu: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    pdu.set({SYS: {"type": "objectid", "value": ".1.3.6.1.4.1.424242.7"}})
    assert probe(pdu, "--community", COMMUNITY) == 3
    out = capsys.readouterr().out
    assert "1.3.6.1.4.1.424242.7" in out
    assert "no profile" in out


def test_json_has_every_outlet(pdu: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(pdu, "--community", COMMUNITY, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["profile"] == "apc-rpdu2"
    assert [(p["number"], p["values"]["pdu_power"]) for p in document["places"]] == [
        ("3", 230),
        ("4", 120),
    ]
