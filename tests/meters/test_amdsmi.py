"""AMD's GPUs: kit over a stand-in for ROCm's module, with its names, shapes and errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kit.cli.main import dispatch
from kit.core import limits
from kit.core.facts import QuantityFacts
from kit.core.units import scale_of
from kit.energy.ticks import known_ticks
from kit.measure import meters
from kit.measure.meters import amdsmi
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.watch import totals, watch
from kit.record.events import Clock
from kit.record.samples import from_csv
from tests.meters.fake import Sampled

AMD = meters.get("amdsmi")
FOLDER = Path(__file__).with_name("fake_amdsmi")
MI300: dict[str, Any] = {
    "name": "AMD Instinct MI300X",
    "watts": 600,
    "power": ["current_socket_power"],
    "serial": "SN-SECRET-1",
}
MI210: dict[str, Any] = {
    "name": "AMD Instinct MI210",
    "watts": 250,
    "power": ["average_socket_power"],
}
MI250: dict[str, Any] = {**MI210, "name": "AMD Instinct MI250X / MI250", "watts": 480}
SECOND: dict[str, Any] = {**MI250, "watts": 0, "energy": False}

Host = Callable[..., None]


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with these cards, until the next call; the module is imported anew in each test."""
    path = tmp_path / "cards.json"
    monkeypatch.setenv("FAKE_AMDSMI", str(path))
    monkeypatch.syspath_prepend(str(FOLDER))

    def host(*cards: dict[str, Any], **document: Any) -> None:
        path.write_text(json.dumps({"cards": cards, **document}))

    host()
    sys.modules.pop("amdsmi", None)
    yield host
    sys.modules.pop("amdsmi", None)


def read(config: dict[str, Any] | None = None) -> dict[tuple[str, str], meters.Reading]:
    reader = AMD.open(None, config or {}, Clock())
    try:
        return {(r.device, r.quantity): r for tier in reader.tiers for r in tier.read()}
    finally:
        reader.close()


def in_units(reading: meters.Reading, facts: QuantityFacts) -> float:
    assert reading.raw is not None
    return reading.raw * scale_of(reading.quantity, facts)


# --- what a card tells --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "power", "other"),
    [
        (MI300, "gpu_power_instant", "gpu_power_average"),
        (MI210, "gpu_power_average", "gpu_power_instant"),
    ],
)
def test_a_card_is_read_in_kits_own_quantities(
    gpus: Host, card: dict[str, Any], power: str, other: str
) -> None:
    gpus(card)
    (device,) = AMD.probe(None, {}).devices
    quantities = device.quantities
    assert (device.device, device.description) == ("amd0", card["name"])
    assert "N/A" in quantities[other].reason
    found_now = {q: in_units(r, quantities[q]) for (_, q), r in read().items()}
    assert found_now.pop("gpu_energy") > 0
    assert found_now == {
        power: card["watts"],
        "gpu_temperature": 41,
        "gpu_sm_clock": 2100,
        "gpu_utilisation": 97,
        "gpu_memory_used": 3 << 30,
    }
    assert quantities["gpu_energy"].scale == 0.0153
    for quantity in ("gpu_energy", power):
        facts = quantities[quantity]
        assert facts.limit_w == 750.0 == limits.gpu_cap_w(facts)
        assert facts.gain == 0.1 and "prior" in facts.gain_source
        assert facts.period_reason and facts.source.startswith("amdsmi_get_")
    assert {f.poll_s for f in quantities.values() if f.is_read} == {0.05}


def test_the_pace_of_the_plan_is_the_samplers(gpus: Host) -> None:
    """`kit verify` holds the rows against the plan's pace."""
    for count in (1, 8):
        gpus(*[MI300 | {"serial": str(n)} for n in range(count)])
        planned = AMD.probe(None, {}).devices
        reader = AMD.open(None, {}, Clock())
        for device in planned:
            paces = {f.poll_s for f in device.quantities.values() if f.is_read}
            assert paces == {reader.tiers[0].period_s}
        reader.close()


@pytest.mark.slow
def test_a_sampler_counts_the_true_energy(gpus: Host, tmp_path: Path) -> None:
    gpus(MI300, MI210)
    (first, second) = AMD.probe(None, {}).devices
    env = {**os.environ, "PYTHONPATH": str(FOLDER)}
    sampled = Sampled(tmp_path / "s", [{"name": "amdsmi", "alias": None, "config": {}}], env)
    sampled.run(2.0)
    samples = from_csv({name.removesuffix(".csv"): d for name, d in sampled.files().items()})
    for device, watts in ((first, 600), (second, 250)):
        series = samples.get(device.device, "gpu_energy")
        assert series is not None and len(series.t) > 5
        grown = int(series.raw[-1] - series.raw[0])
        joules = grown * scale_of("gpu_energy", device.quantities["gpu_energy"])
        seconds = float(series.t[-1] - series.t[0]) * 1e-9
        assert joules == pytest.approx(watts * seconds, rel=0.01)
        assert np.all(np.diff(series.raw) > 0)
        ticks = known_ticks(series, 0.1)
        assert len(ticks.t) > 0.4 * len(series.t)  # enough for a way to the energy


