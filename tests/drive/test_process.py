"""The real driver process against a real server: what it sends, times and records."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.core.errors import DriverFailed, Interrupted
from kit.core.jsonio import canonical
from kit.core.model import Request
from kit.measure.drive import DriverProcess, StageReport, salvage
from kit.measure.drive.spool import SPOOL
from tests.drive.conftest import Bench
from tests.drive.server import TEXT, USAGE, ending, event, stream


def unwatched(line: dict[str, Any] | None) -> None:
    """A watch that never objects."""


def run_stage(
    driver: DriverProcess, name: str, watch: Callable[[dict[str, Any] | None], object]
) -> StageReport:
    """Send a stage and have it reported, as the runner does with a phase's end in between."""
    driver.send_stage(name, watch)
    return driver.report_stage(name, watch)


def run(driver: DriverProcess, *stages: str, recount: bool = False) -> dict[str, Any]:
    """Every stage in turn; returns the last one's report as a dictionary."""
    with driver:
        driver.wait_ready()
        for stage in stages or ("measured",):
            report = run_stage(driver, stage, unwatched)
        if recount:
            driver.recount()
    return {name: getattr(report, name) for name in report.__struct_fields__}


def by_item(bench: Bench) -> dict[str, Request]:
    return {request.item: request for request in bench.requests()}


GOOD = ["good", "one_segment", "split", "until_eof", "cached", "timings", "no_usage", "completion"]
BAD = {
    "http_500": 'HTTP 500: {"error": [31m"out of slots"}',
    "keep_alive_500": "HTTP 500",
    "garbage": "not an event stream",
    "bad_json": "not an OpenAI chunk",
    "not_http": "does not speak HTTP",
    "error_event": "no memory",
    "early_end": "before the answer was finished",
    "reset": "the connection broke: Connection reset by peer",
}


def test_good_answers_become_complete_records(bench: Bench) -> None:
    report = run(bench.driver(*GOOD))
    assert (report["ok"], report["failed"]) == (len(GOOD), 0)
    requests, responses = bench.requests(), bench.responses()
    assert [r.index for r in requests] == [r.index for r in responses] == list(range(len(GOOD)))
    assert {r.text for r in responses} == {TEXT}
    for request, response in zip(requests, responses, strict=True):
        assert request.status == "ok" and request.error is None
        assert request.http_status == 200
        assert request.finish_reason == "length"
        assert len(response.chunk_times) == 4
        assert request.first_token == response.chunk_times[0]
        assert request.last_token == response.chunk_times[-1]
        assert request.sent is not None and request.first_byte is not None
        times = (request.intended, request.sent, request.first_byte, *response.chunk_times)
        assert list(times) == sorted(times)
        assert times[-1] <= request.done
    assert not (bench.out / SPOOL).exists()


def test_counts_come_from_usage_and_are_absent_without_it(bench: Bench) -> None:
    run(bench.driver(*GOOD))
    records = dict(zip(GOOD, zip(bench.requests(), bench.responses(), strict=True), strict=True))
    request, response = records["good"]
    assert (request.prompt_tokens, request.output_tokens, request.cached_tokens) == (5, 4, None)
    assert response.usage == USAGE
    request, response = records["no_usage"]
    assert (request.prompt_tokens, request.output_tokens) == (None, None)
    assert response.usage is None
    assert records["cached"][0].cached_tokens == 3
    request, response = records["timings"]
    assert request.cached_tokens == 2
    assert response.timings == {"cache_n": 2, "prompt_n": 3, "predicted_ms": 1.5}


def test_bad_answers_are_errors_and_the_stage_goes_on(bench: Bench) -> None:
    report = run(bench.driver(*BAD, "good"))
    assert (report["ok"], report["failed"]) == (1, len(BAD))
    *bad, good = bench.requests()
    for (name, reason), request in zip(BAD.items(), bad, strict=True):
        assert request.status == "error", name
        assert request.error is not None
        assert reason in request.error
        assert "\n" not in request.error
    assert good.status == "ok"
    assert bad[0].http_status == 500
    # an answer whose end is known does not wait for a connection that stays open
    assert bad[1].done - bad[1].intended < 2_000_000_000
    # what came before an answer broke is kept
    assert bench.responses()[-2].text == "one"


def test_a_hanging_server_times_out(bench: Bench) -> None:
    run(bench.driver("hang", "good", request_s=0.4))
    hung, good = bench.requests()
    assert (hung.status, hung.error) == ("timeout", "no end of the answer within 0.4 s")
    assert hung.done - (hung.sent or 0) >= 400_000_000
    assert bench.responses()[0].text == "one"
    assert good.status == "ok"


def test_events_of_one_segment_share_its_time_and_paced_ones_do_not(bench: Bench) -> None:
    run(bench.driver("one_segment", {"do": "good", "pause": 0.02}))
    together, paced = bench.responses()
    assert len(set(together.chunk_times)) == 1
    gaps = [b - a for a, b in zip(paced.chunk_times, paced.chunk_times[1:], strict=False)]
    assert min(gaps) > 10_000_000


