"""Forgeries of a run on a real GPU, the committed one of an H200: what the golden run has not."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.judge.verify import environment, verify
from kit.record import records
from tests import committed, golden
from tests.verify.forging import (
    Change,
    edit_events,
    edit_plan,
    edit_rows,
    facts_of,
    failed,
    of_kind,
)

NVML = "samples/nvml.csv"


@pytest.fixture
def h200(tmp_path: Path) -> Path:
    return Path(shutil.copytree(committed.H200, tmp_path / committed.H200.name))


def fewer_rows(run: Path, dropped: int) -> None:
    """The sampler is said to have written what is left."""
    edit_events(
        run,
        lambda events: [
            data.update(rows=data["rows"] - dropped)
            for data in of_kind(events, "sampler.stopped")
            if data["meter"] == "local"
        ],
    )


def without(drop: Callable[[list[str]], bool]) -> Change:
    return lambda run: fewer_rows(run, edit_rows(run / NVML, lambda _, row: drop(row)))


def is_high(row: list[str]) -> bool:
    """One sample of five of the buffer's, the high ones."""
    return row[5] == "gpu_power_sample" and row[7].isdecimal() and int(row[7]) > 121_300


def with_rows(quantity: str, change: Callable[[list[str]], object]) -> Change:
    def one(row: list[str]) -> None:
        if row[5] == quantity:
            change(row)

    return lambda run: edit_rows(run / NVML, change=one) and None


def earlier(row: list[str]) -> None:
    row[3] = str(max(0, int(row[3]) - 300_000_000))


def in_env(*names: str, **changed: Any) -> Change:
    def forge(run: Path) -> None:
        for name in names:
            golden.edit_json(run / name, lambda d: d["gpus"]["gpu0"].update(changed))

    return forge


def hidden_processes(run: Path) -> None:
    """c11b: the counts of processes go, and the plan says why they never were."""

    def reason(plan: dict[str, Any]) -> None:
        for quantity in ("gpu_processes", "gpu_process_groups"):
            facts = facts_of(plan, quantity)
            facts.clear()
            facts.update(reason="NVML: not supported")

    edit_plan(run, reason)
    without(lambda row: row[5].startswith("gpu_process"))(run)


def server(**props: Any) -> Change:
    return lambda run: golden.edit_json(
        run / "launches/002/effective.json", lambda d: d["/props"].update(props)
    )


