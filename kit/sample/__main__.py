"""``python -m kit.sample CONFIG.json``: the sampler process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kit import meters
from kit.events import Clock
from kit.host.cpus import parse_set
from kit.meters import Reading
from kit.sample.live import Live
from kit.sample.loop import Schedule, run_alone, run_together
from kit.sample.writer import Writer

FLUSH_S = 0.5


def say(line: dict[str, Any]) -> None:
    """One JSON line for the engine; an engine that is gone is noticed at stdin's EOF."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def sample(config: dict[str, Any], stop: threading.Event) -> None:
    """Read every meter of ``config`` until ``stop``; then report rows and punctuality."""
    clock = Clock(config["origin"])
    live = Live()
    with ExitStack() as held:
        writers, schedules = [], []
        for wanted in config["meters"]:
            name, alias = wanted["name"], wanted["alias"]
            reader = meters.get(name).open(alias, wanted["config"], clock)
            held.callback(reader.close)
            writer = Writer(Path(config["out"]) / f"{meters.label(name, alias)}.csv")
            writers.append(writer)
            take = _taker(meters.label(name, alias), writer, live)
            schedules += [Schedule(tier, take, time.monotonic_ns()) for tier in reader.tiers]
        for schedule in schedules:
            schedule.read()  # the first read is the slowest: it may not count as late
            schedule.kept.late_ns.clear()
        say({"event": "ready"})
        _read_until(stop, schedules, writers, live)
    say(_report(schedules, writers))


def _read_until(
    stop: threading.Event, schedules: list[Schedule], writers: list[Writer], live: Live
) -> None:
    threads = [run_alone(s, stop) for s in schedules if s.tier.slow]
    quick = [s for s in schedules if not s.tier.slow]
    threads.append(threading.Thread(target=run_together, args=(quick, stop), daemon=True))
    threads[-1].start()
    while not stop.wait(FLUSH_S):
        for writer in writers:
            writer.flush()
        say({"event": "live", "values": live.watts()})
    for thread in threads:
        thread.join(5.0)
    for writer in writers:
        writer.close()


def _taker(name: str, writer: Writer, live: Live) -> Callable[[Sequence[Reading]], None]:
    """Store readings; the first failure of each quantity is reported once."""
    failed: set[tuple[str, str]] = set()
    worked: set[tuple[str, str]] = set()

    def take(readings: Sequence[Reading]) -> None:
        writer.add(readings)
        for r in readings:
            key = (r.device, r.quantity)
            live.see(r)
            if r.rc == 0:
                worked.add(key)
                failed.discard(key)
            elif key in worked and key not in failed:
                failed.add(key)
                message = f"{r.device} {r.quantity} can no longer be read (code {r.rc})"
                say({"event": "error", "meter": name, "message": message})

    return take


def _report(schedules: list[Schedule], writers: list[Writer]) -> dict[str, Any]:
    quick = [s.kept for s in schedules if not s.tier.slow]
    late = [p for kept in quick if (p := kept.p99_ns()) is not None]
    return {
        "event": "stopped",
        "rows": sum(writer.rows for writer in writers),
        "late_p99_ns": max(late, default=None),
        "overruns": sum(s.kept.overruns for s in schedules),
    }


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    with contextlib.suppress(OSError, ValueError):
        os.sched_setaffinity(0, parse_set(config["cpus"]))
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()  # a line or EOF: either ends the sampling
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    sample(config, stop)


if __name__ == "__main__":
    main()
