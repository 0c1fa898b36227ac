"""One forgery a row: change a golden run's records, seal it again so that no hash hides the deeper
check, and ask for the reason code by name. A careful forger also derives the results again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import verify
from kit.measure.sample.writer import HEADER
from kit.record import archive, records
from kit.record.events import FILE
from tests import golden
from tests.verify.forging import Change, failed, sealed_again

GPU, CPU = "samples/nvml.csv", "samples/rapl.csv"
REQUESTS, RESPONSES = "launches/001/requests.jsonl", "launches/001/responses.jsonl"


# --- L3 and L4: rows 21 to 33, sealed again -------------------------------------------------------


def metric(run: Path, factor: float, name: str = "gpu_energy_per_output_token") -> None:
    def scale(document: dict[str, Any]) -> None:
        document["metrics"][name]["value"] *= factor

    golden.edit_json(run / "results.json", scale)


@pytest.mark.parametrize("factor", [0.9, 1e3, 1e-3, 1 / 3600, 1 / 3.6e6, 1 + 1e-8])
def test_rows_21_22_a_metric_that_was_changed_is_found(run: Path, factor: float) -> None:
    assert sealed_again(run, lambda r: metric(r, factor)) == {"RESULTS_DIFFER"}


def test_row_22_a_rounded_metric_is_found(run: Path) -> None:
    def round_off(document: dict[str, Any]) -> None:
        value = document["metrics"]["gpu_energy_per_output_token"]
        value["value"] = round(value["value"], 2)

    forge: Change = lambda r: golden.edit_json(r / "results.json", round_off)  # noqa: E731
    assert sealed_again(run, forge) == {"RESULTS_DIFFER"}


def test_row_22_what_floating_point_does_is_not_a_forgery(run: Path) -> None:
    metric(run, 1 + 1e-11)
    assert verify(golden.reseal(run)).passed


def moved(events: list[dict[str, Any]], kind: str, name: str, ns: int) -> None:
    for event in events:
        if event["kind"] == kind and event["data"].get("phase") == name:
            event["t"] += ns
    events.sort(key=lambda e: e["t"])


@pytest.mark.parametrize("derive", [False, True])
def test_row_23_measured_window_begins_later(run: Path, derive: bool) -> None:
    def shift(r: Path) -> None:
        late = 400 * golden.MS
        golden.rechain(r / FILE, lambda e: moved(e, "phase.begin", "measured", late))

    codes = sealed_again(run, shift, derive=derive)
    assert codes == {"WINDOW_SHIFTED"} if derive else codes >= {"RESULTS_DIFFER", "WINDOW_SHIFTED"}


def test_row_23_idle_window_cut(run: Path) -> None:
    def shift(r: Path) -> None:
        golden.rechain(r / FILE, lambda e: moved(e, "phase.begin", "idle", golden.S))

    assert sealed_again(run, shift, derive=True) == {"WINDOW_SHIFTED"}


def rows_of(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()[1:]]


def write_rows(path: Path, rows: list[list[str]], *, renumber: bool = True) -> None:
    lines = ["seq,t0,t1,t_dev,device,quantity,rc,raw"]
    for seq, row in enumerate(rows):
        lines.append(",".join([str(seq), *row[1:]] if renumber else row))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("how", ["no rows", "no file", "half"])
def test_row_24_a_stream_is_gone(run: Path, how: str) -> None:
    def delete(r: Path) -> None:
        rows = rows_of(r / CPU)
        if how == "no file":
            (r / CPU).unlink()
        else:
            write_rows(r / CPU, rows[: len(rows) // 2] if how == "half" else [])

    codes = sealed_again(run, delete, derive=True)
    assert "STREAM_MISSING" in codes
    assert "SAMPLES_GAP" in codes  # the samplers had said how many rows they wrote


def test_row_24_one_device_of_a_file_is_gone(run: Path) -> None:
    def delete(r: Path) -> None:
        rows = [row for row in rows_of(r / GPU) if row[5] != "gpu_energy"]
        write_rows(r / GPU, rows)

    assert "STREAM_MISSING" in sealed_again(run, delete, derive=True)


@pytest.mark.parametrize("renumber", [False, True])
def test_row_25_low_power_samples_cherry_picked(run: Path, renumber: bool) -> None:
    def pick(r: Path) -> None:
        rows = rows_of(r / GPU)
        rest = [row for n, row in enumerate(rows) if n % 10 not in (3, 4)]
        write_rows(r / GPU, rest, renumber=renumber)

    assert "SAMPLES_GAP" in sealed_again(run, pick, derive=True)


def test_row_25_rows_taken_out_leave_deadlines_without_rows(run: Path) -> None:
    """Rows renumbered, the sampler's own count lowered: the deadlines have no rows all the same."""

    def pick(r: Path) -> None:
        rows = rows_of(r / GPU)
        rest = [row for n, row in enumerate(rows) if n % 10 not in (4, 5)]
        write_rows(r / GPU, rest)

        def lower(events: list[dict[str, Any]]) -> None:
            for event in events:
                if event["kind"] == "sampler.stopped":
                    event["data"]["rows"] -= len(rows) - len(rest)

        golden.rechain(r / FILE, lower)

    assert sealed_again(run, pick, derive=True) == {"SAMPLES_GAP", "READS_DIFFER"}