START, END = "env/start.json", "env/end.json"
FORGERIES: dict[str, tuple[Change, str]] = {
    "25b c15b high samples of the buffer dropped": (without(is_high), "SAMPLES_GAP"),
    "c12b the buffer's times shifted": (with_rows("gpu_power_sample", earlier), "SAMPLES_GAP"),
    "30 power scaled": (
        with_rows("gpu_power_instant", lambda row: row.__setitem__(7, str(int(row[7]) * 4 // 5))),
        "LIVE_DIFFERS",
    ),
    "c6 another cap": (
        in_env(START, END, power_limit_w=400, power_enforced_w=400),
        "ENVIRONMENT",
    ),
    "c6b another model": (in_env(START, END, name="NVIDIA H100"), "DEVICES_DIFFER"),
    "48 another model at the end": (in_env(END, name="NVIDIA A100"), "ENVIRONMENT"),
    "c11b processes hidden": (hidden_processes, "READS_DIFFER"),
    "c29 another kind of number": (server(dtype="float16"), "DEVICES_DIFFER"),
    "c29 another device": (server(device="NVIDIA A100"), "DEVICES_DIFFER"),
    "d2b another pace": (
        lambda r: edit_plan(r, lambda p: facts_of(p, "gpu_power_average").update(poll_s=10)),
        "READS_DIFFER",
    ),
    "24b processes not read": (without(lambda row: row[5] == "gpu_processes"), "STREAM_MISSING"),
}


@pytest.mark.parametrize(("forge", "code"), FORGERIES.values(), ids=FORGERIES)
@pytest.mark.slow
def test_a_run_on_a_gpu_that_was_forged(h200: Path, forge: Change, code: str) -> None:
    forge(h200)
    assert code in failed(verify(golden.reseal(h200)))


def test_a_tier_may_read_only_what_the_plan_leaves_the_pace_of_open(h200: Path) -> None:
    """As on an H200 whose queries take 0.36 ms in one run, and 0.66 ms in the next."""

    def unsure(plan: dict[str, Any]) -> None:
        for quantity in ("gpu_hw_thermal_time", "gpu_power_brake_time"):
            del facts_of(plan, quantity)["poll_s"]

    edit_plan(h200, unsure)
    assert verify(golden.reseal(h200)).passed


SLOWEST = ("gpu_hw_thermal_time", "gpu_power_brake_time")


@pytest.mark.parametrize(
    ("open_", "thinned"), [(SLOWEST, SLOWEST), (SLOWEST[:1], SLOWEST[:1])], ids=["tier", "one"]
)
def test_rows_that_were_left_out_show_where_the_plan_leaves_the_pace_open(
    h200: Path, open_: tuple[str, ...], thinned: tuple[str, ...]
) -> None:
    edit_plan(h200, lambda plan: [facts_of(plan, quantity).pop("poll_s") for quantity in open_])
    without(every_tenth(*thinned))(h200)
    assert "READS_DIFFER" in failed(verify(golden.reseal(h200)))


def test_a_card_may_have_nothing_that_is_read_each_second(h200: Path) -> None:
    """As under WSL, where each call takes a millisecond: the sampler looks after it nonetheless."""
    plan = json.loads((h200 / "plan.json").read_bytes())
    (nvml,) = (meter for meter in plan["meters"] if meter["name"] == "nvml")
    facts = nvml["devices"][0]["quantities"]
    names = [name for name, f in facts.items() if f.get("poll_s") == 1 and "sample" not in name]
    edit_plan(h200, lambda p: [facts_of(p, name).update(poll_s=10) for name in names])
    without(every_tenth(*names))(h200)
    assert "READS_DIFFER" not in failed(verify(golden.reseal(h200)))


def every_tenth(*quantities: str) -> Callable[[list[str]], bool]:
    """Drops all but each tenth row of some quantities."""
    seen: Counter[str] = Counter()

    def drop(row: list[str]) -> bool:
        seen[row[5]] += 1
        return row[5] in quantities and seen[row[5]] % 10 != 1

    return drop


SLICE, STILL = (
    "MIG is on: NVML gives the whole board's power",
    "the energy counter does not advance",
)
SAID: dict[str, tuple[str, dict[str, str], bool, bool]] = {
    "a slice, where MIG is off": ("gpu_power_instant", {"cause": "shared"}, False, True),
    "a slice, where MIG is on": ("gpu_power_instant", {"cause": "shared"}, True, False),
    "a slice, in an older plan": ("gpu_power_instant", {"reason": SLICE}, False, True),
    "a slice, its energy read": ("gpu_energy", {"reason": SLICE}, True, False),
    "a counter that stands still": ("gpu_energy", {"cause": "still"}, False, False),
    "one that stands still, in an older plan": ("gpu_energy", {"reason": STILL}, False, False),
    "words that mean nothing to kit": ("gpu_energy", {"reason": "no counter"}, False, True),
}


@pytest.mark.parametrize(("quantity", "said", "mig", "is_contradicted"), SAID.values(), ids=SAID)
def test_a_fingerprint_contradicts_what_a_plan_calls_unread_by_its_cause(
    h200: Path, quantity: str, said: dict[str, str], mig: bool, is_contradicted: bool
) -> None:
    def unread(plan: dict[str, Any]) -> None:
        facts = facts_of(plan, quantity)
        facts.clear()
        facts.update({"reason": "as kit words it today"} | said)

    edit_plan(h200, unread)
    golden.edit_json(h200 / START, lambda d: d["gpus"]["gpu0"].update(mig=mig))
    found = environment.checks(records.read(h200), whole=False)
    (devices,) = [c for c in found if c.code == "DEVICES_DIFFER"]
    assert ("is said to be absent" in devices.message) is is_contradicted
