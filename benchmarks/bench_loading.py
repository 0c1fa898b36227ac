"""How long kit takes to read runs: whole processes, against goals.

    python benchmarks/bench_loading.py [GIB] [FOLDER]

*hashed*: the files of an archive of GIB (4), held against its manifest, as a folder and as a
`.kit.zip`; the goal is a share of the speed of `sha256sum` over the same files, taken in turns.
*verified*: the kept run of an H200, and a run with as many rows as eight of those give in an hour,
of scripted meters. FOLDER is for what is made: three times GIB of space. Told are the median and
the range of five calls, for the large run its peak of memory, too. The files are in the page cache.

`bench_list.py` lists a store of many runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kit.core import jsonio  # noqa: E402
from kit.spec import spec  # noqa: E402
from tests import golden  # noqa: E402 - the tests are beside, not installed
from tests.committed import H200  # noqa: E402

KIT = Path(sys.executable).with_name("kit")
L1 = "import sys, pathlib, kit.judge.verify as v; "
L1 += "sys.exit(not v.verify(pathlib.Path(sys.argv[1]), through='L1').passed)"
CALLS = 5
# With these a GPU gives 90 rows a second; in the kept run of an H200 it gave 87.
STATE = {"gpu_temperature": 40, "gpu_sm_clock": 1980, "gpu_memory_clock": 2619}
STATE |= {"gpu_utilisation": 50, "gpu_memory_utilisation": 9, "gpu_memory_used": 50 << 30}
STATE |= {"gpu_power_limit": 400_000}
GOAL_SHARE, GOAL_TYPICAL_S, GOAL_HOUR_S, GOAL_HOUR_MIB = 0.8, 0.5, 10.0, 400


def timed(*command: str | Path) -> tuple[float, float]:
    """Seconds of a whole process, and its peak of memory (MiB)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - begin, used.ru_maxrss / 1024


def row(what: str, values: list[float], goal: float, *, above: bool = False) -> None:
    """Print a row; with ``above`` the goal is a lower bound."""
    median = statistics.median(values)
    verdict = "met" if (median >= goal if above else median <= goal) else "MISSED"
    least, most = min(values), max(values)
    print(f"{what:<48}{median:>8.2f}{least:>8.2f}{most:>8.2f}{goal:>8g}  {verdict}", flush=True)


def hour(root: Path) -> Path:
    """A sealed run of an hour on eight GPUs."""
    golden.GPUS, golden.STATE = 8, STATE
    document = spec.document(golden.run_spec())
    rest_s = round(3600 / golden.LAUNCHES / 4)
    document["phases"] |= {"idle_s": rest_s, "loaded_idle_s": rest_s}
    return golden.build(root, asked=spec.parse(jsonio.canonical(document)))


def large(root: Path, gib: float, file: Path) -> Path:
    """A sealed run of ``gib``, of which most are copies of ``file``."""
    rows = file.read_bytes()
    run = golden.build(root)
    for number in range(round(gib * 2**30 / len(rows))):
        (run / f"launches/000/part-{number:04d}.log").write_bytes(rows)
    return golden.reseal(run)


def hashed(run: Path, packed: Path) -> None:
    """The speed of integrity checks, as shares of sha256sum's."""
    subprocess.run([KIT, "export", run, packed], check=True, capture_output=True)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    shares: dict[Path, list[float]] = {run: [], packed: []}
    for _ in range(CALLS):
        plain, _ = timed("sha256sum", *files)
        for path, of_path in shares.items():
            of_path.append(plain / timed(sys.executable, "-c", L1, path)[0])
    gib = sum(path.stat().st_size for path in files) / 2**30
    for name, path in (("a folder", run), ("a .kit.zip", packed)):
        what = f"{name} of {gib:.1f} GiB hashed, x sha256sum"
        row(what, shares[path], GOAL_SHARE, above=True)


def verified(what: str, run: Path, goal_s: float) -> list[float]:
    """The time of `kit verify`; returns its peaks of memory."""
    calls = [timed(KIT, "verify", run) for _ in range(CALLS)]
    row(f"{what} verified, s", [seconds for seconds, _ in calls], goal_s)
    return [mib for _, mib in calls]


def main() -> None:
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    place = sys.argv[2] if len(sys.argv) > 2 else None
    print(f"{'':<48}{'median':>8}{'least':>8}{'most':>8}{'goal':>8}")
    verified("the run of an H200", H200, GOAL_TYPICAL_S)
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        # A process's peak of memory counts that of its parent: runs are made elsewhere.
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as maker,
    ):
        run = maker.submit(hour, Path(folder) / "hour").result()
        peaks = verified("an hour of eight GPUs", run, GOAL_HOUR_S)
        row("its peak of memory, MiB", peaks, GOAL_HOUR_MIB)
        rows = run / "samples/nvml.csv"
        copies = maker.submit(large, Path(folder) / "large", gib, rows).result()
        hashed(copies, Path(folder) / "large.kit.zip")


if __name__ == "__main__":
    main()
