"""Whole runs through the real command line, the real container engine and the loopback runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.machine import images

KIT = [sys.executable, "-m", "kit.cli.main"]


def loopback_image() -> dict[str, str]:
    """The loopback image as built here: a spec pins what the build recorded."""
    found = images.recipe("loopback")
    return {"recipe": "loopback", "digest": found.image_id}


def loopback_spec(options: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A run that takes a second or two; ``options`` script the loopback server."""
    spec = {
        "schema": "kit.run-spec/1",
        "name": "loopback",
        "runtime": {"name": "loopback", "options": options or {}},
        "image": loopback_image(),
        "weights": None,
        "workload": {"name": "prompts", "options": {"requests": 3, "max_output_tokens": 8}},
        "phases": {"idle_s": 0.3, "loaded_idle_s": 0.3, "warmup_requests": 1},
        "meters": [{"name": "estimate"}],
        "launches": 1,
        "limits": {"ready_s": 20, "request_s": 5, "run_s": 120, "memory_mib": 256},
    }
    return spec | changes


class Workplace:
    """A folder with a store, a host.toml and a way to call kit as a person would."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.host = folder / "host.toml"
        self.host.write_text("")
        self.env = {**os.environ, "KIT_HOST_CONFIG": str(self.host), "NO_COLOR": "1"}

    def spec(self, spec: dict[str, Any], name: str = "spec.json") -> Path:
        path = self.folder / name
        path.write_text(json.dumps(spec))
        return path

    def kit(self, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run kit to its end; no command may ever print a traceback."""
        done = subprocess.run(
            [*KIT, *map(str, args)],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=240,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def start(self, *args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*KIT, *map(str, args)],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sealed(self) -> list[Path]:
        return sorted(p.parent for p in self.runs.glob("*/manifest.json"))

    def only_run(self) -> dict[str, Any]:
        """The manifest of the one sealed run, with its path under ``folder``."""
        (run,) = self.sealed()
        return {**json.loads((run / "manifest.json").read_text()), "folder": run}

    def events(self) -> list[dict[str, Any]]:
        """The journal of the run in flight or sealed, as far as it goes."""
        for path in [
            *self.runs.glob(".inflight/*/events.jsonl"),
            *self.runs.glob("*/events.jsonl"),
        ]:
            lines = path.read_bytes().splitlines()
            return [json.loads(line) for line in lines if line.endswith(b"}")]
        return []

    def wait_for(self, test: Callable[[dict[str, Any]], bool], seconds: float = 60) -> None:
        """Wait until an event satisfies ``test``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(test(event) for event in self.events()):
                return
            time.sleep(0.03)
        raise AssertionError(f"no such event; saw {[e['kind'] for e in self.events()]}")

    def pids(self, module: str) -> list[int]:
        """Processes of ``python -m <module>`` that work in this store."""
        found = subprocess.run(
            ["pgrep", "-f", f"{module} .*{self.folder}"], capture_output=True, text=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def containers(self) -> list[str]:
        """Containers of this store's runs that exist, running or not."""
        form = '{{.Label "kit.run"}} {{.ID}}'
        done = subprocess.run(
            ["docker", "ps", "-a", "--filter", "label=kit.run", "--format", form],
            capture_output=True,
            text=True,
        )
        ledger = self.runs / "ledger.jsonl"
        known = ledger.read_text() if ledger.is_file() else ""
        found = [line.split() for line in done.stdout.splitlines()]
        return [container for run, container in found if f'"{run}"' in known]

    def clear(self) -> None:
        """End what is still in flight; nothing of it may stay in the engine."""
        if any(path.is_dir() for path in self.runs.glob(".inflight/*")):
            self.kit("recover", "--runs", self.runs)
        assert self.containers() == []


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace(tmp_path)
    yield place
    place.clear()


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with runs that several tests look at, and none changes."""
    place = Workplace(tmp_path_factory.mktemp("shared"))
    yield place
    place.clear()
