"""`kit monitor`: this host's power, live on a terminal, elsewhere a line for each reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kit.energy import names
from kit.measure.meters.watch import APART_S, DeviceState, Snapshot, totals
from kit.show.render.console import (
    count,
    device_name,
    listing,
    plain,
    put,
    short_memory,
    short_time,
    stdout,
    with_badge,
)

HISTORY = 60
# From this width on the lowest and highest reading have their own columns.
_WIDE = 76
_STEPS = " ▁▂▃▄▅▆▇█"
_ASCII_STEPS = " .:-=+*#@"


@dataclass
class Track:
    """One device: its present reading, and its power since the start."""

    state: DeviceState
    readings: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    count: int = 0

    def take(self, state: DeviceState) -> None:
        self.state = state
        if state.watts is None:
            return
        self.readings.append(state.watts)
        self.low, self.high = min(self.low, state.watts), max(self.high, state.watts)
        self.total, self.count = self.total + state.watts, self.count + 1


class PowerView:
    """Every device's power now, its range and its energy since the start, and its last minute."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._latest = Snapshot(0.0, {}, {})

    def take(self, snapshot: Snapshot) -> None:
        """One reading of all devices."""
        self._latest = snapshot
        for device, state in snapshot.devices.items():
            self._tracks.setdefault(device_name(device), Track(state)).take(state)

    def line(self) -> Text:
        """The reading as one line for a log: ``12 s  gpu0 642.1 W 7.71 kJ  rapl: no RAPL``."""
        parts = [short_time(self._latest.t_s)]
        for device, track in self._tracks.items():
            state = track.state
            if state.watts is None:
                parts.append(f"{device}: {state.why_not}")
            else:
                parts.append(f"{device} {state.watts:.1f} W {self._since(state)}")
        parts += [f"{meter}: {reason}" for meter, reason in self._latest.absent.items()]
        return plain("  ".join(parts))

    def _since(self, state: DeviceState) -> str:
        """The energy since the start; its duration if readings are missing; or why none."""
        if state.joules is None:
            return f"{_energy(None)} ({state.no_energy})" if state.no_energy else _energy(None)
        return _energy(state.joules) + self._over(state.seconds)

    def _over(self, seconds: float) -> str:
        return f" over {seconds:.3g} s" if self._latest.t_s - seconds > APART_S else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in self._parts(options):
            if options.ascii_only:
                yield from (_ascii(segment) for segment in console.render(part, options))
            else:
                yield part

    def _parts(self, options: ConsoleOptions) -> Iterator[Text | Table]:
        yield self._table(options)
        yield from self._details()
        yield from self._totals()
        for meter, reason in self._latest.absent.items():
            yield with_badge("skip", plain(f"{meter}: {reason}"), "absent")
        yield plain(f"{short_time(self._latest.t_s)} · ctrl-C ends", style="quiet")

    def _table(self, options: ConsoleOptions) -> Table:
        right: dict[str, Any] = {"justify": "right", "no_wrap": True, "min_width": 8}
        longest = max(map(len, self._tracks), default=6)
        wide = options.max_width >= _WIDE
        numbers = ["now", *(["lowest"] if wide else []), "mean", *(["highest"] if wide else [])]
        device = min(longest, 16)
        table = listing(
            ("device", {"no_wrap": True, "overflow": "ellipsis", "width": max(device, 6)}),
            *((heading, right) for heading in (*numbers, "energy")),
            ("", {"no_wrap": True, "overflow": "ellipsis"}),
        )
        room = options.max_width - max(device, 6) - 2 - 10 * (len(numbers) + 1)
        for name, track in self._tracks.items():
            cells = self._numbers(track, wide)
            energy = plain(_energy(track.state.joules))
            last: Text = plain("no reading", "doubt")
            if track.state.watts is not None:
                last = _spark(track, max(4, min(HISTORY, room)), options)
            table.add_row(plain(name), *cells, energy, last)
        return table

    @staticmethod
    def _numbers(track: Track, wide: bool) -> list[str]:
        if not track.count:
            return ["–"] * (4 if wide else 2)
        now = "–" if track.state.watts is None else f"{track.state.watts:.1f} W"
        low, mean, high = (f"{w:.1f} W" for w in (track.low, track.total / track.count, track.high))
        return [now, low, mean, high] if wide else [now, mean]

    def _details(self) -> Iterator[Text | Table]:
        """More facts of a GPU, the source of its energy, and why a device has no power."""
        for name, track in self._tracks.items():
            state = track.state
            if state.watts is None:
                yield with_badge("warn", plain(f"{name}: {state.why_not}"), "no power")
            if state.no_energy not in ("", state.why_not):
                yield with_badge("warn", plain(f"{name}: {state.no_energy}"), "no energy")
            over = self._over(state.seconds) if state.joules is not None else ""
            if details := [*_context(state), *_method(state, over)]:
                yield plain(f"{name}: {', '.join(details)}", "quiet")

    def _totals(self) -> Iterator[Text]:
        """One line for each scope; the scope's name says if it is estimated."""
        for scope, total in totals(self._latest).items():
            watts, joules = total["power_W"], total["energy_J"]
            now = "a device reports none now" if watts is None else f"{watts:.1f} W"
            since = "no energy" if joules is None else self._summed(total)
            why = f" ({total['reason']})" if joules is None else ""
            yield plain(f"{names.scope(scope)}: {now}, {since}{why}", "name")

    def _summed(self, total: dict[str, Any]) -> str:
        over = self._over(total["energy_over_s"])
        return _energy(total["energy_J"]) + (over or " since the start")


