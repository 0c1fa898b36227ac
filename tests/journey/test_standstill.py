"""Real runs of which a process is stopped for a while, as a paused machine or dead disk does."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import Workplace, loopback_spec

STOPPED_S = 11.0


def is_measuring(event: dict[str, Any]) -> bool:
    return event["kind"] == "phase.begin" and event["data"]["phase"] == "measured"


@pytest.mark.parametrize(
    "modules", [["kit.run.runner"], ["kit.measure.sample", "kit.measure.drive"]]
)
@pytest.mark.slow
def test_a_run_whose_processes_were_stopped_verifies(
    workplace: Workplace, modules: list[str]
) -> None:
    phases = {"idle_s": 1, "loaded_idle_s": 1, "warmup_requests": 1}
    spec = workplace.spec(loopback_spec({"tokens_per_s": 10}, phases=phases))
    running = workplace.start("run", spec, "--runs", workplace.runs)
    workplace.wait_for(is_measuring)
    pids = [pid for module in modules for pid in workplace.pids(module)]
    assert len(pids) >= len(modules)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    verdict = json.loads(workplace.kit("verify", Path(out.strip()), "--json").stdout)
    assert verdict["outcome"] == "PASS", [c for c in verdict["checks"] if c["status"] == "FAIL"]
    assert any(check["status"] == "WARN" for check in verdict["checks"])
