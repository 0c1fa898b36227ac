"""A scope is one record: what it says holds in results, in Live and in `kit monitor`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import kit
from kit.core import units
from kit.core.errors import UsageError
from kit.core.facts import QuantityFacts
from kit.core.model import MeterDevice, MeterPlan
from kit.core.units import QUANTITIES
from kit.energy import Energy, running, scopes
from kit.energy.reasons import sentence
from kit.energy.scopes import COMPARATORS, SCOPES, cpu, gpu, wall
from kit.measure import meters as registry
from kit.measure.meters import Reading
from kit.measure.meters.live import Live
from kit.measure.meters.pdu.points import _facts as pdu_facts
from kit.measure.meters.pdu.profiles import load
from kit.measure.meters.watch import _Device
from kit.record.events import Event
from kit.record.samples import Samples, from_csv
from kit.show.live.runstate import RunState
from kit.spec import meters
from kit.spec import spec as specs
from tests.golden import run_spec
from tests.plans import facts_in

S = 10**9
EVERY = {**SCOPES, **COMPARATORS}
Points = list[tuple[float, int]]


def plan_of(device: MeterDevice, name: str = "x", scope: str = "wall") -> MeterPlan:
    return MeterPlan(name=name, alias=None, devices=(device,), scope=scope)


def device_of(quantity: str, facts: dict[str, Any], name: str = "pdu:a:1") -> MeterDevice:
    return MeterDevice(device=name, description="", quantities=facts_in({quantity: facts}))


def read(device: str, quantity: str, points: Points) -> Samples:
    rows = [
        f"{n},{int(t * S)},{int(t * S)},,{device},{quantity},0,{raw}"
        for n, (t, raw) in enumerate(points)
    ]
    return from_csv(
        {"x": "\n".join(["seq,t0,t1,t_dev,device,quantity,rc,raw", *rows, ""]).encode()}
    )


def live_joules(device: MeterDevice, quantity: str, points: Points) -> float | None:
    """What Live's window of all of it shows, by way of the journal's live events."""
    shown, state = Live([device]), RunState([plan_of(device)])
    for number, (t, raw) in enumerate(points):
        at = int(t * S)
        shown.see(Reading(at, at, None, device.device, quantity, 0, raw))
        data = {"power": shown.watts(at), "joules": shown.joules()}
        if number == 1:
            begin = {"launch": 0, "phase": "measured", "part": None}
            state.take(event(number, int(points[0][0] * S), "phase.begin", begin))
        state.take(event(number, at, "live", {k: v for k, v in data.items() if v}))
    joules = {value.scope: value for value in state.snapshot().energy}
    return joules["wall"].joules if "wall" in joules else None


def event(seq: int, t: int, kind: str, data: dict[str, Any]) -> Event:
    return Event(seq=seq, t=t, kind=kind, data=data, prev="")


def monitored(device: MeterDevice, quantity: str, points: Points) -> Any:
    monitor = _Device(device)
    for t, raw in points:
        at = int(t * S)
        monitor.take(Reading(at, at, None, device.device, quantity, 0, raw), str)
    return monitor.state(int(points[-1][0] * S))


def step(
    *, poll_s: float = 1.0, until: float = 60.0, missing: tuple[float, float] = (-1, -1)
) -> Points:
    """100 W, and 300 W from the middle on; no answers within ``missing`` (s)."""
    times = [n * poll_s for n in range(int(until / poll_s) + 1)]
    rest = [t for t in times if not missing[0] < t < missing[1]]
    return [(t, 100 if t < until / 2 else 300) for t in rest]


# --- one step of wall power ---------------------------------------------------------------------


@pytest.mark.parametrize("poll_s", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("correction", [1.0, 1.1])
def test_one_step_of_wall_power_has_the_same_joules_everywhere(
    poll_s: float, correction: float
) -> None:
    facts = {"poll_s": poll_s, "period_s": poll_s, "correction": correction}
    device, points = device_of("pdu_power", facts), step(poll_s=poll_s)
    energy = Energy(read("pdu:a:1", "pdu_power", points), [plan_of(device)])
    (value,) = energy.of(0, 60 * S)
    expected = pytest.approx((30 * 100 + 30 * 300) * correction, rel=1e-9)
    assert value.joules == expected
    assert monitored(device, "pdu_power", points).joules == expected
    # Live's first event comes with the second reading: the window begins there.
    begun = pytest.approx((30 * 100 + 30 * 300) * correction, abs=100 * poll_s * correction + 1)
    assert live_joules(device, "pdu_power", points) == begun


@pytest.mark.parametrize(("silence", "is_hole"), [(2.0, False), (3.0, True), (4.0, True)])
def test_a_silence_is_a_hole_for_all_of_them_or_for_none(silence: float, is_hole: bool) -> None:
    """Two answers lost are too many: Live and the monitor do not bridge what results do not."""
    device = device_of("pdu_power", {"poll_s": 1.0, "period_s": 1.0})
    points = step(missing=(29.0, 29.0 + silence))
    energy = Energy(read("pdu:a:1", "pdu_power", points), [plan_of(device)])
    (result,) = energy.of(0, 60 * S)
    monitor = monitored(device, "pdu_power", points)
    assert (result.joules is None) == is_hole
    if not is_hole:
        assert result.joules == pytest.approx(monitor.joules, rel=1e-9)
        return
    (before,), (after,) = energy.of(0, 29 * S), energy.of(int((29 + silence) * S), 60 * S)
    assert before.joules is not None and after.joules is not None
    assert monitor.joules == pytest.approx(before.joules + after.joules, rel=1e-9)
    assert monitor.seconds == pytest.approx(60 - silence)
    assert live_joules(device, "pdu_power", points) is None


@pytest.mark.parametrize(
    "odd",
    [
        Reading(29 * S, 31 * S, None, "pdu:a:1", "pdu_power", 0, 100),  # it was asked for twice
        *(Reading(29 * S, 29 * S, None, "pdu:a:1", "pdu_power", 0, w) for w in (-1, 65_535, 9_999)),
        Reading(29 * S, 29 * S, None, "pdu:a:1", "pdu_power", 5, None),
    ],
)
def test_one_answer_that_is_late_or_cannot_be_is_no_hole_for_any_of_them(odd: Reading) -> None:
    device = device_of("pdu_power", {"poll_s": 1.0, "period_s": 1.0})
    readings = [
        Reading(t, t, None, "pdu:a:1", "pdu_power", 0, 100)
        for t in range(0, 61 * S, S)
        if not odd.t0 <= t <= odd.t1
    ]
    readings = sorted([*readings, odd])
    rows = [
        f"{n},{r.t0},{r.t1},,{r.device},{r.quantity},{r.rc},{'' if r.raw is None else r.raw}\n"
        for n, r in enumerate(readings)
    ]
    text = "".join(["seq,t0,t1,t_dev,device,quantity,rc,raw\n", *rows])
    (value,) = Energy(from_csv({"x": text.encode()}), [plan_of(device)]).of(0, 60 * S)
    monitor, shown = _Device(device), Live([device])
    for reading in readings:
        monitor.take(reading, str)
        shown.see(reading)
    joules = pytest.approx(6000.0, rel=1e-9)
    assert (value.joules, monitor.state(60 * S).joules) == (joules, joules)
    assert shown.joules() == {"pdu:a:1": joules}


@pytest.mark.parametrize(
    "times",
    [
        # The sum after the second hole is soon larger than that before it was.
        [*range(5), 8.1, 9.1, *(t + 0.1 for t in range(13, 30))],
        [*range(5), 8.1, 9.1, 13.1, 16.1, *range(19, 30)],
        # It never grew before the window.
        [0, 3.1, 6.2, 9.3, 12.4, *range(16, 30)],
    ],
)
def test_a_sum_that_began_again_within_the_window_is_unmeasured(times: list[float]) -> None:
    device = device_of("pdu_power", {"poll_s": 1.0, "period_s": 0.1})
    waiting = [(t, 100 if t < 10 else 300) for t in times]
    shown, state, at = Live([device]), RunState([plan_of(device)]), 0.0
    for number in range(56):
        at = number / 2
        while waiting and waiting[0][0] <= at:
            t, raw = waiting.pop(0)
            shown.see(Reading(int(t * S), int(t * S), None, "pdu:a:1", "pdu_power", 0, raw))
        data = {"power": shown.watts(int(at * S)), "joules": shown.joules()}
        if number == 20:
            begin = {"launch": 0, "phase": "measured", "part": None}
            state.take(event(number, int(at * S), "phase.begin", begin))
        state.take(event(number, int(at * S), "live", {k: v for k, v in data.items() if v}))
    (value,) = state.snapshot().energy
    assert value.status == "unmeasured"


def test_a_late_answer_moves_the_step_alike() -> None:
    """One answer comes late: the change lies half-way of what it was late by."""
    device = device_of("pdu_power", {"poll_s": 1.0, "period_s": 1.0})
    points = [(t, w) for t, w in step() if t != 30.0]
    (value,) = Energy(read("pdu:a:1", "pdu_power", points), [plan_of(device)]).of(0, 60 * S)
    assert value.joules == pytest.approx(monitored(device, "pdu_power", points).joules, rel=1e-9)


@pytest.mark.parametrize(
    ("quantity", "facts", "points"),
    [
        ("cpu_energy", {"poll_s": 1.0}, [(t * 0.5, t * 20_000_000) for t in range(81)]),
        ("cpu_busy", {"cpus": 4, "idle_w": 10.0, "max_w": 50.0}, [(t * 0.5, 0) for t in range(81)]),
        ("gpu_energy", {}, [(t * 0.1, t * 30_000) for t in range(401)]),
        ("gpu_power_instant", {}, [(t * 0.1, 300_000 + t % 2) for t in range(401)]),
        ("gpu_energy", {"scale": 0.0153}, [(t * 0.1, t * 2_000_000) for t in range(401)]),
    ],
)
def test_steady_power_of_every_scope_is_the_same_in_results_and_monitor(
    quantity: str, facts: dict[str, Any], points: Points
) -> None:
    scope = QUANTITIES[quantity].scope
    device = device_of(quantity, facts, "x")
    values = Energy(read("x", quantity, points), [plan_of(device, scope=scope)]).of(5 * S, 35 * S)
    (value,) = [v for v in values if v.scope == scope]
    monitor = monitored(device, quantity, points)
    assert value.joules is not None, value.reason
    assert monitor.joules / monitor.seconds == pytest.approx(value.joules / 30, rel=2e-3)


# --- no two meters count one device -------------------------------------------------------------


def test_two_kinds_of_meter_of_one_scope_make_no_sum() -> None:
    both = [
        plan_of(device_of("pdu_power", {"poll_s": 1.0}, "pdu:a:1"), "pdu"),
        plan_of(device_of("pdu_power", {"poll_s": 1.0}, "node"), "other"),
    ]
    series = read("pdu:a:1", "pdu_power", step()).series | read("node", "pdu_power", step()).series
    (value,) = Energy(Samples(series, (), {}), both).of(0, 60 * S)
    assert value.joules is None
    assert "other and pdu measure wall outlets" in sentence(value.reason)


def test_a_spec_that_asks_for_both_is_refused() -> None:
    document = specs.document(run_spec())
    asked = {"meters": [{"name": "rapl"}, {"name": "estimate"}], "primary_metric": "outputs"}
    assert specs.problems(document | asked) == []
    (problem,) = specs.problems(document | asked | {"primary_metric": "gpu_energy_per_request"})
    assert "nvml" in problem.remedy


# --- one address --------------------------------------------------------------------------------


def test_every_scope_of_a_quantity_has_its_record() -> None:
    assert {*EVERY, "none"} == set(get_args(units.Scope))
    for name, scope in EVERY.items():
        own = {q.name for q in QUANTITIES.values() if q.scope == name}
        assert scope.name == name
        assert {scope.source, *scope.main, *scope.power, *scope.growth} <= own
        assert own - set(scope.growth) == ({scope.source} if scope.stated else set())


def test_a_meter_writes_the_prior_of_its_scope_into_the_plan() -> None:
    power = next(m for m in load("raritan-px").measurements if m.quantity == "pdu_power")
    facts = pdu_facts(msgspec.structs.replace(power, gain=None))
    assert (facts.gain, facts.gain_source) == (wall.GAIN, wall.GAIN_SOURCE)


@pytest.mark.parametrize(
    ("scope", "terms"),
    [
        ("gpu", {"gain": gpu.GAIN, "offset": gpu.OFFSET_W}),
        ("cpu", {"gain": cpu.GAIN}),
        ("wall", {"gain": wall.GAIN, "offset": 1.0}),
    ],
)
def test_live_and_results_have_the_priors_of_the_scope(scope: str, terms: dict[str, float]) -> None:
    value = running.so_far(scope, {"x": QuantityFacts()}, {"x": 1000.0}, 10.0)
    at = {"gain": 1000.0, "offset": 10.0}
    expected = {k: pytest.approx(v / 3**0.5 * at[k]) for k, v in terms.items()}
    assert {k: v for k, v in value.terms.items() if k != "edge"} == expected


def test_a_lag_that_nobody_measured_is_up_to_three_update_periods() -> None:
    """Another prior gives other numbers of the same records: `FORMULAS` is raised with it."""
    device = device_of("pdu_power", {"poll_s": 1.0, "period_s": 2.0})
    curve = wall.curve(device, read("pdu:a:1", "pdu_power", step(poll_s=2.0)))
    assert curve is not None
    assert curve.lag_s == pytest.approx(3 * 2.0 / 3**0.5)


@pytest.mark.slow
def test_no_other_module_holds_a_prior() -> None:
    """A constant called GAIN, OFFSET or the like stands in a scope's file and nowhere else."""
    root, modules = Path(kit.__file__).parent, set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple):
                targets = [name for target in node.targets for name in ast.walk(target)]
                names = [name.id for name in targets if isinstance(name, ast.Name)]
                if any(re.search(r"(?<!A)GAIN(?!_SOURCE)", name) for name in names):
                    modules.add(file.relative_to(root).as_posix())
    # A meter whose makers state nothing, and whose sensor is known to be worse than its scope's.
    modules -= {"measure/meters/amdsmi.py", "measure/meters/redfish.py"}
    assert modules == {f"energy/scopes/{name}.py" for name in ("cpu", "gpu", "wall")}


