"""A meter of another package that breaks its contract: one sentence, and no other meter is lost."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.measure import meters
from kit.measure.meters import fit
from kit.measure.meters.contract import Reading, Tier
from kit.measure.meters.watch import watch
from kit.measure.sample.sampler import sample
from kit.record.events import Clock
from kit.spec.meters import REGISTRY

ROUND: dict[str, Any] = {}
ROUND["cpu_energy"] = ROUND


def device(name: Any = "x", quantities: Any = None) -> MeterDevice:
    facts = {"cpu_energy": {}} if quantities is None else quantities
    return MeterDevice(device=name, description="", quantities=facts)


def plan(*devices: MeterDevice, name: str = "theirs") -> MeterPlan:
    return MeterPlan(name=name, alias=None, devices=devices)


class Theirs:
    """A meter and its reader; each part can be replaced by what a newcomer might write."""

    name, title, scope, process, remedy = "theirs", "theirs", "cpu", "local", "ask its maker"

    def __init__(self, **parts: Any) -> None:
        self.found: Any = plan(device())
        self.devices: Any = (device(),)
        self.raw: Any = 1
        self.rc: Any = 0
        self.tiers: Any = (Tier("t", 0.05, self.read),)
        vars(self).update(parts)

    def probe(self, *_args: Any) -> Any:
        return self.found

    def open(self, _alias: str | None, _config: dict[str, Any], clock: Clock) -> Any:
        self.clock = clock
        return self

    def read(self) -> Any:
        now = self.clock.now()
        return [Reading(now, now, None, "x", "cpu_energy", self.rc, self.raw)]

    def explain(self, rc: int) -> str:
        return f"code {rc}"

    def close(self) -> None:
        raise RuntimeError("it does not close")


class NoReader(Theirs):
    def open(self, *_args: Any) -> Any:
        return None


class Raises(Theirs):
    def read(self) -> Any:
        raise RuntimeError("boom")


def register(monkeypatch: pytest.MonkeyPatch, meter: Theirs) -> None:
    monkeypatch.setattr(REGISTRY, "_registered", lambda: {"theirs": meter})
    monkeypatch.setitem(REGISTRY._loaded, "theirs", meter)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "its probe returned NoneType, not a MeterPlan"),
        ({"devices": []}, "its probe returned dict"),
        (plan(), "it names no device, and gives no reason"),
        (plan(device(), device()), "two of its devices are called x"),
        (plan(device(3)), "Expected `str`, got `int`"),
        (plan(device("")), "cannot be a device's name"),
        (plan(device("a,b\n")), "cannot be a device's name"),
        (plan(device("x", {"cpu_energy"})), "Expected `object`, got `array`"),
        (plan(device("x", {"cpu_energy": None})), "Expected `object`, got `null`"),
        (plan(device("x", {"cpu_energy": {"root": Path("/")}})), "its plan is malformed"),
        (plan(device("x", {"cpu_energy": {"wrap": float("nan")}})), "its plan is malformed"),
        (plan(device("x", ROUND)), "its plan is malformed"),
        (plan(device("x", {"cpu_energy": {"gain": "0.1"}})), "got `str` - at `$.devices[0].quan"),
        (plan(device("x", {"cpu_energy": QuantityFacts(gain="0.1")})), "got `str`"),  # type: ignore[arg-type]
        (plan(device("x", {"cpu_energy": {"poll_s": 1e6}})), "Expected `float` <= 86400.0"),
        (plan(device("x", {"cpu_energy": {"serial": 7}})), "know the fact 'serial' of cpu_energy"),
        (plan(device("x", {"cpu_energy": {"probe": {"va": 1}}})), "does not know the fact 'va'"),
    ],
)
def test_a_plan_that_is_none_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, answer: Any, why: str
) -> None:
    register(monkeypatch, Theirs(found=answer))
    meter_plan = meters.probe("theirs", None, {})
    assert (meter_plan.devices, meter_plan.scope) == ((), "cpu")
    assert why in meter_plan.reason


@pytest.mark.parametrize("facts", [{"wrap": 7, "gain": None}, QuantityFacts(wrap=7)])
def test_facts_may_be_written_as_in_a_plan(monkeypatch: pytest.MonkeyPatch, facts: Any) -> None:
    """Older packages' meters write them so; in a plan and of a reader they are records."""
    theirs = device("x", {"cpu_energy": facts})
    register(monkeypatch, Theirs(found=plan(theirs), devices=(theirs,)))
    quantities = {"cpu_energy": QuantityFacts(wrap=7)}
    assert meters.probe("theirs", None, {}).devices[0].quantities == quantities
    opened = meters.get("theirs").open(None, {}, Clock())
    assert fit.reader_of(opened).devices[0].quantities == quantities


