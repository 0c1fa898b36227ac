"""A run in Ollama's dialect, from spec to replay: spoken by the loopback image, not by Ollama.

The runtime is kit's `ollama` under another name, on kit's scripted test server. The real Ollama was
not run here.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import Workplace, loopback_image
from tests.runtimes import dialect

pytestmark = pytest.mark.docker
DIGEST = hashlib.sha256(dialect.GGUF).hexdigest()


def _spec(content: bytes = dialect.GGUF) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    file = {"path": "model.gguf", "source": "file:model.gguf", "sha256": digest}
    return {
        "schema": "kit.run-spec/1",
        "name": "dialect",
        "runtime": {"name": dialect.NAME, "options": {"context": 256}},
        "image": loopback_image(),
        "weights": {"repo": "m", "revision": "1", "files": [{**file, "size": len(content)}]},
        "workload": {"name": "prompts", "options": {"requests": 3, "max_output_tokens": 8}},
        "phases": {"idle_s": 0.3, "loaded_idle_s": 0.3, "warmup_requests": 1},
        "meters": [{"name": "estimate"}],
        "launches": 2,
        "limits": {"ready_s": 20, "request_s": 5, "run_s": 120, "memory_mib": 256},
    }


@pytest.fixture
def place(workplace: Workplace, tmp_path: Path) -> Workplace:
    """A workplace with the package and a folder of models."""
    site = dialect.install(tmp_path / "site")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    workplace.env["PYTHONPATH"] = path
    folder = tmp_path / "models"
    folder.mkdir()
    workplace.host.write_text(f'[weights]\nfolders = ["{folder}"]\n')
    return workplace


def _steps(run: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [e for e in events if e["kind"] in ("container.ready", "startup.step", "shutdown.step")]


def test_server_and_model_start_and_end_in_steps_of_their_own(
    place: Workplace, tmp_path: Path
) -> None:
    (tmp_path / "models" / f"sha256-{DIGEST}").write_bytes(dialect.GGUF)  # as Ollama names a blob
    done = place.kit("run", place.spec(_spec()), "--runs", place.runs)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    steps = _steps(run)
    assert [e["data"].get("name", "ready") for e in steps] == [
        *("ready", "upload", "create", "load", "unload")
    ] * 2
    assert all(e["data"]["status"] in (200, 201) for e in steps if "step" in e["kind"])
    assert steps[2]["data"]["body"]["files"] == {"model.gguf": f"sha256:{DIGEST}"}

    effective = json.loads((run / "launches/000/effective.json").read_text())
    (loaded,) = effective["/api/ps"]["models"]
    assert loaded["context_length"] == 256
    assert loaded["parameters"]["num_gpu"] == 0
    assert effective["log"]["runner_s"] == "0.01"
    log = (run / "launches/001/container.log").read_text()
    assert log.index("kept a blob") < log.index("request 0") < log.index("unloaded")

    verified = place.kit("verify", run)
    assert verified.returncode == 0, verified.stdout
    plan = json.loads((run / "plan.json").read_text())
    assert plan["launch"]["scratch_bytes"] == (16 << 20) + len(dialect.GGUF)
    shown = place.kit("show", run).stdout
    assert "load" in shown and "unload" in shown
    assert "not equal work" in shown

    # A reviewer has no such package.
    place.env["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    assert place.kit("verify", run).returncode == 0


def test_a_model_that_the_server_refuses_fails_the_run_with_its_words(
    place: Workplace, tmp_path: Path
) -> None:
    (tmp_path / "models" / "model.gguf").write_bytes(b"no model at all")
    done = place.kit("run", place.spec(_spec(b"no model at all")), "--runs", place.runs)
    assert done.returncode == 1, done.stderr
    assert "step create (POST /api/create) failed: HTTP 400: unsupported format" in (
        " ".join(done.stderr.split())
    )
    (run,) = place.sealed()
    assert [e["data"].get("name") for e in _steps(run)] == [None, "upload", "create"]
    assert place.kit("verify", run).returncode == 0
