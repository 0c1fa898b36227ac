"""What `kit monitor` sees: energy since the start, and never a number that nobody read."""

from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice
from kit.core.units import event_reasons
from kit.measure.meters import watch as watching
from kit.measure.meters.contract import Reading, Tier
from kit.measure.meters.estimate import EstimateReader
from kit.measure.meters.watch import DeviceState, Snapshot, _Device, totals, watch
from tests.meters.fake import Fake
from tests.meters.test_meters import rapl_tree
from tests.plans import facts_in

S = 10**9


def device(**quantities: dict[str, Any]) -> _Device:
    return _Device(MeterDevice(device="x", description="", quantities=facts_in(quantities)))


def feed(to: _Device, quantity: str, *points: tuple[float, int | None]) -> None:
    for t, raw in points:
        at = round(t * S)
        reading = Reading(at, at, None, "x", quantity, 0 if raw is not None else 15, raw)
        to.take(reading, lambda rc: f"error {rc}")


def test_a_counter_adds_up_across_its_wrap_and_a_reset_adds_nothing() -> None:
    x = device(cpu_energy={"wrap": 262_143_328_850})
    feed(x, "cpu_energy", (0, 262_143_000_000), (1, 49_671_150), (2, 99_671_150))
    state = x.state(2 * S)
    assert (state.joules, state.seconds, state.energy_from) == (
        pytest.approx(100.0),
        2.0,
        "counter",
    )
    before = x.state(2 * S).joules
    feed(x, "cpu_energy", (3, 5))
    assert x.state(3 * S).joules == before


def test_samples_are_preferred_and_a_lost_stretch_is_not_guessed() -> None:
    x = device(gpu_power_sample={}, gpu_power_instant={})
    for i in range(11):
        feed(x, "gpu_power_sample", (i * 0.02, 300_000))
    feed(x, "gpu_power_sample", (1.2, 300_000), (1.22, 300_000))
    feed(x, "gpu_power_instant", (0, 100_000), (1.22, 100_000))
    state = x.state(round(1.22 * S))
    assert state.energy_from == "20 ms samples"
    assert state.joules == pytest.approx(300 * 0.22)
    assert state.seconds == pytest.approx(0.22)
    assert state.watts == 100.0


def test_power_is_held_and_scaled() -> None:
    x = device(pdu_power={"scale": 10.0})
    feed(x, "pdu_power", (0, 20), (1, 30), (2, 30))
    state = x.state(2 * S)
    assert (state.scope, state.watts, state.joules) == ("wall", 300.0, 500.0)


def test_a_calibration_is_applied() -> None:
    x = device(pdu_power={"scale": 10.0, "correction": 1.2})
    feed(x, "pdu_power", (0, 20), (1, 20), (2, 20))
    assert (x.state(2 * S).watts, x.state(2 * S).joules) == (240.0, 480.0)
    card = {"gain_correction": 1.1, "offset_correction_w": 5.0}
    x = device(gpu_power_instant=card, gpu_energy=card)
    feed(x, "gpu_power_instant", (0, 100_000), (2, 100_000))
    assert x.state(2 * S).watts == pytest.approx(115.0)
    feed(x, "gpu_energy", (0, 7_000_000), (1, 7_100_000), (2, 7_200_000))
    assert x.state(2 * S).joules == pytest.approx(230.0)


@pytest.mark.parametrize(
    ("quantity", "facts", "reason"),
    [
        (
            "pdu_power",
            {"squelch": 50},
            "the outlet read 0 W: it cannot measure so little, but 50 W at least",
        ),
        ("pdu_power", {}, "the outlet read 0 W: it cannot measure so little"),
        ("gpu_power_instant", {}, "GPU power, instantaneous reads 0 W: no reading"),
    ],
)
def test_a_power_of_zero_is_no_reading(quantity: str, facts: dict[str, Any], reason: str) -> None:
    x = device(**{quantity: facts})
    feed(x, quantity, *[(t, 0) for t in range(6)])
    state = x.state(5 * S)
    assert (state.watts, state.joules, state.seconds) == (None, None, 0.0)
    assert (state.why_not, state.no_energy) == (reason, reason)
    feed(x, quantity, (6, 100_000), (7, 100_000), (8, 0), (9, 100_000))
    assert x.state(9 * S).watts is not None
    assert x.state(9 * S).seconds == 1.0  # neither up to a zero nor from one