def test_times_are_on_the_runs_clock(bench: Bench) -> None:
    config = bench.config("good")
    run(DriverProcess(config, bench.folder / "driver.json"))
    (request,) = bench.requests()
    arrived = bench.server.seen[0][0] - config["origin"]
    assert (request.sent or 0) < arrived < (request.first_byte or 0)


def test_constant_rate_keeps_its_instants_whatever_the_server_does(bench: Bench) -> None:
    at_ns = [i * 25_000_000 for i in range(8)]
    slow = {"do": "good", "pause": 0.03}
    arrivals = {"kind": "constant", "rate": 40.0}
    run(bench.driver(*[slow] * 8, at_ns=at_ns, arrivals=arrivals))
    requests = bench.requests()
    begin = requests[0].intended
    assert [r.intended - begin for r in requests] == at_ns
    assert all(r.sent is not None and r.sent >= r.intended for r in requests)
    assert all(r.status == "ok" for r in requests)
    assert bench.server.busiest > 2  # nobody waited for an answer


def test_late_dispatch_is_never_skipped(bench: Bench) -> None:
    run(bench.driver(*["good"] * 20, at_ns=[0] * 20, arrivals={"kind": "constant", "rate": 1e6}))
    assert [r.status for r in bench.requests()] == ["ok"] * 20
    about = bench.about()["stages"]["measured"]
    assert 0 < about["lag_p99_ns"] <= about["lag_max_ns"]


def test_closed_loop_is_intended_when_its_client_became_free(bench: Bench) -> None:
    run(bench.driver(*["good"] * 4))
    requests = bench.requests()
    assert [b.intended for b in requests[1:]] == [a.done for a in requests[:-1]]


def test_as_many_requests_are_open_as_the_concurrency(bench: Bench) -> None:
    slow = {"do": "good", "pause": 0.01}
    run(bench.driver(*[slow] * 9, arrivals={"kind": "closed", "concurrency": 3}))
    assert bench.server.busiest == 3
    assert len({r.index for r in bench.requests()}) == 9


