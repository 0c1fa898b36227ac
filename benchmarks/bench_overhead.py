"""Wall time that kit adds to a run beyond its phases: all of `kit run` minus its phases.

    python benchmarks/bench_overhead.py

Real runs of the loopback runtime in its container. A phase is what the journal says it was: idle,
startup, warm-up, loaded idle, measured, shutdown. All else is kit's: starting Python, preflight,
planning, starting driver and samplers, creating and removing containers, results, sealing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kit.record import phases, records  # noqa: E402 - a clone need not be installed
from kit.record.archive import open_source  # noqa: E402
from tests.journey.conftest import loopback_spec  # noqa: E402

GOAL_S = 2.0
REPEATS = 3
_NS = 1e-9


def run(folder: Path, spec: dict[str, Any]) -> tuple[float, Path]:
    """Seconds of one whole ``kit run``, and the sealed run."""
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "host.toml").write_text("")
    command = [sys.executable, "-m", "kit.cli.main", "run", "spec.json"]
    env = {**os.environ, "KIT_HOST_CONFIG": str(folder / "host.toml"), "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    wall = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(done.stderr)
    (manifest,) = (folder / "runs").glob("*/manifest.json")
    return wall, manifest.parent


def share(run: Path) -> tuple[float, dict[str, float]]:
    """Seconds in phases, and seconds of each stretch of the run that is in none."""
    journal = records.load(open_source(run)).events
    blocks = sorted(phases.blocks(journal), key=lambda p: p.t0)
    inside = sum(p.t1 - p.t0 for p in blocks) * _NS
    gaps = {
        "before": blocks[0].t0 * _NS,
        "between": sum(max(0, b.t0 - a.t1) for a, b in pairwise(blocks)) * _NS,
        "after": (journal[-1].t - blocks[-1].t1) * _NS,
    }
    return inside, gaps


def main() -> None:
    heads = ("wall", "phases", "kit adds", "of it before", "between", "after", "processes", "goal")
    print(f"{'seconds':<12}" + "".join(f"{h:>14}" for h in heads))
    with tempfile.TemporaryDirectory() as folder:
        for launches in (1, 3):
            for repeat in range(REPEATS):
                place = Path(folder) / f"{launches}-{repeat}"
                wall, sealed = run(place, loopback_spec(launches=launches))
                inside, gaps = share(sealed)
                added = wall - inside
                rest = added - sum(gaps.values())
                row = (wall, inside, added, *gaps.values(), rest, GOAL_S)
                verdict = "met" if added <= GOAL_S else "MISSED"
                name = f"{launches} launch" + ("es" if launches > 1 else "")
                print(f"{name:<12}" + "".join(f"{v:>14.2f}" for v in row) + f"  {verdict}")


if __name__ == "__main__":
    main()