@pytest.mark.parametrize(
    ("quantity", "facts", "raw"),
    [
        ("gpu_power_instant", {"limit_w": 700.0}, 2_000_000),
        ("gpu_power_average", {"limit_w": 700.0}, 2**31 - 1),
        ("pdu_power", {"scale": 0.1}, 65_535),
        ("pdu_power", {"limit_w": 3680.0}, 5_000),
    ],
)
def test_a_power_that_cannot_be_is_said_and_adds_nothing(
    quantity: str, facts: dict[str, Any], raw: int
) -> None:
    x = device(**{quantity: facts})
    feed(x, quantity, (0, 300), (1, 300), (2, raw))
    state = x.state(2 * S)
    assert state.watts is None
    assert "it can draw" in state.why_not or "all bits" in state.why_not
    feed(x, quantity, (3, 300), (4, 300))
    assert x.state(4 * S).seconds == 4.0  # as one that was lost
    feed(x, quantity, *((t, raw) for t in (5, 6, 7)), (8, 300), (9, 300))
    assert x.state(9 * S).seconds == 5.0  # three are too many: neither up to them nor from them


def test_a_counter_that_jumps_adds_nothing() -> None:
    x = device(gpu_energy={"limit_w": 700.0})
    feed(x, "gpu_energy", (0, 1_000), (1, 301_000), (2, 10**12), (3, 10**12 + 300_000))
    assert (x.state(3 * S).joules, x.state(3 * S).seconds) == (600.0, 2.0)


def test_a_power_below_zero_is_no_reading() -> None:
    x = device(pdu_power={"squelch": 50})
    feed(x, "pdu_power", (0, -1), (1, -1))
    assert "reads -1 W: no reading" in x.state(S).why_not


def test_another_power_stands_in_for_one_that_reads_zero() -> None:
    x = device(gpu_power_instant={}, gpu_power_average={})
    feed(x, "gpu_power_instant", (0, 0), (1, 0))
    feed(x, "gpu_power_average", (0, 100_000), (1, 100_000))
    assert (x.state(S).watts, x.state(S).energy_from) == (100.0, "1 s average, held")


def test_a_counter_that_stands_still_is_absent_and_says_so() -> None:
    x = device(gpu_energy={})
    feed(x, "gpu_energy", *[(t * 0.5, 123_456) for t in range(12)])
    state = x.state(round(5.5 * S))
    assert (state.watts, state.joules, state.energy_from) == (None, None, "")
    assert state.why_not == state.no_energy == "GPU energy counter has not grown for 6 s"
    # It counts again: what came meanwhile cannot be told, since the stretch is too long.
    feed(x, "gpu_energy", (6, 223_456), (6.5, 323_456))
    state = x.state(round(6.5 * S))
    assert (state.watts, state.joules, state.seconds) == (200.0, 100.0, 0.5)
    assert (state.why_not, state.no_energy) == ("", "")


def test_samples_stand_in_for_a_counter_that_stands_still() -> None:
    x = device(gpu_energy={}, gpu_power_sample={})
    feed(x, "gpu_energy", (0, 0), (0.5, 50_000), (1, 50_000), (2, 50_000))
    feed(x, "gpu_power_sample", *[(t * 0.02, 100_000) for t in range(101)])
    state = x.state(2 * S)
    assert (state.energy_from, state.joules) == ("20 ms samples", pytest.approx(200))
    assert state.no_energy == "GPU energy counter has not grown for 2 s"


def test_power_stands_in_for_a_counter_that_fails() -> None:
    x = device(gpu_energy={}, gpu_power_instant={})
    for t in range(9):
        feed(x, "gpu_energy", (t, 300_000 * t if t < 4 else None))
        feed(x, "gpu_power_instant", (t, 300_000))
    assert (x.state(8 * S).joules, x.state(8 * S).energy_from) == (2400.0, "instant power, held")


