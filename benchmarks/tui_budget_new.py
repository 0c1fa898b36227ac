"""What the terminal UI costs: first paint, key echo, bytes over the link, CPU while a run is shown.

    python benchmarks/tui_budget.py
    python benchmarks/tui_budget.py screens     only the costs of each screen

The real program on a pseudo-terminal of 100×30, over this repository's runs: nothing in between,
so that the figures are the UI's own. The run that is shown is the recording of an H200 run, which
the Live screen plays at its own pace, redrawn twice a second.

Budgets: first paint 0.8 s, key echo p95 50 ms, 24 kB/s, 6% of a core. Of a screen on which nothing
happens: no byte when idle, 4 kB and 30 ms of CPU for a key within it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = 100, 30
WATCHED_S = 20.0
STARTS, KEYS = 5, 40
IDLE_S, PRESSES = 8.0, 10


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
        data = os.read(self._fd, 1 << 16) if ready else b""
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
        """Read until nothing comes for ``seconds``."""
        while self.read(seconds):
            pass

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

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
    while time.monotonic() - begun < WATCHED_S:
        program.read(0.2)
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


# Keys that open a screen from the list of runs, what then stands on it, and a key within it.
DOWN, RIGHT = "\x1b[B", "\x1b[C"
SCREENS = {
    "Home": (("",), b"h200-smollm2", DOWN),
    "Spec": (("n", "\r"), b"Runtime", DOWN),
    "Spec, typing": (("n", "\r"), b"Runtime", "x"),
    "Run, summary": (("/", "h200\r", "\r"), b"Provenance", DOWN),
    "Run, power": (("/", "h200\r", "\r", "2"), b"W", RIGHT),
    "Help": (("?",), b"Screenshot", DOWN),
}


def of_screen(keys: tuple[str, ...], wanted: bytes, key: str) -> tuple[float, float, float]:
    """Bytes of 8 idle seconds; bytes and CPU seconds of a key: means of `PRESSES`."""
    program = Program()
    program.until(b"h200-smollm2")
    program.quiet()
    for each in keys:
        program.press(each)
        program.quiet(1.0)
    assert wanted in program.seen, wanted
    program.quiet(3.0)
    idle = program.bytes
    end = time.monotonic() + IDLE_S
    while time.monotonic() < end:
        program.read(0.2)
    idle = program.bytes - idle
    before, cpu = program.bytes, program.cpu_s()
    for _ in range(PRESSES):
        program.press(key)
        program.quiet(0.3)
    costs = idle, (program.bytes - before) / PRESSES, (program.cpu_s() - cpu) / PRESSES
    program.end()
    return costs


def screens() -> None:
    for name, how in SCREENS.items():
        idle, size, cpu = of_screen(*how)
        print(
            f"{name:<18} idle {idle} B in {IDLE_S:g} s   "
            f"a key {size / 1e3:.1f} kB, {1e3 * cpu:.0f} ms CPU   budget 0 B, 4 kB, 30 ms"
        )


def main() -> None:
    if sys.argv[1:] != ["screens"]:
        run_shown()
    screens()


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
