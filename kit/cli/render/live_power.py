"""`kit monitor`: the power of this host, live on a terminal, a line a reading anywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from kit.cli.render.console import device_name, listing, marked, plain, put, short_time, stdout

HISTORY = 60
_STEPS = " ▁▂▃▄▅▆▇█"
_ASCII_STEPS = " .:-=+*#@"


@dataclass
class Track:
    """What is known of one device: its readings in watts, or why there is none now."""

    readings: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    reason: str = ""
    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    count: int = 0

    def take(self, value: float | str) -> None:
        """A reading in watts, or the reason why there is none."""
        if isinstance(value, str):
            self.reason = value
            return
        self.reason = ""
        self.readings.append(value)
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.total, self.count = self.total + value, self.count + 1


class PowerView:
    """Every device's power now, its range since the start, and its last minute."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._began = time.monotonic()

    def take(self, values: Mapping[str, float | str]) -> None:
        """One reading of all devices."""
        for device, value in values.items():
            self._tracks.setdefault(device_name(device), Track()).take(value)

    def line(self) -> Text:
        """The reading as one line for a log: ``12 s  gpu0 642.1 W  psys: permission denied``."""
        text = plain(short_time(time.monotonic() - self._began))
        for device, track in self._tracks.items():
            now = f" {track.readings[-1]:.1f} W" if not track.reason else f": {track.reason}"
            text.append_text(plain(f"  {device}{now}"))
        return text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        right = {"justify": "right", "no_wrap": True, "min_width": 8}
        table = listing(
            (
                "device",
                {"no_wrap": True, "min_width": min(16, max(map(len, self._tracks), default=6))},
            ),
            ("now", right),
            ("lowest", right),
            ("mean", right),
            ("highest", right),
            ("", {"no_wrap": True, "overflow": "ellipsis"}),
        )
        width = max(8, min(HISTORY, options.max_width - 56))
        for device, track in self._tracks.items():
            if track.count:
                numbers = [track.readings[-1], track.low, track.total / track.count, track.high]
                cells = [f"{number:.1f} W" for number in numbers]
            else:
                cells = ["–"] * 4
            missing = Text("no reading", "doubt")
            last = missing if track.reason else self._spark(track, width, options)
            table.add_row(plain(device), *cells, last)
        yield table
        for device, track in self._tracks.items():
            if track.reason:
                yield marked("warn", plain(f"{device}: {track.reason}"))
        ran = short_time(time.monotonic() - self._began)
        yield Text(f"{ran} · ctrl-C ends", style="quiet")

    @staticmethod
    def _spark(track: Track, width: int, options: ConsoleOptions) -> Text:
        """The last readings as bars from zero to the highest seen."""
        steps = _ASCII_STEPS if options.ascii_only else _STEPS
        top = max(track.high, 1e-9)
        last = list(track.readings)[-width:]
        return Text(
            "".join(steps[round(max(0.0, w) / top * (len(steps) - 1))] for w in last), "good"
        )


def power(readings: Iterable[Mapping[str, float | str]]) -> None:
    """Show readings as they come, until they end.

    Args:
        readings: for each moment, watts by device, or the reason why there is no reading.
    """
    console, view = stdout(), PowerView()
    if not console.is_terminal:
        for values in readings:
            view.take(values)
            put(console, view.line())
        return
    with Live(view, console=console, auto_refresh=False, transient=False) as live:
        for values in readings:
            view.take(values)
            live.refresh()
