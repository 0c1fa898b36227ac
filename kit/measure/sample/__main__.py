"""``python -m kit.measure.sample CONFIG.json``: the sampler process; see `kit.measure.sample`.

Exit codes: 0 everything was read to the end; 1 nothing could be read, or written; 4 a part failed:
the report's ``failed`` names it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from kit.core.errors import KitError
from kit.machine.host.cpus import parse_set
from kit.measure.meters import MeterUnavailable
from kit.measure.sample.sampler import NotReadyError, sample

# A thread that formats rows must not hold the interpreter for its default 5 ms while another has
# a deadline.
_SWITCH_S = 0.0005
_NICE = -10
FAILED_IN_PART = 4
_SAYING = threading.Lock()


def say(line: dict[str, Any]) -> None:
    """Print one JSON line for the runner; the EOF of stdin shows when the runner is gone.

    A live line is dropped if the runner does not read: a busy runner must not stop the writing of
    samples.
    """
    with _SAYING, contextlib.suppress(OSError):
        if line["event"] == "live" and not select.select([], [1], [], 0)[1]:
            return
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Sample until a line or EOF on stdin; an error is the last line of stderr."""
    config = json.loads(Path(sys.argv[1]).read_text())
    _settle(config.get("cpus", ""))
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()  # a line or EOF: either ends the sampling
        stop.set()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=listen, daemon=True).start()
    try:
        failed = sample(config, stop, say)
    except (MeterUnavailable, NotReadyError, KitError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"the samples cannot be written: {error.strerror or error}\n")
        return 1
    for name, reason in failed.items():
        sys.stderr.write(f"{name}: {reason}\n")
    return FAILED_IN_PART if failed else 0


def _settle(cpus: str) -> None:
    """Set the CPU and a higher priority, and switch off the garbage collector."""
    with contextlib.suppress(OSError, ValueError):
        os.sched_setaffinity(0, parse_set(cpus))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.disable()  # readings are tuples of integers: there are no reference cycles


if __name__ == "__main__":
    sys.exit(main())