def test_a_run_on_some_gpus_reads_those(gpus: Host) -> None:
    gpus(MI300, MI300 | {"serial": "2"}, MI300 | {"serial": "3"})
    assert [d.device for d in AMD.probe(None, {"gpus": 2}).devices] == ["amd0", "amd1"]
    assert {device for device, _ in read({"gpus": 2})} == {"amd0", "amd1"}


@pytest.mark.parametrize(("cap", "limit_w"), [(750_000_000, 750.0), (300, 300.0), ("N/A", None)])
def test_a_cap_in_either_of_the_librarys_units(gpus: Host, cap: Any, limit_w: Any) -> None:
    caps = {"amdsmi_get_power_cap_info": {"max_power_cap": cap, "power_cap": cap}}
    gpus(MI300 | {"answers": caps})
    (device,) = AMD.probe(None, {}).devices
    assert device.quantities["gpu_energy"].limit_w == limit_w


@pytest.mark.parametrize(("raw", "scale"), [(61, 1.0), (61_000, 1e-3)])
def test_a_temperature_in_either_of_the_librarys_units(gpus: Host, raw: int, scale: float) -> None:
    gpus(MI300 | {"answers": {"amdsmi_get_temp_metric HOTSPOT": raw}})
    (device,) = AMD.probe(None, {}).devices
    reading = read()["amd0", "gpu_temperature"]
    assert in_units(reading, device.quantities["gpu_temperature"]) == 61.0
    assert device.quantities["gpu_temperature"].scale == (None if scale == 1.0 else scale)


# --- two dies, one board ------------------------------------------------------------------------


def test_the_second_die_of_a_board_counts_nothing(gpus: Host) -> None:
    gpus(MI250, SECOND, MI250, SECOND)
    plan = AMD.probe(None, {})
    for index, device in enumerate(plan.devices):
        energy, power = (device.quantities[q] for q in ("gpu_energy", "gpu_power_average"))
        assert energy.is_summed == power.is_summed == (index % 2 == 0)
        if index % 2:
            assert "second die" in energy.reason and "second die" in power.reason
            assert device.quantities["gpu_temperature"].is_read
    summed = [d for d in plan.devices if d.quantities["gpu_energy"].is_summed]
    assert len(summed) == 2


def test_two_devices_of_one_board_that_both_tell_it_count_once(gpus: Host) -> None:
    gpus(MI250 | {"serial": "a1"}, MI250 | {"serial": "a1"}, MI250 | {"serial": "b1"})
    plan = AMD.probe(None, {})
    summed = [d.quantities["gpu_power_average"].is_summed for d in plan.devices]
    assert summed == [True, False, True]
    assert "amd0" in plan.devices[1].quantities["gpu_energy"].inside
    shown = next(watch([("amdsmi", None)], lambda *_: {}, 1.0))
    assert totals(shown)["gpu"]["power_W"] is not None
    assert [s.summed for s in shown.devices.values()] == summed


def test_a_first_die_that_is_silent_is_missed(gpus: Host) -> None:
    """Two boards of which one tells nothing: half of the power is no sum."""
    gpus(MI250, SECOND, SECOND, SECOND)
    devices = AMD.probe(None, {}).devices
    assert all(d.quantities["gpu_energy"].is_summed for d in devices)
    assert all("second die" not in str(d.quantities["gpu_energy"]) for d in devices)


@pytest.mark.parametrize("serial", ["", "0", "00000000", "N/A", " ", None])
def test_a_serial_number_that_is_none_makes_no_board(gpus: Host, serial: Any) -> None:
    gpus(*[MI300 | {"serial": serial}] * 2)
    assert all(d.quantities["gpu_energy"].is_summed for d in AMD.probe(None, {}).devices)


def test_a_card_without_a_sensor_is_no_second_die(gpus: Host) -> None:
    gpus(MI300, MI300 | {"watts": 0, "energy": False, "serial": "x"})
    facts = AMD.probe(None, {}).devices[1].quantities["gpu_energy"]
    assert facts == QuantityFacts(reason="the driver reads 0: no sensor")
    gpus(SECOND, SECOND)
    assert all(d.quantities["gpu_energy"].summed is None for d in AMD.probe(None, {}).devices)