def test_a_counter_read_twice_between_two_ticks_counts_once() -> None:
    x = device(gpu_energy={})
    feed(x, "gpu_energy", (0, 0), (0.5, 50_000), (0.6, 50_000), (1.0, 100_000))
    state = x.state(S)
    assert (state.joules, state.seconds, state.watts) == (100.0, 1.0, 100.0)
    assert x.state(S).watts == 100.0  # nothing new since


def test_an_idle_host_is_no_counter_that_stands_still() -> None:
    x = device(cpu_busy={"cpus": 4, "idle_w": 10.0, "max_w": 50.0})
    feed(x, "cpu_busy", *[(t, 0) for t in range(4)])
    assert (x.state(3 * S).watts, x.state(3 * S).joules) == (10.0, 30.0)


def test_what_fails_says_why_and_what_is_old_is_gone() -> None:
    x = device(gpu_power_instant={})
    assert (x.state(0).watts, x.state(0).why_not) == (None, "no reading yet")
    feed(x, "gpu_power_instant", (0, 100_000), (1, None))
    assert (x.state(S).watts, x.state(S).why_not) == (None, "error 15")
    feed(x, "gpu_power_instant", (2, 100_000))
    assert x.state(3 * S).watts == 100.0
    assert x.state(30 * S).watts is None


def test_a_device_that_cannot_be_read_brings_its_reason() -> None:
    state = device(cpu_energy={"reason": "its counter cannot be read"}).state(0)
    assert (state.scope, state.why_not) == ("cpu", "its counter cannot be read")


def test_event_reasons_in_words() -> None:
    assert event_reasons(0) == ()
    assert event_reasons(0x44) == ("power cap", "too hot (hardware)")
    assert event_reasons(0x1 | 1 << 40) == ("idle", "unknown (0x10000000000)")


def seen_of(scope: str, watts: float | None, *, summed: bool = True) -> DeviceState:
    why_not = "it is lost" if watts is None else ""
    return DeviceState(scope, summed, watts, "", 10.0, 1.0, "", {}, None, why_not)


def test_totals_keep_scopes_apart_and_say_nothing_of_a_partial_sum() -> None:
    shot = Snapshot(
        1.0,
        {
            "gpu0": seen_of("gpu", 300.0),
            "gpu1": seen_of("gpu", None),
            "cpu0-package": seen_of("cpu", 90.0),
            "cpu0-dram": seen_of("cpu", 20.0, summed=False),
            "host": seen_of("estimate", 70.0),
        },
        {},
    )
    sums = totals(shot)
    assert sums["gpu"] == {
        "power_W": None,
        "energy_J": 20.0,
        "energy_over_s": 1.0,
        "reason": "gpu1: it is lost",
    }
    expected = {"power_W": 90.0, "energy_J": 10.0, "energy_over_s": 1.0, "reason": ""}
    assert sums["cpu"] == expected
    assert sums["estimate"]["power_W"] == 70.0
    assert "wall" not in sums


def test_energies_over_different_times_make_no_sum() -> None:
    """One of two GPUs is lost after 10 of 60 s."""
    boards = {name: device(gpu_power_instant={}) for name in ("gpu0", "gpu1")}
    feed(boards["gpu0"], "gpu_power_instant", *[(t / 10, 300_000) for t in range(600)])
    lost = [(t / 10, 300_000 if t < 100 else None) for t in range(600)]
    feed(boards["gpu1"], "gpu_power_instant", *lost)
    shot = Snapshot(60.0, {name: b.state(60 * S) for name, b in boards.items()}, {})
    total = totals(shot)["gpu"]
    assert (total["power_W"], total["energy_J"], total["energy_over_s"]) == (None, None, None)
    assert total["reason"] == "gpu1: error 15; energies over 9.9 to 59.9 s make no sum"
    assert shot.devices["gpu1"].joules == pytest.approx(2970)
    assert shot.devices["gpu1"].seconds == pytest.approx(9.9)


def test_watching_a_host(tmp_path: Path) -> None:
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1_000_000, 65_532_610_996)})
    configs = {"rapl": {"root": str(tree)}}
    wanted = [("estimate", None), ("rapl", None), ("pdu", "rack1")]
    shots = list(islice(watch(wanted, lambda name, _: configs.get(name, {}), 0.6), 3))
    assert "host.toml" in shots[0].absent["pdu-rack1"]
    host, package = shots[2].devices["host"], shots[2].devices["cpu0-package"]
    assert host.watts is not None
    assert host.joules
    assert (package.watts, package.joules) == (None, None)
    assert "has not grown" in package.why_not


