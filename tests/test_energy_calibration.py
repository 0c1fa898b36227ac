"""Calibrations: how a file becomes facts of a plan, and facts become joules."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.model import MeterPlan
from kit.energy import Energy
from kit.energy.value import EnergyValue
from kit.machine.host import HostConfig
from kit.machine.host.calibration import load
from tests.meters.fake import Fake, build
from tests.meters.test_nvml import probe
from tests.properties import examples
from tests.test_energy import GPU, Board, S, plan, read, row

UUID = "GPU-00000000-1111-2222-3333-0000000000{:02d}"
SOUND: dict[str, Any] = {
    "schema": "kit.calibration/1",
    "uuid": UUID.format(1),
    "gain": 1.02,
    "offset_w": -3.0,
    "u_gain": 0.004,
    "u_offset_w": 0.6,
    "date": "2026-10-02",
    "reference": "shunt and 18-bit meter, 0.2%",
    "source": "bench of the institute",
    "valid_w": [60, 700],
}


def written(folder: Path, name: str = "one.json", **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({**SOUND, **changes}))
    return folder


# --- files ----------------------------------------------------------------------------------


def test_a_folder_of_calibrations_is_read_and_no_folder_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "none") == ()
    folder = written(tmp_path / "calibrations", valid_degc=[30, 80])
    (one,) = load(folder)
    assert (one.uuid, one.gain, one.valid_w, one.valid_degc) == (
        SOUND["uuid"], 1.02, (60.0, 700.0), (30.0, 80.0)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gain": 1.3e3}, "gain: 1300.0 is more than 2"),
        ({"u_gain": 0}, "u_gain"),
        ({"uuid": "gpu0"}, "uuid"),
        ({"gian": 1.0}, 'unknown key "gian"'),
        ({"date": "2 Oct"}, "date"),
        ({"valid_w": [700, 60]}, "valid_w: the limits must rise"),
        ({"valid_w": [60]}, "valid_w"),
        ({"schema": "kit.calibration/2"}, "schema"),
    ],
)
def test_a_file_that_is_no_calibration_is_an_error_with_its_name(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path / "calibrations", "bad.json", **changes))
    assert "bad.json" in caught.value.message
    assert said in caught.value.message
    assert "kit schema calibration" in caught.value.remedy


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = written(tmp_path / "calibrations", "a.json")
    written(folder, "b.json", uuid=UUID.format(1).replace("G", "G"))
    (folder / "c.json").write_text("{")
    with pytest.raises(UsageError) as caught:
        load(folder)
    assert "b.json: another file calibrates the same card" in caught.value.message
    assert "c.json" in caught.value.message


def test_host_toml_names_the_folder_else_it_lies_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    (tmp_path / "host.toml").write_text("")
    assert HostConfig.load().meter("nvml") == {}
    written(tmp_path / "calibrations")
    assert [c["gain"] for c in HostConfig.load().meter("nvml")["calibrations"]] == [1.02]
    assert HostConfig.load().meter("rapl") == {}
    (tmp_path / "host.toml").write_text(f'[calibration]\nfolder = "{tmp_path}/other"\n')
    assert HostConfig.load().meter("nvml") == {}
    written(tmp_path / "other", gain=0.98)
    assert [c["gain"] for c in HostConfig.load().meter("nvml")["calibrations"]] == [0.98]


def test_only_the_card_of_that_uuid_is_calibrated_and_no_uuid_is_planned(
    tmp_path: Path,
) -> None:
    known = [msgspec.to_builtins(c) for c in load(written(tmp_path / "calibrations"))]
    found = probe(Fake(build(tmp_path), {"gpus": 2}), calibrations=known)
    plain, ours = (d.quantities["gpu_energy"] for d in found.devices)
    assert plain.gain_correction is None
    assert plain.gain == 0.05
    assert (ours.gain_correction, ours.offset_correction_w) == (1.02, -3.0)
    assert ours.gain == pytest.approx(0.004 * math.sqrt(3))
    assert ours.gain_source == (
        "calibrated 2026-10-02 against shunt and 18-bit meter, 0.2%: bench of the institute"
    )
    assert "GPU-0" not in str(msgspec.to_builtins(found))


# --- joules ---------------------------------------------------------------------------------

FOUND = read(Board(2).sampled(), Board(2).asked_seldom(), Board(2).gauge("gpu_power_instant", 0.02))
ENERGIES: dict[str, Energy] = {}


def energy(**facts: Any) -> Energy:
    key = json.dumps(facts, sort_keys=True)
    if key not in ENERGIES:
        names: dict[str, Any] = {
            name: msgspec.structs.replace(GPU.devices[0].facts(name), **facts) for name in _NAMES
        }
        ENERGIES[key] = Energy(FOUND, [plan(**names)])
    return ENERGIES[key]


_NAMES = ("gpu_energy", "gpu_power_sample", "gpu_power_instant")


def of(of_energy: Energy, t0: int, t1: int) -> EnergyValue:
    value = of_energy.of(t0, t1)[0]
    assert value.joules is not None, value.reason
    return value


@examples(30)
@given(
    start=st.integers(S, 20 * S),
    length=st.integers(S // 5, 15 * S),
    gain=st.sampled_from([0.9, 0.97, 1.031, 1.1]),
    watts=st.sampled_from([-6.0, 0.0, 2.5]),
)
def test_gain_and_offset_scale_exactly(start: int, length: int, gain: float, watts: float) -> None:
    plain = of(energy(), start, start + length)
    mended = of(energy(gain_correction=gain, offset_correction_w=watts), start, start + length)
    assert plain.joules is not None
    assert mended.joules == pytest.approx(gain * plain.joules + watts * length * 1e-9, rel=1e-9)
    assert mended.method == plain.method == "counter+samples"


def test_two_calibrated_cards_compare_better_than_two_priors() -> None:
    facts = {"gain": 0.004 * 3**0.5, "offset": 0.6 * 3**0.5, "valid_w": [60, 720]}
    prior, calibrated = of(energy(), 5 * S, 25 * S), of(energy(**facts), 5 * S, 25 * S)
    assert calibrated.joules is not None and calibrated.u_sensor is not None
    assert calibrated.terms["gain"] == pytest.approx(0.004 * calibrated.joules)
    assert calibrated.terms["offset"] == pytest.approx(0.6 * 20)
    assert calibrated.u_sensor < 0.2 * (prior.u_sensor or 0.0)
    assert calibrated.u_reading == prior.u_reading


def test_outside_of_what_was_compared_the_prior_comes_on_top() -> None:
    facts = {"gain": 0.01, "offset": 1.0, "valid_w": [10, 20]}
    value = of(energy(**facts), 5 * S, 25 * S)
    assert value.joules is not None
    assert value.terms["gain"] == pytest.approx(value.joules * np.hypot(0.01, 0.05) / 3**0.5)
    assert value.terms["offset"] == pytest.approx(20 * np.hypot(1.0, 5.0) / 3**0.5)


def test_devices_in_any_order_give_the_same() -> None:
    one, two = GPU.devices[0], msgspec.structs.replace(GPU.devices[0], device="gpu1")
    rows = [*Board(2).sampled(), *Board(2).asked_seldom()]
    others = [(*r[:3], "gpu1", *r[4:]) for r in [*Board(3).sampled(), *Board(3).asked_seldom()]]
    both = [
        MeterPlan(name="nvml", alias=None, devices=devices) for devices in ((one, two), (two, one))
    ]
    values = [of(Energy(read(rows, others), [p]), 4 * S, 9 * S) for p in both]
    assert values[0] == values[1]
    assert set(values[0].devices) == {"gpu0", "gpu1"}


@pytest.mark.parametrize(("degc", "trusted"), [((41, 62), True), ((41, 85), False), (None, False)])
def test_a_card_hotter_than_its_calibration_is_known_no_better_than_others(
    degc: tuple[int, int] | None, trusted: bool
) -> None:
    board = Board(2)
    rows = [board.polled(20)]
    if degc:
        rows.append(
            [row(t, t, "gpu_temperature", d) for t, d in zip((1.0, 39.0), degc, strict=True)]
        )
    told = {"period_s": 0.1, "gain": 0.005, "offset": 0.5, "valid_w": [60, 800]}
    card = plan(gpu_energy={**told, "valid_degc": [30, 70]})
    value = of(Energy(read(*rows), [card]), 5 * S, 25 * S)
    share = value.terms["gain"] / (value.joules or 1.0) * math.sqrt(3)
    assert share == pytest.approx(0.005 if trusted else math.hypot(0.005, 0.05), rel=1e-6)


def test_a_run_seals_a_calibration_without_the_cards_uuid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "calibrations")
    (tmp_path / "host.toml").write_text("")
    monkeypatch.setenv("KIT_HOST_CONFIG", str(tmp_path / "host.toml"))
    config = HostConfig.load()
    ((name, data),) = config.calibrations("nvml").items()
    assert name == jsonio.digest(data)
    assert b"uuid" not in data
    assert b"GPU-" not in data
    (told,) = config.meter("nvml")["calibrations"]
    found = probe(Fake(build(tmp_path), {"gpus": 2}), calibrations=[told])
    plain, ours = (d.quantities["gpu_energy"] for d in found.devices)
    assert ours.calibration_sha256 == name
    assert plain.calibration_sha256 is None
