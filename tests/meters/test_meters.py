"""One contract for every meter, kit's own and others'."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import QUANTITIES
from kit.measure import meters
from kit.measure.meters.contract import MeterUnavailable
from kit.measure.meters.live import Live
from kit.record.events import Clock
from kit.spec.meters import is_aliased
from tests.meters import web_device
from tests.plans import facts_in

SCHEMAS = Path(jsonio.__file__).parent.parent / "schemas"


def rapl_tree(root: Path, zones: dict[str, tuple[str, int, int]]) -> Path:
    """A powercap tree: folder → (name, energy, range)."""
    for folder, (name, energy, highest) in zones.items():
        zone = root / folder
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy}\n")
        (zone / "max_energy_range_uj").write_text(f"{highest}\n")
    return root


@contextmanager
def renewed(*zones: Path) -> Iterator[None]:
    """Counters that grow by 1 µJ a millisecond or so, and wrap, as long as the block lasts."""
    stop = threading.Event()
    files = {os.open(zone / "energy_uj", os.O_RDWR): zone for zone in zones}
    ranges = {f: int((zone / "max_energy_range_uj").read_text()) + 1 for f, zone in files.items()}

    def renew() -> None:
        while not stop.wait(0.001):
            for file, modulus in ranges.items():
                now = (int(os.pread(file, 32, 0)) + 1) % modulus
                os.pwrite(file, f"{now:<20}\n".encode(), 0)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for file in files:
            os.close(file)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, Any]]]:
    """What a host that has the meter would say to it."""
    tree = rapl_tree(tmp_path / "powercap", {"intel-rapl:0": ("package-0", 1_000_000, 65_532_610)})
    card = {"name": "MI300X", "watts": 600, "power": ["current_socket_power"]}
    (tmp_path / "cards.json").write_text(json.dumps({"cards": [card]}))
    monkeypatch.setenv("FAKE_AMDSMI", str(tmp_path / "cards.json"))
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("fake_amdsmi")))
    with renewed(tree / "intel-rapl:0"), web_device.device() as served:
        served.pages["/meter/0"] = {"power": 12, "is_valid": True, "total": 7}
        power = {"PowerControl": [{"PowerConsumedWatts": 300}]}
        served.pages["/redfish/v1/Chassis/1/Power"] = power
        yield {
            "rapl": {"root": str(tree)},
            "estimate": {},
            "amdsmi": {},
            "plug": {"url": served.url, "profile": "shelly-gen1"},
            "redfish": {"url": served.url, "chassis": ["1"]},
        }
    sys.modules.pop("amdsmi", None)


def test_an_unknown_meter_names_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        meters.get("steam")
    assert "rapl" in caught.value.remedy


@pytest.mark.parametrize("name", meters.names())
def test_a_meter_states_its_facts(name: str) -> None:
    meter = meters.get(name)
    assert (meter.name, meter.process in ("local", "own")) == (name, True)
    assert meter.title
    assert meter.remedy


@pytest.mark.parametrize("name", meters.names())
def test_probing_never_raises_and_gives_devices_or_a_reason(name: str) -> None:
    plan = meters.get(name).probe("rack1" if is_aliased(name) else None, {})
    assert plan.name == name
    assert bool(plan.devices) != bool(plan.reason)
    for device in plan.devices:
        assert set(device.quantities) <= set(QUANTITIES)


def told_of(devices: Sequence[MeterDevice]) -> dict[tuple[str, str], QuantityFacts]:
    """Facts by device and quantity, but for what a probe alone sees."""
    return {
        (device.device, quantity): msgspec.structs.replace(facts, probe=None, call_s=None)
        for device in devices
        for quantity, facts in device.quantities.items()
    }


@pytest.mark.parametrize("name", ["rapl", "estimate", "amdsmi", "plug", "redfish"])
def test_a_reader_reads_what_was_probed(name: str, configs: dict[str, dict[str, Any]]) -> None:
    meter, clock = meters.get(name), Clock()
    alias = "rack1" if is_aliased(name) else None
    plan = meter.probe(alias, configs[name])
    reader = meter.open(alias, configs[name], clock)
    readings = [reading for tier in reader.tiers for reading in tier.read()]
    reader.close()
    assert told_of(reader.devices) == told_of(plan.devices)
    schema = jsonio.read(SCHEMAS / "plan.json")
    rules = {**schema, "$ref": "#/$defs/MeterPlan"}
    for key in ("type", "properties", "required", "additionalProperties"):
        rules.pop(key, None)
    jsonio.validator(rules).validate(jsonio.parse(jsonio.canonical(msgspec.to_builtins(plan))))
    assert {r.device for r in readings} == {d.device for d in plan.devices}
    for reading in readings:
        assert 0 <= reading.t0 <= reading.t1 <= clock.now()
        assert (reading.rc == 0) == (reading.raw is not None)


def test_without_a_driver_nvml_says_so() -> None:
    plan = meters.get("nvml").probe(None, {})
    if plan.devices:
        pytest.skip("this machine has a GPU")
    assert plan.reason == "no NVIDIA driver: libnvidia-ml.so.1 not found"
    with pytest.raises(MeterUnavailable):
        meters.get("nvml").open(None, {}, Clock())


# --- live -----------------------------------------------------------------------------------


def test_live_shows_a_counter_by_its_growth_across_a_wrap() -> None:
    facts = {"cpu_energy": {"wrap": 1_000_000, "poll_s": 1}}
    shown = Live([MeterDevice(device="cpu0-package", description="", quantities=facts_in(facts))])
    for t, raw in ((10**9, 900_000), (2 * 10**9, 100_000)):
        shown.see(meters.Reading(t, t, None, "cpu0-package", "cpu_energy", 0, raw))
        watts = shown.watts()
    assert watts == {"cpu0-package": 0.2}


def test_live_uses_the_scale_of_the_device_and_forgets_what_is_old() -> None:
    facts = {"pdu_power": {"scale": 10}}
    shown = Live([MeterDevice(device="pdu:a:1", description="", quantities=facts_in(facts))])
    shown.see(meters.Reading(0, 0, None, "pdu:a:1", "pdu_power", 0, 23))
    assert shown.watts(10**9) == {"pdu:a:1": 230.0}
    assert shown.watts(10 * 10**9) == {}