@pytest.mark.parametrize("how", ["cut", "swapped", "edited"])
def test_row_26_a_journal_with_a_changed_line_breaks_its_chain(run: Path, how: str) -> None:
    def forge(r: Path) -> None:
        lines = (r / FILE).read_bytes().splitlines(keepends=True)
        if how == "cut":
            del lines[5]
        elif how == "swapped":
            lines[5], lines[6] = lines[6], lines[5]
        else:
            lines[5] = lines[5].replace(b'"t":', b'"t":1')
        (r / FILE).write_bytes(b"".join(lines))

    assert sealed_again(run, forge) == {"JOURNAL_CHAIN"}


def test_row_26_journal_without_its_end(run: Path) -> None:
    def forge(r: Path) -> None:
        lines = (r / FILE).read_bytes().splitlines(keepends=True)
        (r / FILE).write_bytes(b"".join(lines[:-1]))

    assert sealed_again(run, forge, derive=True) == {"JOURNAL_ENDS"}


def test_row_26_registration_edited_afterwards(run: Path) -> None:
    def forge(events: list[dict[str, Any]]) -> None:
        events[0]["data"]["spec_hash"] = "0" * 64

    codes = sealed_again(run, lambda r: golden.rechain(r / FILE, forge))
    assert codes == {"JOURNAL_ENDS"}


def fail_one(lines: list[dict[str, Any]]) -> None:
    lines[-1].update(status="error", error="HTTP 500")


def test_row_27_failed_requests_removed(run: Path) -> None:
    def forge(r: Path) -> None:
        for name in (REQUESTS, RESPONSES):
            golden.edit_lines(r / name, lambda lines: lines.pop())

    codes = sealed_again(run, forge, derive=True)
    assert codes == {"REQUEST_MISSING", "REQUEST_COUNTS", "DRIVER_DIFFERS"}


def test_row_27_also_when_the_journal_agrees(run: Path) -> None:
    def forge(r: Path) -> None:
        for name in (REQUESTS, RESPONSES):
            golden.edit_lines(r / name, lambda lines: lines.pop())

        def recount(events: list[dict[str, Any]]) -> None:
            done = [e for e in events if e["kind"] == "stage.done"]
            done[-1]["data"]["ok"] -= 1

        golden.rechain(r / FILE, recount)

    assert sealed_again(run, forge, derive=True) == {"REQUEST_MISSING", "DRIVER_DIFFERS"}


@pytest.mark.parametrize("stage", ["warmup", "measured"])
def test_row_27_a_request_dropped_from_the_schedule_too(run: Path, stage: str) -> None:
    """Schedule, plan and registration forged together: the spec still asks for the request."""

    def forge(r: Path) -> None:
        def drop(lines: list[dict[str, Any]]) -> None:
            lines.remove(next(line for line in reversed(lines) if line["stage"] == stage))

        golden.edit_lines(r / "inputs/schedule.jsonl", drop)
        for launch in range(golden.LAUNCHES):
            for name in ("requests", "responses"):
                golden.edit_lines(r / f"launches/{launch:03d}/{name}.jsonl", drop)
        sha256 = jsonio.digest((r / "inputs/schedule.jsonl").read_bytes())
        measured = 3 - (stage == "measured")
        golden.edit_json(
            r / "plan.json", lambda p: p.update(schedule_sha256=sha256, requests=measured)
        )
        plan_hash = jsonio.digest((r / "plan.json").read_bytes())

        def register(events: list[dict[str, Any]]) -> None:
            events[0]["data"]["plan_hash"] = plan_hash
            for event in events:
                if event["kind"] == "stage.done" and event["data"]["stage"] == stage:
                    event["data"]["ok"] -= 1

        golden.rechain(r / FILE, register)

    assert "PLAN_HASHES" in sealed_again(run, forge, derive=True)