def test_a_meter_that_hangs_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(EstimateReader, "_read", lambda self: let_go.wait(60) and ())
    tree = rapl_tree(tmp_path, {"intel-rapl:0": ("package-0", 1_000_000, 65_532_610_996)})
    configs = {"rapl": {"root": str(tree)}}
    shots = watch([("estimate", None), ("rapl", None)], lambda n, _: configs.get(n, {}), 0.6)
    devices = list(islice(shots, 2))[1].devices
    assert not let_go.is_set()
    let_go.set()
    assert devices["host"].why_not == "no reading yet"
    assert "has not grown" in devices["cpu0-package"].why_not


@pytest.mark.slow
def test_the_energy_of_gpus_is_true(gpus: Any) -> None:
    """The fake driver's true power is known: what is told per second must be it."""
    fake: Fake = gpus(gpus=1, amp=0, base=250)
    code = (
        "import json; from itertools import islice; from kit.measure.meters.watch import watch;"
        "s = list(islice(watch([('nvml', None)], lambda *_: {}, 1.0), 3))[-1].devices['gpu0'];"
        "print(json.dumps([s.joules, s.seconds, s.context['temperature_degC'], s.energy_from]))"
    )
    joules, seconds, temperature, method = fake.python(code)
    assert joules / seconds == pytest.approx(250, rel=1e-3)
    assert seconds > 1.5
    assert (temperature, method) == (35, "20 ms samples")


class _Odd:
    """A meter of another package that breaks its contract."""

    scope = "wall"
    tiers: tuple[Tier, ...] = ()
    devices = (MeterDevice(device="x", description="", quantities={"pdu_power": QuantityFacts()}),)

    def __init__(self, *, opens: bool) -> None:
        self._opens = opens
        self.tiers = (Tier("odd", 0.1, self._read),)

    def open(self, *_args: Any) -> _Odd:
        if not self._opens:
            raise ZeroDivisionError
        return self

    def explain(self, rc: int) -> str:
        raise KeyError(rc)

    def close(self) -> None:
        pass

    def _read(self) -> list[Reading]:
        at = time.monotonic_ns()
        strange = Reading(at, at, None, "nobody", "pdu_power", 0, 100)
        return [strange, Reading(at, at, None, "x", "pdu_power", 7, None)]


@pytest.mark.parametrize("opens", [True, False])
def test_a_meter_that_breaks_its_contract_ends_no_watch(
    monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    monkeypatch.setattr(watching, "get", lambda _name: _Odd(opens=opens))
    (shot,) = islice(watch([("odd", None)], lambda *_: {}, 0.3), 1)
    if opens:
        assert (shot.devices.keys(), shot.devices["x"].why_not) == ({"x"}, "code 7")
    else:
        assert shot.absent == {"odd": "the meter failed: ZeroDivisionError"}


class _Counting(_Odd):
    """A device that is to be asked every two seconds."""

    def __init__(self) -> None:
        super().__init__(opens=True)
        self.asked = 0
        facts = {"pdu_power": {"poll_s": 2.0}}
        self.devices = (MeterDevice(device="x", description="", quantities=facts_in(facts)),)
        self.tiers = (Tier("slow", 2.0, self._read),)

    def _read(self) -> list[Reading]:
        self.asked += 1
        return []


def test_no_device_is_asked_more_often_than_a_run_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _Counting()
    monkeypatch.setattr(watching, "get", lambda _name: slow)
    list(islice(watch([("slow", None)], lambda *_: {}, 1.5), 1))
    assert slow.asked == 1


@pytest.mark.parametrize(
    ("poll_s", "age_s", "is_shown"), [(1, 4, True), (1, 6, False), (10, 20, True)]
)
def test_a_reading_is_old_after_some_polls(poll_s: float, age_s: int, is_shown: bool) -> None:
    x = device(pdu_power={"poll_s": poll_s})
    feed(x, "pdu_power", (0, 100))
    assert (x.state(age_s * S).watts is not None) == is_shown
