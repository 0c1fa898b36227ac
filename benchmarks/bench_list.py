"""How long `kit ls` takes over a store of many runs: whole processes, without and with its index.

    python benchmarks/bench_list.py [RUNS]

The store holds RUNS (10,000) copies of a golden run: its manifest, spec, results and fingerprint,
each copy with a hash and a start of its own; bytes are copied, not linked. *Cold* has no index, so
that every document is read (the files are in the page cache). *Warm* has it. Told are the median
and the range of three and of ten calls.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import golden  # noqa: E402 - the tests are beside, not installed

KIT = Path(sys.executable).with_name("kit")
READ = ("spec.json", "results.json", "env/start.json")
GOALS_S = {"cold": 2.0, "warm": 0.5}
REPEATS = {"cold": 3, "warm": 10}


def fill(store: Path, runs: int) -> None:
    """Write ``runs`` copies of the golden run; they begin a minute apart."""
    source = golden.build(store.parent / "golden")
    manifest = json.loads((source / "manifest.json").read_bytes())
    documents = {name: (source / name).read_bytes() for name in READ}
    for number in range(runs):
        hours, minutes = divmod(number, 60)
        days, hours = divmod(hours, 24)
        manifest["clock"]["utc"] = f"2026-01-{1 + days:02d}T{hours:02d}:{minutes:02d}:05+00:00"
        data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        run = store / hashlib.sha256(b"kit-run-v1\n" + data).hexdigest()
        (run / "env").mkdir(parents=True)
        (run / "manifest.json").write_bytes(data)
        for name, content in documents.items():
            (run / name).write_bytes(content)


def timed(arguments: list[str]) -> float:
    """Seconds of one whole process."""
    begin = time.perf_counter()
    subprocess.run([KIT, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begin


def measure(store: Path, name: str, arguments: list[str]) -> None:
    """Print a row of the table."""
    times = []
    for _ in range(REPEATS[name]):
        if name == "cold":
            (store / ".index.json").unlink(missing_ok=True)
        times.append(timed([*arguments, "--runs", str(store)]))
    median, goal = statistics.median(times), GOALS_S[name]
    verdict = "met" if median <= goal else "MISSED"
    what = f"kit {' '.join(arguments)}, {name}"
    print(f"{what:<28}{median:>8.2f}{min(times):>8.2f}{max(times):>8.2f}{goal:>8}  {verdict}")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs"
        fill(store, runs)
        print(f"{f'{runs:,} runs; seconds':<28}{'median':>8}{'least':>8}{'most':>8}{'goal':>8}")
        for arguments in (["ls"], ["ls", "--json"]):
            for name in ("cold", "warm"):
                measure(store, name, arguments)


if __name__ == "__main__":
    main()