def test_row_27_a_failed_request_painted_good(run: Path) -> None:
    codes = sealed_again(run, lambda r: golden.edit_lines(r / REQUESTS, fail_one), derive=True)
    assert codes == {"REQUEST_COUNTS", "DRIVER_DIFFERS"}


def test_row_28_percentile_of_a_subset(run: Path) -> None:
    def forge(document: dict[str, Any]) -> None:
        ttft = document["launches"][0]["latency"]["sent"]["ttft"]
        ttft["n"], ttft["p99"] = 2, 0.01

    codes = sealed_again(run, lambda r: golden.edit_json(r / "results.json", forge))
    assert codes == {"RESULTS_DIFFER"}


def without_launch(events: list[dict[str, Any]]) -> None:
    events[:] = [e for e in events if e["data"].get("launch") != 1]


def test_row_29_a_launch_dropped(run: Path) -> None:
    def forge(r: Path) -> None:
        shutil.rmtree(r / "launches" / "001")
        golden.rechain(r / FILE, without_launch)

    assert sealed_again(run, forge, derive=True) == {"REQUIRED_FILE"}


def test_row_29_a_launch_dropped_from_the_journal_alone(run: Path) -> None:
    codes = sealed_again(run, lambda r: golden.rechain(r / FILE, without_launch), derive=True)
    assert "LAUNCH_MISSING" in codes


def test_row_29_a_launch_dropped_from_spec_and_plan_too(run: Path) -> None:
    """The registration stands in the journal; the plan's hash no longer fits it."""

    def forge(r: Path) -> None:
        shutil.rmtree(r / "launches" / "001")
        golden.rechain(r / FILE, without_launch)
        golden.edit_json(r / "spec.json", lambda s: s.update(launches=1))
        golden.edit_json(r / "plan.json", lambda p: p.update(launches=1))

    assert sealed_again(run, forge, derive=True) >= {"JOURNAL_ENDS", "PLAN_HASHES"}


def counter_at_zero(r: Path) -> None:
    rows = [[*row[:7], "0"] for row in rows_of(r / CPU)]
    write_rows(r / CPU, rows)


def test_row_33_unsupported_counter_stored_as_zero(run: Path) -> None:
    assert sealed_again(run, counter_at_zero, derive=True) == {"COUNTER_ZERO", "LIVE_DIFFERS"}


def test_row_33_failed_reads_with_a_value(run: Path) -> None:
    def forge(r: Path) -> None:
        rows = rows_of(r / CPU)
        rows[3][6:] = ["3", "0"]
        write_rows(r / CPU, rows)

    assert sealed_again(run, forge) == {"SAMPLES_INVALID"}


def test_row_33_values_of_what_the_plan_says_is_absent(run: Path) -> None:
    def forge(r: Path) -> None:
        rows = rows_of(r / GPU)
        rows.append([*rows[-1][:5], "gpu_power_sample", "0", "200000"])
        write_rows(r / GPU, rows)

    assert "SAMPLES_INVALID" in sealed_again(run, forge, derive=True)


# --- rows 39 to 41 ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["sent", "first_token", "last_token", "done"])
def test_row_39_times_that_do_not_add_up(run: Path, field: str) -> None:
    def forge(lines: list[dict[str, Any]]) -> None:
        lines[-1][field] -= 60 * golden.MS if field != "done" else 800 * golden.MS

    codes = sealed_again(run, lambda r: golden.edit_lines(r / REQUESTS, forge), derive=True)
    assert "TIMES_INCONSISTENT" in codes


def test_row_39_durations_do_not_follow_from_times(run: Path) -> None:
    def forge(document: dict[str, Any]) -> None:
        document["launches"][0]["phases"][0]["duration_s"] *= 1.5

    codes = sealed_again(run, lambda r: golden.edit_json(r / "results.json", forge))
    assert codes == {"RESULTS_DIFFER"}


