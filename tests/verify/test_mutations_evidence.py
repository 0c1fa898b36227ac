"""Forgeries that the archive's other records reveal: each is sealed again, results derived again.

The names are those of the tables of rows and cheats that these records were tried with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import verify
from kit.measure.meters.nvml.calibrated import facts_of as facts_from
from tests import golden
from tests.verify.forging import (
    Change,
    drop_events,
    edit_events,
    edit_plan,
    edit_rows,
    edit_spec,
    facts_of,
    of_kind,
    reschedule,
    sealed_again,
)

Events = list[dict[str, Any]]
GPU, CPU = "samples/nvml.csv", "samples/rapl.csv"
START, END = "env/start.json", "env/end.json"


# --- what was asked for -----------------------------------------------------------------------


def with_bodies(change: Callable[[dict[str, Any]], object]) -> Change:
    """Another schedule, with plan and registration to match."""

    def forge(run: Path) -> None:
        golden.edit_lines(
            run / "inputs/schedule.jsonl", lambda lines: [change(line) for line in lines]
        )
        reschedule(run)

    return forge


def other_prompt(line: dict[str, Any]) -> None:
    line["body"]["prompt" if "prompt" in line["body"] else "messages"] = "short"


def more_tokens(line: dict[str, Any]) -> None:
    line["body"]["max_tokens"] *= 2
    line["expect_tokens"] *= 2


SCHEDULES = {
    "c17 c18 other max_tokens": with_bodies(more_tokens),
    "c19 45 other prompts": with_bodies(other_prompt),
    "another seed": with_bodies(lambda line: line["body"].update(seed=7)),
    "another path": with_bodies(lambda line: line.update(path="/v1/models")),
    "a send time": with_bodies(lambda line: line.update(at_ns=line["index"] * golden.S)),
}


@pytest.mark.parametrize("forge", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_that_the_spec_does_not_give_is_found(run: Path, forge: Change) -> None:
    assert "SCHEDULE_DIFFERS" in sealed_again(run, forge, derive=True)


def in_launch(**changed: Any) -> Change:
    return lambda run: edit_plan(run, lambda p: p["launch"].update(changed))


LAUNCHES = {
    "argv": in_launch(argv=["--port", "8080"]),
    "env": in_launch(env={"HOME": "/root"}),
    "46 mounts": in_launch(mounts=[{"target": "/weights/x.gguf", "sha256": "0" * 64}]),
    "port": in_launch(port=8081),
    "memory": in_launch(memory_bytes=1 << 40),
    "shared memory": in_launch(shm_bytes=1 << 30),
    "processes": in_launch(pids=4096),
    "host network": in_launch(network="host", egress="open"),
    "a repeat": lambda run: edit_plan(run, lambda p: p["repeat"].update(kind="sampled")),
    "no GPU": in_launch(gpus=None),
    "two GPUs": in_launch(gpus={"driver": "cdi", "count": 2}),
    "GPUs in another way": in_launch(gpus={"driver": "nvidia", "count": 1}),
}


@pytest.mark.parametrize("forge", LAUNCHES.values(), ids=LAUNCHES)
def test_a_launch_that_the_spec_does_not_give_is_found(run: Path, forge: Change) -> None:
    assert "LAUNCH_DIFFERS" in sealed_again(run, forge, derive=True)


def registered(**changed: Any) -> Change:
    return lambda run: edit_events(run, lambda e: e[0]["data"].update(changed))


def with_parents(*parents: dict[str, str]) -> Change:
    def forge(run: Path) -> None:
        registered(parents=list(parents))(run)
        golden.edit_json(run / "manifest.json", lambda m: m.update(parents=list(parents)))

    return forge


SOME = "ab" * 32
REGISTRATIONS = {
    "c34 other launches": registered(launches=3),
    "other kit": registered(kit_version="9.9"),
    "plan of another kit": lambda r: edit_plan(r, lambda p: p.update(kit_version="9.9")),
    "manifest of another kit": lambda r: golden.edit_json(
        r / "manifest.json", lambda m: m["kit"].update(version="9.9")
    ),
    "end of another kit": lambda r: golden.edit_json(
        r / END, lambda d: d["kit"].update(version="9.9")
    ),
    "other network": lambda r: edit_events(
        r, lambda e: of_kind(e, "container.created")[0].update(network="host", egress="open")
    ),
    "other arguments than the plan's": lambda r: edit_events(
        r, lambda e: of_kind(e, "container.created")[1].update(argv=["--port", "1"])
    ),
    "c14 parent without a hash": with_parents({"relation": "replay-of", "run_hash": "x"}),
    "c14 parent of no kind": with_parents({"relation": "better-than", "run_hash": SOME}),
    "c14 two parents": with_parents(*[{"relation": "replay-of", "run_hash": SOME}] * 2),
    "c14 parent with more": with_parents(
        {"relation": "replay-of", "run_hash": SOME, "verdict": "REPRODUCED"}
    ),
}


@pytest.mark.parametrize("forge", REGISTRATIONS.values(), ids=REGISTRATIONS)
def test_a_registration_of_another_run_is_found(run: Path, forge: Change) -> None:
    """A parent of another form is refused by the manifest's schema already."""
    assert sealed_again(run, forge, derive=True) & {"REGISTERED_DIFFERS", "FILE_INVALID"}


