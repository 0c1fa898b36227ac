"""Runs that are started at once, refused, or left in the queue: through the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.judge.verify import verify
from kit.machine import tickets
from kit.show import runlist
from kit.store.store import Store
from tests.journey.conftest import Workplace, loopback_spec

pytestmark = pytest.mark.docker
LONG = {"idle_s": 60, "loaded_idle_s": 0, "warmup_requests": 1}
TOO_SMALL = {"ready_s": 20, "request_s": 5, "run_s": 120, "memory_mib": 256, "shm_mib": 256}


def ledger(place: Workplace) -> list[dict[str, Any]]:
    path = place.runs / "ledger.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def rows(place: Workplace) -> list[dict[str, Any]]:
    """What `kit ls --json` says, without a process each time that a test asks."""
    return runlist.as_list(runlist.rows(Store(place.runs)))


def until(test: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return found


def started(place: Workplace, spec: dict[str, Any], *args: str) -> subprocess.Popen[str]:
    return place.start("run", place.spec(spec, f"{spec['name']}.json"), "--runs", place.runs, *args)


def waiting(place: Workplace) -> list[dict[str, Any]]:
    return [row for row in rows(place) if row["status"] == "waiting"]


def engine_of(place: Workplace, run: str) -> int:
    return int((place.runs / ".inflight" / f"{run}.scratch" / "lock").read_text())


def test_runs_that_start_at_once_all_run_in_turn(workplace: Workplace) -> None:
    count = 3  # two wait, one behind the other
    spec = workplace.spec(loopback_spec())
    faces = [workplace.start("run", spec, "--runs", workplace.runs) for _ in range(count)]
    told = [face.communicate(timeout=200) for face in faces]
    assert [face.returncode for face in faces] == [0] * count, told
    assert sum("waiting for run" in said for _, said in told) == count - 1
    assert [entry["kind"] for entry in ledger(workplace)] == ["registered", "sealed"] * count
    ids = [entry["id"] for entry in ledger(workplace)]
    assert ids[::2] == ids[1::2]
    waited = [
        p for p in workplace.sealed() if b'"queue.waited"' in (p / "events.jsonl").read_bytes()
    ]
    assert len(waited) == count - 1
    for path in workplace.sealed():
        assert verify(path).passed


def test_killing_a_waiter_and_the_holder_lets_the_last_one_run(workplace: Workplace) -> None:
    first = started(workplace, loopback_spec(name="one", phases=LONG))
    workplace.wait_for(lambda e: e["kind"] == "phase.begin")
    second = started(workplace, loopback_spec(name="two"))
    until(lambda: len(waiting(workplace)) == 1)
    third = started(workplace, loopback_spec(name="three"))
    queued = {
        row["name"]: row for row in until(lambda: len(waiting(workplace)) == 2 and rows(workplace))
    }
    assert queued["three"]["note"].endswith("position 2")
    os.kill(engine_of(workplace, queued["two"]["run"]), signal.SIGKILL)
    second.communicate(timeout=30)
    assert second.returncode == 1
    os.kill(engine_of(workplace, queued["one"]["run"]), signal.SIGKILL)
    first.communicate(timeout=30)
    out, said = third.communicate(timeout=100)
    assert third.returncode == 0, said
    assert out.strip().endswith(workplace.sealed()[0].name)


def test_a_ticket_that_a_cleaner_deletes_lets_nobody_measure_beside(workplace: Workplace) -> None:
    first = started(workplace, loopback_spec(name="one", phases=LONG | {"idle_s": 4}))
    workplace.wait_for(lambda e: e["kind"] == "launch.begin")
    second = started(workplace, loopback_spec(name="two"))
    until(lambda: waiting(workplace))
    for ticket in Path(os.environ[tickets.FOLDER_VARIABLE]).glob("0*"):
        ticket.unlink()
    told = [face.communicate(timeout=100) for face in (first, second)]
    assert [face.returncode for face in (first, second)] == [0, 0], told
    assert [entry["kind"] for entry in ledger(workplace)] == ["registered", "sealed"] * 2
    for path in workplace.sealed():
        assert verify(path).passed


def test_ctrl_c_leaves_the_queue(workplace: Workplace) -> None:
    first = started(workplace, loopback_spec(name="one", phases=LONG))
    workplace.wait_for(lambda e: e["kind"] == "phase.begin")
    second = started(workplace, loopback_spec(name="two"))
    until(lambda: waiting(workplace))
    second.send_signal(signal.SIGINT)
    _, said = second.communicate(timeout=30)
    assert second.returncode == 130 and "waiting for run" in said, said
    assert [row["status"] for row in rows(workplace)] == ["running"]
    refused = workplace.kit(
        "run", workplace.folder / "two.json", "--runs", workplace.runs, "--no-wait"
    )
    assert refused.returncode == 3
    assert "another run is in progress on this machine: run " in refused.stderr
    detached = workplace.kit(
        "run", workplace.folder / "two.json", "--runs", workplace.runs, "--detach"
    )
    assert detached.returncode == 0 and "is waiting for run" in detached.stderr
    assert [row["run"] for row in waiting(workplace)] == [detached.stdout.strip()]
    planned = workplace.kit("plan", workplace.folder / "two.json", "--runs", workplace.runs)
    assert planned.returncode == 0 and "RUNS_QUEUE" in planned.stdout + planned.stderr
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    watched = workplace.kit("attach", detached.stdout.strip(), "--plain", "--runs", workplace.runs)
    assert watched.returncode in (0, 2)
    until(lambda: any(entry.get("status") == "complete" for entry in ledger(workplace)))


def test_a_detached_run_that_preflight_refuses(workplace: Workplace) -> None:
    done = workplace.kit(
        "run", workplace.spec(loopback_spec(limits=TOO_SMALL)), "--runs", workplace.runs, "--detach"
    )
    assert done.returncode == 3 and done.stdout == ""
    assert "SHM_TOO_LARGE" in done.stderr and "limits.shm_mib" in done.stderr
    (row,) = rows(workplace)
    assert row["status"] == "refused" and "shared memory" in row["note"]
    shown = workplace.kit("ls", "--runs", workplace.runs)
    assert "refused" in shown.stdout and row["run"] in shown.stdout
    attached = workplace.kit("attach", row["run"], "--runs", workplace.runs)
    assert attached.returncode == 3 and "SHM_TOO_LARGE" in attached.stderr
    (entry,) = ledger(workplace)
    assert (entry["kind"], entry["findings"]) == ("refused", ["SHM_TOO_LARGE"])
    assert workplace.sealed() == [] and list(workplace.runs.glob(".inflight/*/")) == []


def test_a_detached_run_that_cannot_be_planned(workplace: Workplace) -> None:
    image = {"reference": f"nowhere/nothing@sha256:{'0' * 64}"}
    done = workplace.kit(
        "run", workplace.spec(loopback_spec(image=image)), "--runs", workplace.runs, "--detach"
    )
    assert done.returncode == 3 and "nowhere/nothing" in done.stderr and done.stdout == ""


def test_a_detached_run_returns_once_it_has_begun(workplace: Workplace) -> None:
    spec = workplace.spec(loopback_spec(phases=LONG))
    done = workplace.kit("run", spec, "--runs", workplace.runs, "--detach")
    assert done.returncode == 0, done.stderr
    assert f"run {done.stdout.strip()} started" in done.stderr
    assert any(event["kind"] == "launch.begin" for event in workplace.events())
    os.kill(engine_of(workplace, done.stdout.strip()), signal.SIGTERM)
    until(lambda: workplace.sealed())
    over = workplace.kit("attach", done.stdout.strip(), "--runs", workplace.runs)
    assert over.returncode == 2 and "aborted" in over.stderr and "kit show" in over.stderr
