"""What honest runs hold and forgers imitate: stalls, garbage of a sensor, stages cut short."""

from __future__ import annotations

import datetime
import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kit.core import jsonio
from kit.core.model import Event, MeterDevice, MeterPlan, Request
from kit.core.units import QUANTITIES
from kit.energy.reasons import notices
from kit.judge.verify import clocks, driver, environment, live, reads, verify
from kit.judge.verify.standstill import Standstills
from kit.measure.meters import Reading
from kit.measure.meters.live import Live
from kit.record.samples import Series
from tests import committed, golden
from tests.plans import facts_in
from tests.verify.forging import edit_rows

MS, S = 1_000_000, 1_000_000_000
NONE = np.zeros(0, np.int64)
CARD = {"gpu_power_instant": {"limit_w": 700.0}, "gpu_power_average": {"limit_w": 700.0}}


def of(t: Any, raw: Any) -> Series:
    t, raw = np.asarray(t, np.int64), np.asarray(raw, np.int64)
    return Series(t, raw, 0, NONE, t - MS, t)


# --- live readings ------------------------------------------------------------------------------


def shown(name: str, rows: dict[str, list[tuple[int, int]]], facts: dict[str, Any]) -> list[str]:
    """What verify finds wrong in the live readings that kit itself showed of these rows."""
    device = MeterDevice(device=name, description="", quantities=facts_in(facts))
    meter, everything = Live([device]), []
    events: list[Event] = []
    for quantity, own in rows.items():
        everything += [(t, quantity, raw) for t, raw in own]
    tell = S // 2
    for t, quantity, raw in sorted(everything):
        while t > tell:
            data = {"power": meter.watts(tell), "joules": meter.joules()}
            events.append(Event(seq=len(events), t=tell, kind="live", data=data, prev="0" * 64))
            tell += S // 2
        meter.see(Reading(t - MS, t, None, name, quantity, 0, raw))
    series = {(name, q): of(*zip(*own, strict=True)) for q, own in rows.items()}
    records: Any = SimpleNamespace(
        events=events,
        plan=SimpleNamespace(meters=[SimpleNamespace(devices=[device])]),
        samples=SimpleNamespace(get=lambda d, q: series.get((d, q))),
    )
    assert len(events) > 30
    return [c.message for c in live.checks(records, is_complete=True) if c.status != "PASS"]