# --- meters say their scope ---------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names())
def test_a_meter_says_the_scope_that_it_feeds(name: str) -> None:
    assert registry.get(name).scope in {*EVERY, "none"}
    assert name in meters.of_scope(registry.get(name).scope)


@pytest.mark.parametrize(
    ("name", "scope"), [("nvml", "gpu"), ("rapl", "cpu"), ("pdu", "wall"), ("steam", "none")]
)
def test_a_plan_of_an_older_kit_names_no_scope(name: str, scope: str) -> None:
    assert scopes.of_meter(MeterPlan(name=name, alias=None, devices=())) == scope


def test_a_meter_that_is_not_there_has_no_scope() -> None:
    with pytest.raises(UsageError):
        meters.scopes(["steam"])


@pytest.mark.parametrize(
    "asked",
    [
        [{"name": "pdu", "alias": "a"}, {"name": "redfish", "alias": "b"}],
        [{"name": "plug", "alias": "a"}, {"name": "pdu", "alias": "b"}],
        [{"name": "nvml"}, {"name": "amdsmi"}],
    ],
)
def test_a_spec_names_one_kind_of_meter_a_scope(asked: list[dict[str, str]]) -> None:
    document = specs.document(run_spec()) | {"meters": asked, "primary_metric": "outputs"}
    (problem,) = specs.problems(document)
    assert (problem.path, "twice" in problem.message) == ("$.meters", True)
    alone = document | {"meters": [asked[0], {**asked[0], "alias": "c"}]}
    assert specs.problems(alone) == []


