"""Files that a person wrote: whatever mark and line ends the editor gave them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio, resources
from kit.core.errors import UsageError
from kit.core.text import utf8
from kit.machine.host import HostConfig, calibration, pdu_calibration
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.pdu import profiles
from kit.spec import spec
from kit.tui import settings

QUICKSTART = resources.specs_dir() / "quickstart.json"
SAVED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "mark": lambda data: codecs.BOM_UTF8 + data,
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "mark, crlf": lambda data: codecs.BOM_UTF8 + data.replace(b"\n", b"\r\n"),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-16 big-endian": lambda data: codecs.BOM_UTF16_BE + data.decode().encode("utf-16-be"),
}
saved = pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED)
Save = Callable[[bytes], bytes]


def put(path: Path, text: str | bytes, saved: Save) -> Path:
    path.write_bytes(saved(text if isinstance(text, bytes) else text.encode()))
    return path


@saved
def test_a_spec_has_the_same_hash(saved: Save, tmp_path: Path) -> None:
    file = put(tmp_path / "s.json", QUICKSTART.read_bytes(), saved)
    assert spec.document(spec.load(file)) == spec.document(spec.load(QUICKSTART))


@saved
def test_host_toml_is_read(saved: Save, tmp_path: Path) -> None:
    file = put(tmp_path / "host.toml", '[store]\nruns = "dürr"\n', saved)
    assert HostConfig.load(file).store_root == Path("dürr")


@saved
def test_a_pdu_profile_is_read(saved: Save, tmp_path: Path) -> None:
    own = (profiles.FOLDER / "enlogic.json").read_bytes()
    assert profiles.load(str(put(tmp_path / "p.json", own, saved))).title


@saved
def test_calibrations_are_read(saved: Save, tmp_path: Path) -> None:
    entry: dict[str, Any] = {"rack1": {"made_for": {}, "facts": {"lag_s": 1.0}}}
    put(tmp_path / pdu_calibration.FILE, json.dumps(entry, indent=1), saved)
    assert pdu_calibration.facts(tmp_path, "rack1", {}) is not None
    put(tmp_path / "a.json", '{\n"schema": "another"\n}', saved)
    with pytest.raises(UsageError, match=r'"another" stands where "kit.calibration/1" belongs'):
        calibration.load(tmp_path)


@saved
def test_settings_are_read(saved: Save, tmp_path: Path) -> None:
    file = put(tmp_path / "tui.json", '{\n"ascii": true\n}', saved)
    assert settings.load(file).ascii is True


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\xfe\xff\xd8\x00", b"{\xe9}", b"\xff"])
def test_what_is_no_text_is_said_once(data: bytes, tmp_path: Path) -> None:
    assert utf8(data) == data
    for name, load in (("s.json", spec.load), ("host.toml", HostConfig.load)):
        file = tmp_path / name
        file.write_bytes(data)
        with pytest.raises(UsageError, match="is not UTF-8 text") as caught:
            load(file)
        assert caught.value.remedy


HALF = rb'{"schema": "\ud800", "rack1": "\udfff"}'


@pytest.mark.parametrize(
    "load",
    [
        lambda file: spec.load(file),
        lambda file: profiles.load(str(file)),
        lambda file: calibration.load(file.parent),
        lambda file: pdu_calibration.facts(file.parent, "rack1", {}),
    ],
    ids=["spec", "profile", "calibration", "PDU's calibration"],
)
def test_half_a_character_is_said_with_its_file(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / pdu_calibration.FILE
    file.write_bytes(HALF)
    wanted = rf"{file.name}.*half a character"
    with pytest.raises((UsageError, MeterUnavailable), match=wanted):
        load(file)


def test_half_a_character_in_host_toml_and_settings(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_bytes(rb"[store]" + b"\n" + rb'runs = "\ud800"')
    with pytest.raises(UsageError, match=r"host\.toml"):
        HostConfig.load(tmp_path / "host.toml")
    (tmp_path / "tui.json").write_bytes(rb'{"theme": "\ud800"}')
    loaded = settings.load(tmp_path / "tui.json")
    assert repr(loaded).encode()


def test_a_file_of_an_archive_has_no_mark() -> None:
    with pytest.raises(jsonio.JsonRefused):
        jsonio.parse(codecs.BOM_UTF8 + b"{}")
    with pytest.raises(jsonio.JsonRefused):
        jsonio.parse('{"a": 1}'.encode("utf-16"))