@pytest.mark.parametrize("garbage", [0.0, 0.3, 0.9, 1.0])
def test_live_leaves_out_what_a_card_cannot_draw_and_so_does_its_check(garbage: float) -> None:
    rng = np.random.default_rng(3)
    at = range(100 * MS, 30 * S, 100 * MS)
    bad = rng.random(len(at)) < garbage
    instant = [
        (t, 65_000_000 if b else 400_000 + t // S * 1000) for t, b in zip(at, bad, strict=True)
    ]
    average = [(t + MS, 390_000 + t // S * 1000) for t in at]
    rows = {"gpu_power_instant": instant, "gpu_power_average": average}
    assert shown("gpu0", rows, CARD) == []


def test_an_outlet_is_held_against_an_outlets_limit() -> None:
    at = range(500 * MS, 60 * S, 500 * MS)
    rows = [(t, 20_000 if n % 10 == 5 else 300 + n) for n, t in enumerate(at)]
    facts = {"pdu_power": {"poll_s": 0.5, "period_s": 0.5, "scale": 1.0}}
    assert QUANTITIES["pdu_power"].scale == 1.0
    assert shown("rack:7", {"pdu_power": rows}, facts) == []


# --- reads ----------------------------------------------------------------------------------------


def tier(t: Any, overruns: int) -> reads.Tier:
    series: dict[str, Series | None] = {"gpu0 gpu_power_instant": of(t, np.ones(len(t)))}
    return reads.Tier("nvml.power-50ms", len(t), overruns, MS, (60.0, 60.0), series, 0.05)


def test_one_stall_excuses_the_deadlines_that_passed_in_it() -> None:
    even = np.arange(0, 60 * S, 50 * MS)
    stalled = even[(even < 20 * S) | (even >= 22 * S)]
    assert list(reads._unexplained_misses(tier(stalled, 40), [tier(even, 0)])) == []
    picked = even[np.arange(len(even)) % 25 != 7]
    assert len(list(reads._unexplained_misses(tier(picked, 48), []))) == 1


def test_a_long_stall_is_one_where_the_whole_process_read_nothing() -> None:
    even = np.arange(0, 60 * S, 50 * MS)
    cut = even[(even < 20 * S) | (even >= 40 * S)]
    assert len(list(reads._unexplained_misses(tier(cut, 400), [tier(even, 0)]))) == 1
    assert list(reads._unexplained_misses(tier(cut, 400), [tier(cut, 400)])) == []


# --- clocks ---------------------------------------------------------------------------------------


def anchored(wall: list[float]) -> list[clocks.Anchor]:
    """Anchors each ten seconds, and by how much the wall clock is off at each, s."""
    return [
        clocks.Anchor(at := n * 10 * S, at, at, at + round(off * S)) for n, off in enumerate(wall)
    ]


@pytest.mark.parametrize(
    ("wall", "refused"),
    [
        ([0, 0, 0, 0, 0, 0], False),
        ([0, 0, 3, 3, 3, 3], False),  # a time service found the clock wrong
        ([0, 0, -9, -9, -9, -9], False),
        ([0, 0, 7200, 7200, 7200, 7200], False),  # by hours, or the machine slept for so long
        ([0, -86_400, -86_400, -86_400, -86_400], False),  # at the begin and at the end too
        ([0, 0, 0, 0, 5e8], False),  # a board without a clock that heard the time at last
        ([0, 0, 3600, 3600, 3600, 0, 0, 0], False),  # there and back
        ([0, 2, 4, 6, 8, 10], True),  # a time axis that was stretched
        ([0, 3], True),  # nothing else shows that the clocks go together
        ([0, 3600, 3600], True),
    ],
)
def test_a_wall_clock_may_leap_but_not_run_at_another_rate(
    wall: list[float], refused: bool
) -> None:
    (check,) = clocks.checks(*of_clocks(anchored(wall)))
    leapt = any(a != b for a, b in itertools.pairwise(wall))
    assert check.status == ("FAIL" if refused else "WARN" if leapt else "PASS"), check.message


def of_clocks(anchors: list[clocks.Anchor]) -> tuple[Any, Any]:
    """Records and manifest of a run that has these anchors and no launch."""
    data = [{name: str(getattr(a, name)) for name in clocks._CLOCKS} for a in anchors]
    utc = datetime.datetime.fromtimestamp(anchors[0].realtime / S, datetime.UTC).isoformat()
    first = anchors[0].t - anchors[0].monotonic
    events = [Event(seq=0, t=first, kind="run.registered", data={"utc": utc}, prev="")]
    events += [
        Event(seq=n, t=a.t, kind="clock.anchor", data=d, prev="")
        for n, (a, d) in enumerate(zip(anchors, data, strict=True), 1)
    ]
    listed = SimpleNamespace(status="failed", clock={**data[0], "utc": utc})
    return SimpleNamespace(events=events, phases=()), listed


def slewed(rate: float, wall_rate: float) -> list[clocks.Anchor]:
    """The run's clock against the raw one, and the wall clock against the raw one."""
    times = [n * 10 * S for n in range(8)]
    return [clocks.Anchor(round(t * rate), round(t * rate), t, round(t * wall_rate)) for t in times]


@pytest.mark.parametrize(
    ("rate", "wall_rate", "status"),
    [
        (1.0004, 1.0004, "PASS"),
        (1.08, 1.08, "WARN"),  # chrony works off seconds, and the wall clock goes with it
        (0.925, 0.925, "WARN"),
        (1.08, 1.0, "FAIL"),  # a time axis that was stretched alone
        (1.25, 1.25, "FAIL"),
        (0.9, 0.9, "FAIL"),
    ],
)
def test_a_time_service_may_slew_both_clocks_as_far_as_one_does(
    rate: float, wall_rate: float, status: str
) -> None:
    (check,) = clocks.checks(*of_clocks(slewed(rate, wall_rate)))
    assert check.status == status, check.message


# --- caps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampled", "limit_w", "problems"),
    [
        ([400], 400, 0),
        ([400], 390, 1),
        ([80, 82, 85, 91, 95], 97.5, 0),  # a laptop's card whose driver moves the cap all the time
        ([80, 82, 85, 91, 95], 300, 1),
    ],
)
def test_a_cap_that_moves_is_held_against_its_range(
    sampled: list[int], limit_w: float, problems: int
) -> None:
    series = of(np.arange(len(sampled)) * S, np.array(sampled) * 1000)
    board = {"gpus": {"gpu0": {"power_enforced_w": limit_w}}}
    records: Any = SimpleNamespace(
        samples=SimpleNamespace(get=lambda *_: series), env_start=board, env_end={}
    )
    device = MeterDevice(device="gpu0", description="", quantities={})
    assert [odd for _, odd in environment._limit(records, device)].count(True) == problems


@pytest.mark.parametrize(
    ("before", "sampled", "after", "status"),
    [
        (700, [700], 700, "PASS"),
        (700, [700, 700, 500, 500], 500, "WARN"),  # once, in mid-run
        (700, [700, 500, 500, 700], 700, "WARN"),  # and back
        (700, [700, 500, 500, 600], 600, "WARN"),
        (700, [500, 500], 500, "WARN"),  # before the meters ran
        (700, [700, 700], 500, "WARN"),  # after
        (700, [700, 600, 500, 400, 300], 300, "WARN"),  # by a program, again and again
        (400, [700, 700], 400, "FAIL"),  # nobody changes a cap, and changes it back unseen
        (400, [700, 700], 300, "FAIL"),
        (400, [700, 500], 400, "FAIL"),
    ],
)
def test_a_power_limit_changed_by_a_person_is_other_conditions(
    before: int, sampled: list[int], after: int, status: str
) -> None:
    series = of(np.arange(len(sampled)) * S, np.array(sampled) * 1000)
    card = MeterDevice(device="gpu0", description="", quantities={})
    nvml = MeterPlan(name="nvml", alias=None, devices=(card,))
    records: Any = SimpleNamespace(
        samples=SimpleNamespace(get=lambda *_: series),
        env_start={"gpus": {"gpu0": {"power_enforced_w": before}}},
        env_end={"gpus": {"gpu0": {"power_enforced_w": after}}},
        plan=SimpleNamespace(meters=[nvml]),
        spec=SimpleNamespace(
            devices=SimpleNamespace(gpus=1), runtime=SimpleNamespace(name="x", options={})
        ),
        effective={},
    )
    (check,) = (c for c in environment.checks(records, whole=True) if c.code == "ENVIRONMENT")
    assert check.status == status, check.message


@pytest.mark.slow
def test_a_power_limit_changed_during_the_run_is_reported_everywhere(tmp_path: Path) -> None:
    """The run is what it says; its launches were not alike."""
    run = Path(shutil.copytree(committed.H200, tmp_path / committed.H200.name))
    middle = 200 * S

    def lower(row: list[str]) -> None:
        if row[5] == "gpu_power_limit" and int(row[1]) > middle:
            row[7] = "500000"

    edit_rows(run / "samples/nvml.csv", change=lower)
    capped = {"power_limit_w": 500, "power_enforced_w": 500}
    golden.edit_json(run / "env/end.json", lambda d: d["gpus"]["gpu0"].update(capped))
    golden.recompute(run)
    verdict = verify(golden.reseal(run))
    assert verdict.failures == ()
    (document,) = (c for c in verdict.checks if c.code == "ENVIRONMENT")
    assert document.status == "WARN"
    assert "500" in document.message
    (sealed,) = tmp_path.glob("*/results.json")
    document = jsonio.read(sealed)
    sentences = dict(notices(document["notices"], len(document["launches"])))
    assert "its power cap was 700 W, and 500 W from 20" in sentences["CAP_CHANGED"]


# --- the driver -----------------------------------------------------------------------------------


def request(index: int, intended_s: float, sent: bool) -> Request:
    at = round(intended_s * S)
    return Request(
        index=index,
        stage="measured",
        item=str(index),
        intended=at,
        sent=at + MS if sent else None,
        first_byte=None,
        first_token=None,
        last_token=None,
        done=at + 100 * MS if sent else 90 * S,
        status="error" if sent else "aborted",
        http_status=None,
        error="the server is gone",
        prompt_tokens=None,
        output_tokens=None,
        cached_tokens=None,
        finish_reason=None,
    )


@pytest.mark.parametrize(("unsent", "problems"), [(True, 0), (False, 1)])
def test_a_stage_that_ended_early_may_have_waited_for_its_next_request(
    unsent: bool, problems: int
) -> None:
    own = [request(0, 10, True), request(1, 12, True)]
    own += [request(2, 14, False)] if unsent else []
    stage = {"wall_ns": 4 * S, "lag_max_ns": MS}  # it woke for the third, 14 s, and saw the end
    due = {0: 0, 1: 2 * S, 2: 4 * S}
    records: Any = SimpleNamespace(
        schedule=[SimpleNamespace(index=n, at_ns=at) for n, at in due.items()],
        driver={0: {"stages": {"measured": stage}}},
        requests={0: own},
        events=[],
        samples=SimpleNamespace(series={}),
    )
    late = driver._late(records, Standstills(records))
    assert [excused for _, excused in late] == [False] * problems
    assert list(driver._times(own, stage, due)) == []
