"""The sampler itself: every meter of a configuration, read until told to stop.

Threads: one lane for quick tiers, one for each slow tier, and this module's own, which writes the
rows and talks, so that neither a slow disk nor a slow engine delays a reading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kit import meters
from kit.events import Clock
from kit.meters import Reader, Tier
from kit.meters.live import Live
from kit.sample.loop import Lane, Schedule, lanes_of
from kit.sample.writer import Writer

Say = Callable[[dict[str, Any]], None]

FLUSH_S = 0.25
LIVE_EVERY = 2  # flushes between two live lines
READY_S = 30.0
END_S = 8.0


class NotReadyError(Exception):
    """A meter that gave no first reading in time."""


def sample(config: dict[str, Any], stop: threading.Event, say: Say) -> None:
    """Read every meter of ``config`` until ``stop``; then report rows and punctuality.

    Raises:
        MeterUnavailable: a meter that was found at planning is gone.
        NotReadyError: a first read took longer than 30 s.
        OSError: the rows cannot be written.
    """
    clock, live = Clock(config["origin"]), Live()
    tracks: list[Track] = []
    with ExitStack() as held:
        for wanted in config["meters"]:
            track = Track(wanted, Path(config["out"]), clock, live, say)
            held.callback(track.close)
            tracks.append(track)
        lanes = lanes_of([s for t in tracks for s in t.schedules], clock, stop)
        for lane in lanes:
            lane.start()
        _await_ready(lanes, tracks, stop)
        say({"event": "ready", "devices": [d.device for t in tracks for d in t.reader.devices]})
        _write_until(stop, tracks, live, clock, say)
        for lane in lanes:
            lane.join(END_S)
        _flush(tracks)  # a closing read that failed is told too
    say(report(tracks))


class Track:
    """One meter: its reader, its file, the schedules of its tiers, and what failed of it."""

    def __init__(
        self, wanted: dict[str, Any], out: Path, clock: Clock, live: Live, say: Say
    ) -> None:
        name, alias = wanted["name"], wanted["alias"]
        self.name = meters.label(name, alias)
        self._live, self._say = live, say
        self._worked: set[tuple[str, str]] = set()
        self._failed: dict[str, str] = {}
        self._broken: set[str] = set()
        self.reader: Reader = meters.get(name).open(alias, wanted["config"], clock)
        live.add(self.reader.devices)
        self.writer = Writer(out / f"{self.name}.csv")
        self.schedules = [
            Schedule(tier, self.name, clock, self.writer.add, self._lost)
            for tier in self.reader.tiers
        ]

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    def flush(self) -> None:
        """Write what was read, and look at it: the reading threads have no time for that."""
        for reading in self.writer.flush():
            self._live.see(reading)
            self._note(reading.device, reading.quantity, reading.rc)

    def _note(self, device: str, quantity: str, rc: int) -> None:
        """Report a device's first failure once, and again only after it recovered."""
        key = (device, quantity)
        if rc == 0:
            self._worked.add(key)
            if self._failed.get(device) == quantity:
                del self._failed[device]
        elif key in self._worked and device not in self._failed:
            self._failed[device] = quantity
            why = self.reader.explain(rc)
            self._complain(f"{device} {quantity} can no longer be read: {why} (code {rc})")

    def _lost(self, tier: Tier, error: Exception) -> None:
        if tier.name not in self._broken:
            self._broken.add(tier.name)
            self._complain(f"{tier.name} failed: {type(error).__name__}: {error}")

    def _complain(self, message: str) -> None:
        self._say({"event": "error", "meter": self.name, "message": message})


def report(tracks: Sequence[Track]) -> dict[str, Any]:
    """The closing line: rows, and how punctual each tier was.

    ``late_p99_ns`` is that of the quick tiers together; ``tiers`` has each tier's own, with its
    count of reads. ``overruns`` counts, by tier, the deadlines that passed unread.
    """
    schedules = [s for track in tracks for s in track.schedules]
    own_pace = {id(s) for s in schedules if s.tier.due}
    quick = [p for s in schedules if not s.tier.slow and (p := s.kept.p99_ns()) is not None]
    return {
        "event": "stopped",
        "rows": sum(track.writer.rows for track in tracks),
        "late_p99_ns": max(quick, default=None),
        "overruns": {_key(s): s.kept.overruns for s in schedules if id(s) not in own_pace},
        "tiers": {
            _key(s): {"reads": s.kept.reads, "late_p99_ns": s.kept.p99_ns()} for s in schedules
        },
    }


def _key(schedule: Schedule) -> str:
    return f"{schedule.meter}.{schedule.tier.name}"


def _await_ready(lanes: Sequence[Lane], tracks: Sequence[Track], stop: threading.Event) -> None:
    """Return once every lane has read every tier of its own once, or the sampler was stopped."""
    end = time.monotonic() + READY_S
    for lane in lanes:
        while not lane.ready.wait(FLUSH_S) and not stop.is_set():
            _flush(tracks)
            if time.monotonic() > end:
                raise NotReadyError(f"no first reading within {READY_S:g} s")
    _flush(tracks)


def _write_until(
    stop: threading.Event, tracks: Sequence[Track], live: Live, clock: Clock, say: Say
) -> None:
    beat = 0
    while not stop.wait(FLUSH_S):
        _flush(tracks)
        beat += 1
        if beat % LIVE_EVERY == 0:
            # All of the state each time: a line that the engine does not read is dropped.
            told = {"values": live.watts(clock.now()), "joules": live.joules()}
            said = {key: value for key, value in {**told, "state": live.state()}.items() if value}
            if said:
                say({"event": "live", **said})


def _flush(tracks: Sequence[Track]) -> None:
    for track in tracks:
        track.flush()
