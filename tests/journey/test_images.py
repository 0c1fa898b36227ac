"""Runs of images from spec to seal: made by a test server in a real container, not by a model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kit.core import jsonio
from kit.judge.verify import verify
from kit.measure.drive.spool import SPOOL, read_spool
from tests.journey.conftest import Workplace
from tests.runtimes import painter

pytestmark = [pytest.mark.docker, pytest.mark.heavy]


@pytest.fixture
def place(workplace: Workplace, tmp_path: Path) -> Workplace:
    """A workplace with the runtime's package and its server's folder."""
    site = painter.install(tmp_path / "site")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    workplace.env["PYTHONPATH"] = path
    painter.keep_server(tmp_path / "models")
    workplace.host.write_text(f'[weights]\nfolders = ["{tmp_path / "models"}"]\n')
    return workplace


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def spooled(place: Workplace) -> int:
    return sum(len(list(read_spool(p))) for p in place.runs.glob(f".inflight/*/launches/*/{SPOOL}"))


def test_images_of_a_whole_run_are_sealed_and_verified(place: Workplace) -> None:
    done = place.kit("run", place.spec(painter.spec(3)), "--runs", place.runs)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    assert len(list(run.glob("launches/000/images/*.png"))) == 8
    assert place.kit("verify", run).returncode == 0
    live = [e["data"] for e in lines(run / "events.jsonl") if e["kind"] == "live"]
    told = [data["progress"] for data in live if "progress" in data]
    assert {progress["images"] for progress in told} >= {2, 6}
    assert all(progress["images"] == 2 * progress["done"] for progress in told)


@pytest.mark.parametrize(
    "killed", [("kit.run.runner",), ("kit.run.runner", "kit.measure.drive")], ids=len
)
def test_a_killed_run_is_recovered_with_the_images_that_came(
    place: Workplace, killed: tuple[str, ...]
) -> None:
    process = place.start("run", place.spec(painter.spec(60)), "--runs", place.runs)
    place.wait_for(lambda e: e["kind"] == "phase.begin" and e["data"]["phase"] == "measured")
    end = time.monotonic() + 30
    while spooled(place) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    for pid in [pid for module in killed for pid in place.pids(module)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert "kit recover" in said

    done = place.kit("recover", "--runs", place.runs)
    assert done.returncode == 0, done.stderr
    manifest = place.only_run()
    run: Path = manifest["folder"]
    assert manifest["status"] == "aborted"
    good = [r for r in lines(run / "launches/000/requests.jsonl") if r["status"] == "ok"]
    assert 3 <= len(good) < 61
    assert sum(r["images"] for r in good) == 2 * len(good)
    files = {
        f"launches/000/{image['file']}": image["sha256"]
        for answer in lines(run / "launches/000/responses.jsonl")
        for image in answer["images"]
    }
    assert len(files) == 2 * len(good)
    assert files == {name: jsonio.digest((run / name).read_bytes()) for name in files}
    verdict = verify(run)
    assert verdict.passed, verdict.failures
    assert verdict.status == "aborted"
    assert len(list(run.glob("launches/000/images/*"))) == len(files)
    assert not (run / "launches/000" / SPOOL).exists()
    shown = place.kit("show", run)
    assert shown.returncode == 0 and "aborted" in shown.stdout
