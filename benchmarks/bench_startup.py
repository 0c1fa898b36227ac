"""How long kit takes to answer: ``kit --help`` and ``kit verify``, whole processes, cold to end.

    python benchmarks/bench_startup.py [RUN]

RUN is a sealed run; without it a committed one is taken, and without those one that is made here.
Each command runs ten times after one that is not counted; told are the median and the range.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import golden  # noqa: E402 - the tests are beside, not installed

REPEATS = 10
KIT = Path(sys.executable).with_name("kit")
GOALS_MS = {"kit --help": 150, "kit verify": 500}


def timed(arguments: list[str]) -> float:
    """Milliseconds of one whole process; its exit code must be 0."""
    begin = time.perf_counter()
    subprocess.run([KIT, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (time.perf_counter() - begin) * 1e3


def measure(name: str, arguments: list[str]) -> None:
    """Print a row of the table."""
    timed(arguments)
    times = sorted(timed(arguments) for _ in range(REPEATS))
    goal = GOALS_MS[name.partition(",")[0]]
    median = statistics.median(times)
    verdict = "met" if median <= goal else "MISSED"
    print(f"{name:<42}{median:>8.0f}{times[0]:>8.0f}{times[-1]:>8.0f}{goal:>8}  {verdict}")


def main() -> None:
    print(f"{'whole process, ms':<42}{'median':>8}{'least':>8}{'most':>8}{'goal':>8}")
    measure("kit --help", ["--help"])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(a) for a in sys.argv[1:]]
        committed = sorted(p.parent for p in (ROOT / "runs").glob("*/manifest.json"))
        for run in paths or committed or [golden.build(Path(folder) / "runs")]:
            size = sum(f.stat().st_size for f in run.rglob("*") if f.is_file())
            measure(f"kit verify, {run.name[:12]} ({size / 1e6:.1f} MB)", ["verify", str(run)])


if __name__ == "__main__":
    main()