def test_the_driver_reports_its_stages_and_its_own_figures(bench: Bench) -> None:
    report = run(bench.driver({"do": "good", "stage": "warmup"}, "good"), "warmup", "measured")
    assert report["stage"] == "measured"
    assert [r.stage for r in bench.requests()] == ["warmup", "measured"]
    about = bench.about()
    assert set(about["stages"]) == {"warmup", "measured"}
    stage = about["stages"]["measured"]
    assert stage["requests"] == stage["ok"] == 1
    assert stage["chunks"] == 4
    assert stage["cpu_ns"] > 0 and stage["wall_ns"] > 0
    assert stage["cpu_share"] == report["cpu_share"]
    assert stage["lag_p99_ns"] == report["lag_p99_ns"]
    assert about["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_stage_without_requests_has_an_empty_report(bench: Bench) -> None:
    report = run(bench.driver("good"), "warmup")
    assert (report["ok"], report["failed"], report["lag_p99_ns"]) == (0, 0, None)


def test_the_driver_is_pinned_to_its_cpus(bench: Bench) -> None:
    last = str(max(os.sched_getaffinity(0)))
    run(bench.driver("good", cpus=last))
    assert bench.about()["affinity"] == {"asked": last, "got": last}


def test_cpus_that_do_not_exist_are_reported(bench: Bench) -> None:
    run(bench.driver("good", cpus="1000"))
    affinity = bench.about()["affinity"]
    assert affinity["asked"] == "1000"
    assert "problem" in affinity and affinity["got"] != "1000"


# --- recount --------------------------------------------------------------------------------

COUNTER = {"path": "/extras/tokenize/count", "text_key": "input", "count_key": "count"}


def test_recount_asks_about_what_has_no_usage(bench: Bench) -> None:
    asked = {"do": "no_usage", "prompt": "how many words are these"}
    run(bench.driver(asked, "no_usage", "good", "http_500", recount=COUNTER), recount=True)
    sent_as_it_is, chat, with_usage, failed = bench.requests()
    assert (sent_as_it_is.output_tokens, sent_as_it_is.prompt_tokens) == (4, 6)
    assert (chat.output_tokens, chat.prompt_tokens) == (4, None)
    assert (with_usage.output_tokens, with_usage.prompt_tokens) == (4, 5)
    assert failed.output_tokens is None
    assert bench.about()["recount"] == {"asked": 2, "counted": 2}
    inputs = [body["input"] for _, body in bench.server.seen if "input" in body]
    assert inputs == ["", TEXT, "how many words are these", TEXT]


def test_tokens_without_text_cannot_be_recounted(bench: Bench) -> None:
    """The server would count 0 in no text, and that would be no count of what it generated."""
    empty = event({"choices": [{"delta": {"content": ""}, "finish_reason": None}]})
    text = stream([empty, empty, *ending(None)]).decode()
    run(bench.driver({"do": "bytes", "parts": [text]}, recount=COUNTER), recount=True)
    (request,) = bench.requests()
    assert (request.status, request.output_tokens) == ("ok", None)
    assert bench.about()["recount"] == {"asked": 0, "counted": 0}


def test_a_recount_that_is_not_answered_leaves_counts_absent(bench: Bench) -> None:
    how = {**COUNTER, "count_key": "tokens"}
    run(bench.driver("no_usage", recount=how), recount=True)
    assert bench.requests()[0].output_tokens is None
    assert bench.about()["recount"] == {"asked": 1, "counted": 0}


# --- what ends a stage early ----------------------------------------------------------------


def test_a_server_that_is_gone_ends_the_stage(bench: Bench) -> None:
    bench.server.stop_listening()
    with pytest.raises(DriverFailed, match="none of 50 measured requests"):
        run(bench.driver(*["good"] * 50))
    first, *others = bench.requests()
    assert first.status == "error"
    assert "the server is gone" in (first.error or "")
    assert {(r.status, r.sent) for r in others} == {("aborted", None)}
    assert len(others) == 49


def test_whatever_watch_raises_aborts_the_stage(bench: Bench) -> None:
    def watch(line: dict[str, Any] | None) -> None:
        if len(bench.server.seen) == 2:
            raise Interrupted("stop")

    with pytest.raises(Interrupted), bench.driver("good", "hang", "good") as driver:
        driver.wait_ready()
        run_stage(driver, "measured", watch)
    assert [r.status for r in bench.requests()] == ["ok", "aborted", "aborted"]
    assert [r.error for r in bench.requests()][1:] == [
        "the run was ended",
        "not sent: the stage ended early",
    ]
    assert not (bench.out / SPOOL).exists()


def test_watch_is_called_often(bench: Bench) -> None:
    calls: list[float] = []
    with bench.driver("hang", request_s=1.0) as driver, pytest.raises(DriverFailed):
        driver.wait_ready()
        run_stage(driver, "measured", lambda _: calls.append(time.monotonic()))
    assert len(calls) >= 5


def test_progress_is_reported_while_a_stage_runs(bench: Bench) -> None:
    lines: list[dict[str, Any]] = []
    with bench.driver(*[{"do": "good", "pause": 0.04}] * 2) as driver:
        driver.wait_ready()
        run_stage(driver, "measured", lambda line: lines.append(line) if line else None)
    progress = [line for line in lines if line["event"] == "progress"]
    assert progress[0] == {"event": "progress", "stage": "measured", "done": 0, "total": 2}
    assert [line["event"] for line in lines if line["event"] != "progress"] == ["sent", "stage"]


def test_killed_driver_leaves_every_finished_request(bench: Bench) -> None:
    config = bench.config("good", "http_500", "hang", "good")
    killed = False

    def watch(line: dict[str, Any] | None) -> None:
        nonlocal killed
        if len(bench.server.seen) == 3 and not killed:
            killed = True
            os.kill(pid_of(driver), signal.SIGKILL)

    with DriverProcess(config, bench.folder / "driver.json") as driver:
        driver.wait_ready()
        with pytest.raises(DriverFailed, match="signal 9"):
            run_stage(driver, "measured", watch)
    assert not (bench.out / "requests.jsonl").exists()
    salvage(bench.out, config["origin"])
    assert [(r.index, r.status) for r in bench.requests()] == [(0, "ok"), (1, "error")]
    assert [r.text for r in bench.responses()] == [TEXT, ""]
    assert not (bench.out / SPOOL).exists()


def test_stdin_that_ends_aborts_and_records(bench: Bench) -> None:
    """A runner that was killed: the driver must not outlive it, nor lose anything."""
    path = bench.folder / "driver.json"
    path.write_bytes(canonical(bench.config("good", "hang")))
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.measure.drive", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(b"stage measured\n")
    process.stdin.flush()
    end = time.monotonic() + 20
    while len(bench.server.seen) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    process.stdin.close()
    assert process.wait(20) == 0
    assert [r.status for r in bench.requests()] == ["ok", "aborted"]


def test_a_full_disk_is_one_clear_message(bench: Bench) -> None:
    def watch(line: dict[str, Any] | None) -> None:
        resource.prlimit(pid_of(driver), resource.RLIMIT_FSIZE, (64, 64))

    with bench.driver(*[{"do": "good", "pause": 0.02}] * 8) as driver:
        driver.wait_ready()
        with pytest.raises(DriverFailed, match="the requests cannot be recorded: File too large"):
            run_stage(driver, "measured", watch)


def test_it_is_a_session_leader_and_ignores_ctrl_c(bench: Bench) -> None:
    with bench.driver("good") as driver:
        driver.wait_ready()
        pid = pid_of(driver)
        assert os.getsid(pid) == pid
        os.kill(pid, signal.SIGINT)
        assert run_stage(driver, "measured", unwatched).ok == 1
    assert not Path(f"/proc/{pid}").exists()


def pid_of(driver: DriverProcess) -> int:
    process = driver._child._process
    assert process is not None
    return process.pid