def inflate(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        line["output_tokens"] *= 2


def inflate_usage(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        line["usage"]["completion_tokens"] *= 2


@pytest.mark.parametrize("everywhere", [False, True])
def test_row_40_token_count_inflated(run: Path, everywhere: bool) -> None:
    def forge(r: Path) -> None:
        golden.edit_lines(r / REQUESTS, inflate)
        if everywhere:
            golden.edit_lines(r / RESPONSES, inflate_usage)

    assert "TOKEN_COUNTS" in sealed_again(run, forge, derive=True)


@pytest.mark.parametrize("value", ["8", [8], 8.5, True, {"n": 8}])
def test_row_40_a_count_of_another_kind_hides_nothing(run: Path, value: object) -> None:
    """A count that the check would not understand must not be a way around it."""

    def forge(lines: list[dict[str, Any]]) -> None:
        lines[-1]["usage"]["completion_tokens"] = value

    codes = sealed_again(run, lambda r: golden.edit_lines(r / RESPONSES, forge), derive=True)
    assert codes == {"TOKEN_COUNTS"}


def test_row_40_a_count_that_nothing_supports(run: Path) -> None:
    def forge(r: Path) -> None:
        golden.edit_lines(r / REQUESTS, lambda lines: lines[-1].update(output_tokens=2))
        golden.edit_lines(r / RESPONSES, lambda lines: lines[-1].update(usage=None))

    assert sealed_again(run, forge, derive=True) == {"TOKEN_COUNTS"}


def test_row_40_the_server_timed_other_tokens_than_it_counted(run: Path) -> None:
    def forge(lines: list[dict[str, Any]]) -> None:
        lines[-1]["timings"] = {"predicted_n": golden.TOKENS - 1}

    codes = sealed_again(run, lambda r: golden.edit_lines(r / RESPONSES, forge), derive=True)
    assert codes == {"TOKEN_COUNTS"}


PROMPTS = "launches/000/prompts.jsonl"


def told(run: Path) -> list[dict[str, Any]]:
    """The lines of an honest prompts.jsonl."""
    loaded = records.load(archive.open_source(run))
    counts = {r.index: r.prompt_tokens or 0 for r in loaded.requests[0] if r.stage == "measured"}
    ids = {index: [7] * count for index, count in counts.items()}
    return [
        {"index": i, "count": len(own), "ids_sha256": jsonio.hash_of(own), "ids": own}
        for i, own in ids.items()
    ]


def _of(count: int, token: int) -> dict[str, Any]:
    """A prompt of one token id, again and again, with its hash."""
    return {"ids": [token] * count, "ids_sha256": jsonio.hash_of([token] * count)}


def tell(run: Path, lines: list[dict[str, Any]], name: str = PROMPTS) -> None:
    (run / name).write_bytes(b"".join(jsonio.canonical(line) + b"\n" for line in lines))


def test_row_40_token_ids_of_prompts_in_their_order_pass(run: Path) -> None:
    tell(run, told(run)[:-1])
    assert verify(golden.reseal(run)).passed


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines.insert(0, lines[0]),
        lambda lines: lines.insert(0, {**lines[0], "count": 99, "ids": None}),
        lambda lines: lines.append({**lines[0], "index": 9999}),
        lambda lines: lines.append({**lines[0], "index": 0}),
        lambda lines: lines.pop(0),
        lambda lines: lines.reverse(),
        lambda lines: lines[0].update(ids=[8] * lines[0]["count"]),
        lambda lines: lines[0].update(ids=None),
        lambda lines: lines[0].update(_of(lines[0]["count"], -1)),
        lambda lines: lines[0].update(_of(lines[0]["count"], 1 << 40)),
    ],
    ids=[
        "twice",
        "hidden",
        "foreign",
        "warmup",
        "without-first",
        "reversed",
        "other-ids",
        "hash-alone",
        "negative",
        "huge",
    ],
)
def test_row_40_token_ids_that_are_not_the_prompts(
    run: Path, change: Callable[[list[dict[str, Any]]], object]
) -> None:
    lines = told(run)
    change(lines)
    assert sealed_again(run, lambda r: tell(r, lines)) == {"TOKEN_COUNTS"}


def test_row_40_token_ids_of_a_later_launch(run: Path) -> None:
    """They are asked for once; a second file could say something else."""
    lines = told(run)
    forge = lambda r: tell(r, lines, PROMPTS.replace("000", "001"))  # noqa: E731
    assert sealed_again(run, forge) == {"TOKEN_COUNTS"}


@pytest.mark.parametrize("reason", ["abort", "content_filter", "", None])
def test_row_40_a_good_answer_without_a_good_end(run: Path, reason: str | None) -> None:
    forge = lambda lines: lines[-1].update(finish_reason=reason)  # noqa: E731
    codes = sealed_again(run, lambda r: golden.edit_lines(r / REQUESTS, forge), derive=True)
    assert codes == {"FINISH_REASON"}


