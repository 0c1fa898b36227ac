"""What goes wrong outside kit: one clear message, the right exit code, and nothing lost.

Every test checks the same things: no traceback (the fixture does), a message with a remedy, the
exit code of the contract, no container left, and, once the run had begun, a sealed archive that
verifies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.judge.verify import verify
from tests.journey.conftest import Workplace, loopback_spec

pytestmark = [pytest.mark.docker, pytest.mark.heavy]
NO_SUCH = "sha256:" + "0" * 64


def run(place: Workplace, spec: dict[str, Any], **env: str) -> subprocess.CompletedProcess[str]:
    return place.kit("run", place.spec(spec), "--runs", place.runs, **env)


def assert_blocked(done: subprocess.CompletedProcess[str], place: Workplace, *words: str) -> None:
    """Exit 3, the words are said, nothing sealed and nothing left in flight."""
    assert done.returncode == 3, done.stderr
    for word in words:
        assert word in done.stderr
    assert place.sealed() == []
    assert [p for p in place.runs.glob(".inflight/*") if p.is_dir()] == []


def assert_sealed(place: Workplace, status: str, *words: str) -> dict[str, Any]:
    """One sealed run of that status, whose archive verifies and whose reason says the words."""
    manifest = place.only_run()
    assert manifest["status"] == status
    for word in words:
        assert word in manifest["reason"]
    verdict = verify(manifest["folder"])
    assert verdict.passed, verdict.failures
    assert place.containers() == []
    return manifest


# --- kit cannot begin -----------------------------------------------------------------------


def test_no_engine(workplace: Workplace) -> None:
    done = run(workplace, loopback_spec(), DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert_blocked(done, workplace, "engine", "docker.io")


def test_remote_engine(workplace: Workplace) -> None:
    done = run(workplace, loopback_spec(), DOCKER_HOST="tcp://127.0.0.1:2375")
    assert_blocked(done, workplace, "machine")


def test_image_with_another_digest(workplace: Workplace) -> None:
    spec = loopback_spec(image={"recipe": "loopback", "digest": NO_SUCH})
    assert_blocked(run(workplace, spec), workplace, "pins loopback", "pin sha256:")


def test_upstream_image_missing(workplace: Workplace) -> None:
    spec = loopback_spec(image={"reference": f"nowhere/nothing@{NO_SUCH}"})
    assert_blocked(run(workplace, spec), workplace, "nowhere/nothing")


def weights(**changes: Any) -> dict[str, Any]:
    file = {"path": "m.gguf", "source": "file:m.gguf", "sha256": "a" * 64, "size": 5} | changes
    return {"repo": "none", "revision": "1", "files": [file]}


def test_weights_missing(workplace: Workplace) -> None:
    done = run(workplace, loopback_spec(weights=weights()))
    assert_blocked(done, workplace, "a" * 64, "kit weights add")


def test_weights_with_another_hash(workplace: Workplace) -> None:
    folder = workplace.folder / "models"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"other")
    workplace.host.write_text(f'[weights]\nfolders = ["{folder}"]\n')
    done = run(workplace, loopback_spec(weights=weights()))
    assert_blocked(done, workplace, "a" * 64)


def test_dead_pdu(workplace: Workplace) -> None:
    workplace.host.write_text(
        '[pdu.rack1]\nhost = "127.0.0.1"\nport = 9\nprofile = "apc-rpdu2"\n'
        'outlets = [1]\ncommunity = "public"\ntimeout_s = 0.3\nretries = 0\n'
    )
    spec = loopback_spec(meters=[{"name": "pdu", "alias": "rack1"}])
    assert_blocked(run(workplace, spec), workplace, "rack1")


def test_gpu_where_the_engine_offers_none(workplace: Workplace) -> None:
    assert_blocked(run(workplace, loopback_spec(devices={"gpus": 1})), workplace, "GPU")


def test_bad_spec_lists_every_problem(workplace: Workplace) -> None:
    spec = loopback_spec(name="Bad Name", launches=0, primary_metric="joy")
    done = run(workplace, spec)
    assert done.returncode == 2
    for path in ("$.name", "$.launches", "$.primary_metric"):
        assert path in done.stderr


# --- the runtime fails ----------------------------------------------------------------------


def test_never_ready(workplace: Workplace) -> None:
    spec = loopback_spec({"never_ready": True}, limits={"ready_s": 2})
    done = run(workplace, spec)
    assert done.returncode == 1
    assert_sealed(workplace, "failed", "ready")


def test_container_dies_mid_run(workplace: Workplace) -> None:
    done = run(workplace, loopback_spec({"fail_after_requests": 2}))
    assert done.returncode == 1
    manifest = assert_sealed(workplace, "failed")
    kept = (manifest["folder"] / "launches/000/requests.jsonl").read_text()
    assert '"status":"ok"' in kept
    assert (manifest["folder"] / "launches/000/container.log").is_file()


def test_a_bad_answer_is_recorded_and_the_run_fails_no_further(workplace: Workplace) -> None:
    """One answer is an HTTP error, and one is no answer of a model."""
    done = run(workplace, loopback_spec({"http_500_on": [1], "garbage_on": [2]}))
    assert done.returncode in (0, 1)
    manifest = workplace.only_run()
    kept = (manifest["folder"] / "launches/000/requests.jsonl").read_text()
    answers = [json.loads(line) for line in kept.splitlines()]
    assert [(a["status"], a["http_status"]) for a in answers if a["status"] != "ok"] == [
        ("error", 500),
        ("error", 200),
    ]
    assert len(answers) == 4
    assert workplace.kit("verify", manifest["folder"]).returncode == 0
    assert "2 of 3 requests failed" in workplace.kit("show", manifest["folder"]).stdout


def test_hanging_server_times_out(workplace: Workplace) -> None:
    spec = loopback_spec({"hang_after_tokens": 3}, limits={"ready_s": 20, "request_s": 1})
    run(workplace, spec)
    kept = (workplace.only_run()["folder"] / "launches/000/requests.jsonl").read_text()
    assert '"status":"timeout"' in kept


@pytest.mark.heavy  # it is given 20 s to end
def test_a_server_deaf_to_sigterm_is_killed_and_its_run_is_sealed(workplace: Workplace) -> None:
    spec = loopback_spec({"ignore_sigterm": True})
    done = workplace.kit("run", workplace.spec(spec), "--runs", workplace.runs)
    assert done.returncode == 0, done.stderr
    assert workplace.only_run()["status"] == "complete"
    stopped = next(e for e in workplace.events() if e["kind"] == "container.stopped")
    assert stopped["data"]["killed"] is True
    assert workplace.containers() == []


def test_wrong_token_counts_are_noticed(workplace: Workplace) -> None:
    assert run(workplace, loopback_spec({"wrong_token_count": 5})).returncode == 0
    assert "token" in workplace.kit("show", workplace.only_run()["folder"]).stdout.lower()


# --- the disk, the processes, the person ----------------------------------------------------


def test_disk_full(workplace: Workplace) -> None:
    workplace.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "none", workplace.runs], check=True)
    try:
        spec = loopback_spec(phases={"idle_s": 8, "loaded_idle_s": 0, "warmup_requests": 1})
        process = workplace.start("run", workplace.spec(spec), "--runs", workplace.runs)
        workplace.wait_for(lambda e: e["kind"] == "phase.begin")
        free = shutil.disk_usage(workplace.runs).free
        (workplace.runs / "ballast").write_bytes(bytes(free - (16 << 20)))
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert "MiB" in said
        assert_sealed(workplace, "failed", "MiB")
    finally:
        subprocess.run(["umount", workplace.runs], check=True)


@pytest.mark.parametrize("phase", ["idle", "measured"])
def test_a_disk_that_is_full_to_the_last_byte(workplace: Workplace, phase: str) -> None:
    """Samples, spool and journal fail to be written; what was gathered is sealed all the same."""
    workplace.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "none", workplace.runs], check=True)
    try:
        spec = loopback_spec(
            {"ttft_s": 0.5}, phases={"idle_s": 4, "loaded_idle_s": 0, "warmup_requests": 1}
        )
        process = workplace.start("run", workplace.spec(spec), "--runs", workplace.runs)
        workplace.wait_for(lambda e: e["kind"] == "phase.begin" and e["data"]["phase"] == phase)
        fill(workplace.runs / "ballast")
        _, said = process.communicate(timeout=100)
        assert process.returncode == 1, said
        assert "Traceback" not in said and ("space" in said or "MiB" in said)
        assert_sealed(workplace, "failed")
    finally:
        subprocess.run(["umount", workplace.runs], check=True)


def fill(path: Path) -> None:
    """Leave not one byte on a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))