def test_an_outlet_with_a_register_counts_in_the_monitors_total_as_in_results() -> None:
    """A register is no part of the sum: the outlet's power is."""
    facts = {"pdu_power": {"poll_s": 1.0, "summed": True}, "pdu_energy": {"summed": False}}
    outlet = MeterDevice(device="pdu:a:1", description="", quantities=facts_in(facts))
    assert scopes.is_summed("wall", outlet)
    assert _Device(outlet).state(0).summed
    inside = MeterDevice(
        device="x", description="", quantities={"pdu_power": QuantityFacts(summed=False)}
    )
    assert not scopes.is_summed("wall", inside)
    assert not _Device(inside).state(0).summed


# --- meters of others that break the contract ---------------------------------------------------


class _Theirs:
    """A meter of another package: what it says, and what its devices give."""

    name, title, process, remedy = "theirs", "theirs", "local", "ask its maker"

    def __init__(self, scope: object, *quantities: str) -> None:
        if scope is not None:
            self.scope = scope
        self._quantities = quantities

    def probe(self, alias: str | None, _config: dict[str, Any]) -> MeterPlan:
        facts: dict[str, dict[str, Any]] = {name: {} for name in self._quantities}
        device = MeterDevice(device="x", description="", quantities=facts_in(facts))
        return MeterPlan(name="theirs", alias=alias, devices=(device,))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[_Theirs], None]:
    """Register a meter called ``theirs``, as an installed package does."""

    def register(meter: _Theirs) -> None:
        monkeypatch.setattr(meters.REGISTRY, "_registered", lambda: {"theirs": meter})
        monkeypatch.setitem(meters.REGISTRY._loaded, "theirs", meter)

    return register