# --- clocks -----------------------------------------------------------------------------------


def anchors(change: Callable[[int, dict[str, Any]], object]) -> Change:
    def forge(events: Events) -> None:
        for number, data in enumerate(of_kind(events, "clock.anchor")):
            change(number, data)

    return lambda run: edit_events(run, forge)


def shift(data: dict[str, Any], ns: int, *names: str) -> None:
    for name in names:
        data[name] = str(int(data[name]) + ns)


def stretched(run: Path) -> None:
    """c25: the run's own clock runs at another rate; the two other clocks were forgotten."""

    def forge(events: Events) -> None:
        for event in events:
            event["t"] = event["t"] * 5 // 4
            if event["kind"] == "clock.anchor":
                event["data"]["monotonic"] = str(int(event["data"]["monotonic"]) * 5 // 4)

    edit_events(run, forge)


CLOCKS = {
    "38 wall clock an hour off": anchors(
        lambda n, d: shift(d, 3600 * golden.S, "realtime") if n else None
    ),
    "38 raw clock": anchors(lambda n, d: shift(d, n * golden.S, "monotonic_raw")),
    "38b all anchors back": anchors(lambda _, d: shift(d, -5 * golden.S, "realtime")),
    "anchor at another time": anchors(lambda _, d: shift(d, -5 * golden.S, *d)),
    "c25 stretched": stretched,
    "26 all but one anchor cut": lambda r: drop_events(r, "clock.anchor", keep=1),
    "26 no anchor": lambda r: drop_events(r, "clock.anchor", keep=0),
    "d7 registered in another year": registered(utc="2027-01-02T03:04:05+00:00"),
    "registered at no time": registered(utc="yesterday"),
    "38 manifest's clock": lambda r: golden.edit_json(
        r / "manifest.json", lambda m: m["clock"].update(realtime="5")
    ),
    "38 manifest's date": lambda r: golden.edit_json(
        r / "manifest.json", lambda m: m["clock"].update(utc="2020-01-01T00:00:00+00:00")
    ),
    "malformed": anchors(lambda _, d: d.update(realtime="soon")),
}


@pytest.mark.parametrize("forge", CLOCKS.values(), ids=CLOCKS)
def test_clocks_that_contradict_one_another_are_found(run: Path, forge: Change) -> None:
    assert "CLOCK_DIFFERS" in sealed_again(run, forge)


def test_a_wall_clock_that_is_set_by_a_little_is_a_doubt(run: Path) -> None:
    """A time service does so."""
    anchors(lambda n, d: shift(d, 40 * golden.MS, "realtime") if n else None)(run)
    verdict = verify(golden.reseal(run))
    assert ("CLOCK_DIFFERS", "WARN") in {(c.code, c.status) for c in verdict.checks}
    assert verdict.passed


# --- the journal ------------------------------------------------------------------------------


def exchanged(first: str) -> Change:
    """26b: two neighbours change places, and their times."""

    def forge(events: Events) -> None:
        steps = [n for n, e in enumerate(events) if e["kind"] not in ("live", "clock.anchor")]
        at = next(n for n, index in enumerate(steps) if events[index]["kind"] == first)
        i, j = steps[at], steps[at + 1]
        events[i]["t"], events[j]["t"] = events[j]["t"], events[i]["t"]
        events[i], events[j] = events[j], events[i]

    return lambda run: edit_events(run, forge)


def late_findings(events: Events) -> None:
    moved = [e for e in events if e["kind"] == "finding"]
    events[:] = [e for e in events if e["kind"] != "finding"]
    begin = next(n for n, e in enumerate(events) if e["kind"] == "launch.begin")
    for event in moved:
        events.insert(begin + 1, {**event, "t": events[begin]["t"]})


@pytest.mark.parametrize(
    "forge",
    [
        *map(exchanged, ["container.created", "container.started", "container.stopped"]),
        lambda r: edit_events(r, late_findings),
        *(
            partial(drop_events, kind=kind, keep=1)
            for kind in ("container.created", "container.ready", "container.removed", "stage.done")
        ),
    ],
)
def test_a_journal_in_an_order_that_no_runner_writes_is_found(run: Path, forge: Change) -> None:
    assert "JOURNAL_ORDER" in sealed_again(run, forge)


def done_first(events: Events, most: int) -> None:
    """A stage is said to be done before its phase ends."""
    for index in [n for n, e in enumerate(events) if e["kind"] == "stage.done"][:most]:
        end = max(n for n in range(index) if events[n]["kind"] == "phase.end")
        events.insert(end, {**events.pop(index), "t": events[end]["t"]})


@pytest.mark.parametrize(("most", "codes"), [(99, set()), (1, {"JOURNAL_ORDER"})])
def test_the_order_of_formulas_1_is_one_order(run: Path, most: int, codes: set[str]) -> None:
    edit_events(run, partial(done_first, most=most))
    assert {c.code for c in verify(golden.reseal(run)).failures} == codes


@pytest.mark.parametrize("keep", [0, 3])
def test_row_26c_findings_cut(run: Path, keep: int) -> None:
    codes = sealed_again(run, lambda r: drop_events(r, "finding", keep=keep))
    assert codes == {"FINDINGS_DIFFER"}


def test_c27_a_warning_of_preflight_that_was_turned_into_ok_is_found(run: Path) -> None:
    """The rule follows from the plan: a rapl without devices is a warning, whatever is written."""

    def forge(r: Path) -> None:
        edit_plan(r, lambda p: p["meters"][1].update(devices=[], reason="no RAPL"))
        (r / CPU).unlink()

    assert "FINDINGS_DIFFER" in sealed_again(run, forge, derive=True)


@pytest.mark.parametrize("keep", [0, 4])
def test_row_26c_live_events_cut(run: Path, keep: int) -> None:
    assert sealed_again(run, lambda r: drop_events(r, "live", keep=keep)) == {"LIVE_MISSING"}


def without_first_launch(events: Events) -> None:
    """29: launch 0 is taken out and the others renumbered; the time that it took stays."""
    events[:] = [e for e in events if e["data"].get("launch") != 0]
    for event in events:
        if "launch" in event["data"]:
            event["data"]["launch"] -= 1


def test_row_29_a_launch_dropped_and_the_rest_renumbered(run: Path) -> None:
    def forge(r: Path) -> None:
        import shutil

        shutil.rmtree(r / "launches/000")
        (r / "launches/001").rename(r / "launches/000")
        edit_spec(r, lambda s: s.update(launches=1))
        edit_plan(r, lambda p: p.update(launches=1))
        edit_events(r, without_first_launch)
        registered(launches=1)(r)

    assert "TIME_OUTSIDE" in sealed_again(run, forge, derive=True)


# --- samplers ---------------------------------------------------------------------------------


def tiers(change: Callable[[str, dict[str, Any]], object]) -> Change:
    def forge(events: Events) -> None:
        for data in of_kind(events, "sampler.stopped"):
            for key, account in data["tiers"].items():
                change(key, account)

    return lambda run: edit_events(run, forge)


def overruns_declared(run: Path) -> None:
    """c21: rows of high power are dropped, and overruns declared to explain it."""
    dropped = edit_rows(run / GPU, lambda n, row: row[5] == "gpu_power_instant" and n % 4 == 1)

    def forge(events: Events) -> None:
        for data in of_kind(events, "sampler.stopped"):
            data["rows"] -= dropped
            data["overruns"]["nvml.power-100ms"] = dropped
            data["tiers"]["nvml.power-100ms"]["reads"] -= dropped

    edit_events(run, forge)


READS = {
    "24 more reads than rows": tiers(
        lambda _, account: account.update(reads=account["reads"] + 20)
    ),
    "25 fewer reads than rows": tiers(
        lambda _, account: account.update(reads=account["reads"] - 20)
    ),
    "no tier": lambda r: edit_events(
        r, lambda e: of_kind(e, "sampler.stopped")[0].update(tiers={})
    ),
    "a tier of what is not read": lambda r: edit_events(
        r,
        lambda e: of_kind(e, "sampler.stopped")[0]["tiers"].update(
            {"nvml.samples": {"reads": 25, "late_p99_ns": 0}}
        ),
    ),
    "malformed": tiers(lambda _, account: account.update(reads="many")),
    "c21 overruns declared": overruns_declared,
    "d2b pace of the plan": lambda r: edit_plan(
        r, lambda p: facts_of(p, "cpu_energy").update(poll_s=1000)
    ),
    "d2b pace of a tier's name": lambda r: edit_plan(
        r, lambda p: facts_of(p, "gpu_power_instant").update(poll_s=1000)
    ),
    "quicker pace": lambda r: edit_plan(
        r, lambda p: facts_of(p, "cpu_energy").update(poll_s=0.001)
    ),
}


@pytest.mark.parametrize("forge", READS.values(), ids=READS)
def test_rows_that_the_samplers_count_contradicts_are_found(run: Path, forge: Change) -> None:
    assert "READS_DIFFER" in sealed_again(run, forge, derive=True)


def blanked(name: str, quantity: str) -> Change:
    def blank(row: list[str]) -> None:
        if row[5] == quantity:
            row[6:] = ["15", ""]

    return lambda run: edit_rows(run / name, change=blank) and None


@pytest.mark.parametrize("complaint", [False, True])
@pytest.mark.parametrize(
    ("name", "quantity"),
    [(GPU, "gpu_energy"), (GPU, "gpu_power_instant"), (CPU, "cpu_energy")],
)
def test_row_24_a_stream_is_blanked(run: Path, name: str, quantity: str, complaint: bool) -> None:
    """Whatever the sampler is said to have complained of: nothing was read of what was promised."""

    def forge(r: Path) -> None:
        blanked(name, quantity)(r)
        if complaint:
            complain(r, "nvml" if name == GPU else "rapl")

    assert "STREAM_MISSING" in sealed_again(run, forge, derive=True)


def complain(run: Path, meter: str) -> None:
    """c20: an event that is to explain what is missing."""

    def forge(events: Events) -> None:
        at = next(n for n, e in enumerate(events) if e["kind"] == "launch.begin") + 1
        data = {"meter": meter, "message": "gpu0 cannot be read"}
        events.insert(at, {"kind": "sampler.lost", "t": events[at - 1]["t"], "data": data})

    edit_events(run, forge)


def test_c20_a_complaint_does_not_explain_rows_that_are_not_there(run: Path) -> None:
    def forge(r: Path) -> None:
        dropped = edit_rows(r / GPU, lambda _, row: row[5] == "gpu_energy")
        complain(r, "nvml")
        edit_events(
            r,
            lambda e: [d.update(rows=d["rows"] - dropped) for d in of_kind(e, "sampler.stopped")],
        )

    assert "STREAM_MISSING" in sealed_again(run, forge, derive=True)


def test_reads_that_fail_here_and_there_without_a_complaint(run: Path) -> None:
    """High readings turned into failures: a sampler that sees one complains."""

    def fail(n: int, row: list[str]) -> None:
        if n % 20 == 7:
            row[6:] = ["15", ""]

    def forge(r: Path) -> None:
        rows = iter(range(10_000))
        edit_rows(r / CPU, change=lambda row: fail(next(rows), row))

    assert "STREAM_MISSING" in sealed_again(run, forge, derive=True)


def scaled(name: str, quantity: str, share: float) -> Change:
    def scale(row: list[str]) -> None:
        if row[5] == quantity and row[7]:
            row[7] = str(round(int(row[7]) * share))

    return lambda run: edit_rows(run / name, change=scale) and None


@pytest.mark.parametrize("share", [0.9, 0.999, 1.25])
@pytest.mark.parametrize(
    ("name", "quantity"),
    [(GPU, "gpu_energy"), (GPU, "gpu_power_instant"), (CPU, "cpu_energy")],
)
def test_rows_30_31_c1_scaled_readings_contradict_live(
    run: Path, name: str, quantity: str, share: float
) -> None:
    assert "LIVE_DIFFERS" in sealed_again(run, scaled(name, quantity, share), derive=True)


def test_live_readings_of_a_device_that_is_not_in_the_plan_are_found(run: Path) -> None:
    def forge(events: Events) -> None:
        for data in of_kind(events, "live"):
            data["power"]["gpu7"] = 10.0

    assert sealed_again(run, lambda r: edit_events(r, forge)) == {"LIVE_DIFFERS"}


# --- the driver -------------------------------------------------------------------------------


def in_stage(**changed: Any) -> Change:
    return lambda run: golden.edit_json(
        run / "launches/000/driver.json", lambda d: d["stages"]["measured"].update(changed)
    )


def quicker(run: Path) -> None:
    """c24, 44: the last answer's chunks are pulled in, and with them its end."""

    def squeeze(t: int, sent: int) -> int:
        return sent + (t - sent) // 100

    path = run / "launches/000"

    def answers(lines: list[dict[str, Any]], sent: int) -> None:
        lines[-1]["chunk_times"] = [squeeze(t, sent) for t in lines[-1]["chunk_times"]]

    def requests(lines: list[dict[str, Any]]) -> None:
        last = lines[-1]
        for key in ("first_byte", "first_token", "last_token", "done"):
            last[key] = squeeze(last[key], last["sent"])
        golden.edit_lines(
            path / "responses.jsonl", lambda requests: answers(requests, last["sent"])
        )

    golden.edit_lines(path / "requests.jsonl", requests)


def slow_server(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        line["timings"] = {"prompt_ms": 10.0, "predicted_ms": 5000.0, "predicted_n": golden.TOKENS}


def strange_token(lines: list[dict[str, Any]]) -> None:
    lines[-1]["token_ids"] = [1 << 40] * golden.TOKENS


def vocabulary(run: Path) -> None:
    models = {"data": [{"meta": {"n_vocab": 100}}]}
    golden.edit_json(
        run / "launches/000/effective.json", lambda d: d.update({"/v1/models": models})
    )

    def ids(lines: list[dict[str, Any]]) -> None:
        lines[-1]["token_ids"] = [100] * golden.TOKENS

    golden.edit_lines(run / "launches/000/responses.jsonl", ids)


DRIVER = {
    "requests": in_stage(requests=4),
    "ok": in_stage(ok=2),
    "failed": in_stage(failed=1),
    "chunks": in_stage(chunks=7),
    "lateness": in_stage(lag_max_ns=12345),
    "cpu_share": in_stage(cpu_share=0.5),
    "wall": in_stage(wall_ns=1),
    "a stage is gone": lambda r: golden.edit_json(
        r / "launches/000/driver.json", lambda d: d["stages"].pop("measured")
    ),
    "no stages": lambda r: golden.edit_json(r / "launches/000/driver.json", lambda d: d.clear()),
    "c24 44 quicker answers": quicker,
    "server slower than its answer": lambda r: golden.edit_lines(
        r / "launches/000/responses.jsonl", slow_server
    ),
    "43 token of no vocabulary": lambda r: golden.edit_lines(
        r / "launches/000/responses.jsonl", strange_token
    ),
    "43 token of another vocabulary": vocabulary,
}


@pytest.mark.parametrize("forge", DRIVER.values(), ids=DRIVER)
def test_a_driver_report_that_contradicts_the_records_is_found(run: Path, forge: Change) -> None:
    assert "DRIVER_DIFFERS" in sealed_again(run, forge, derive=True)


# --- devices and environment ---------------------------------------------------------------------


def board(*names: str, **changed: Any) -> Change:
    def forge(run: Path) -> None:
        for name in names:
            golden.edit_json(run / name, lambda d: d["gpus"]["gpu0"].update(changed))

    return forge


def second_gpu(run: Path) -> None:
    """c23b: two GPUs are asked for, and the plan reads one."""
    edit_spec(run, lambda s: s["devices"].update(gpus=2))
    for name in (START, END):
        golden.edit_json(run / name, lambda d: d["gpus"].update(gpu1=d["gpus"]["gpu0"]))
    edit_plan(run, lambda p: p["launch"]["gpus"].update(count=2))


def said_absent(quantity: str, name: str) -> Change:
    """24d, c11b: the plan gets a reason, and the rows go."""

    def forge(run: Path) -> None:
        def reason(plan: dict[str, Any]) -> None:
            facts = facts_of(plan, quantity)
            facts.clear()
            facts.update(reason="NVML: not supported")

        edit_plan(run, reason)
        edit_rows(run / name, lambda _, row: row[5] == quantity)

    return forge


def served(**props: Any) -> Change:
    return lambda run: golden.edit_json(
        run / "launches/001/effective.json", lambda d: d.update({"/props": props})
    )


DEVICES = {
    "c6b another model": board(START, END, name="another GPU"),
    "c23b a GPU that is not read": second_gpu,
    "c23 fewer than asked for": lambda r: edit_spec(r, lambda s: s["devices"].update(gpus=2)),
    "24d counter said to be absent": said_absent("gpu_energy", GPU),
    "c29 the server ran elsewhere": served(device="NVIDIA A100"),
    "processes said to be unknown": lambda r: edit_plan(
        r,
        lambda p: p["meters"][0]["devices"][0]["quantities"].update(
            gpu_memory_used={"reason": "NVML: not supported"},
            gpu_power_limit={"reason": "NVML: not supported"},
        ),
    ),
    "no GPU can be read": lambda r: edit_plan(
        r, lambda p: p["meters"][0].update(devices=[], reason="no NVIDIA driver")
    ),
    "a fingerprint without a head": lambda r: golden.edit_json(
        r / START, lambda d: d.update(gpus={"gpu0": {"name": 5, "energy_counter": [1]}})
    ),
}


@pytest.mark.parametrize("forge", list(DEVICES.values())[:-1], ids=list(DEVICES)[:-1])
def test_devices_that_differ_between_spec_plan_and_fingerprints_are_found(
    run: Path, forge: Change
) -> None:
    assert "DEVICES_DIFFER" in sealed_again(run, forge, derive=True)


CHANGED = {
    "48 another GPU at the end": board(END, name="NVIDIA A100"),
    "48 another driver at the end": lambda r: golden.edit_json(
        r / END, lambda d: d["nvidia"].update(driver="570.1")
    ),
    "48 another CPU at the end": lambda r: golden.edit_json(
        r / END, lambda d: d["cpu"].update(model="other")
    ),
    "48 a GPU less at the end": lambda r: golden.edit_json(r / END, lambda d: d["gpus"].clear()),
    "48 another kernel": lambda r: golden.edit_json(
        r / END, lambda d: d["kernel"].update(release="6.2")
    ),
}


@pytest.mark.parametrize("forge", CHANGED.values(), ids=CHANGED)
def test_row_48_another_machine_at_the_end(run: Path, forge: Change) -> None:
    assert sealed_again(run, forge) == {"ENVIRONMENT"}


def test_other_conditions_at_the_end_are_a_doubt(run: Path) -> None:
    board(END, power_limit_w=300, power_enforced_w=300)(run)
    verdict = verify(golden.reseal(run))
    outcomes = {c.code: (c.status, c.message) for c in verdict.checks}
    assert verdict.passed
    assert outcomes["ENVIRONMENT"][0] == "WARN"
    assert "300" in outcomes["ENVIRONMENT"][1]


@pytest.mark.parametrize(
    "odd", [None, 5, [[]], {"gpu0": None}, {"gpu0": {"name": [], "energy_counter": {}}}]
)
@pytest.mark.parametrize("key", ["gpus", "cpu", "docker", "kit", "nvidia", "clock", "load"])
def test_a_fingerprint_of_any_form_makes_no_traceback(run: Path, key: str, odd: object) -> None:
    golden.edit_json(run / START, lambda d: d.update({key: odd}))
    verify(golden.reseal(run))


@pytest.mark.heavy
@pytest.mark.parametrize("odd", [None, "x", [[1]], {"a": {"b": None}}])
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("live", key) for key in ("power", "joules", "state", "progress")),
        *(("sampler.stopped", key) for key in ("tiers", "overruns", "rows", "meter")),
        *(("clock.anchor", key) for key in ("monotonic", "realtime")),
        *(("finding", key) for key in ("code", "level", "message")),
        *(("stage.done", key) for key in ("cpu_share", "lag_p99_ns")),
        *(("container.created", key) for key in ("launch", "image", "network")),
        *(("run.registered", key) for key in ("utc", "kit_version", "parents")),
    ],
)
def test_an_event_of_any_form_makes_no_traceback(
    run: Path, kind: str, key: str, odd: object
) -> None:
    edit_events(run, lambda events: of_kind(events, kind)[0].update({key: odd}))
    verify(golden.reseal(run))