# As other checks of these files like it: no event, and no row more than the samplers counted.
CONTENTS = {".jsonl": b"", ".csv": HEADER.encode() + b"\n", ".txt": b"words\n"}


@pytest.mark.parametrize(
    "name",
    [
        "inputs/prompts.txt",
        f"inputs/calibration/{'0' * 64}.json",
        "env/between.json",
        "private/names.json",
        "paper.pdf",
        "launches/000/paper.pdf",
        "launches/001/events.jsonl",
        "launches/000/driver.spool",
        "launches/000/images/00000-0.png",
        "samples/none.csv",
        "samples/notes.txt",
    ],
)
def test_a_sealed_file_that_nothing_names(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(CONTENTS.get(Path(name).suffix, b"{}"))
    verdict = verify(golden.reseal(run))
    assert failed(verdict) == {"FILE_UNNAMED"}
    assert name in verdict.failures[0].message


def test_what_a_full_disk_leaves_of_a_launch_is_no_stranger_in_a_run_cut_short(
    tmp_path: Path,
) -> None:
    run = golden.build(tmp_path, "aborted", "the disk is full")
    for name in ("driver.spool", "requests.tmp"):
        (run / "launches/001" / name).write_bytes(b"half")
    assert verify(golden.reseal(run)).passed


def test_a_bill_of_materials_without_its_recipe(run: Path) -> None:
    shutil.rmtree(run / "inputs/image")
    (run / "inputs/sbom.cdx.json").write_bytes(b"{}")
    assert "FILE_UNNAMED" in failed(verify(golden.reseal(run)))


def test_row_41_text_swapped(run: Path) -> None:
    def forge(lines: list[dict[str, Any]]) -> None:
        lines[-1]["text"] = "what was never said"

    codes = sealed_again(run, lambda r: golden.edit_lines(r / RESPONSES, forge), derive=True)
    assert codes == {"TEXT_HASH"}


def test_row_41_a_text_with_its_hash_is_another_result(run: Path) -> None:
    def forge(lines: list[dict[str, Any]]) -> None:
        lines[-1]["text"] = "what was never said"
        lines[-1]["text_sha256"] = hashlib.sha256(b"what was never said").hexdigest()

    codes = sealed_again(run, lambda r: golden.edit_lines(r / RESPONSES, forge))
    assert codes == {"RESULTS_DIFFER"}


@pytest.mark.parametrize("data", [b"-1", b"[]", b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":1e400}'])
@pytest.mark.parametrize("name", ["env/start.json", "launches/000/driver.json"])
def test_documents_that_are_no_canonical_objects(run: Path, name: str, data: bytes) -> None:
    (run / name).write_bytes(data)
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize("number", [b"1" * 400, b"9007199254740992", b"1e400", b"-1e999"])
def test_a_number_without_a_canonical_form_is_invalid(run: Path, number: bytes) -> None:
    path = run / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"poll_s":0.1', b'"poll_s":' + number, 1))
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


# --- forms that would trip the formulas ---------------------------------------------------------


def first_phase(events: list[dict[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = next(e["data"] for e in events if e["kind"] == "phase.begin")
    return data


def unmeasured_as_zero(document: dict[str, Any]) -> None:
    """What nobody measured, told as nothing used."""
    wall = document["launches"][0]["phases"][0]["energy"]["wall"]
    assert wall["status"] == "unmeasured"
    wall["joules"] = 0.0


Form = tuple[str, Callable[[Any], object], set[str]]
BROKEN: dict[str, Form] = {
    "driver": ("launches/000/driver.json", lambda d: d.update(stages="x"), {"FILE_INVALID"}),
    "stages": ("launches/000/driver.json", lambda d: d.update(stages=[1]), {"FILE_INVALID"}),
    "phase": (FILE, lambda e: first_phase(e).update(phase=["x"]), {"FILE_INVALID"}),
    "part": (FILE, lambda e: first_phase(e).update(part={}), {"FILE_INVALID"}),
    "no launch": (FILE, lambda e: first_phase(e).pop("launch"), {"FILE_INVALID"}),
    "launch": (FILE, lambda e: first_phase(e).update(launch="0"), {"FILE_INVALID"}),
    "other phase": (FILE, lambda e: first_phase(e).update(phase="lunch"), {"FILE_INVALID"}),
    "rows": (FILE, lambda e: e[-2]["data"].update(rows="many"), {"SAMPLES_GAP"}),
    "primary": ("spec.json", lambda s: s.update(primary_metric="beauty"), {"FILE_INVALID"}),
    "huge": (REQUESTS, lambda lines: lines[-1].update(sent=10**30), {"FILE_INVALID"}),
    "unsafe": (REQUESTS, lambda lines: lines[-1].update(prompt_tokens=2**53), {"FILE_INVALID"}),
    "index": (REQUESTS, lambda lines: lines[-1].update(index="first"), {"FILE_INVALID"}),
    "tokens": (REQUESTS, lambda lines: lines[-1].update(output_tokens=-8), {"TOKEN_COUNTS"}),
    "meters": ("plan.json", lambda p: p.update(meters=[{"name": 1}]), {"FILE_INVALID"}),
    "results": ("results.json", lambda r: r.clear(), {"FILE_INVALID"}),
    "zero for unmeasured": ("results.json", unmeasured_as_zero, {"FILE_INVALID"}),
    "schedule": ("inputs/schedule.jsonl", lambda lines: lines.pop(), {"PLAN_HASHES"}),
}


@pytest.mark.parametrize(("name", "change", "codes"), BROKEN.values(), ids=BROKEN)
def test_wrong_forms_are_findings_and_never_crash(
    run: Path, name: str, change: Callable[[Any], object], codes: set[str]
) -> None:
    if name == FILE:
        golden.rechain(run / name, change)
    elif name.endswith(".jsonl"):
        edit_raw(run / name, change)
    else:
        golden.edit_json(run / name, change)
    assert failed(verify(golden.reseal(run))) & codes


@pytest.mark.parametrize("name", [REQUESTS, RESPONSES, "inputs/schedule.jsonl"])
def test_a_line_that_names_a_key_twice_is_invalid(run: Path, name: str) -> None:
    """Readers disagree which of the two counts."""
    (run / name).write_bytes((run / name).read_bytes().replace(b"{", b'{"index":7,', 1))
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize("number", ["1.0", "-0.0", "1e-07", "1e16", "9007199254740993.0"])
def test_a_line_with_a_number_in_another_form_is_invalid(run: Path, number: str) -> None:
    """Two files with the same values would have two hashes."""
    lines = (run / RESPONSES).read_bytes().splitlines()
    document = {**json.loads(lines[0]), "timings": {"a": 1}}
    lines[0] = jsonio.canonical(document)
    (run / RESPONSES).write_bytes(b"\n".join(lines) + b"\n")
    run = golden.reseal(run)
    assert verify(run).passed
    lines[0] = lines[0].replace(b'{"a":1}', b'{"a":' + number.encode() + b"}")
    (run / RESPONSES).write_bytes(b"\n".join(lines) + b"\n")
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize(
    "timings",
    ['{"\uffff":1,"\U00010000":2}', '{"a":' + "[" * 100 + "]" * 100 + "}"],
    ids=["order of keys", "depth"],
)
def test_a_line_in_another_form_is_invalid(run: Path, timings: str) -> None:
    lines = (run / RESPONSES).read_bytes().splitlines()
    lines[0] = jsonio.canonical({**json.loads(lines[0]), "timings": {"here": 1}})
    lines[0] = lines[0].replace(b'{"here":1}', timings.encode())
    (run / RESPONSES).write_bytes(b"\n".join(lines) + b"\n")
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


@pytest.mark.parametrize("name", [REQUESTS, RESPONSES, FILE])
@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_lines_end_as_kit_ends_them(run: Path, name: str, end: bytes) -> None:
    """Another reader of lines would see other lines."""
    data = (run / name).read_bytes()
    (run / name).write_bytes(data.replace(b"\n", end, 1))
    assert "FILE_INVALID" in failed(verify(golden.reseal(run)))


@pytest.mark.parametrize("name", [REQUESTS, RESPONSES, "inputs/schedule.jsonl"])
def test_a_line_that_is_not_utf_8_is_invalid(run: Path, name: str) -> None:
    (run / name).write_bytes((run / name).read_bytes().replace(b"measured", b"measure\xff", 1))
    assert failed(verify(golden.reseal(run))) == {"FILE_INVALID"}


def edit_raw(path: Path, change: Callable[[Any], object]) -> None:
    """`golden.edit_lines` for values that canonical JSON does not allow."""
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(documents)
    plain = [json.dumps(line, sort_keys=True, separators=(",", ":")) for line in documents]
    path.write_text("".join(line + "\n" for line in plain))
