"""The sampler's main loop: reads every meter of a configuration until it is stopped.

Threads: one lane for quick tiers, one for each slow tier, and the main thread, which writes rows
and lines for the runner, so that neither a slow disk nor a slow runner delays a reading.

A failing meter, tier or device stops no other: its failure is reported once, by name, and again in
the closing report and in the exit code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kit.core.model import meter_label
from kit.measure import meters
from kit.measure.meters import MeterUnavailable, fit
from kit.measure.meters.live import Live
from kit.measure.sample.loop import Lane, Schedule, lanes_of
from kit.measure.sample.track import Track
from kit.measure.sample.writer import Writer
from kit.record.events import Clock

Say = Callable[[dict[str, Any]], None]

FLUSH_S = 0.25
LIVE_EVERY = 2  # flushes between two live lines
READY_S = 30.0
END_S = 8.0


class NotReadyError(Exception):
    """A meter without a first reading in time."""


def sample(config: dict[str, Any], stop: threading.Event, say: Say) -> dict[str, str]:
    """Read every meter of ``config`` until ``stop``; then report rows and lateness.

    Returns:
        Failures at the end, by meter or tier.

    Raises:
        MeterUnavailable: none of the meters opens.
        NotReadyError: a first read took longer than 30 s.
        OSError: the rows cannot be written.
    """
    clock, live = Clock(config["origin"]), Live()
    with ExitStack() as held:
        tracks, failed = _opened(config, clock, live, say, held)
        lanes = lanes_of([s for t in tracks for s in t.schedules], clock, stop)
        for lane in lanes:
            lane.start()
        _await_ready(lanes, tracks, stop)
        say({"event": "ready", "devices": [d.device for t in tracks for d in t.reader.devices]})
        _write_until(stop, tracks, lambda: _show(live, clock, say))
        for lane in lanes:
            lane.join(END_S)
        _flush(tracks)  # a failed closing read is reported too
    failed |= _faults(tracks, lanes, say)
    say(report(tracks) | ({"failed": failed} if failed else {}))
    return failed


def _opened(
    config: dict[str, Any], clock: Clock, live: Live, say: Say, stack: ExitStack
) -> tuple[list[Track], dict[str, str]]:
    """A track for each meter that opens, and why the others do not.

    Raises:
        MeterUnavailable: none opens.
    """
    tracks: list[Track] = []
    failed: dict[str, str] = {}
    for wanted in config["meters"]:
        name = meter_label(wanted["name"], wanted["alias"])
        try:
            reader = _reader(wanted, clock)
        except MeterUnavailable as reason:
            failed[name] = str(reason)
            continue
        stack.callback(_quietly, reader.close)
        writer = Writer(Path(config["out"]) / f"{name}.csv")
        stack.callback(writer.close)
        tracks.append(Track(name, reader, writer, clock, live, say, wanted.get("planned")))
    if not tracks:
        raise MeterUnavailable("; ".join(failed.values()) or "no meter was asked for")
    for name, message in failed.items():
        say({"event": "error", "meter": name, "message": f"it cannot be read: {message}"})
    return tracks, failed


def _reader(wanted: dict[str, Any], clock: Clock) -> meters.Reader:
    """Open a meter; any exception becomes the reason why it does not open."""
    try:
        opened = meters.get(wanted["name"]).open(wanted["alias"], wanted["config"], clock)
        return fit.reader_of(opened)
    except MeterUnavailable:
        raise
    except Exception as error:
        raise MeterUnavailable(f"{type(error).__name__}: {error}") from error


def _quietly(close: Callable[[], None]) -> None:
    """Close a device; an error in it must not prevent the report."""
    try:
        close()
    except Exception:
        return


def _faults(tracks: Sequence[Track], lanes: Sequence[Lane], say: Say) -> dict[str, str]:
    """Tiers whose last read failed, and lanes that ended before they were stopped."""
    failed = {_key(s): s.failure for t in tracks for s in t.schedules if s.failure}
    for lane in (lane for lane in lanes if lane.fault):
        failed[lane.names] = lane.fault
        for meter in sorted({schedule.meter for schedule in lane.schedules}):
            say({"event": "error", "meter": meter, "message": lane.fault})
    return failed


def report(tracks: Sequence[Track]) -> dict[str, Any]:
    """The closing line: rows, and the lateness of each tier.

    ``late_p99_ns`` is of the quick tiers together; ``tiers`` has each tier's own, with its
    count of reads. ``overruns`` counts the missed deadlines by tier.
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


def _write_until(stop: threading.Event, tracks: Sequence[Track], show: Callable[[], None]) -> None:
    beat = 0
    while not stop.wait(FLUSH_S):
        _flush(tracks)
        beat += 1
        if beat % LIVE_EVERY == 0:
            show()


def _show(live: Live, clock: Clock, say: Say) -> None:
    """Print the whole state each time: a line that the runner does not read is dropped."""
    energy = {"values": live.watts(clock.now()), "joules": live.joules()}
    line = {key: value for key, value in {**energy, "state": live.state()}.items() if value}
    if line:
        say({"event": "live", **line})


def _flush(tracks: Sequence[Track]) -> None:
    for track in tracks:
        track.flush()