def test_a_probe_that_may_not_read_says_so_by_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_args: Any) -> Any:
        raise PermissionError(13, "not for you")

    theirs = Theirs()
    register(monkeypatch, theirs)
    assert "cause" not in msgspec.to_builtins(meters.probe("theirs", None, {}))
    monkeypatch.setattr(theirs, "probe", denied)
    assert msgspec.to_builtins(meters.probe("theirs", None, {}))["cause"] == "no_permission"


def test_a_plan_bears_the_name_that_the_spec_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Theirs(found=plan(device(), name="other")))
    assert meters.probe("theirs", None, {}).name == "theirs"


def test_two_meters_cannot_give_one_name_to_two_devices() -> None:
    first, second = plan(device("gpu0"), name="nvml"), plan(device("gpu0"))
    first_plan, lost = meters.apart([first, second])
    assert first_plan == first
    assert (lost.devices, lost.reason) == ((), "its device gpu0 has the name of one of nvml")


WRONG = [
    (NoReader(), "no attribute 'devices'"),
    (Theirs(devices=(device(), device())), "two of its devices are called x"),
    (Theirs(devices=(device("x", {"cpu_energy"}),)), "Expected `object`, got `array`"),
    (Theirs(tiers=(Tier("t", None, list),)), "the period of its tier t is no number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("meter", "why"), WRONG)
def test_a_reader_that_is_none_loses_no_other_meter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meter: Theirs, why: str
) -> None:
    register(monkeypatch, meter)
    (shot,) = islice(watch([("theirs", None), ("estimate", None)], lambda *_: {}, 0.1), 1)
    assert (list(shot.devices), list(shot.absent)) == (["host"], ["theirs"])
    failed, rows, _ = sampled(tmp_path, "theirs", "estimate")
    assert why in failed["theirs"]
    assert rows["estimate.csv"] > 1


@pytest.mark.parametrize(
    ("raw", "rc"), [(1.5, 0), ("7", 0), (True, 0), (10**18, 0), (None, 0), (None, "EIO"), (7, None)]
)
def test_a_value_that_no_row_can_hold_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: Any, rc: Any
) -> None:
    register(monkeypatch, Theirs(raw=raw, rc=rc))
    (shot,) = islice(watch([("theirs", None)], lambda *_: {}, 0.2), 1)
    assert "no integer of at most 18 digits" in shot.devices["x"].why_not
    _, _, events = sampled(tmp_path, "theirs")
    assert "no integer of at most 18 digits" in events[0]["message"]
    assert (tmp_path / "theirs.csv").read_text().splitlines()[1].endswith(",2001,")


def test_the_monitor_says_why_a_meter_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Raises())
    (shot,) = islice(watch([("theirs", None)], lambda *_: {}, 0.2), 1)
    assert shot.devices["x"].why_not == "its meter failed: RuntimeError: boom"


def test_the_monitor_overwrites_no_device_of_another_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Theirs(devices=(device("host"),)))
    (shot,) = islice(watch([("estimate", None), ("theirs", None)], lambda *_: {}, 0.1), 1)
    assert shot.devices["host"].scope == "estimate"
    assert shot.absent == {"theirs": "its device host has the name of one of estimate"}


def sampled(folder: Path, *names: str) -> tuple[dict[str, str], dict[str, int], list[Any]]:
    """What failed, the rows by file, and the errors that the sampler reported."""
    stop = threading.Event()
    events: list[dict[str, Any]] = []
    wanted: list[dict[str, Any]] = [{"name": name, "alias": None, "config": {}} for name in names]
    threading.Timer(0.3, stop.set).start()
    failed: dict[str, str] = sample(
        {"origin": 0, "out": str(folder), "meters": wanted}, stop, events.append
    )
    rows = {f.name: len(f.read_text().splitlines()) for f in folder.glob("*.csv")}
    return failed, rows, [line for line in events if line["event"] == "error"]
