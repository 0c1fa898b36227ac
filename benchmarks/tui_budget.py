"""What the terminal UI costs: first paint, key echo, bytes over the link, CPU while a run is shown.

    python benchmarks/tui_budget.py
    python benchmarks/tui_budget.py screens           only the costs of each screen
    python benchmarks/tui_budget.py screens spec run  only of those with such a word in their names

The real program on a pseudo-terminal of 100×30 (`KIT_SIZE=140x40` names another), over this
repository's runs: nothing in between, so that the figures are the UI's own. The run that is shown
is the recording of an H200 run, which the Live screen plays at its own pace, drawn twice a second.

Budgets: first paint 0.8 s, key echo p95 50 ms, 24 kB/s, 6% of a core. Of a screen on which nothing
happens: its first frame within 0.8 s of the key that opens it, no byte when idle, 4 kB and 30 ms of
CPU for a key within it, less what it uses when idle.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = map(int, os.environ.get("KIT_SIZE", "100x30").split("x"))
WATCHED_S = 20.0
STARTS, KEYS = 5, 40
IDLE_S, PRESSES = 4.0, 12
_ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]")


class Program:
    """kit on a pseudo-terminal."""

    def __init__(self, *argv: str) -> None:
        self.bytes = 0
        self.seen = b""
        self.begun = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            os.execve(sys.executable, [sys.executable, "-m", "kit.cli.main", *argv], environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self, seconds: float) -> bytes:
        """What comes within ``seconds``, at once where something came."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        try:
            data = os.read(self._fd, 1 << 16) if ready else b""
        except OSError as error:
            raise OSError("the program has ended") from error
        self.bytes += len(data)
        self.seen = (self.seen + data)[-(1 << 20) :]
        return data

    def until(self, wanted: bytes, seconds: float = 20.0) -> float:
        """Seconds since now until ``wanted`` came."""
        begun, self.seen = time.monotonic(), b""
        while wanted not in self.seen:
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"{wanted!r} did not come")
            self.read(0.1)
        return time.monotonic() - begun

    def quiet(self, seconds: float = 0.5) -> None:
        """Read until nothing comes for ``seconds``; for 20 s at most."""
        end = time.monotonic() + 20
        while self.read(seconds) and time.monotonic() < end:
            pass

    def watch(self, seconds: float) -> None:
        """Read for ``seconds``."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def pressed(self, keys: str, seconds: float = 1.0) -> float:
        """Press, and read until nothing comes for ``seconds``; returns s until the last byte."""
        last = begun = time.monotonic()
        self.press(keys)
        while self.read(seconds) and last < begun + 20:
            last = time.monotonic()
        return last - begun

    def shows(self, wanted: str) -> bool:
        """Whether ``wanted`` is in what came since the list of runs, whatever its colours."""
        text = _ESCAPES.sub(b"", self.seen).decode("utf-8", "replace")
        return wanted.replace(" ", "") in text.replace(" ", "")

    def cpu_s(self) -> float:
        """CPU time so far, s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def first_paint_s() -> list[float]:
    """From the start of the process to the list of runs, s."""
    times = []
    for _ in range(STARTS):
        program = Program()
        program.until(b"h200-smollm2")
        times.append(time.monotonic() - program.begun)
        program.end()
    return times


def key_echo_s() -> list[float]:
    """From a key in the filter of the runs to its letter on the screen, s."""
    program = Program()
    program.until(b"h200-smollm2")
    program.quiet()
    program.press("/")
    program.quiet()
    times = []
    for index in range(KEYS):
        letter = "xyzvw"[index % 5]
        program.press(letter)
        times.append(program.until(letter.encode(), 5))
        program.quiet(0.15)
    program.end()
    return times


def watching() -> tuple[float, float]:
    """Bytes a second and share of a core while a run is shown."""
    program = Program()
    program.until(b"h200-smollm2")
    program.quiet()
    to_recording(program)
    program.quiet(0.05)
    before, begun, cpu = program.bytes, time.monotonic(), program.cpu_s()
    program.watch(WATCHED_S)
    seconds = time.monotonic() - begun
    costs = (program.bytes - before) / seconds, (program.cpu_s() - cpu) / seconds
    program.end()
    return costs


def to_recording(program: Program) -> None:
    """Filter for the H200 run, open it, play it."""
    program.press("/")
    program.quiet()
    program.press("h200\r")
    program.quiet()
    program.press("\r")
    program.until(b"Provenance")
    program.quiet()
    program.press("p")
    program.until(b"W")