PHASES = ["idle", "startup", "warmup", "loaded_idle", "measured", "shutdown"]
SLOW = {"ready_delay_s": 1.5, "ttft_s": 0.7}


@pytest.mark.parametrize("phase", PHASES)
def test_interrupted_in_each_phase(workplace: Workplace, phase: str) -> None:
    spec = loopback_spec(SLOW, phases={"idle_s": 1, "loaded_idle_s": 1, "warmup_requests": 1})
    process = workplace.start("run", workplace.spec(spec), "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "phase.begin" and e["data"]["phase"] == phase)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in out + said
    assert_sealed(workplace, "aborted")


@pytest.mark.parametrize("module", ["kit.measure.drive", "kit.measure.sample"])
def test_killed_helper_process(workplace: Workplace, module: str) -> None:
    spec = loopback_spec({"ttft_s": 1.0})
    process = workplace.start("run", workplace.spec(spec), "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "phase.begin" and e["data"]["phase"] == "measured")
    for pid in workplace.pids(module):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert_sealed(workplace, "failed")


def test_killed_runner_is_recovered_as_aborted(workplace: Workplace) -> None:
    process = workplace.start("run", workplace.spec(loopback_spec(SLOW)), "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "phase.begin" and e["data"]["phase"] == "measured")
    for pid in workplace.pids("kit.run.runner"):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "kit recover" in said
    assert workplace.containers()
    done = workplace.kit("recover", "--runs", workplace.runs)
    assert done.returncode == 0, done.stderr
    assert_sealed(workplace, "aborted")


def test_a_runner_that_is_killed_in_a_start_up_leaves_the_log(workplace: Workplace) -> None:
    spec = workplace.spec(loopback_spec({"never_ready": True}))
    process = workplace.start("run", spec, "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "container.started")
    (log,) = until(lambda: list(workplace.runs.glob(".inflight/*/launches/000/container.log")))
    until(lambda: b"listening" in log.read_bytes())
    for pid in workplace.pids("kit.run.runner"):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert workplace.kit("recover", "--runs", workplace.runs).returncode == 0
    folder = assert_sealed(workplace, "aborted")["folder"]
    assert b"listening" in (folder / "launches/000/container.log").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_up_that_is_stopped_leaves_the_log(workplace: Workplace, number: int) -> None:
    spec = workplace.spec(loopback_spec({"never_ready": True}))
    process = workplace.start("run", spec, "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "container.started")
    (pid,) = workplace.pids("kit.run.runner")
    os.kill(pid, number)
    process.communicate(timeout=60)
    folder = assert_sealed(workplace, "aborted")["folder"]
    assert (folder / "launches/000/container.log").is_file()


def until(test: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return found


def test_the_next_run_reaps_what_a_killed_runner_left(workplace: Workplace) -> None:
    process = workplace.start("run", workplace.spec(loopback_spec(SLOW)), "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "container.ready")
    left = workplace.containers()
    for pid in workplace.pids("kit.run.runner"):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert run(workplace, loopback_spec()).returncode == 0
    assert not set(left) & set(workplace.containers())


def test_a_lost_terminal_leaves_the_run_running(workplace: Workplace) -> None:
    process = workplace.start("run", workplace.spec(loopback_spec(SLOW)), "--runs", workplace.runs)
    workplace.wait_for(lambda e: e["kind"] == "phase.begin")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    workplace.wait_for(lambda e: e["kind"] == "run.end")
    assert workplace.kit("attach", "--runs", workplace.runs).returncode in (0, 2)
    assert Path(workplace.only_run()["folder"]).is_dir()
    assert_sealed(workplace, "complete")
