"""Runs in flight, written event by event as a runner would: for the Live screen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from kit.core import jsonio
from kit.record import events
from kit.store.store import InFlight

WATTS = {"idle": 75, "startup": 110, "warmup": 320, "loaded_idle": 120, "measured": 600}
STEPS: tuple[tuple[str, str | None, int], ...] = (
    ("idle", "before", 10),
    ("startup", None, 20),
    ("warmup", None, 10),
    ("loaded_idle", "before", 10),
    ("measured", None, 40),
    ("loaded_idle", "after", 10),
    ("shutdown", None, 2),
    ("idle", "after", 10),
)


class Frozen:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.t = 0.0

    def __call__(self) -> float:
        return self.t


class Story:
    """A journal with times of its own choosing, chained as the runner's."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / events.FILE
        self.n, self.t, self.prev = 0, 0, events.GENESIS
        self.joules: dict[str, float] = {}
        self.state: dict[str, dict[str, int]] = {}
        self.gpus = 2

    def add(self, kind: str, after: float = 0.0, **data: Any) -> None:
        """One event, ``after`` seconds after the last."""
        self.t += int(after * 1e9)
        event = {"seq": self.n, "t": self.t, "kind": kind, "data": data, "prev": self.prev}
        line = jsonio.canonical(event)
        self.n, self.prev = self.n + 1, jsonio.digest(line)
        with self.path.open("ab") as file:
            file.write(line + b"\n")

    def begin(self, flight_id: str, launches: int = 3) -> None:
        """The first events."""
        self.add("run.registered", id=flight_id, launches=launches, utc="2026-10-02T14:30:00+00:00")
        message = "GPU clocks are [not] locked"
        self.add("finding", code="CLOCKS_UNLOCKED", level="warn", message=message)

    def live(self, watts: float, without: str = "", **more: Any) -> None:
        """Half a second later: the GPUs, an outlet and the estimated host."""
        power = {f"gpu{n}": watts * (1 - 0.1 * n / (self.gpus - 1)) for n in range(self.gpus)}
        power |= {"pdu:a:1": watts * (1.15 * self.gpus) + 180, "host": 34.2}
        power = {d: round(w, 1) for d, w in power.items() if d != without}
        for device, w in power.items():
            self.joules[device] = self.joules.get(device, 0.0) + w * 0.5
        hot = {"temperature": 40 + int(watts / 20), "memory_temperature": 55}
        held = {"sm_clock": 1755, "event_reasons": 4} if watts > 610 else {}
        state = {"gpu0": {**hot, "sm_clock": 1980, "event_reasons": 0, **held}}
        for n in range(1, self.gpus):
            hot_n = 40 - n + int(watts / 20)
            state[f"gpu{n}"] = {"temperature": hot_n, "sm_clock": 1980, "event_reasons": 0}
        state = {d: s for d, s in state.items() if d != without and self.state.get(d) != s}
        self.state |= state
        if state:
            more["state"] = state
        shown = {d: round(j, 1) for d, j in self.joules.items() if d in power}
        self.add("live", 0.5, power=power, joules=shown, **more)

    def launch(self, number: int, until: str = "", beats: int = 46) -> None:
        """A whole launch, or one that stops ``beats`` half-seconds into the phase ``until``."""
        self.add("launch.begin", launch=number)
        for phase, part, seconds in STEPS:
            where = {"launch": number, "phase": phase, "part": part}
            self.add("phase.begin", **where)
            for beat in range(seconds * 2):
                if phase == until and beat == beats:
                    return
                more: dict[str, Any] = {}
                if phase == "measured":
                    more["progress"] = {
                        "stage": "measured",
                        "done": beat * 2,
                        "total": 160,
                        "tokens": beat * 256,
                    }
                self.live(WATTS.get(phase, 90) + 20 * math.sin(beat / 3), **more)
            self.add("phase.end", **where)
        self.add("launch.end", launch=number)


def in_measured_block(flight: InFlight, gpus: int = 2) -> Story:
    """The second launch of three, 23 s into its measured block, with a mark."""
    story = Story(flight.path)
    story.gpus = gpus
    story.begin(flight.id)
    story.launch(0)
    story.launch(1, "measured")
    story.add("mark", text="fan [red]noise", t_face=story.t - 5 * 10**9)
    return story