# --- calibrations -------------------------------------------------------------------------------

CALIBRATION = {
    "schema": "kit.calibration/1",
    "gain": 0.9,
    "offset_w": 1.0,
    "u_gain": 0.001,
    "u_offset_w": 0.1,
    "date": "2026-01-02",
    "reference": "a power analyser",
    "source": "somebody",
    "valid_w": [50.0, 400.0],
}


def calibrate(run: Path, document: dict[str, Any], *, seal_it: bool = True) -> None:
    """Say that gpu0 is calibrated, with or without the document that says so."""
    data = jsonio.canonical(document)
    name = jsonio.digest(data)
    facts = {**facts_from(CALIBRATION), "calibration_sha256": name}
    edit_plan(run, lambda p: [facts_of(p, q).update(facts) for q in GPU_QUANTITIES])
    if seal_it:
        golden_folder = run / "inputs/calibration"
        golden_folder.mkdir(parents=True)
        (golden_folder / f"{name}.json").write_bytes(data)


GPU_QUANTITIES = ("gpu_energy", "gpu_power_instant")


def test_a_calibration_with_its_document_counts(run: Path) -> None:
    """Live shows what is corrected; that of the golden run was not, which is another finding."""
    calibrate(run, CALIBRATION)
    golden.recompute(run)
    codes = {c.code for c in verify(golden.reseal(run)).checks if c.status == "FAIL"}
    assert codes == {"LIVE_DIFFERS"}


CALIBRATIONS: dict[str, Change] = {
    "c9 facts alone": lambda r: edit_plan(
        r, lambda p: facts_of(p, "gpu_energy").update(gain_correction=0.9)
    ),
    "c9 a source alone": lambda r: edit_plan(
        r, lambda p: facts_of(p, "gpu_energy").update(gain=0.0001, gain_source="calibrated today")
    ),
    "a PDU's lag": lambda r: edit_plan(r, lambda p: facts_of(p, "cpu_energy").update(lag_s=3.0)),
    "a factor": lambda r: edit_plan(r, lambda p: facts_of(p, "cpu_energy").update(correction=0.9)),
    "without the document": lambda r: calibrate(r, CALIBRATION, seal_it=False),
    "with another one": lambda r: calibrate(r, {**CALIBRATION, "gain": 0.99}),
    "with one that is malformed": lambda r: calibrate(r, {"gain": "x"}),
    "with one that is none": lambda r: calibrate(r, {}),
}


@pytest.mark.parametrize("forge", CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_c9_a_calibration_counts_only_with_its_document(run: Path, forge: Change) -> None:
    assert "CALIBRATION_MISSING" in sealed_again(run, forge, derive=True)
