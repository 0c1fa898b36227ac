"""The example of host.toml, its document and the parser say the same."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.cli import main
from kit.core.errors import EXIT_USAGE
from kit.machine.host import HostConfig, example, register
from kit.machine.host.config import sections
from kit.run.preflight import doctor

SECTIONS = sections()
DOCUMENT = Path(__file__).parent.parent / "docs" / "host.md"


def uncommented(text: str) -> str:
    """The shortest section that works, of every kind."""
    return re.sub("(?m)^# ", "", text)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_the_parser_has_its_words(name: str) -> None:
    kind = SECTIONS[name]
    assert set(kind.keys) == set(kind.__struct_fields__)
    assert kind.about and all(key.words for key in kind.keys.values())
    needed = {f.name for f in msgspec.structs.fields(kind) if f.required}
    assert needed <= {key for key, facts in kind.keys.items() if facts.begins}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_sample_is_a_value_of_its_key(name: str) -> None:
    kind = SECTIONS[name]
    document: dict[str, Any] = {key: facts.sample for key, facts in kind.keys.items()}
    msgspec.convert(document, kind)


def test_the_example_says_nothing_until_a_line_is_uncommented() -> None:
    assert tomllib.loads(example.text()) == {}
    config = HostConfig.parse(uncommented(example.text()))
    assert config.weights.folders and config.store.runs and config.estimate
    assert set(config.devices) == {name.partition(".")[0] for name in SECTIONS if "." in name}


def test_the_document_holds_the_example() -> None:
    block = re.search("(?s)```toml\n(.*?)```", DOCUMENT.read_text())
    assert block and block[1] == example.text(), "write it again from kit.machine.host.example"


def test_doctor_writes_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "etc" / "host.toml"
    monkeypatch.setenv("KIT_HOST_CONFIG", str(path))
    assert main.dispatch(["doctor", "--init"]) == 0
    assert path.read_text() == example.text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    register.add_folder(tmp_path)
    held = path.read_text()
    assert held.startswith(example.text()) and register.is_registered(tmp_path)
    assert main.dispatch(["doctor", "--init"]) == EXIT_USAGE
    assert path.read_text() == held
    assert "exists" in capsys.readouterr().err


def test_doctor_says_what_the_file_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIT_HOST_CONFIG", raising=False)
    monkeypatch.setattr("kit.machine.host.config.DEFAULT", tmp_path / "host.toml")
    _, (finding,) = doctor._config()
    assert example.PURPOSE in finding.message and "kit doctor --init" in finding.message