@pytest.mark.parametrize("scope", [None, "moon", 7, ["gpu"], ""])
def test_a_meter_without_a_scope_of_kit_is_one_clear_error(
    registered: Callable[[_Theirs], None], scope: object
) -> None:
    registered(_Theirs(scope, "pdu_power"))
    document = specs.document(run_spec()) | {"meters": [{"name": "theirs"}]}
    for ask in (
        lambda: specs.problems(document),
        lambda: registry.probe("theirs", None, {}),
    ):
        with pytest.raises(UsageError, match="names no scope of energy") as caught:
            ask()
        assert "update or remove the package" in caught.value.remedy
    # It stands in nobody else's way.
    assert "theirs" not in dict(registry.of_host(()))
    other = specs.document(run_spec()) | {
        "meters": [{"name": "rapl"}],
        "primary_metric": "gpu_energy_per_request",
    }
    (problem,) = specs.problems(other)
    assert "nvml" in problem.message


@pytest.mark.parametrize(
    ("scope", "quantities", "why"),
    [
        ("wall", ("cpu_energy",), "which is of cpu"),
        ("cpu", ("cpu_energy", "pdu_power"), "which is of wall"),
        ("wall", ("pdu_power", "moon_power"), "that kit does not know"),
        ("wall", ("pdu_power", "pdu_energy", "gpu_temperature"), ""),
    ],
)
def test_readings_that_nothing_would_add_up_are_refused_at_planning(
    registered: Callable[[_Theirs], None], scope: str, quantities: tuple[str, ...], why: str
) -> None:
    registered(_Theirs(scope, *quantities))
    plan = registry.probe("theirs", None, {})
    assert (plan.scope, bool(plan.devices)) == (scope, not why)
    assert why in plan.reason


def test_a_spec_lists_a_missing_meter_beside_its_other_problems() -> None:
    asked = [{"name": "steam"}, {"name": "rapl"}]
    document = specs.document(run_spec()) | {
        "meters": asked,
        "primary_metric": "gpu_energy_per_request",
    }
    paths = {problem.path for problem in specs.problems(document)}
    assert paths == {"$.meters[0]", "$.primary_metric"}