# Keys that open a screen from the list of runs, what then stands on it, and the keys within it that
# are pressed in turn.
DOWN, UP, LEFT, RIGHT = "\x1b[B", "\x1b[A", "\x1b[D", "\x1b[C"
RUN = ("/", "h200\r", "\r")
TEMPLATE = ("n", "\r")
SCREENS = {
    "Home": ((), "h200-smollm2", (DOWN, DOWN, UP, UP)),
    "Home, filter": (("/",), "filter", ("x", "\x7f")),
    "Spec": (TEMPLATE, "runtime", (DOWN,)),
    "Spec, typing": (TEMPLATE, "runtime", ("x",)),
    "Plan": ((*TEMPLATE, "\x1b[15~"), "Preflight", (DOWN,)),
    "Run, summary": (RUN, "Provenance", (DOWN,)),
    "Run, power": ((*RUN, "2"), "mean", (RIGHT,)),
    "Run, power zoom": ((*RUN, "2", RIGHT), "mean", ("+", "-")),
    "Run, requests": ((*RUN, "3"), "tokens", (DOWN,)),
    "Run, log": ((*RUN, "6"), "what happened", (DOWN,)),
    "Verify": ((*RUN, "v"), "Verify", (DOWN,)),
    "Compare": ((" ", DOWN, "c"), "Compare", (DOWN,)),
    "Live, paused": ((*RUN, "p", " ", "nnnnn"), "paused", (RIGHT,)),
    "Live, zoom": ((*RUN, "p", " ", "nnnnn", RIGHT), "paused", ("+", "-")),
    "Help": (("?",), "Screenshot", (DOWN,)),
}


class Costs(NamedTuple):
    """What a screen costs: s to its first frame; bytes when idle; bytes and CPU s of a key."""

    opened_s: float
    idle: int
    key: float
    key_s: float


def of_screen(opening: tuple[str, ...], wanted: str, keys: tuple[str, ...]) -> Costs:
    """The costs of a screen that ``opening`` leads to; those of a key are means of `PRESSES`."""
    program = Program()
    try:
        opened_s = program.until(b"h200-smollm2")
        program.quiet()
        for each in opening:
            opened_s = program.pressed(each)
        if not program.shows(wanted):
            raise TimeoutError(f"{wanted!r} is not on the screen")
        program.quiet(3.0)
        size, cpu_s = program.bytes, program.cpu_s()
        program.watch(IDLE_S)
        idle, idle_s = program.bytes - size, (program.cpu_s() - cpu_s) / IDLE_S
        size, cpu_s, begun = program.bytes, program.cpu_s(), time.monotonic()
        for n in range(PRESSES):
            program.press(keys[n % len(keys)])
            program.quiet(0.3)
        spent_s = program.cpu_s() - cpu_s - idle_s * (time.monotonic() - begun)
        return Costs(opened_s, idle, (program.bytes - size) / PRESSES, max(0.0, spent_s) / PRESSES)
    finally:
        program.end()


def screens(wanted: Sequence[str]) -> None:
    """Print the costs of each screen whose name has one of the words ``wanted``."""
    print(f"{COLUMNS}x{ROWS}; budget: opened 0.8 s, idle 0 B, a key 4 kB and 30 ms of CPU")
    for name, how in SCREENS.items():
        if wanted and not any(word in name.lower() for word in wanted):
            continue
        try:
            costs = of_screen(*how)
        except (TimeoutError, OSError) as error:
            print(f"{name:<18} {error}", flush=True)
            continue
        print(
            f"{name:<18} opened {costs.opened_s:.2f} s   idle {costs.idle} B in {IDLE_S:g} s   "
            f"a key {costs.key / 1e3:.1f} kB, {1e3 * costs.key_s:.0f} ms CPU",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] != ["screens"]:
        run_shown()
    screens(sys.argv[2:])


def run_shown() -> None:
    paint, echo = first_paint_s(), key_echo_s()
    rate, share = watching()
    echo.sort()
    print(f"first paint        {statistics.median(paint):.2f} s median of {STARTS}   budget 0.8 s")
    p95 = echo[int(0.95 * (len(echo) - 1))]
    text = f"{1e3 * statistics.median(echo):.0f} / {1e3 * p95:.0f} / {1e3 * echo[-1]:.0f}"
    print(f"key echo           {text} ms p50/p95/max of {KEYS}   budget p95 50 ms")
    print(f"over the link      {rate / 1e3:.1f} kB/s   budget 24 kB/s")
    print(f"CPU                {100 * share:.1f}% of a core   budget 6%")


if __name__ == "__main__":
    main()