# --- what is lost, and what is hostile ----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "quantity", "words"),
    [
        ({"fail": {"amdsmi_get_energy_count": 2}}, "gpu_energy", "not supported"),
        ({"fail": {"amdsmi_get_energy_count": "crash"}}, "gpu_energy", "failed"),
        ({"answers": {"amdsmi_get_energy_count": {}}}, "gpu_energy", "N/A"),
        ({"answers": {"amdsmi_get_energy_count": None}}, "gpu_energy", "failed"),
        ({"answers": {"amdsmi_get_energy_count": {"energy_accumulator": 5}}}, "gpu_energy", "step"),
        (
            {"answers": {"amdsmi_get_energy_count": {"power": 5, "counter_resolution": "N/A"}}},
            "gpu_energy",
            "step",
        ),
        ({"fail": {"amdsmi_get_power_info": 10}}, "gpu_power_instant", "Permission"),
        *(
            ({"answers": {"amdsmi_get_power_info": {"current_socket_power": raw}}}, *found)
            for raw, *found in (
                (True, "gpu_power_instant", "not a number"),
                (-5, "gpu_power_instant", "not a number"),
                (1.5, "gpu_power_instant", "not a number"),
                ([600], "gpu_power_instant", "not a number"),
                (0xFFFF, "gpu_power_instant", "N/A"),
                (0xFFFFFFFF, "gpu_power_instant", "N/A"),
                (0, "gpu_power_instant", "no sensor"),
            )
        ),
    ],
)
def test_what_a_card_does_not_tell_has_its_reason(
    gpus: Host, change: dict[str, Any], quantity: str, words: str
) -> None:
    gpus(MI300 | change)
    (found,) = AMD.probe(None, {}).devices
    assert words.lower() in found.quantities[quantity].reason.lower()
    assert ("amd0", quantity) not in read()


def test_a_reading_that_is_lost_is_a_code_with_words_and_comes_back(gpus: Host) -> None:
    gpus(MI300)
    reader = AMD.open(None, {}, Clock())
    (tier,) = reader.tiers
    for change, words in (
        ({"fail": {"amdsmi_get_power_info": 30}}, "busy"),
        ({"fail": {"amdsmi_get_power_info": "crash"}}, "failed"),
        ({"answers": {"amdsmi_get_power_info": {"current_socket_power": "N/A"}}}, "N/A"),
        ({"answers": {"amdsmi_get_power_info": {"current_socket_power": False}}}, "not a number"),
        ({"answers": {"amdsmi_get_power_info": 7}}, "failed"),
    ):
        gpus(MI300 | change)
        by_quantity = {r.quantity: r for r in tier.read()}
        lost = by_quantity["gpu_power_instant"]
        assert lost.rc != 0 and lost.raw is None and words in reader.explain(lost.rc)
        assert by_quantity["gpu_energy"].rc == 0
    gpus()  # it fell off the bus
    assert all(r.rc and r.raw is None for r in tier.read())
    gpus(MI300)
    assert all(r.rc == 0 for r in tier.read())
    reader.close()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"init": 34}, "Driver not loaded"),
        ({"init": 999}, "unknown error"),
        ({"broken": "import"}, "no such symbol"),
        ({"broken": "library"}, "libamd_smi.so"),
        ({}, "sees no GPU"),
    ],
)
def test_no_gpus_are_a_reason(
    gpus: Host, card: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gpus(**card)
    plan = AMD.probe(None, {})
    assert not plan.devices and words in plan.reason
    with pytest.raises(MeterUnavailable):
        AMD.open(None, {}, Clock())
    assert capsys.readouterr().out == ""  # where kit writes JSON, no library may write


def test_without_the_module_the_remedy_says_how_to_get_it() -> None:
    if amdsmi.is_installed():
        pytest.skip("ROCm's module is installed here")
    assert AMD.probe(None, {}).reason == "the Python module amdsmi is not installed"
    assert "amd-smi-lib" in AMD.remedy


def test_a_plan_holds_no_serial_number(gpus: Host) -> None:
    gpus(MI300, MI300)
    plan_text = json.dumps(msgspec.to_builtins(AMD.probe(None, {})))
    assert "SECRET" not in plan_text and "5EC4E7" not in plan_text


def test_doctor_shows_it(gpus: Host, capsys: pytest.CaptureFixture[str]) -> None:
    gpus(MI300)
    dispatch(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert ("METER", "amdsmi reads amd0") in {(f["code"], f["message"]) for f in findings}