def _ascii(segment: Segment) -> Segment:
    """Text for a terminal that shows only ASCII; other characters would raise an error."""
    text = segment.text.translate({ord("–"): "-", ord("·"): ",", ord("°"): " "})
    return Segment(text.encode("ascii", "replace").decode(), segment.style, segment.control)


def _context(state: DeviceState) -> Iterator[str]:
    context = state.context
    if (degrees := context["temperature_degC"]) is not None:
        yield f"{degrees} °C"
    if (clock := context["sm_clock_MHz"]) is not None:
        yield f"SM {clock} MHz"
    if (busy := context["utilisation_percent"]) is not None:
        yield f"{busy}% busy"
    if (memory := context["memory_used_B"]) is not None:
        yield f"{short_memory(memory)} used"
    if (processes := context["processes"]) is not None:
        yield count(processes, "process", "es")
    if state.reasons is not None:
        yield f"clock events: {', '.join(state.reasons) or 'none'}"


def _method(state: DeviceState, over: str) -> Iterator[str]:
    if state.energy_from:
        yield f"energy by {state.energy_from}{over}"
    if not state.summed:
        yield "inside another device or beside it: in no total"


def _energy(joules: float | None) -> str:
    """``812 J``, ``7.71 kJ``, ``1.02 MJ``; a dash if unknown."""
    if joules is None:
        return "–"
    for unit in ("J", "kJ"):
        if abs(joules) < 999.5:
            return (
                f"{joules:.{0 if abs(joules) >= 100 else 1}f} {unit}"
                if unit == "J"
                else (f"{joules:.3g} {unit}")
            )
        joules /= 1000
    return f"{joules:.4g} MJ"


def _spark(track: Track, width: int, options: ConsoleOptions) -> Text:
    """The last readings as bars from zero to the highest one."""
    steps = _ASCII_STEPS if options.ascii_only else _STEPS
    top = max(track.high, 1e-9)
    last = list(track.readings)[-width:]
    bars = "".join(steps[round(max(0.0, w) / top * (len(steps) - 1))] for w in last)
    return plain(bars, "good")


def power(readings: Iterable[Snapshot]) -> None:
    """Show readings as they come, until the last one."""
    console, view = stdout(), PowerView()
    if not console.is_terminal:
        for snapshot in readings:
            view.take(snapshot)
            put(console, view.line())
        return
    with Live(view, console=console, auto_refresh=False, transient=False) as live:
        for snapshot in readings:
            view.take(snapshot)
            live.refresh()
